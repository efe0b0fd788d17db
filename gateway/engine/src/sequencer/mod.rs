//! The one place that gives updates their numbers and their order.

pub mod checkpoint;
pub mod count;
mod counters;
pub mod deadlines;
pub mod publication;
pub mod publication_json;
pub mod seq;
pub mod table;
pub mod topics;
pub mod upstream;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use thiserror::Error;

use crate::{
    clock::{Clock, Now},
    settings::Limits,
    shard::inbox::{Bound, Inbox, Message},
    topic::policy::{Mode, Policies},
    update::{Batch, Op},
};
use checkpoint::{Checkpoint, Restored};
pub use counters::Counters;
pub use publication::{Body, Publication, Refused, Why};
use topics::{Doubter, Group, TopicRow, Topics};
pub use upstream::{UpstreamBatch, UpstreamUpdate};

/// Updates and changed keys after which a batch takes no more; an atomic group is never divided and may have more.
const BATCH_CHANGES: usize = 4096;

/// Bytes of their values, after which a batch takes no more.
const BATCH_BYTES: usize = 256 * 1024;

/// How often [`Sequencer::publish_due`] is called; by so much it is early, so that it is never late.
pub const DUE_EARLY: Duration = Duration::from_millis(5);

/// Numbers updates and hands them to every shard at once. Shared by all that publish; all of them
/// live on the control plane's thread, so its lock is never waited for.
#[derive(Debug)]
pub struct Sequencer {
    inboxes: Vec<Arc<Inbox>>,
    state: Mutex<Numbering>,
}

#[derive(Debug)]
struct Numbering {
    /// Nothing is numbered any more.
    frozen: bool,
    epoch: Arc<str>,
    topics: Topics,
    /// `[limits] atomic_updates`.
    group_changes_max: usize,
    version: u64,
    clock: Clock,
    /// The bound that was met when room was looked for last.
    full: Option<Bound>,
    counters: Counters,
    /// Enrolled.
    sources: u32,
}

/// How the publications of one call belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All or nothing, in one version that no frame divides.
    Atomic,
    /// Each by itself, in order.
    Single,
}

/// Some of a publish went out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Items taken, from the first on. With [`Grouping::Atomic`] all.
    pub accepted: usize,
    /// Which of them neither made an update nor confirmed one: older than what their topics hold.
    pub outdated: Vec<usize>,
    /// Which of them made no update, and confirmed one.
    pub confirmed: Vec<usize>,
    /// The gateway's position after them.
    pub version: u64,
}

/// Why nothing of a publish went out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotPublished {
    #[error("an inbox is full: [limits] inbox_updates, inbox_bytes, inbox_messages")]
    Full,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Sequencer {
    /// `start` is the process's, for [`Clock`]. `epoch` as from [`new_epoch`].
    pub fn new(
        epoch: Arc<str>,
        inboxes: Vec<Arc<Inbox>>,
        limits: &Limits,
        policies: Policies,
        start: Instant,
    ) -> Arc<Self> {
        let state = Numbering {
            frozen: false,
            epoch,
            topics: Topics::new(limits, policies),
            group_changes_max: limits.atomic_updates,
            version: 0,
            clock: Clock::new(start),
            full: None,
            counters: Counters::default(),
            sources: 0,
        };
        Arc::new(Self { inboxes, state: Mutex::new(state) })
    }

    /// 16 lower-case hex digits.
    pub fn epoch(&self) -> Arc<str> {
        self.state().epoch.clone()
    }

    pub fn inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    pub fn now(&self) -> Now {
        self.state().clock.now()
    }

    /// Publishes as much as fits one batch, in one step on all shards, or nothing when an inbox is
    /// full or the first publication is refused. A later publication that is refused ends the batch before it.
    pub fn try_publish(
        &self,
        publications: &[Publication],
        grouping: Grouping,
    ) -> Result<Published, NotPublished> {
        let mut state = self.state();
        if publications.is_empty() {
            return Ok(Published { version: state.version, ..Published::default() });
        }
        if !self.has_room(&mut state) {
            return Err(NotPublished::Full);
        }
        let mut published = Published::default();
        let mut ops = Vec::with_capacity(publications.len().min(BATCH_CHANGES));
        let numbered = match grouping {
            Grouping::Atomic => {
                published.accepted = publications.len();
                state.number_group(publications, &mut ops)
            }
            Grouping::Single => state.number_each(publications, &mut published, &mut ops),
        };
        self.push(&mut state, ops);
        numbered?;
        Ok(Published { version: state.version, ..published })
    }

    /// Publishes what time alone brings about: values that a deadband held back until now, and the end
    /// of topics that expire. As much as fits one batch; what finds no room waits for the next call.
    pub fn publish_due(&self) {
        let mut state = self.state();
        if !self.has_room(&mut state) {
            return;
        }
        let ops = state.number_due();
        self.push(&mut state, ops);
    }

    /// Takes over what another gateway has numbered, whole and in one step on all shards. Gives what was
    /// left out of it and why; `None`: an inbox is full, nothing was taken.
    pub fn try_follow(&self, upstream: &UpstreamBatch) -> Option<Vec<Why>> {
        let mut state = self.state();
        if !self.has_room(&mut state) {
            return None;
        }
        let (mut ops, now_us) = (Vec::new(), state.clock.now().mono_us);
        let refused = upstream.apply(&mut state.topics, now_us, &mut ops);
        for why in &refused {
            state.counters.count_refused(why);
        }
        state.version = upstream.version;
        state.count(&ops);
        let batch = Arc::new(Batch::new(state.version, ops));
        if let Some(epoch) = &upstream.epoch {
            state.epoch = epoch.clone();
            self.send(batch.version, || Message::Restart { epoch: epoch.clone(), batch: batch.clone() });
        } else {
            // Also one without updates: it moves the position.
            self.send(batch.version, || Message::Updates(batch.clone()));
        }
        Some(refused)
    }

    /// Counts when it finds none; who tries again meanwhile counts once.
    fn has_room(&self, state: &mut Numbering) -> bool {
        let full = self.inboxes.iter().find_map(|inbox| inbox.full());
        if let Some(bound) = full.filter(|_| full != state.full) {
            state.counters.full[bound as usize] += 1;
        }
        state.full = full;
        full.is_none() && !state.frozen
    }

    /// Takes over what an earlier run has left; before anything else is numbered. Gives the topics
    /// taken and why others were not.
    pub fn restore(&self, restored: &Restored) -> (Vec<Arc<str>>, Vec<Why>) {
        let mut state = self.state();
        let (mut ops, mut taken, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let now = state.clock.now();
        for kept in &restored.topics {
            match state.topics.restore(kept, restored.version, now, &mut ops) {
                Ok(()) => taken.push(kept.topic.clone()),
                Err(why) => refused.push(why),
            }
        }
        state.topics.lose_ended(&restored.ended);
        if restored.damage.as_ref().is_some_and(|damage| damage.topics > 0) {
            state.topics.lose_names();
        }
        state.topics.set_v_floor(restored.v_floor);
        state.version = restored.version;
        // What was left out is not told to those who come back with a `since`, and may be born again below
        // the `v` that they hold: that would be another state in the same epoch.
        if restored.is_clean && refused.is_empty() {
            state.epoch = restored.epoch.as_str().into();
        }
        let epoch = state.epoch.clone();
        let batch = Arc::new(Batch::new(state.version, ops));
        self.send(batch.version, || Message::Restart { epoch: epoch.clone(), batch: batch.clone() });
        (taken, refused)
    }

    /// An earlier run has left something that cannot be used: a table that a source's changes begin may lack
    /// what it had.
    pub fn lose_names(&self) {
        self.state().topics.lose_names();
    }

    /// A gap of these topics or patterns is told by `by`, or is no more: a whole book of a source that comes
    /// meanwhile is no repeat.
    pub fn doubt(&self, by: Doubter, topics: Vec<Arc<str>>, is_gap: bool) {
        self.state().topics.doubt(by, topics, is_gap);
    }

    /// All gaps that `by` has told are no more.
    pub fn end_doubts(&self, by: Doubter) {
        self.state().topics.end_doubts(by);
    }

    /// As long as it stays the same, so does [`Sequencer::checkpoint`].
    pub fn generation(&self) -> (Arc<str>, u64, u64) {
        let state = self.state();
        (state.epoch.clone(), state.version, state.topics.generation())
    }

    /// All that has to survive the process.
    pub fn checkpoint(&self) -> Checkpoint {
        let state = self.state();
        let (topics, v_floor) = state.topics.save();
        let ended = state.topics.ended();
        Checkpoint { epoch: state.epoch.clone(), version: state.version, v_floor, topics, ended }
    }

    /// A number for a source, by which what it brings is told from what others bring.
    pub fn enroll(&self) -> u32 {
        let mut state = self.state();
        state.sources += 1;
        state.sources
    }

    /// From here on publishers find no room. What deadbands held back counts as sent, since nobody is
    /// left to be sent it.
    pub fn freeze(&self) {
        let mut state = self.state();
        state.frozen = true;
        let now_us = state.clock.now().mono_us;
        while let Some(publication) = state.topics.release() {
            state.version += 1;
            let version = state.version;
            state.topics.apply(&publication, None, version, now_us, &mut Vec::new());
        }
    }

    /// Changes of topics' states since the last call.
    pub fn take_state_changes(&self) -> Vec<topics::StateChange> {
        self.state().topics.take_state_changes()
    }

    /// Topics that have ended since the last call and are not there again.
    pub fn take_ended(&self) -> Vec<Arc<str>> {
        let mut state = self.state();
        let mut ended = state.topics.take_ended();
        ended.retain(|topic| !state.topics.exists(topic));
        ended
    }

    /// To every shard. The caller has seen that there is room.
    fn push(&self, state: &mut Numbering, ops: Vec<Op>) {
        if ops.is_empty() {
            return;
        }
        state.count(&ops);
        let batch = Arc::new(Batch::new(state.version, ops));
        self.send(batch.version, || Message::Updates(batch.clone()));
    }

    /// A message that leads to `position`.
    fn send(&self, position: u64, message: impl Fn() -> Message) {
        self.inboxes.iter().for_each(|inbox| inbox.announce(position));
        for inbox in &self.inboxes {
            // Room was seen under the lock, and only this place pushes batches.
            inbox.push(message()).expect("room that was seen stays");
        }
    }

    /// The topic's last update as JSON: `{"topic","v","ts","data"}`; `None` where there is no such topic.
    pub fn get(&self, topic: &str) -> Option<Bytes> {
        self.state().topics.get(topic)
    }

    /// The same where it is held as it is shown.
    pub fn get_held(&self, topic: &str) -> Option<Bytes> {
        self.state().topics.get_held(topic)
    }

    /// A name for what [`Sequencer::get`] would give: as long as that stays the same, so does this.
    pub fn state_of(&self, topic: &str) -> Option<String> {
        let state = self.state();
        let version = state.topics.state_of(topic)?;
        Some(format!("{} {version} {topic}", state.epoch))
    }

    /// At most `limit` topics in order, whose names begin with `prefix` and come after `after`.
    pub fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<TopicRow> {
        self.state().topics.list(prefix, after, limit)
    }

    /// Whether there is such a topic.
    pub fn exists(&self, topic: &str) -> bool {
        self.state().topics.exists(topic)
    }

    /// Whether no update of the topic may be left out for a newer one.
    pub fn each_counts(&self, topic: &str) -> bool {
        self.state().topics.mode(topic) != &Mode::Latest
    }

    /// Whether the topic has the publication already, by its count.
    pub fn repeats(&self, publication: &Publication) -> bool {
        self.state().topics.repeats(publication)
    }

    /// Adds one to [`Counters::refused`], for a publication that did not get as far as being numbered.
    pub fn count_refused(&self) {
        self.state().counters.refused += 1;
    }

    /// Adds one to [`Counters::waits`].
    pub fn count_wait(&self) {
        self.state().counters.waits += 1;
    }

    /// Adds to [`Counters::conflated`].
    pub fn count_conflated(&self, updates: u64) {
        self.state().counters.conflated += updates;
    }

    pub fn counters(&self) -> Counters {
        let state = self.state();
        let (topics, tombstones) = state.topics.count();
        let tombstones_dropped = state.topics.tombstones_dropped();
        let (keys, held_back, by_topics) =
            (state.topics.keys(), state.topics.held_back(), state.topics.counters());
        let version = state.version;
        Counters {
            topics,
            topics_bytes: state.topics.bytes(),
            keys,
            held_back,
            by_topics,
            tombstones,
            tombstones_dropped,
            version,
            ..state.counters
        }
    }

    fn state(&self) -> MutexGuard<'_, Numbering> {
        self.state.lock().expect("numbering never panics")
    }
}

impl Numbering {
    fn count(&mut self, ops: &[Op]) {
        self.counters.updates += ops.iter().filter(|op| matches!(op, Op::Update(_))).count() as u64;
        self.counters.batches += 1;
    }

    fn number_group(&mut self, publications: &[Publication], ops: &mut Vec<Op>) -> Result<(), Refused> {
        let mut group = Group::of(publications.len());
        let mut admitted = Vec::with_capacity(publications.len());
        for (index, publication) in publications.iter().enumerate() {
            let mut changes = self.topics.admit(publication, &mut group);
            if group.changes() > self.group_changes_max {
                changes = Err(Why::TooManyChanges { max: self.group_changes_max });
            }
            admitted.push(changes.map_err(|why| self.counters.refuse(Refused { index, why }))?);
        }
        if let Some(refused) = group.refused() {
            return Err(self.counters.refuse(refused));
        }
        let (version, now_us) = (self.version + 1, self.clock.now().mono_us);
        for (publication, changes) in publications.iter().zip(admitted) {
            if self.topics.repeats(publication) {
                self.counters.repeats += 1;
                self.topics.confirm(publication, now_us);
                continue;
            }
            self.version = version;
            self.topics.apply(publication, changes, version, now_us, ops);
        }
        Ok(())
    }

    /// Notes what became of the publications.
    fn number_each(
        &mut self,
        publications: &[Publication],
        published: &mut Published,
        ops: &mut Vec<Op>,
    ) -> Result<(), Refused> {
        let now_us = self.clock.now().mono_us;
        let mut accepted = 0;
        let (mut changed, mut bytes) = (0, 0);
        for publication in publications {
            if changed >= BATCH_CHANGES || bytes > BATCH_BYTES {
                break;
            }
            let mut group = Group::of(1);
            let admitted = self.topics.admit(publication, &mut group);
            changed += group.changes();
            bytes += publication.body.bytes();
            match admitted {
                // What a source repeats is missing nowhere, whatever else is wrong with it.
                admitted
                    if (admitted.is_ok() || publication.feed.is_some())
                        && self.topics.repeats(publication) =>
                {
                    self.counters.repeats += 1;
                    match self.topics.confirm(publication, now_us) {
                        true => published.confirmed.push(accepted),
                        false => published.outdated.push(accepted),
                    }
                    self.cut_after(publication, now_us, ops);
                    accepted += 1;
                }
                Ok(_) if self.topics.hold(publication, now_us) => accepted += 1,
                Ok(changes) => {
                    self.version += 1;
                    self.topics.apply(publication, changes, self.version, now_us, ops);
                    accepted += 1;
                }
                Err(why) if accepted == 0 => {
                    if publication.feed.is_some() {
                        self.topics.miss(publication, &why, now_us);
                    }
                    self.cut_after(publication, now_us, ops);
                    return Err(self.counters.refuse(Refused { index: 0, why }));
                }
                // Its turn comes with the next batch, which it is the first of.
                Err(_) => break,
            }
        }
        published.accepted = accepted;
        Ok(())
    }

    /// A message of a source ends with a publication that was not applied: what is beyond its depth goes all the same.
    fn cut_after(&mut self, publication: &Publication, now_us: u64, ops: &mut Vec<Op>) {
        if let Some((publication, changes)) = self.topics.cut_after(publication) {
            self.version += 1;
            self.topics.apply(&publication, Some(changes), self.version, now_us, ops);
        }
    }

    fn number_due(&mut self) -> Vec<Op> {
        let now = self.clock.now();
        let due_us = now.mono_us + DUE_EARLY.as_micros() as u64;
        let mut ops = Vec::new();
        let keys = self.topics.keys();
        // A table that ends is as much work as it has keys.
        while ops.len() + keys.saturating_sub(self.topics.keys()) < BATCH_CHANGES {
            let Some(mut publication) = self.topics.due(due_us) else { break };
            if publication.body.is_gone() {
                publication.due_us = now.wall_us;
            }
            self.version += 1;
            self.topics.apply(&publication, None, self.version, now.mono_us, &mut ops);
        }
        ops
    }
}

/// A new epoch: 16 lower-case hex digits from the system's entropy.
pub fn new_epoch() -> Arc<str> {
    // RandomState is seeded by the operating system; hashing twice mixes its two keys.
    let bits = RandomState::new().hash_one(RandomState::new().hash_one(0u8));
    format!("{bits:016x}").into()
}
