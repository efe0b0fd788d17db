//! Conflation with cursors: last values, interest classes and the frames they share. No IO.
//!
//! A shard keeps the last value of each topic (of a keyed one its table, of a stream its latest updates) and
//! the *version* (the gateway-wide position) at which it came. A subscription is a position: everything at or below it was sent. What is newer, and
//! nothing else, is what it is owed; values in between were conflated. Subscriptions with the same
//! interest form a [`Class`] that moves by one cursor and shares one encoded [`Frame`] per flush.

mod apply;
mod budget;
mod build;
mod by_key;
mod class_id;
mod classes;
mod collect;
pub mod compress;
mod counters;
mod flush;
pub mod frame;
mod kept;
mod keyed;
mod lapse;
pub mod line;
mod long;
mod made;
mod matching;
mod membership;
mod packs;
mod pattern_id;
mod patterns;
mod pick;
mod pinned;
mod readers;
mod recency;
mod search;
mod spans;
mod stream;
mod stretch;
mod topics;
mod waiting;

use std::sync::{Arc, atomic::AtomicUsize};

pub use class_id::ClassId;
pub use classes::{Class, ClassKey, Classes};
pub use counters::FanoutCounters;
pub use frame::Frame;
pub use lapse::Lapse;
pub use long::Long;
pub use made::{Due, Flush, Flushed, Made};
pub use membership::Full;
pub use pattern_id::PatternId;
pub use pinned::Pinned;
pub use search::Interning;
pub use stretch::Stretch;

use crate::{
    clock::Now,
    settings::{Reloaded, Settings},
    topic::{epoch::Epoch, pattern::Pattern},
    update::TopicId,
};
use budget::Budget;
use compress::Compress;
use kept::Kept;
use packs::Packs;
use patterns::Patterns;
use pick::Pick;
use readers::CacheKey;
use topics::{Memory, Topic, Topics};

/// Which part of a turn's budget one frame may take in one go.
const SHORT_PART: usize = 4;

#[derive(Debug)]
pub struct Fanout {
    topics: Topics,
    patterns: Patterns,
    pub classes: Classes,
    pub pinned: Pinned,
    pub compress: Compress,
    packs: Packs,
    pub counters: FanoutCounters,
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
    /// Of all topics: older updates and deleted keys kept for clients that are behind.
    history_bytes: usize,
    history_bytes_max: usize,
    /// The topic that gave its own back last.
    hand: TopicId,
    /// Streams, and those of them that close clients that are behind.
    streams: usize,
    closing: usize,
    /// No payload is longer before it is compressed, unless a single update makes it so.
    part_bytes: usize,
    /// More is not built in one go, unless a single update makes it so.
    short_bytes: usize,
    heartbeat_us: u64,
    /// Of each class from its next flush on.
    pub stretch: Stretch,
    grid_us: u64,
    /// Classes that watch their patterns.
    watching: usize,
    /// A class is flushed early when so many of its updates wait; 0: never.
    flush_updates: u32,
    classes_max: usize,
    patterns_max: usize,
    pattern_topics_max: usize,
    /// Topics that are looked at for an op in one go.
    step_looks: usize,
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
        now: Now,
    ) -> Self {
        let Settings { fanout, limits, compression, .. } = settings;
        let grid_us = fanout.flush_grid.as_micros() as u64;
        Self {
            topics: Topics::default(),
            patterns: Patterns::new(Kept::new(fanout.pattern_keep, limits.kept_pattern_bytes)),
            classes: Classes::new(grid_us, now.mono_us),
            pinned: Pinned::new(pinned),
            compress: Compress::new(compression),
            packs: Packs::default(),
            counters: FanoutCounters::default(),
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
            stretch: Stretch::default(),
            grid_us,
            watching: 0,
            flush_updates: fanout.flush_updates.try_into().unwrap_or(u32::MAX),
            classes_max: limits.classes,
            patterns_max: limits.shard_patterns,
            pattern_topics_max: limits.pattern_topics,
            step_looks: search::STEP_LOOKS,
            shard: (shard.0 as u64, shard.1 as u64),
        }
    }

    /// Takes over what may change while it runs.
    pub fn reload(&mut self, settings: &Reloaded, now: Now) {
        let Reloaded { fanout, limits, compression, .. } = settings;
        self.patterns.set_kept(fanout.pattern_keep, limits.kept_pattern_bytes);
        self.pattern_topics_max = limits.pattern_topics;
        self.compress.reload(compression);
        self.budget.set(fanout.build_bytes, limits.pinned_bytes);
        self.history_bytes_max = limits.history_bytes;
        self.part_bytes = fanout.frame_bytes_max.min(fanout.build_bytes);
        self.short_bytes = fanout.build_bytes / SHORT_PART;
        self.heartbeat_us = fanout.heartbeat.as_micros() as u64;
        self.classes.bring_heartbeats_forward(now.mono_us + self.heartbeat_us);
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

    /// Whether a shard still knows exactly what changed of `patterns` since `position`.
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

    /// Whether some class is looked at as soon as something is taken in.
    pub fn is_watched(&self) -> bool {
        self.watching > 0
    }

    /// `None`: there is no such topic.
    pub fn is_keyed(&self, topic: &str) -> Option<bool> {
        self.topics.named(topic).map(|topic| matches!(topic.memory, Memory::Keyed(_)))
    }

    /// Keys of keyed topics.
    pub fn keys_len(&self) -> usize {
        self.keys
    }

    /// Bytes of older updates and deleted keys.
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    pub fn patterns_len(&self) -> usize {
        self.patterns.len()
    }

    /// Patterns that no class names any more.
    pub fn patterns_kept(&self) -> &Kept {
        self.patterns.kept()
    }

    /// Topics looked at so far for patterns that were new.
    pub fn topics_looked_at(&self) -> u64 {
        self.patterns.looked_at()
    }

    /// Of their texts, as an answer tells them.
    pub fn patterns_bytes(&self, patterns: &[PatternId]) -> usize {
        patterns
            .iter()
            .map(|pattern| self.patterns.get(*pattern).pattern().key().len() + r#""*","#.len())
            .sum()
    }

    pub fn pattern(&self, id: PatternId) -> &Pattern {
        self.patterns.get(id).pattern()
    }

    /// Notes in the patterns that match a topic that change `at` of a status names it.
    pub fn note_status(&mut self, topic: &str, at: u64) {
        self.patterns.note_status(topic, at);
    }

    /// The newest change of a status that names a topic of the pattern.
    pub fn status_of(&self, id: PatternId) -> u64 {
        self.patterns.status_of(id)
    }

    /// Marks that a position may have been looked at; call before a run of [`Fanout::apply`].
    pub fn begin_drain(&mut self) {
        self.drain += 1;
    }

    /// Topics looked at for a pattern that is kept, and topics that leave one that has ended, or are looked at for a new
    /// one, in one go.
    pub fn set_pattern_sizes(&mut self, kept_looked_at: usize, at_once: usize) {
        self.patterns.set_sizes(kept_looked_at, at_once);
        self.step_looks = at_once;
    }

    /// To be called once a turn of the shard.
    pub fn begin_turn(&mut self, now: Now) {
        self.budget.begin_turn();
        if self.compress.begin_turn() {
            // Who asks for the same now may be sent it compressed.
            self.drop_cache();
        }
        self.patterns.begin_turn(now.mono_us, &mut self.topics);
    }

    /// Whether the next turn has something to end.
    pub fn is_ending(&self) -> bool {
        self.patterns.is_ending()
    }

    /// When [`Fanout::begin_turn`] has something to end. µs, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        self.patterns.kept().next_us()
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
}
