//! Interest classes: subscriptions that may be served with the same bytes.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use super::{
    class_id::ClassId,
    line::Place,
    pattern_id::PatternId,
    waiting::{Counted, Waiting},
};
use crate::{invariant, protocol::encoding::Wire, wheel::Wheel};

/// What makes two subscriptions the same class.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ClassKey {
    /// The subscription's slot in its connection: no two live ones of a connection share a class.
    pub slot: u8,
    pub wire: Wire,
    pub interval_us: u64,
    /// Sorted, without repeats.
    pub patterns: Box<[PatternId]>,
}

#[derive(Debug)]
pub struct Class {
    pub key: Rc<ClassKey>,
    /// On the wire. Never used for another key while the gateway runs.
    pub number: u64,
    /// Slots of the connections subscribed.
    pub members: Vec<u32>,
    /// Version up to which its members were sent something: `from` of the next batch.
    pub sent: u64,
    /// Version up to which it was looked through; at least `sent`. See [`Class::looked`].
    pub scanned: u64,
    /// Its places among the watchers of its patterns, in their order; empty where it does not watch: then it is
    /// looked at when its interval has passed, whatever was taken in.
    pub watches: Box<[u32]>,
    /// It watches, and something of its patterns was taken in since it was looked through.
    pub stirred: bool,
    /// It stands among those to be looked at.
    pub listed: bool,
    /// Updates its patterns had seen at its last frame: one that two of them match counts twice.
    pub seen: u64,
    /// Next regular flush. Not used with interval 0.
    pub flush_us: u64,
    /// When some member may have been without a frame for a heartbeat.
    pub heartbeat_us: u64,
    /// A fan-out to its members is under way, or a long frame for them is being built.
    pub busy: bool,
    /// Its frame waits for its turn to be built.
    pub waits: Option<Place>,
    /// Answers under way that will make members of it.
    pub held: u32,
}

impl Class {
    /// Version up to which it is known what there is of it, at `position`.
    pub fn looked(&self, position: u64) -> u64 {
        if self.stirred || self.watches.is_empty() { self.scanned } else { position }
    }
}

/// All classes of a shard and when they are due.
#[derive(Debug)]
pub struct Classes {
    slots: Vec<Option<Class>>,
    free: Vec<ClassId>,
    by_key: HashMap<Rc<ClassKey>, ClassId>,
    /// When to look at each next, on the grid of `flush_grid_ms`.
    due: Wheel,
    /// Classes that watch and are not to wait for their moment; each once.
    stirred: VecDeque<ClassId>,
    pub waiting: Waiting,
    numbers: u64,
    /// Places in line of classes that have ended.
    left: Vec<Place>,
}

impl Classes {
    /// `grid_us`: they are looked at in whole steps of it.
    pub fn new(grid_us: u64, now_us: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            due: Wheel::new(0, grid_us, now_us),
            stirred: VecDeque::new(),
            waiting: Waiting::default(),
            numbers: 0,
            left: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn get(&self, id: ClassId) -> &Class {
        self.slots[id.0 as usize].as_ref().expect("subscriptions hold only live classes")
    }

    pub fn get_mut(&mut self, id: ClassId) -> &mut Class {
        self.slots[id.0 as usize].as_mut().expect("subscriptions hold only live classes")
    }

    /// Whether `id` still is the class with that number.
    pub fn is(&self, id: ClassId, number: u64) -> bool {
        self.slots[id.0 as usize].as_ref().is_some_and(|class| class.number == number)
    }

    /// Positions begin anew, at `version`, and nothing is on its way any more.
    pub fn restart(&mut self, version: u64) {
        for class in self.slots.iter_mut().flatten() {
            (class.sent, class.scanned, class.busy) = (version, version, false);
            class.stirred = false;
        }
        self.waiting.clear_all();
    }

    pub fn find(&self, key: &ClassKey) -> Option<ClassId> {
        self.by_key.get(key).copied()
    }

    /// Numbers given out so far: the next class gets one more.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// `most`: so many updates do not wait for its moment; 0: any number does.
    pub fn insert(&mut self, class: Class, most: u32) -> ClassId {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                ClassId(self.slots.len() as u32 - 1)
            }
        };
        self.waiting.begin(id, most);
        self.by_key.insert(class.key.clone(), id);
        self.slots[id.0 as usize] = Some(class);
        self.schedule(id);
        id
    }

    pub fn remove(&mut self, id: ClassId) -> Option<Class> {
        let class = self.slots[id.0 as usize].take()?;
        self.left.extend(class.waits);
        let named = self.by_key.remove(&class.key);
        invariant!(named == Some(id), "class {}: its key led to {named:?}", class.number);
        self.due.clear(id.0);
        self.free.push(id);
        Some(class)
    }

    /// The place in line of a class that has ended since; each once.
    pub fn take_left(&mut self) -> Option<Place> {
        self.left.pop()
    }

    /// Enters a class's next moment in place of what was entered.
    pub fn schedule(&mut self, id: ClassId) {
        let class = self.get(id);
        let at_us = if class.key.interval_us == 0 {
            class.heartbeat_us
        } else {
            class.flush_us.min(class.heartbeat_us)
        };
        self.due.set(id.0, at_us);
    }

    /// No heartbeat is later than `latest_us`.
    pub fn bring_heartbeats_forward(&mut self, latest_us: u64) {
        for slot in 0..self.slots.len() {
            if let Some(class) = self.slots[slot].as_mut().filter(|class| class.heartbeat_us > latest_us) {
                class.heartbeat_us = latest_us;
                self.schedule(ClassId(slot as u32));
            }
        }
    }

    /// Pops a class whose moment has come, or one far ahead whose moment is to be entered again.
    pub fn pop_due(&mut self, now_us: u64) -> Option<ClassId> {
        self.due.pop(now_us).map(ClassId)
    }

    /// The next moment at which [`Classes::pop_due`] may give one.
    pub fn next_due_us(&self) -> Option<u64> {
        self.due.next_us()
    }

    /// An update of a class that watches is about to be taken in, after `position`.
    pub fn stir(&mut self, id: ClassId, position: u64) {
        let Counted::One { is_first, presses } = self.waiting.count(id) else { return };
        if !is_first && !presses {
            return;
        }
        let class = self.get_mut(id);
        if !class.stirred {
            // Up to here nothing of it was, so that it counts as looked through.
            (class.stirred, class.scanned) = (true, position);
        }
        if presses && !std::mem::replace(&mut class.listed, true) {
            self.stirred.push_back(id);
        }
    }

    /// Takes a class that is not to wait for its moment.
    pub fn pop_stirred(&mut self) -> Option<ClassId> {
        while let Some(id) = self.stirred.pop_front() {
            // It may have ended since.
            if let Some(class) = &mut self.slots[id.0 as usize] {
                class.listed = false;
                return Some(id);
            }
        }
        None
    }
}
