//! Conflation with cursors: last values, interest classes and the frames they share. No IO.
//!
//! A shard keeps the last value of each topic and the *version* (the gateway-wide position) at which
//! it came. A subscription is a position: everything at or below it was sent. What is newer, and
//! nothing else, is what it is owed; values in between were conflated. Subscriptions with the same
//! interest form a [`Class`] that moves by one cursor and shares one encoded [`Frame`] per flush.

mod classes;
pub mod frame;
mod patterns;
mod spans;
mod topics;

use std::{collections::HashSet, rc::Rc};

use thiserror::Error;

pub use classes::{Class, ClassId, ClassKey, Classes};
pub use frame::{Frame, Pinned};
pub use patterns::PatternId;

use crate::{
    clock::Now,
    config,
    update::{Batch, Op, TopicId, Update},
};
use frame::{Envelope, encode};
use patterns::Patterns;
use topics::Topics;

/// Catch-up frames and snapshots kept for others who stand at the same position.
const CACHE_MAX: usize = 64;

#[derive(Debug, PartialEq, Eq)]
struct CacheKey {
    class: u64,
    /// The op's patterns; `None`: all of the class.
    patterns: Option<Box<[PatternId]>>,
    /// `None`: a snapshot.
    from: Option<u64>,
}

/// A frame for every member of a class whose position is below `version`.
#[derive(Debug, Clone)]
pub struct Flush {
    pub class: ClassId,
    pub number: u64,
    pub frame: Frame,
    /// Nothing in it: only for members that were sent nothing since this moment (µs, monotonic).
    pub silent_since_us: Option<u64>,
    pub version: u64,
    /// When it was due. µs, monotonic.
    pub due_us: u64,
    /// Age of the oldest thing in it when it was built, µs.
    pub age_us: Option<u64>,
}

/// No room for another distinct subscription.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Full {
    #[error("too many distinct subscriptions on the gateway ([limits] classes = {max} per shard)")]
    Classes { max: usize },
    #[error("too many distinct patterns on the gateway ([limits] shard_patterns = {max} per shard)")]
    Patterns { max: usize },
}

#[derive(Debug, Default, Clone)]
pub struct Counters {
    pub updates_in: u64,
    pub updates_framed: u64,
    pub frames_built: u64,
    pub conflated: u64,
    pub classes_refused: u64,
    pub patterns_refused: u64,
}

#[derive(Debug)]
pub struct Fanout {
    topics: Topics,
    patterns: Patterns,
    pub classes: Classes,
    pub pinned: Pinned,
    pub counters: Counters,
    position: u64,
    /// A position below this cannot be answered exactly: a tombstone above it was dropped.
    floor: u64,
    drain: u64,
    cache: Vec<(CacheKey, Frame)>,
    scratch: Vec<(u64, TopicId)>,
    frame_bytes_max: usize,
    heartbeat_us: u64,
    classes_max: usize,
    patterns_max: usize,
    /// This shard and how many there are: they keep class numbers apart.
    shard: (u64, u64),
}

impl Fanout {
    /// `shard`: this shard's index and the number of shards.
    pub fn new(config: &config::Fanout, limits: &config::Limits, shard: (usize, usize)) -> Self {
        Self {
            topics: Topics::default(),
            patterns: Patterns::default(),
            classes: Classes::default(),
            pinned: Pinned::default(),
            counters: Counters::default(),
            position: 0,
            floor: 0,
            drain: 0,
            cache: Vec::new(),
            scratch: Vec::new(),
            frame_bytes_max: config.frame_bytes_max,
            heartbeat_us: config.heartbeat.as_micros() as u64,
            classes_max: limits.classes,
            patterns_max: limits.shard_patterns,
            shard: (shard.0 as u64, shard.1 as u64),
        }
    }

    /// Version up to which everything was taken in.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether a subscription at `position` can be told exactly what changed since.
    pub fn answers_since(&self, position: u64) -> bool {
        (self.floor..=self.position).contains(&position)
    }

    /// Topics and tombstones held.
    pub fn topics_len(&self) -> usize {
        self.topics.len()
    }

    pub fn patterns_len(&self) -> usize {
        self.patterns.len()
    }

    pub fn pattern_text(&self, id: PatternId) -> String {
        self.patterns.text(id)
    }

    /// Marks that a position may have been looked at; call before a run of [`Fanout::apply`].
    pub fn begin_drain(&mut self) {
        self.drain += 1;
    }

    /// Gives back what is kept for others who may ask for the same.
    pub fn drop_cache(&mut self) {
        self.cache.clear();
    }

    pub fn apply(&mut self, batch: &Batch) {
        self.cache.clear();
        for op in &batch.ops {
            match op {
                Op::Birth { topic, name } => {
                    self.topics.insert(*topic, name.clone());
                    self.patterns.birth(*topic, &mut self.topics);
                }
                Op::Update(update) => self.update(update),
                Op::Forget { topic } => {
                    if let Some(topic) = self.topics.remove(*topic) {
                        self.floor = self.floor.max(topic.version());
                        self.patterns.forget(&topic.nodes);
                    }
                }
            }
        }
        self.position = batch.version;
    }

    fn update(&mut self, update: &Update) {
        let Some(topic) = self.topics.get_mut(update.topic) else {
            debug_assert!(false, "update of {:?} before its birth", update.topic);
            return;
        };
        topic.update = Some(update.clone());
        self.patterns.touch(&topic.nodes, update.version, update.due_us, self.drain);
        self.counters.updates_in += 1;
    }

    /// The class for these patterns (checked texts and those held already), made when it is new.
    /// Join it at once: a class without members is kept only until [`Fanout::leave`].
    pub fn class(
        &mut self,
        slot: u8,
        interval_us: u64,
        held: &[PatternId],
        added: &[String],
        now: Now,
    ) -> Result<ClassId, Full> {
        self.check_room_for_patterns(added)?;
        let mut patterns: Vec<PatternId> = held.to_vec();
        for id in held {
            self.patterns.retain(*id);
        }
        for text in added {
            patterns.push(self.patterns.acquire(text, &mut self.topics));
        }
        patterns.sort_unstable();
        patterns.dedup_by(|a, b| {
            let same = a == b;
            if same {
                self.patterns.release(*a, &mut self.topics);
            }
            same
        });
        let key = ClassKey { slot, interval_us, patterns: patterns.into() };
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
        let seen = key.patterns.iter().map(|p| self.patterns.get(*p).updates).sum();
        // Classes start at spread phases, so that not all of them flush in the same moment.
        let phase_us = match interval_us {
            0 => 0,
            interval_us => number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % interval_us,
        };
        Ok(self.classes.insert(Class {
            key: Rc::new(key),
            number,
            members: Vec::new(),
            sent: self.position,
            scanned: self.position,
            seen,
            flush_us: now.mono_us + phase_us,
            heartbeat_us: now.mono_us + self.heartbeat_us,
            busy: false,
        }))
    }

    /// Looked at before any of them is interned, which costs a walk over its topics.
    fn check_room_for_patterns(&mut self, added: &[String]) -> Result<(), Full> {
        let room = self.patterns_max.saturating_sub(self.patterns.len());
        let fresh = || added.iter().filter(|text| self.patterns.find(text).is_none()).collect::<HashSet<_>>();
        if added.len() > room && fresh().len() > room {
            self.counters.patterns_refused += 1;
            return Err(Full::Patterns { max: self.patterns_max });
        }
        Ok(())
    }

    fn release(&mut self, patterns: &[PatternId]) {
        for id in patterns {
            self.patterns.release(*id, &mut self.topics);
        }
    }

    /// The ids of checked pattern texts that are interned, sorted.
    pub fn pattern_ids(&mut self, texts: &[String]) -> Box<[PatternId]> {
        let mut ids: Vec<PatternId> = texts.iter().filter_map(|text| self.patterns.find(text)).collect();
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

    /// Drops a class that nobody joined.
    pub fn drop_if_empty(&mut self, id: ClassId) {
        if self.classes.get(id).members.is_empty()
            && let Some(class) = self.classes.remove(id)
        {
            self.release(&class.key.patterns);
        }
    }

    /// Looks at a class whose moment has come; `None`: nothing to send.
    pub fn flush(&mut self, id: ClassId, now: Now) -> Option<Flush> {
        let position = self.position;
        let class = self.classes.get(id);
        let (interval_us, key) = (class.key.interval_us, class.key.clone());
        let flush_due = interval_us == 0 || now.mono_us >= class.flush_us;
        let due_us = if interval_us == 0 { now.mono_us } else { class.flush_us };
        let (sent, mut scanned, number) = (class.sent, class.scanned, class.number);
        if flush_due {
            if let Some(past) = now.mono_us.checked_sub(class.flush_us)
                && interval_us > 0
            {
                self.classes.get_mut(id).flush_us += (past / interval_us + 1) * interval_us;
            }
            let newest = key.patterns.iter().map(|p| self.patterns.get(*p).version).max().unwrap_or(0);
            if newest > scanned || scanned < self.floor {
                return Some(self.flush_changes(id, due_us, now));
            }
            scanned = position;
            self.classes.get_mut(id).scanned = position;
        }
        let class = self.classes.get_mut(id);
        if now.mono_us < class.heartbeat_us {
            return None;
        }
        // Between two flushes there may be changes not looked at yet: the heartbeat stops short of
        // them. `sent` stays, since members that are not silent do not get this frame. The fan-out
        // puts the next heartbeat off to when one is due again.
        class.heartbeat_us = now.mono_us + self.heartbeat_us / 8;
        let envelope = Envelope {
            class: number,
            ts_us: now.wall_us,
            from: Some(sent),
            version: scanned,
            oldest_us: None,
        };
        let frame = self.encode(&envelope, &[]);
        let silent_since_us = Some(now.mono_us.saturating_sub(self.silence_us()));
        Some(Flush {
            class: id,
            number,
            frame,
            silent_since_us,
            version: scanned,
            due_us: now.mono_us,
            age_us: None,
        })
    }

    fn flush_changes(&mut self, id: ClassId, due_us: u64, now: Now) -> Flush {
        let class = self.classes.get(id);
        let (key, number, seen) = (class.key.clone(), class.number, class.seen);
        let from = (class.scanned >= self.floor).then_some(class.sent);
        let updates: u64 = key.patterns.iter().map(|p| self.patterns.get(*p).updates).sum();
        let (frame, oldest_us) = self.build(number, &key.patterns, from, true, now);
        self.counters.conflated += (updates - seen).saturating_sub(u64::from(frame.updates));
        let class = self.classes.get_mut(id);
        class.seen = updates;
        class.sent = self.position;
        class.scanned = self.position;
        // The heartbeat is not put off: members that were sent this earlier by themselves are passed over.
        let age_us = oldest_us.map(|oldest_us| (now.wall_us - oldest_us).max(0) as u64);
        Flush { class: id, number, frame, silent_since_us: None, version: self.position, due_us, age_us }
    }

    /// How long a subscription was sent nothing when it gets a heartbeat: a little early, so that
    /// members of a class share them.
    fn silence_us(&self) -> u64 {
        self.heartbeat_us / 8 * 7
    }

    /// Whether a subscription that was last sent something at `sent_us` (monotonic) needs a heartbeat.
    pub fn is_silent(&self, sent_us: u64, now: Now) -> bool {
        now.mono_us.saturating_sub(sent_us) >= self.silence_us()
    }

    /// Everything newer than a member's own position `pos`; takes it to [`Fanout::position`].
    pub fn catch_up(&mut self, id: ClassId, pos: u64, now: Now) -> Frame {
        let class = self.classes.get(id);
        let (number, key) = (class.number, class.key.clone());
        // A member that was sent all its class was sent has been looked through as far as the class.
        let looked = if pos >= class.sent { pos.max(class.scanned) } else { pos };
        let from = (looked >= self.floor).then_some(pos);
        self.shared(number, None, &key.patterns, from, true, now)
    }

    /// Whether a member at `pos` is owed anything but an empty batch.
    pub fn owes(&self, id: ClassId, pos: u64) -> bool {
        let class = self.classes.get(id);
        let looked = if pos >= class.sent { pos.max(class.scanned) } else { pos };
        looked < self.floor || class.key.patterns.iter().any(|p| self.patterns.get(*p).version > pos)
    }

    /// A snapshot of `patterns`, which the class holds.
    pub fn snapshot(&mut self, id: ClassId, patterns: &[PatternId], now: Now) -> Frame {
        let number = self.classes.get(id).number;
        self.shared(number, Some(patterns), patterns, None, false, now)
    }

    /// The answer to `since`: what of `patterns` is newer.
    pub fn since(&mut self, id: ClassId, patterns: &[PatternId], since: u64, now: Now) -> Frame {
        let number = self.classes.get(id).number;
        self.shared(number, Some(patterns), patterns, Some(since), false, now)
    }

    fn shared(
        &mut self,
        class: u64,
        op: Option<&[PatternId]>,
        patterns: &[PatternId],
        from: Option<u64>,
        oldest: bool,
        now: Now,
    ) -> Frame {
        let key = CacheKey { class, patterns: op.map(Into::into), from };
        if let Some((_, frame)) = self.cache.iter().find(|(cached, _)| *cached == key) {
            return frame.clone();
        }
        let (frame, _) = self.build(class, patterns, from, oldest, now);
        if self.cache.len() == CACHE_MAX {
            self.cache.swap_remove(0);
        }
        self.cache.push((key, frame.clone()));
        frame
    }

    /// Builds the frame that takes a subscription from `from` (`None`: from nothing) to the present
    /// position, and says how old its oldest content is.
    fn build(
        &mut self,
        class: u64,
        patterns: &[PatternId],
        from: Option<u64>,
        with_oldest: bool,
        now: Now,
    ) -> (Frame, Option<i64>) {
        self.collect(patterns, from);
        let mut oldest_us = None;
        if let (Some(from), true) = (from, with_oldest) {
            let taken = patterns.iter().filter_map(|p| self.patterns.get(*p).spans.oldest_after(from));
            let sent =
                self.scratch.iter().filter_map(|(_, topic)| self.last(*topic)).map(|u| u.ts_us.min(u.due_us));
            oldest_us = taken.chain(sent).min();
        }
        let envelope = Envelope { class, ts_us: now.wall_us, from, version: self.position, oldest_us };
        let topics = std::mem::take(&mut self.scratch);
        let frame = self.encode(&envelope, &topics);
        self.scratch = topics;
        (frame, oldest_us)
    }

    fn encode(&mut self, envelope: &Envelope, topics: &[(u64, TopicId)]) -> Frame {
        let updates = topics.iter().filter_map(|(_, topic)| self.last(*topic));
        let frame = encode(envelope, updates, self.frame_bytes_max, &self.pinned);
        self.counters.frames_built += u64::from(frame.parts);
        self.counters.updates_framed += u64::from(frame.updates);
        frame
    }

    fn last(&self, topic: TopicId) -> Option<&Update> {
        self.topics.get(topic)?.update.as_ref()
    }

    /// Fills `scratch` with the topics newer than `from` in version order, each once. A snapshot
    /// (`None`) leaves tombstones out.
    fn collect(&mut self, patterns: &[PatternId], from: Option<u64>) {
        self.scratch.clear();
        for pattern in patterns {
            for topic in self.patterns.recent(*pattern) {
                let Some(update) = self.topics.get(topic).and_then(|t| t.update.as_ref()) else { continue };
                match from {
                    Some(from) if update.version <= from => break,
                    None if update.gone => {}
                    _ => self.scratch.push((update.version, topic)),
                }
            }
        }
        if let [_] = patterns {
            self.scratch.reverse();
        } else {
            self.scratch.sort_unstable();
            self.scratch.dedup();
        }
    }
}
