//! The gateway's topics: ids, counts, last values and the bounded memory of removed ones.

mod admission;
mod admitted;
mod counters;
mod counting;
mod directory;
mod doubting;
mod doubts;
mod group;
mod holes;
mod keys;
mod reload;
mod shown;
mod silence;
mod size;
mod taken;
mod topic;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    count::{Count, Extent},
    deadlines::Deadlines,
    publication::{Body, Publication},
    timed::{TimedKeys, TimedMax},
};
use crate::{
    invariant,
    protocol::{status::TopicState, update},
    settings::Limits,
    topic::policy::{Mode, Policies, Policy},
    update::{Op, TopicId, Update},
};
pub use admitted::Admitted;
pub use counters::TopicCounters;
use directory::Directory;
pub use doubts::Doubter;
use doubts::Doubts;
pub use group::Group;
pub use shown::TopicRow;
pub use size::topic_size;
use topic::{Lost, Topic};

/// µs, monotonic.
fn after(now_us: u64, duration: Duration) -> u64 {
    now_us + duration.as_micros() as u64
}

/// A topic's state has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    pub topic: Arc<str>,
    pub state: TopicState,
    pub reason: String,
}

/// All topics, and the tombstones of those removed lately.
#[derive(Debug)]
pub struct Topics {
    directory: Directory,
    live: usize,
    live_max: usize,
    /// Removed topics that are still remembered, oldest first.
    tombstones: BTreeSet<(u64, TopicId)>,
    tombstones_max: usize,
    tombstones_dropped: u64,
    value_bytes_max: usize,
    policies: Policies,
    deadlines: Deadlines,
    timed: TimedKeys,
    timed_max: TimedMax,
    state_changes: Vec<StateChange>,
    /// Topics that have ended since they were asked for last, as many as there may be.
    ended: Vec<Arc<str>>,
    counters: TopicCounters,
    /// Keys of all tables.
    keys: usize,
    /// Those that exist, with their names, values and tables.
    bytes: usize,
    bytes_max: usize,
    /// Tables that do not exist and that were refused, or removed and forgotten: one that is born of a
    /// change lacks what was before.
    unborn: BTreeMap<Arc<str>, Lost>,
    /// There were others, whose names nobody knows.
    names_are_lost: bool,
    doubts: Doubts,
    /// The highest `v` of any forgotten topic: a topic that is born starts one above, so that no `v` goes back.
    v_floor: u64,
    /// Updates that were taken, and those that were refused and left a mark.
    generation: u64,
    scratch: Vec<u8>,
}

impl Topics {
    pub fn new(limits: &Limits, policies: Policies) -> Self {
        Self {
            directory: Directory::default(),
            live: 0,
            live_max: limits.topics,
            tombstones: BTreeSet::new(),
            tombstones_max: limits.tombstones,
            tombstones_dropped: 0,
            value_bytes_max: limits.value_bytes,
            policies,
            deadlines: Deadlines::default(),
            timed: TimedKeys::default(),
            timed_max: TimedMax::of(limits),
            state_changes: Vec::new(),
            ended: Vec::new(),
            counters: TopicCounters::default(),
            keys: 0,
            bytes: 0,
            bytes_max: limits.topics_bytes,
            unborn: BTreeMap::new(),
            names_are_lost: false,
            doubts: Doubts::default(),
            v_floor: 0,
            generation: 0,
            scratch: Vec::new(),
        }
    }

    /// The number of a topic, for all that is asked of it until the next update is applied: that may forget it.
    pub fn find(&self, name: &str) -> Option<TopicId> {
        self.directory.find(name)
    }

    /// Numbers an admitted publication and appends what the shards have to do. `now_us`: monotonic.
    pub fn apply(
        &mut self,
        publication: &Publication,
        admitted: Admitted,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        let counted = self.counted(&publication.topic, admitted.at);
        let changes = admitted.changes.clone();
        let id = self.enter(publication, admitted, None, version, now_us, ops);
        self.note_keys(id, publication, changes.as_deref(), now_us);
        if let Some(before) = counted {
            self.count_keys(id, publication, before, version, now_us, ops);
        }
    }

    /// Gives the topic's number. `v`: given by another gateway, or by an earlier run.
    fn enter(
        &mut self,
        publication: &Publication,
        Admitted { at, changes }: Admitted,
        v: Option<u64>,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) -> TopicId {
        self.generation += 1;
        let is_new = at.is_none();
        let id = at.unwrap_or_else(|| self.give_birth(&publication.topic, ops));
        self.be_born_or_end(id, publication, is_new, version, now_us);
        let topic = &mut self.directory[id];
        topic.gone = publication.body.is_gone();
        let hole = topic.hole_before(publication, v);
        self.counters.count(hole.skipped, hole.is_anew);
        let was = topic.state;
        let told = topic.change_state(publication, hole);
        if let (TopicState::Stale, Some(stale_after)) = (was, topic.policy.stale_after) {
            self.deadlines.stale_at(after(now_us, stale_after), id, publication.topic.clone());
        }
        if topic.gone {
            topic.count = Count::default();
        }
        if let (Some(deadband), Some(band)) = (&topic.policy.deadband, &mut topic.band) {
            self.deadlines.sent(id, band, deadband, publication, now_us);
        }
        if topic.extent(publication) != Extent::Part {
            topic.settled = self.doubts.last();
        }
        topic.is_restored = false;
        topic.touched_us = now_us;
        let v_before = topic.v;
        let skipped = topic.advance(v, hole, is_new);
        invariant!(
            topic.v > v_before || v.is_some(),
            "{}: v {} follows {v_before}",
            publication.topic,
            topic.v
        );
        topic.version = version;
        topic.ts_us = publication.ts_us.unwrap_or(publication.due_us);
        let keys_before = topic.keys();
        let changes = topic.apply(changes);
        self.keys = self.keys + topic.keys() - keys_before;
        let bytes = topic.size(publication);
        self.bytes = self.bytes + bytes - std::mem::replace(&mut topic.bytes, bytes);
        topic.json = encode(&mut self.scratch, publication, changes.is_some(), topic.v, topic.ts_us);
        ops.push(Op::Update(Update {
            topic: id,
            version,
            v: topic.v,
            ts_us: topic.ts_us,
            due_us: publication.due_us,
            gone: topic.gone,
            skipped,
            json: topic.json.clone(),
            changes,
        }));
        if topic.gone && self.ended.len() < self.live_max {
            self.ended.push(publication.topic.clone());
        }
        if let Some((state, reason)) = told {
            self.tell(&publication.topic, state, reason);
        }
        while self.tombstones.len() > self.tombstones_max {
            self.forget_oldest(ops);
        }
        id
    }

    /// A topic that comes back is told what was lost of it meanwhile; one that ends becomes a tombstone.
    fn be_born_or_end(
        &mut self,
        id: TopicId,
        publication: &Publication,
        is_new: bool,
        version: u64,
        now_us: u64,
    ) {
        let topic = &mut self.directory[id];
        invariant!(topic.name == publication.topic, "an update of {} at {}", publication.topic, topic.name);
        match (topic.gone, publication.body.is_gone()) {
            (true, false) => {
                self.tombstones.remove(&(topic.version, id));
                self.live += 1;
                let lost =
                    self.unborn.remove(&publication.topic).or_else(|| topic.has_gap.then_some(Lost::Removed));
                topic.lost = lost.or_else(|| (is_new && self.names_are_lost).then_some(Lost::Unknown));
                topic.has_gap = false;
                self.deadlines.begin(id, &publication.topic, &topic.policy, now_us);
            }
            (false, true) => {
                self.tombstones.insert((version, id));
                self.live -= 1;
            }
            _ => {}
        }
    }

    /// As many changes as there may be topics wait to be told; what is beyond is only counted.
    fn tell(&mut self, topic: &Arc<str>, state: TopicState, reason: String) {
        if self.state_changes.len() < self.live_max {
            self.state_changes.push(StateChange { topic: topic.clone(), state, reason });
        } else {
            self.counters.state_changes_dropped += 1;
        }
    }

    /// Changes of topics' states since the last call.
    pub fn take_state_changes(&mut self) -> Vec<StateChange> {
        std::mem::take(&mut self.state_changes)
    }

    /// As long as it stays the same, so does what [`Topics::save`] gives.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Topics that have ended since the last call; some are there again.
    pub fn take_ended(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.ended)
    }

    pub fn exists(&self, name: &str) -> bool {
        self.directory.by_name(name).is_some_and(|topic| !topic.gone)
    }

    /// Topics that exist, and tombstones.
    pub fn count(&self) -> (usize, usize) {
        (self.live, self.tombstones.len())
    }

    /// Of a topic, be it there or not.
    pub fn mode(&self, name: &str) -> &Mode {
        self.mode_at(name, self.find(name))
    }

    /// The same where its number is known.
    fn mode_at(&self, name: &str, at: Option<TopicId>) -> &Mode {
        &self.policy_at(name, at).mode
    }

    fn policy_at(&self, name: &str, at: Option<TopicId>) -> &Policy {
        at.map_or_else(|| &**self.policies.of(name), |id| &self.directory[id].policy)
    }

    pub fn counters(&self) -> TopicCounters {
        self.counters
    }

    /// Values that deadbands hold back.
    pub fn held_back(&self) -> usize {
        self.deadlines.held()
    }

    /// Keys of all keyed topics.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Since the start.
    pub fn tombstones_dropped(&self) -> u64 {
        self.tombstones_dropped
    }

    fn give_birth(&mut self, name: &Arc<str>, ops: &mut Vec<Op>) -> TopicId {
        let policy = self.policies.of(name).clone();
        let mode = policy.mode.clone();
        let id = self.directory.insert(Topic::unborn(name.clone(), policy, self.v_floor));
        ops.push(Op::Birth { topic: id, name: name.clone(), mode });
        id
    }

    fn forget_oldest(&mut self, ops: &mut Vec<Op>) {
        let (_, id) = self.tombstones.pop_first().expect("there are more of them than may be");
        let topic = self.directory.remove(id).expect("a tombstone is of a topic that is remembered");
        invariant!(topic.gone, "{}: forgotten while it lives", topic.name);
        self.v_floor = self.v_floor.max(topic.v);
        if topic.has_gap {
            self.lose(topic.name, Lost::Removed);
        }
        self.tombstones_dropped += 1;
        ops.push(Op::Forget { topic: id });
    }
}

/// The update as it stands in frames, or its head before `changes`. The copy is as long as the update: last values live
/// long.
fn encode(scratch: &mut Vec<u8>, publication: &Publication, changes: bool, v: u64, ts_us: i64) -> Bytes {
    scratch.clear();
    update::write_head(scratch, &publication.topic, v, ts_us);
    match &publication.body {
        Body::Gone => update::write_gone(scratch),
        Body::Data(data) if !changes => {
            publication.by.iter().for_each(|by| update::write_by(scratch, by));
            update::write_data(scratch, data);
        }
        Body::Data(_) | Body::Changes(_) | Body::Unread(_) => {}
    }
    let json = Bytes::copy_from_slice(scratch);
    if scratch.capacity() > SCRATCH_BYTES_MAX {
        *scratch = Vec::new();
    }
    json
}

/// A rare long update must not keep its memory for good.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;
