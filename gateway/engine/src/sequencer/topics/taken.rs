//! Topics that come from elsewhere with their counts: from another gateway, or from an earlier run.

use std::{collections::HashSet, sync::Arc};

use super::{Admitted, Deadlines, Group, Lost, Topics};
use crate::{
    clock::Now,
    protocol::status::TopicState,
    sequencer::{
        checkpoint::{RestoredTopic, SavedTopic},
        count::Count,
        publication::{Body, Publication, Why},
        table,
        timed::TimedKeys,
    },
    topic::{changes::Base, policy::Mode},
    update::{Op, TopicId},
};

impl Topics {
    /// As [`Topics::apply`], with a `v` that another gateway gave.
    pub fn apply_as(
        &mut self,
        publication: &Publication,
        admitted: Admitted,
        v: u64,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        self.enter(publication, admitted, Some(v), version, now_us, ops);
    }

    /// Everything held ends, as if there had never been a topic.
    pub fn restart(&mut self) {
        for topic in std::mem::take(&mut self.directory).iter() {
            if topic.state != TopicState::Live {
                self.tell(&topic.name, TopicState::Live, String::new());
            }
        }
        self.tombstones.clear();
        self.unborn.clear();
        self.names_are_lost = false;
        self.deadlines = Deadlines::default();
        self.timed = TimedKeys::default();
        (self.live, self.keys, self.bytes, self.v_floor) = (0, 0, 0, 0);
    }

    /// Takes over a topic of an earlier run, at `version`. It is stale until an update comes.
    pub fn restore(
        &mut self,
        kept: &RestoredTopic,
        version: u64,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> Result<(), Why> {
        let restored = self.try_restore(kept, version, now, ops);
        if restored.is_err() && matches!(self.mode(&kept.topic), Mode::Keyed(_)) {
            self.lose(kept.topic.clone(), Lost::Removed);
        }
        restored
    }

    fn try_restore(
        &mut self,
        kept: &RestoredTopic,
        version: u64,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> Result<(), Why> {
        let RestoredTopic { topic: name, mode, v, ts_us, by, seq, has_gap, refused, body } = kept;
        let new = Publication::new(name.clone(), body.clone(), now.wall_us);
        let publication = Publication { ts_us: Some(*ts_us), by: by.clone(), ..new };
        let holds = self.policies.of(name).mode.name();
        if holds != mode {
            let (topic, was) = (name.clone(), mode.clone());
            return Err(Why::OtherMode { topic, was, holds });
        }
        let admitted = self.admit(&publication, self.find(name), &mut Group::taken_over())?;
        self.apply_as(&publication, admitted, *v, version, now.mono_us, ops);
        if let Some((_, topic)) = self.directory.living_mut(self.directory.find(name)) {
            (topic.count, topic.has_gap, topic.refused) = (Count::restored(*seq), *has_gap, *refused);
            (topic.state, topic.is_restored) = (TopicState::Stale, true);
        }
        self.restore_keys(name, now.mono_us);
        Ok(())
    }

    /// A topic that is born starts above it.
    pub fn set_v_floor(&mut self, v_floor: u64) {
        self.v_floor = v_floor;
    }

    /// All topics, as they are written to disk, and the `v` that a new one has to start above.
    pub fn save(&self) -> (Vec<SavedTopic>, u64) {
        let live = self.directory.iter().filter(|topic| !topic.gone);
        let saved = live.map(|topic| SavedTopic {
            mode: topic.policy.mode.name(),
            // What a deadband holds back is not saved, so its count must not be either.
            seq: match &topic.band {
                Some(band) if band.holds_one() => band.seq_sent,
                _ => topic.count.last,
            },
            has_gap: topic.has_gap,
            refused: topic.refused,
            json: topic.json.clone(),
            table: topic.table.as_ref().map(|table| table::object(table)),
        });
        let gone = self.directory.iter().filter(|topic| topic.gone).map(|topic| topic.v);
        (saved.collect(), gone.max().unwrap_or(0).max(self.v_floor))
    }

    /// Whether the topic has had the update with this `v`.
    pub fn has(&self, at: Option<TopicId>, v: u64) -> bool {
        at.is_some_and(|id| self.directory[id].v >= v)
    }

    /// Whether a publication changes a table that is not there, or not what it was when the publication was made.
    pub fn lacks_base(&self, publication: &Publication, at: Option<TopicId>) -> bool {
        matches!(&publication.body, Body::Changes(changes) if changes.base == Base::Held)
            && at.is_none_or(|id| self.directory[id].gone || self.directory[id].has_gap)
    }

    /// Topics that exist and are not among `names`, with their `v`.
    pub fn others(&self, names: &HashSet<&str>) -> Vec<(Arc<str>, u64)> {
        let others = self.directory.iter().filter(|topic| !topic.gone && !names.contains(&*topic.name));
        others.map(|topic| (topic.name.clone(), topic.v)).collect()
    }
}
