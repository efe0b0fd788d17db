//! What the sequencer counts.

use net::metric::{Kind, Metric, named};

use super::{
    publication::{Refused, Why},
    topics,
};
use crate::shard::inbox::Bound;

/// What the sequencer counts, as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequencerCounters {
    /// Updates numbered, and the batches they went out in.
    pub updates: u64,
    pub batches: u64,
    /// Publications refused, and those of them for `[limits] topics_bytes`, and for `timed_keys` and
    /// `timed_keys_per_connection`.
    pub refused: u64,
    pub topics_bytes_refused: u64,
    pub timed_keys_refused: u64,
    /// Publications left out since their publisher's count was not above the topic's.
    pub repeats: u64,
    /// Tombstones dropped since there were more than `[limits] tombstones`.
    pub tombstones_dropped: u64,
    /// Publishes that found an inbox full and waited.
    pub waits: u64,
    /// Times that those who publish found an inbox at a [`Bound`].
    pub full: [u64; Bound::ALL.len()],
    /// Updates of live sources that a newer one replaced because an inbox was full.
    pub conflated: u64,
    pub by_topics: topics::TopicCounters,
    /// Gauges: topics that exist, their bytes, keys of their tables, those that go by themselves, values held back, tombstones kept, the position.
    pub topics: usize,
    pub topics_bytes: usize,
    pub keys: usize,
    pub timed_keys: usize,
    pub held_back: usize,
    pub tombstones: usize,
    pub version: u64,
}

impl SequencerCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge("fanwire_topics", "Topics that exist", |c| c.topics as u64),
        Metric::gauge(
            "fanwire_topics_bytes",
            "Bytes of all topics with their last values and tables, as [limits] topics_bytes counts them",
            |c| c.topics_bytes as u64,
        ),
        Metric::counter(
            "fanwire_topics_bytes_refused",
            "Updates refused, since there were [limits] topics_bytes",
            |c| c.topics_bytes_refused,
        ),
        Metric::gauge("fanwire_keys", "Keys of keyed topics", |c| c.keys as u64),
        Metric::gauge(
            "fanwire_timed_keys",
            "Keys that go by themselves, and connections that they are bound to, as [limits] timed_keys counts them",
            |c| c.timed_keys as u64,
        ),
        Metric::counter(
            "fanwire_timed_keys_refused",
            "Updates refused for [limits] timed_keys or timed_keys_per_connection",
            |c| c.timed_keys_refused,
        ),
        Metric::gauge("fanwire_tombstones", "Removed topics still remembered", |c| c.tombstones as u64),
        Metric::counter(
            "fanwire_tombstones_dropped",
            "Tombstones dropped, since there were more than [limits] tombstones",
            |c| c.tombstones_dropped,
        ),
        Metric::gauge("fanwire_version", "Position of the gateway", |c| c.version),
        Metric::counter("fanwire_updates", "Updates numbered", |c| c.updates),
        Metric::counter("fanwire_batches", "Batches of updates handed to the shards", |c| c.batches),
        Metric::counter("fanwire_updates_refused", "Updates refused when published", |c| c.refused),
        Metric::counter("fanwire_publish_waits", "Publishes that waited for room in an inbox", |c| c.waits),
        Metric::by(
            Kind::Counter,
            "fanwire_inbox_full",
            "Times that those who publish found an inbox at this bound of [limits]",
            "bound",
            |c| named(Bound::ALL.map(Bound::key), &c.full),
        ),
        Metric::counter(
            "fanwire_seq_repeats",
            "Updates left out, since their seq was not above the topic's",
            |c| c.repeats,
        ),
        Metric::gauge("fanwire_held_values", "Values that deadbands hold back now", |c| c.held_back as u64),
        Metric::counter(
            "fanwire_source_conflated",
            "Updates of live sources replaced by a newer one while an inbox was full",
            |c| c.conflated,
        ),
    ];

    pub(super) fn count_refused(&mut self, why: &Why) {
        self.refused += 1;
        self.topics_bytes_refused += u64::from(matches!(why, Why::NoRoom { .. }));
        let is_timed = matches!(why, Why::TooManyTimed { .. } | Why::TooManyBound { .. });
        self.timed_keys_refused += u64::from(is_timed);
    }

    pub(super) fn refuse(&mut self, refused: Refused) -> Refused {
        self.count_refused(&refused.why);
        refused
    }
}
