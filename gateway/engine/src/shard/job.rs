//! A fan-out under way.

use crate::fanout::Flush;

/// Members handed a frame before the shard looks at its sockets again.
pub(super) const SLICE: usize = 512;

/// A fan-out under way.
#[derive(Debug)]
pub(super) struct Job {
    pub flush: Flush,
    /// Members below this were not visited yet. Members are visited from the last to the first:
    /// one that leaves is replaced by the last, which was visited, and one that joins comes after it.
    pub left: usize,
    /// Heartbeats: the earliest moment at which a member that was skipped was last sent something.
    pub earliest_sent_us: u64,
}
