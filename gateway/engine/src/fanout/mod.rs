//! Conflation with cursors: last values, interest classes and the frames they share. No IO.
//!
//! A shard keeps the last value of each topic (of a keyed one its table, of a stream its latest updates) and the *version* (the gateway-wide position) at which
//! it came. A subscription is a position: everything at or below it was sent. What is newer, and
//! nothing else, is what it is owed; values in between were conflated. Subscriptions with the same
//! interest form a [`Class`] that moves by one cursor and shares one encoded [`Frame`] per flush.

mod budget;
mod build;
mod classes;
pub mod compress;
pub mod frame;
mod keyed;
pub mod line;
mod long;
mod patterns;
mod spans;
mod stream;
mod topics;

use std::{
    collections::HashSet,
    fmt,
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
};

use thiserror::Error;

use budget::Budget;
pub use classes::{Class, ClassId, ClassKey, Classes};
use compress::Compress;
pub use frame::{Frame, Pinned};
use line::Lane;
pub use long::Long;
pub use patterns::PatternId;

use crate::planted::{Bug, planted};
use crate::{
    clock::Now,
    protocol::encoding::Wire,
    settings::Settings,
    topic::{
        epoch::Epoch,
        policy::{Behind, Mode},
        position::Position,
    },
    update::{Batch, Op, TopicId, Update},
};
use patterns::Patterns;
use topics::{Memory, Topic, Topics};

/// Catch-up frames and snapshots kept for others who stand at the same position.
const CACHE_MAX: usize = 64;
/// Which part of a turn's budget one frame may take in one go.
const SHORT_PART: usize = 4;

/// Topics that an update looks at for something to give back.
const HISTORIES_LOOKED_AT: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Where its batch begins: who stands below lacks something before it. `None`: a snapshot.
    pub from: Option<u64>,
    /// Nothing in it: only for members that were sent nothing since this moment (µs, monotonic).
    pub silent_since_us: Option<u64>,
    pub version: u64,
    /// When it was due. µs, monotonic.
    pub due_us: u64,
    /// Age of the oldest thing in it when it was built, µs.
    pub age_us: Option<u64>,
    /// Members that are as far behind as the class are to be closed: see [`Fanout::lapse`].
    pub lapsed: bool,
}

/// What is known of a class's frame before it is built.
#[derive(Debug, Clone)]
pub struct Due {
    pub class: ClassId,
    pub number: u64,
    from: Option<u64>,
    due_us: u64,
    age_us: Option<u64>,
    lapsed: bool,
    /// Updates that the class's patterns had seen.
    updates: u64,
}

/// What comes of looking at a class.
#[derive(Debug)]
pub enum Flushed {
    /// There is nothing to send.
    Nothing,
    Flush(Flush),
    Long(Due, Box<Long>),
    /// Its frame cannot be built now.
    Waits {
        lane: Lane,
        /// What there is no room for.
        need_bytes: Option<usize>,
        /// µs, monotonic.
        due_us: u64,
    },
}

/// What comes of asking for a frame.
#[derive(Debug)]
pub enum Made {
    Frame(Frame),
    /// It is to be built part by part.
    Long(Box<Long>),
    /// It is too long to be made in one go, which was to do.
    TooLong,
    /// So many bytes do not fit into what may be pinned.
    NoRoom(usize),
}

/// A stream that a subscriber has fallen behind, which its policy answers with a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    topic: Arc<str>,
    missing: u64,
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A close frame's reason has 123 bytes at most, a topic up to 255.
        let topic: String = self.topic.chars().take(40).collect();
        write!(
            f,
            "{} updates of {topic} behind the [[topic]] ring; read faster or raise ring_updates",
            self.missing
        )
    }
}

/// An update that a frame is to have. In this order they stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pick {
    version: u64,
    topic: TopicId,
    /// Place in the history of a stream.
    at: u32,
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
    /// Tombstones of keys dropped, and updates dropped from histories of streams.
    pub key_tombstones_dropped: u64,
    pub stream_dropped: u64,
    /// Times that a topic gave all of them back, since there were `[limits] history_bytes`.
    pub histories_dropped: u64,
    /// Gaps told in frames built.
    pub gaps: u64,
}

/// Who is to read a frame.
#[derive(Debug, Clone, Copy)]
struct Readers {
    class: u64,
    wire: Wire,
    /// All of the class.
    all: bool,
}

#[derive(Debug)]
pub struct Fanout {
    topics: Topics,
    patterns: Patterns,
    pub classes: Classes,
    pub pinned: Pinned,
    pub compress: Compress,
    pub counters: Counters,
    epoch: Epoch,
    /// It is not the one of the start: snapshots that nobody asked for say which it is.
    restarted: bool,
    position: u64,
    /// A position below this cannot be answered exactly: a tombstone above it was dropped.
    floor: u64,
    drain: u64,
    cache: Vec<(CacheKey, Frame)>,
    /// The last long frame, which does not go to the present position, for those who asked before it.
    kept: Option<(CacheKey, Frame)>,
    pub budget: Budget,
    scratch: Vec<Pick>,
    /// Keys of all tables.
    keys: usize,
    /// Of all topics: older updates and deleted keys kept for those who are behind.
    history_bytes: usize,
    history_bytes_max: usize,
    /// The topic that gave its own back last.
    hand: TopicId,
    /// Streams, and those of them that close who is behind.
    streams: usize,
    closing: usize,
    /// No payload is longer before it is compressed, unless a single update makes it so.
    part_bytes: usize,
    /// More is not built in one go, unless a single update makes it so.
    short_bytes: usize,
    heartbeat_us: u64,
    classes_max: usize,
    patterns_max: usize,
    /// This shard and how many there are: they keep class numbers apart.
    shard: (u64, u64),
}

impl Fanout {
    /// `shard`: this shard's index and the number of shards; `pinned`: bytes of all frames of the process.
    pub fn new(
        settings: &Settings<'_>,
        epoch: Epoch,
        shard: (usize, usize),
        pinned: Arc<AtomicUsize>,
    ) -> Self {
        let Settings { fanout, limits, compression, .. } = settings;
        Self {
            topics: Topics::default(),
            patterns: Patterns::default(),
            classes: Classes::default(),
            pinned: Pinned::new(pinned),
            compress: Compress::new(compression),
            counters: Counters::default(),
            epoch,
            restarted: false,
            position: 0,
            floor: 0,
            drain: 0,
            cache: Vec::new(),
            kept: None,
            budget: Budget::new(fanout.build_bytes, limits.pinned_bytes),
            scratch: Vec::new(),
            keys: 0,
            history_bytes: 0,
            history_bytes_max: limits.history_bytes,
            hand: TopicId(0),
            streams: 0,
            closing: 0,
            part_bytes: fanout.frame_bytes_max.min(fanout.build_bytes),
            short_bytes: fanout.build_bytes / SHORT_PART,
            heartbeat_us: fanout.heartbeat.as_micros() as u64,
            classes_max: limits.classes,
            patterns_max: limits.shard_patterns,
            shard: (shard.0 as u64, shard.1 as u64),
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the epoch is another than at the start.
    pub fn has_restarted(&self) -> bool {
        self.restarted
    }

    /// Version up to which everything was taken in.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether a subscription to `patterns` at `position` can be told exactly what changed since.
    pub fn answers_since(&self, position: u64, patterns: &[PatternId]) -> bool {
        (self.floor..=self.position).contains(&position)
            && (self.streams == 0
                || self.newer(patterns, position).all(|topic| match &topic.memory {
                    Memory::Stream(stream) => stream.reaches(position),
                    Memory::Latest | Memory::Keyed(_) => true,
                }))
    }

    /// Topics of `patterns` updated after `position`; one that several match may come again.
    fn newer(&self, patterns: &[PatternId], position: u64) -> impl Iterator<Item = &Topic> {
        patterns.iter().flat_map(move |pattern| {
            let topics = self.patterns.recent(*pattern).filter_map(|topic| self.topics.get(topic));
            topics.take_while(move |topic| topic.version() > position)
        })
    }

    /// What a member of a class at `position` has to be closed for.
    pub fn lapse(&self, id: ClassId, position: Position) -> Option<Lapse> {
        if self.closing == 0 || planted(Bug::LapseIgnored) {
            return None;
        }
        // A snapshot lacks nothing.
        let position = self.batch_from(id, position)?;
        let key = &self.classes.get(id).key;
        self.newer(&key.patterns, position).find_map(|topic| match &topic.memory {
            Memory::Stream(stream) => {
                stream.lapsed(position).map(|missing| Lapse { topic: topic.name.clone(), missing })
            }
            Memory::Latest | Memory::Keyed(_) => None,
        })
    }

    /// Keys of keyed topics.
    pub fn keys_len(&self) -> usize {
        self.keys
    }

    /// Bytes of older updates and deleted keys.
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// Topics and tombstones held.
    pub fn topics_len(&self) -> usize {
        self.topics.len()
    }

    pub fn patterns_len(&self) -> usize {
        self.patterns.len()
    }

    /// Of their texts, as an answer tells them.
    pub fn patterns_bytes(&self, patterns: &[PatternId]) -> usize {
        patterns.iter().map(|pattern| self.patterns.get(*pattern).key().len() + r#""*","#.len()).sum()
    }

    /// What the topics of patterns are called or begin with, sorted.
    pub fn keys_of(&self, patterns: &[&[PatternId]]) -> Vec<&str> {
        let patterns = patterns.iter().flat_map(|patterns| patterns.iter());
        let mut keys: Vec<&str> = patterns.map(|pattern| self.patterns.get(*pattern).key()).collect();
        keys.sort_unstable();
        keys
    }

    pub fn pattern_text(&self, id: PatternId) -> String {
        self.patterns.text(id)
    }

    /// Marks that a position may have been looked at; call before a run of [`Fanout::apply`].
    pub fn begin_drain(&mut self) {
        self.drain += 1;
    }

    /// To be called once a turn of the shard.
    pub fn begin_turn(&mut self) {
        self.budget.begin_turn();
        if self.compress.begin_turn() {
            // Who asks for the same now may be sent it compressed.
            self.drop_cache();
        }
    }

    /// Gives back what is kept for others who may ask for the same.
    pub fn drop_cache(&mut self) {
        self.cache.clear();
        self.kept = None;
    }

    /// And a long frame that is older than the present position.
    pub fn drop_kept(&mut self) {
        self.kept = None;
    }

    /// Everything held ends; `batch` has all there is in the new epoch. The caller puts every member
    /// [nowhere](Position::NOWHERE), from where [`Fanout::catch_up`] gives a snapshot.
    pub fn restart(&mut self, epoch: Epoch, batch: &Batch) {
        self.drop_cache();
        for id in self.topics.ids() {
            self.forget(id);
        }
        self.patterns.restart();
        self.classes.restart(batch.version);
        self.restarted |= epoch != self.epoch;
        self.epoch = epoch;
        self.apply(batch);
        self.floor = if planted(Bug::EpochFloor) { 0 } else { batch.version };
    }

    pub fn apply(&mut self, batch: &Batch) {
        if !planted(Bug::CacheOutlives) {
            self.cache.clear();
        }
        for op in &batch.ops {
            match op {
                Op::Birth { topic, name, mode } => {
                    self.count_streams(mode, 1);
                    self.topics.insert(*topic, name.clone(), mode);
                    self.patterns.birth(*topic, &mut self.topics);
                }
                Op::Update(update) => self.update(update),
                Op::Forget { topic } => self.forget(*topic),
            }
        }
        self.position = batch.version - u64::from(planted(Bug::AtomicTorn) && batch.ops.len() > 1);
    }

    fn forget(&mut self, id: TopicId) {
        let Some(topic) = self.topics.remove(id) else { return };
        self.floor = self.floor.max(if planted(Bug::FloorForgotten) { 0 } else { topic.version() });
        self.history_bytes -= topic.memory.history_bytes();
        match &topic.memory {
            Memory::Latest => {}
            Memory::Keyed(keyed) => self.keys -= keyed.len(),
            Memory::Stream(stream) => self.count_streams(&Mode::Stream(stream.policy().clone()), -1),
        }
        self.patterns.forget(&topic.nodes);
    }

    fn update(&mut self, update: &Update) {
        let Some(topic) = self.topics.get_mut(update.topic) else {
            debug_assert!(false, "update of {:?} before its birth", update.topic);
            return;
        };
        topic.update = Some(Update { changes: None, ..update.clone() });
        let history_before = topic.memory.history_bytes();
        match &mut topic.memory {
            Memory::Latest => {}
            Memory::Keyed(keyed) => {
                let before = keyed.len();
                let keyed = Rc::make_mut(keyed);
                match &update.changes {
                    Some(changes) => {
                        let dropped = keyed.apply(changes, update.version);
                        self.counters.key_tombstones_dropped += dropped as u64;
                    }
                    None => keyed.empty(update.version),
                }
                self.keys = self.keys + keyed.len() - before;
            }
            Memory::Stream(stream) => {
                self.counters.stream_dropped += stream.push(update.clone()) as u64;
            }
        }
        self.history_bytes = self.history_bytes - history_before + topic.memory.history_bytes();
        self.patterns.touch(&topic.nodes, update.version, update.due_us, self.drain);
        self.counters.updates_in += 1;
        if self.history_bytes > self.history_bytes_max {
            self.bound_history(update.topic);
        }
    }

    /// Topics give back what they keep of the past, in turn and a few at a time, at last the one that changed.
    fn bound_history(&mut self, changed: TopicId) {
        for _ in 0..HISTORIES_LOOKED_AT {
            if self.history_bytes <= self.history_bytes_max {
                return;
            }
            self.hand = TopicId((self.hand.0 + 1) % self.topics.ids_end().max(1));
            if self.hand != changed {
                self.drop_history(self.hand);
            }
        }
        if self.history_bytes > self.history_bytes_max {
            self.drop_history(changed);
        }
    }

    fn drop_history(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        let bytes = topic.memory.history_bytes();
        if bytes == 0 {
            return;
        }
        match &mut topic.memory {
            Memory::Latest => {}
            Memory::Keyed(keyed) => {
                self.counters.key_tombstones_dropped += Rc::make_mut(keyed).drop_history() as u64;
            }
            Memory::Stream(stream) => self.counters.stream_dropped += stream.drop_history() as u64,
        }
        self.history_bytes -= bytes;
        self.counters.histories_dropped += 1;
    }

    fn count_streams(&mut self, mode: &Mode, change: isize) {
        if let Mode::Stream(policy) = mode {
            self.streams = self.streams.saturating_add_signed(change);
            if policy.behind == Behind::Close {
                self.closing = self.closing.saturating_add_signed(change);
            }
        }
    }

    /// The class for these patterns (checked texts and those held already), made when it is new, of
    /// subscriptions in that slot of their connection.
    /// Join it at once: a class without members is kept only until [`Fanout::leave`].
    pub fn class(
        &mut self,
        (slot, wire): (u8, Wire),
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
        let slot = if planted(Bug::ClassShared) { 0 } else { slot };
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
            waits: None,
            held: 0,
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

    /// Keeps a class for one who is going to join it.
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
            self.release(&class.key.patterns);
        }
    }
}
