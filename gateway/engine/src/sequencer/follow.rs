//! Updates that another gateway has numbered, as they are taken over.

use std::{collections::HashSet, sync::Arc};

use super::{
    item::{Body, Item, Why},
    seq::SEQ_MAX,
    topics::{Group, Topics},
};
use crate::update::Op;

/// A whole batch or snapshot of another gateway.
#[derive(Debug, Default)]
pub struct Following {
    /// It begins that epoch; what was held before ends.
    pub epoch: Option<Arc<str>>,
    /// It is all there is: a topic that is not in it does not exist.
    pub is_whole: bool,
    pub version: u64,
    pub updates: Vec<Followed>,
}

/// An update with its `v`.
#[derive(Debug)]
pub struct Followed {
    pub item: Item,
    pub v: u64,
}

impl Following {
    /// Applies it, at its version; appends what the shards have to do. Gives what was left out and why:
    /// a topic that this gateway's limits or modes have no room for is missing here, the others are not.
    pub fn apply(&self, topics: &mut Topics, now_us: u64, ops: &mut Vec<Op>) -> Vec<Why> {
        if self.epoch.is_some() {
            topics.restart();
        }
        if self.is_whole {
            // First, since it makes room for the others.
            let named: HashSet<&str> = self.updates.iter().map(|followed| &*followed.item.topic).collect();
            for (topic, v) in topics.others(&named) {
                let item = Item::new(topic, Body::Gone, self.due_us());
                topics.apply_as(&item, None, (v + 1).min(SEQ_MAX), self.version, now_us, ops);
            }
        }
        let mut refused = Vec::new();
        for Followed { item, v } in &self.updates {
            if topics.has(&item.topic, *v) {
                continue;
            }
            match topics.admit(item, &mut Group::taken_over()) {
                Ok(_) if topics.lacks_base(item) => {
                    refused.push(Why::NotHeld { topic: item.topic.clone() });
                }
                Ok(changes) => topics.apply_as(item, changes, *v, self.version, now_us, ops),
                // It was left out earlier, or removed twice.
                Err(Why::Unknown { .. }) => {}
                Err(why) => {
                    topics.miss(item, &why, now_us);
                    refused.push(why);
                }
            }
        }
        refused
    }

    fn due_us(&self) -> i64 {
        self.updates.first().map_or(0, |followed| followed.item.due_us)
    }
}
