//! What the connections of one thread hold at the end: what the final checks judge.

use super::{
    catalog::{Catalog, Highest},
    row::Row,
    subscription::Subscription,
};

/// One thread's share.
#[derive(Debug, Default)]
pub struct Holdings {
    pub clients: Vec<ClientHoldings>,
    /// Per list of patterns, as the window ended and when the last frame had come.
    pub at_end: Vec<Known>,
    pub at_last: Vec<Known>,
}

/// What a live connection held at the end.
#[derive(Debug)]
pub struct ClientHoldings {
    /// Its number among all connections.
    pub index: usize,
    pub group: u16,
    pub epoch: u64,
    pub position: u64,
    pub snapshot_at: u64,
    /// By the words of its catalog.
    pub held: Row,
    /// Of keyed topics: word, `v` and sum of the table.
    pub tables: Vec<(u32, u64, u64)>,
}

impl ClientHoldings {
    /// Of connection `index`, which took list `group`.
    pub fn new(index: usize, group: u16, subscription: Subscription) -> Self {
        Self {
            index,
            group,
            epoch: subscription.epoch(),
            position: subscription.position(),
            snapshot_at: subscription.snapshot_at(),
            tables: subscription.tables(),
            held: subscription.into_held(),
        }
    }
}

/// A list of patterns and what was seen of it.
#[derive(Debug)]
pub struct Known {
    pub epoch: u64,
    /// Topic, its word, the newest of it.
    pub topics: Vec<(String, u32, Highest)>,
}

impl Known {
    /// What clients of `catalog` have seen by now.
    pub fn of(catalog: &Catalog) -> Self {
        let topics = catalog.topics().map(|(topic, word, highest)| (topic.to_owned(), word, highest));
        Self { epoch: catalog.epoch(), topics: topics.collect() }
    }
}
