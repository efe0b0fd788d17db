//! The one place that gives updates their numbers and their order.

pub mod checkpoint;
mod count;
mod counters;
mod deadlines;
mod numbering;
pub mod once;
pub mod publication;
pub mod publication_json;
mod published;
pub mod seq;
pub mod table;
#[cfg(test)]
mod tests;
mod timed;
pub mod topics;
pub mod upstream;

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::{
    clock::Now,
    settings::Limits,
    shard::inbox::{Inbox, Message},
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{Mode, Policies},
    },
    update::{Batch, Op},
};
use checkpoint::{Checkpoint, Restored};
pub use counters::SequencerCounters;
pub use numbering::DUE_EARLY;
use numbering::{BATCH_CHANGES, Numbering};
pub use publication::{Body, Publication, Refused, Why};
pub use published::{Grouping, NotPublished, Published, Written};
use topics::{Admitted, Doubter, TopicRow, Topics};
pub use upstream::{UpstreamBatch, UpstreamUpdate};

/// Numbers updates and hands them to every shard at once. Shared by all that publish; all of them
/// live on the control plane's thread, so its lock is never waited for.
#[derive(Debug)]
pub struct Sequencer {
    inboxes: Vec<Arc<Inbox>>,
    state: Mutex<Numbering>,
}

impl Sequencer {
    pub fn new(epoch: Epoch, inboxes: Vec<Arc<Inbox>>, limits: &Limits, policies: Policies) -> Self {
        let state = Numbering {
            frozen: false,
            epoch,
            topics: Topics::new(limits, policies),
            group_changes_max: limits.atomic_updates,
            version: 0,
            full: None,
            counters: SequencerCounters::default(),
            sources: 0,
        };
        Self { inboxes, state: Mutex::new(state) }
    }

    /// Takes over what may change while it runs.
    pub fn set_limits(&self, limits: &Limits) {
        let mut state = self.state();
        state.topics.set_limits(limits);
        state.group_changes_max = limits.atomic_updates;
    }

    /// Whether [`Sequencer::set_policies`] may be called with these: no topic that is there would get another mode or
    /// other terms.
    pub fn suits(&self, policies: &Policies) -> bool {
        self.state().topics.suit(policies)
    }

    pub fn set_policies(&self, policies: &Policies) {
        self.state().topics.set_policies(policies.clone());
    }

    pub fn epoch(&self) -> Epoch {
        self.state().epoch
    }

    pub fn inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    /// Whether an inbox has so much to take in that who can wait does.
    pub fn is_crowded(&self) -> bool {
        self.inboxes.iter().any(|inbox| inbox.is_crowded())
    }

    /// Publishes as much as fits one batch, in one step on all shards, or nothing when an inbox is
    /// full or the first publication is refused. A later publication that is refused ends the batch before it.
    pub fn try_publish(
        &self,
        publications: &[Publication],
        grouping: Grouping,
        now: Now,
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
                state.number_group(publications, now, &mut ops)
            }
            Grouping::Single => state.number_each(publications, now, &mut published, &mut ops),
        };
        self.push(&mut state, ops);
        numbered?;
        Ok(Published { version: state.version, ..published })
    }

    /// Whether a client may write what it does, by `[[topic]] write`; [`Sequencer::try_write`] asks too.
    pub fn may_write(&self, publication: &Publication) -> Result<(), Why> {
        self.state().may_write(publication)
    }

    /// Publishes what clients wrote, each by itself and all in one step on all shards, as much as fits one batch. What
    /// changes nothing is not numbered again. Gives what became of each that was looked at; `None`: an inbox is full.
    pub fn try_write(&self, publications: &[Publication], now: Now) -> Option<Vec<Result<Written, Why>>> {
        let mut state = self.state();
        if !self.has_room(&mut state) {
            return None;
        }
        let mut ops = Vec::new();
        let written = state.number_written(publications, now, &mut ops);
        self.push(&mut state, ops);
        Some(written)
    }

    /// The connection of a client that has written has ended, and all that it wrote was taken or refused: keys that are
    /// bound to it linger from now on.
    pub fn left(&self, writer: u64, now: Now) {
        self.state().topics.left(writer, now.mono_us);
    }

    /// Publishes what time alone brings about: values that a deadband held back until now, and the end
    /// of topics and keys that expire. As much as fits one batch; what finds no room waits for the next call.
    pub fn publish_due(&self, now: Now) {
        let mut state = self.state();
        if !self.has_room(&mut state) {
            return;
        }
        let ops = state.number_due(now);
        self.push(&mut state, ops);
    }

    /// Takes over what another gateway has numbered, whole and in one step on all shards. Gives what was
    /// left out of it and why; `None`: an inbox is full, nothing was taken.
    pub fn try_follow(&self, upstream: &UpstreamBatch, now: Now) -> Option<Vec<Why>> {
        let mut state = self.state();
        if !self.has_room(&mut state) {
            return None;
        }
        let mut ops = Vec::new();
        let refused = upstream.apply(&mut state.topics, now.mono_us, &mut ops);
        for why in &refused {
            state.counters.count_refused(why);
        }
        state.version = upstream.version;
        state.count(&ops);
        let batch = Arc::new(Batch::new(state.version, ops));
        if let Some(epoch) = upstream.epoch {
            state.epoch = epoch;
            self.send(batch.version, || Message::Restart { epoch, batch: batch.clone() });
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
    pub fn restore(&self, restored: &Restored, now: Now) -> (Vec<Arc<str>>, Vec<Why>) {
        let mut state = self.state();
        let (mut ops, mut taken, mut refused) = (Vec::new(), Vec::new(), Vec::new());
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
        if state.topics.count_again(restored.version + 1, now, &mut ops) {
            state.version += 1;
        }
        // What was left out is not told to those who come back with a `since`, and may be born again below
        // the `v` that they hold: that would be another state in the same epoch.
        if let (Some(epoch), true) = (restored.epoch, restored.is_clean && refused.is_empty()) {
            state.epoch = epoch;
        }
        let epoch = state.epoch;
        let batch = Arc::new(Batch::new(state.version, ops));
        self.send(batch.version, || Message::Restart { epoch, batch: batch.clone() });
        (taken, refused)
    }

    /// An earlier run has left something that cannot be used: a table that a source's changes begin may lack
    /// what it had.
    pub fn lose_names(&self) {
        self.state().topics.lose_names();
    }

    /// A gap of these topics or patterns is told by `by`, or is no more: a whole book of a source that comes
    /// meanwhile is no repeat.
    pub fn doubt(&self, by: Doubter, topics: Vec<Pattern>, is_gap: bool) {
        self.state().topics.doubt(by, topics, is_gap);
    }

    /// All gaps that `by` has told are no more.
    pub fn end_doubts(&self, by: Doubter) {
        self.state().topics.end_doubts(by);
    }

    /// As long as it stays the same, so does [`Sequencer::checkpoint`].
    pub fn generation(&self) -> (Epoch, u64, u64) {
        let state = self.state();
        (state.epoch, state.version, state.topics.generation())
    }

    /// All that has to survive the process.
    pub fn checkpoint(&self) -> Checkpoint {
        let state = self.state();
        let (topics, v_floor) = state.topics.save();
        let ended = state.topics.ended();
        Checkpoint { epoch: state.epoch, version: state.version, v_floor, topics, ended }
    }

    /// A number for a source, by which what it brings is told from what others bring.
    pub fn enroll(&self) -> u32 {
        let mut state = self.state();
        state.sources += 1;
        state.sources
    }

    /// From here on publishers find no room. What deadbands held back counts as sent, since nobody is
    /// left to be sent it.
    pub fn freeze(&self, now: Now) {
        let mut state = self.state();
        state.frozen = true;
        while let Some(publication) = state.topics.release() {
            state.version += 1;
            let version = state.version;
            let admitted = Admitted::of(&publication, state.topics.find(&publication.topic));
            state.topics.apply(&publication, admitted, version, now.mono_us, &mut Vec::new());
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
        let mut state = self.state();
        let at = state.topics.find(&publication.topic);
        state.topics.repeats(publication, at)
    }

    /// Adds one to [`SequencerCounters::refused`], for a publication that did not get as far as being numbered.
    pub fn count_refused(&self) {
        self.state().counters.refused += 1;
    }

    /// Adds one to [`SequencerCounters::waits`].
    pub fn count_wait(&self) {
        self.state().counters.waits += 1;
    }

    /// Adds to [`SequencerCounters::conflated`].
    pub fn count_conflated(&self, updates: u64) {
        self.state().counters.conflated += updates;
    }

    pub fn counters(&self) -> SequencerCounters {
        let state = self.state();
        let (topics, tombstones) = state.topics.count();
        let tombstones_dropped = state.topics.tombstones_dropped();
        let (keys, held_back, by_topics) =
            (state.topics.keys(), state.topics.held_back(), state.topics.counters());
        let version = state.version;
        let timed_keys = state.topics.timed_keys();
        SequencerCounters {
            timed_keys,
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
