//! Interest classes: subscriptions that may be served with the same bytes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    rc::Rc,
};

use super::{class_id::ClassId, line::Place, pattern_id::PatternId};
use crate::{invariant, protocol::encoding::Wire};

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
    /// Version up to which it was looked through; at least `sent`.
    pub scanned: u64,
    /// Updates its patterns had seen at the last look.
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

/// All classes of a shard and when they are due.
#[derive(Debug, Default)]
pub struct Classes {
    slots: Vec<Option<Class>>,
    free: Vec<ClassId>,
    by_key: HashMap<Rc<ClassKey>, ClassId>,
    /// One entry per class: when to look at it next. An entry of a class that died is recognised
    /// by its number.
    due: BinaryHeap<Reverse<(u64, ClassId, u64)>>,
    /// Classes with interval 0: looked at whenever something was taken in.
    immediate: Vec<ClassId>,
    numbers: u64,
    /// Places in line of classes that have ended.
    left: Vec<Place>,
}

impl Classes {
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
        }
    }

    pub fn find(&self, key: &ClassKey) -> Option<ClassId> {
        self.by_key.get(key).copied()
    }

    pub fn immediate(&self) -> &[ClassId] {
        &self.immediate
    }

    /// Numbers given out so far: the next class gets one more.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn insert(&mut self, class: Class) -> ClassId {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                ClassId(self.slots.len() as u32 - 1)
            }
        };
        self.by_key.insert(class.key.clone(), id);
        if class.key.interval_us == 0 {
            self.immediate.push(id);
        }
        self.slots[id.0 as usize] = Some(class);
        self.schedule(id);
        id
    }

    pub fn remove(&mut self, id: ClassId) -> Option<Class> {
        let class = self.slots[id.0 as usize].take()?;
        self.left.extend(class.waits);
        let named = self.by_key.remove(&class.key);
        invariant!(named == Some(id), "class {}: its key led to {named:?}", class.number);
        self.immediate.retain(|other| *other != id);
        self.free.push(id);
        Some(class)
    }

    /// The place in line of a class that has ended since; each once.
    pub fn take_left(&mut self) -> Option<Place> {
        self.left.pop()
    }

    /// Enters a class's next moment; call once after its last entry was popped.
    pub fn schedule(&mut self, id: ClassId) {
        let class = self.get(id);
        let at = if class.key.interval_us == 0 {
            class.heartbeat_us
        } else {
            class.flush_us.min(class.heartbeat_us)
        };
        let number = class.number;
        self.due.push(Reverse((at, id, number)));
    }

    /// Pops a class whose moment has come.
    pub fn pop_due(&mut self, now_us: u64) -> Option<ClassId> {
        while let Some(Reverse((at, id, number))) = self.due.peek().copied() {
            let alive = self.slots[id.0 as usize].as_ref().is_some_and(|class| class.number == number);
            if alive && at > now_us {
                return None;
            }
            self.due.pop();
            if alive {
                return Some(id);
            }
        }
        None
    }

    /// The next moment at which [`Classes::pop_due`] may give one.
    pub fn next_due_us(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }
}
