//! What crosses from the control plane to the shards: numbered updates in batches.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::topic::{changes::Changes, policy::Mode};

/// A topic's number, the same on every shard. Given out by the sequencer; used again only after
/// [`Op::Forget`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// One accepted update, numbered.
#[derive(Debug, Clone)]
pub struct Update {
    pub topic: TopicId,
    /// Gateway-wide position. Members of an atomic publish share one.
    pub version: u64,
    /// Counts the topic's updates.
    pub v: u64,
    /// The publisher's time, else `due_us`. Microseconds since the Unix epoch.
    pub ts_us: i64,
    /// When the gateway took it in, or when the source was due to give it. Microseconds since the Unix epoch.
    pub due_us: i64,
    /// The topic was removed; the update is its tombstone.
    pub gone: bool,
    /// Updates just before it that the publisher counted and that never arrived; `v` counts them too. Of a
    /// stream topic.
    pub skipped: u32,
    /// The update as it stands in a frame: `{"topic":…,"v":…,"ts":…,"data":…}` or `{…,"gone":true}`.
    /// With `changes` only its head: `{"topic":…,"v":…,"ts":…,`.
    pub json: Bytes,
    /// Of a keyed topic, unless it is gone. Never [`crate::topic::changes::Base::Whole`]: only what differs crosses.
    pub changes: Option<Arc<Changes>>,
}

/// One step of a shard's topic table.
#[derive(Debug, Clone)]
pub enum Op {
    /// A topic is born. Its first update follows in the same batch.
    Birth {
        topic: TopicId,
        name: Arc<str>,
        mode: Arc<Mode>,
    },
    Update(Update),
    /// A tombstone is dropped: positions below its `version` can no longer be answered exactly.
    Forget {
        topic: TopicId,
    },
}

/// Steps that every shard takes together: a position stands only between batches, so a batch is as
/// whole on every shard as an atomic publish must be.
#[derive(Debug, Default)]
pub struct Batch {
    /// The gateway's position after this batch.
    pub version: u64,
    pub ops: Vec<Op>,
    /// JSON and names in `ops`.
    pub bytes: usize,
}

impl Batch {
    pub fn new(version: u64, ops: Vec<Op>) -> Self {
        let bytes = |op: &Op| match op {
            Op::Birth { name, .. } => name.len(),
            Op::Update(update) => update.json.len() + update.changes.as_ref().map_or(0, |c| c.bytes()),
            Op::Forget { .. } => 0,
        };
        let bytes = ops.iter().map(bytes).sum();
        Self { version, ops, bytes }
    }
}
