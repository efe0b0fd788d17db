//! Updates that another gateway has numbered, as they are taken over.

use std::collections::HashSet;

use super::{
    publication::{Body, Publication, Why},
    seq::SEQ_MAX,
    topics::{Admitted, Group, Topics},
};
use crate::{topic::epoch::Epoch, update::Op};

/// A whole batch or snapshot of another gateway.
#[derive(Debug, Default)]
pub struct UpstreamBatch {
    /// It begins that epoch; what was held before ends.
    pub epoch: Option<Epoch>,
    /// It is all there is: a topic that is not in it does not exist.
    pub is_whole: bool,
    pub version: u64,
    pub updates: Vec<UpstreamUpdate>,
}

/// An update with its `v`.
#[derive(Debug)]
pub struct UpstreamUpdate {
    pub publication: Publication,
    pub v: u64,
}

impl UpstreamBatch {
    /// Applies it, at its version; appends what the shards have to do. Gives what was left out and why:
    /// a topic that this gateway's limits or modes have no room for is missing here, the others are not.
    pub fn apply(&self, topics: &mut Topics, now_us: u64, ops: &mut Vec<Op>) -> Vec<Why> {
        if self.epoch.is_some() {
            topics.restart();
        }
        if self.is_whole {
            // First, since it makes room for the others.
            let named: HashSet<&str> = self.updates.iter().map(|update| &*update.publication.topic).collect();
            for (topic, v) in topics.others(&named) {
                let publication = Publication::new(topic, Body::Gone, self.due_us());
                let admitted = Admitted { at: topics.find(&publication.topic), changes: None };
                topics.apply_as(&publication, admitted, (v + 1).min(SEQ_MAX), self.version, now_us, ops);
            }
        }
        let mut refused = Vec::new();
        for UpstreamUpdate { publication, v } in &self.updates {
            let at = topics.find(&publication.topic);
            if topics.has(at, *v) {
                continue;
            }
            match topics.admit(publication, at, &mut Group::taken_over()) {
                Ok(_) if topics.lacks_base(publication, at) => {
                    refused.push(Why::NotHeld { topic: publication.topic.clone() });
                }
                Ok(admitted) => topics.apply_as(publication, admitted, *v, self.version, now_us, ops),
                // It was left out earlier, or removed twice.
                Err(Why::Unknown { .. }) => {}
                Err(why) => {
                    topics.miss(publication, at, &why, now_us);
                    refused.push(why);
                }
            }
        }
        refused
    }

    fn due_us(&self) -> i64 {
        self.updates.first().map_or(0, |update| update.publication.due_us)
    }
}
