//! Subscriptions enter classes and leave them.

use std::{collections::HashSet, rc::Rc};

use thiserror::Error;

use super::{
    Class, ClassId, ClassKey, Fanout, PatternId,
    patterns::Watcher,
    search::{Interning, Search},
};
use crate::{clock::Now, protocol::encoding::Wire, topic::pattern::Pattern};

/// What it takes to intern a pattern, beside a look at each topic: as long as so many looks.
const INTERN_LOOKS: usize = 4;

/// No room for another distinct subscription.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Full {
    #[error("too many distinct subscriptions on the gateway ([limits] classes = {max} per shard)")]
    Classes { max: usize },
    #[error("too many distinct patterns on the gateway ([limits] shard_patterns = {max} per shard)")]
    Patterns { max: usize },
    #[error(
        "the patterns on the gateway would select too many topics ([limits] pattern_topics = {max} per shard, each topic as often as it is selected)"
    )]
    Topics { max: usize },
}

impl Fanout {
    /// The class for these patterns and those held already, made when it is new, of
    /// subscriptions in that slot of their connection.
    /// Join it at once: a class without members is kept only until [`Fanout::leave`].
    pub fn class(
        &mut self,
        (slot, wire): (u8, Wire),
        interval_us: u64,
        held: &[PatternId],
        added: &[Pattern],
        now: Now,
    ) -> Result<ClassId, Full> {
        self.check_room_for_patterns(added)?;
        let mut patterns: Vec<PatternId> = held.to_vec();
        for id in held {
            self.patterns.retain(*id);
        }
        let looked_at = self.patterns.looked_at();
        for pattern in added {
            patterns.push(self.patterns.acquire(pattern, &mut self.topics));
        }
        self.budget.spend_collected((self.patterns.looked_at() - looked_at) as usize);
        patterns.sort_unstable();
        patterns.dedup_by(|a, b| {
            let same = a == b;
            if same {
                self.patterns.release(*a, &mut self.topics);
            }
            same
        });
        let key = ClassKey { slot, wire, interval_us, patterns: patterns.into() };
        if let Some(id) = self.classes.find(&key) {
            self.release(&key.patterns);
            return Ok(id);
        }
        if self.classes.len() >= self.classes_max {
            self.release(&key.patterns);
            self.counters.classes_refused += 1;
            return Err(Full::Classes { max: self.classes_max });
        }
        let number = self.classes.next_number() * self.shard.1 + self.shard.0;
        let seen = key.patterns.iter().map(|p| self.patterns.mark(*p).updates).sum();
        // Classes start at spread phases, so that not all of them flush in the same moment.
        let phase_us = match interval_us {
            0 => 0,
            interval_us => number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % interval_us,
        };
        // And at moments that many share, so that one entry into the kernel does for all of them.
        let flush_us = (now.mono_us + phase_us).next_multiple_of(self.grid_us);
        let key = Rc::new(key);
        let most = if interval_us == 0 { 1 } else { self.flush_updates };
        let class = Class {
            key: key.clone(),
            number,
            members: Vec::new(),
            sent: self.position,
            scanned: self.position,
            watches: Box::default(),
            stirred: false,
            listed: false,
            seen,
            flush_us,
            heartbeat_us: now.mono_us + self.heartbeat_us,
            busy: false,
            waits: None,
            held: 0,
        };
        let id = self.classes.insert(class, most);
        if most > 0 {
            self.watch(id, &key.patterns);
        }
        Ok(id)
    }

    /// Interns patterns for a class to come, a step of it. Those in `interning` are to be [released](Fanout::release).
    /// `false`: some are left.
    pub fn intern(&mut self, added: &[Pattern], interning: &mut Interning) -> Result<bool, Full> {
        self.check_room_for_patterns(&added[interning.ids.len()..])?;
        let mut room = self.step_looks;
        while let Some(pattern) = added.get(interning.ids.len()) {
            let at = interning.ids.len();
            if room == 0 {
                return Ok(false);
            }
            let search = interning.search.take();
            let id = match self.patterns.reacquire(pattern) {
                Some(id) => id,
                None => {
                    // Others may have taken the room meanwhile.
                    self.check_room_for_patterns(&added[at..=at])?;
                    let mut search = search.unwrap_or_else(|| Search::new(pattern, &self.topics).into());
                    let looked_at = search.looked_at;
                    let is_over = self.patterns.look(&mut search, &self.topics, room);
                    let looks = search.looked_at - looked_at + INTERN_LOOKS;
                    self.budget.spend_collected(looks);
                    room = room.saturating_sub(looks);
                    if !is_over {
                        interning.search = Some(search);
                        return Ok(false);
                    }
                    let max = self.pattern_topics_max;
                    if self.patterns.listed() + search.found() > max {
                        self.counters.patterns_refused += 1;
                        return Err(Full::Topics { max });
                    }
                    self.patterns.insert(*search, &mut self.topics)
                }
            };
            interning.ids.push(id);
        }
        Ok(true)
    }

    /// Has a class looked at as soon as something of its patterns is taken in.
    fn watch(&mut self, class: ClassId, patterns: &[PatternId]) {
        let watchers = patterns.iter().zip(0..);
        let places = watchers.map(|(pattern, nth)| self.patterns.watch(*pattern, Watcher { class, nth }));
        self.classes.get_mut(class).watches = places.collect();
        self.watching += 1;
    }

    /// Ends [`Fanout::watch`], of a class that has ended.
    fn unwatch(&mut self, class: &Class) {
        self.watching -= usize::from(!class.watches.is_empty());
        for (pattern, place) in class.key.patterns.iter().zip(&class.watches) {
            if let Some(moved) = self.patterns.unwatch(*pattern, *place) {
                self.classes.get_mut(moved.class).watches[moved.nth as usize] = *place;
            }
        }
    }

    /// Looked at before any of them is interned, which costs a walk over its topics.
    fn check_room_for_patterns(&mut self, added: &[Pattern]) -> Result<(), Full> {
        let room = self.patterns_max.saturating_sub(self.patterns.len());
        let fresh = || added.iter().filter(|pattern| !self.patterns.is_held(pattern)).collect::<HashSet<_>>();
        if added.len() > room && fresh().len() > room {
            self.counters.patterns_refused += 1;
            return Err(Full::Patterns { max: self.patterns_max });
        }
        Ok(())
    }

    /// Whether topics have to be looked at for some of them.
    pub fn has_new(&self, patterns: &[Pattern]) -> bool {
        patterns.iter().any(|pattern| self.patterns.find(pattern).is_none())
    }

    /// One user less of each.
    pub fn release(&mut self, patterns: &[PatternId]) {
        for id in patterns {
            self.patterns.release(*id, &mut self.topics);
        }
    }

    /// The ids of those that are interned, sorted.
    pub fn pattern_ids(&self, patterns: &[Pattern]) -> Box<[PatternId]> {
        let mut ids: Vec<PatternId> =
            patterns.iter().filter_map(|pattern| self.patterns.find(pattern)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into()
    }

    /// Enters a connection; gives its place among the members.
    pub fn join(&mut self, id: ClassId, conn: u32) -> u32 {
        let members = &mut self.classes.get_mut(id).members;
        members.push(conn);
        members.len() as u32 - 1
    }

    /// Takes the member at `place` out. Gives the connection that moved to its place, if any.
    pub fn leave(&mut self, id: ClassId, place: u32) -> Option<u32> {
        let class = self.classes.get_mut(id);
        class.members.swap_remove(place as usize);
        let moved = class.members.get(place as usize).copied();
        if class.members.is_empty() {
            self.drop_if_empty(id);
        }
        moved
    }

    /// Keeps a class for a member that is going to join it.
    pub fn hold(&mut self, id: ClassId) {
        self.classes.get_mut(id).held += 1;
    }

    /// Ends [`Fanout::hold`].
    pub fn unhold(&mut self, id: ClassId) {
        self.classes.get_mut(id).held -= 1;
        self.drop_if_empty(id);
    }

    /// Drops a class that nobody joined.
    pub fn drop_if_empty(&mut self, id: ClassId) {
        let class = self.classes.get(id);
        if class.members.is_empty()
            && class.held == 0
            && let Some(class) = self.classes.remove(id)
        {
            self.unwatch(&class);
            self.release(&class.key.patterns);
        }
    }
}
