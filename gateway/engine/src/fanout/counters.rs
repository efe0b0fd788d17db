//! What a fan-out counts.

use net::metric::Metric;

#[derive(Debug, Default, Clone)]
pub struct FanoutCounters {
    /// Updates in frames built, once per frame, and frames built.
    pub updates_framed: u64,
    pub frames_built: u64,
    /// Updates overwritten before a class of theirs was flushed, once per class flush and pattern that
    /// matches.
    pub conflated: u64,
    /// Subscriptions refused for `[limits] classes`, and for `shard_patterns`.
    pub classes_refused: u64,
    pub patterns_refused: u64,
    /// Tombstones of keys dropped, and updates dropped from histories of streams.
    pub key_tombstones_dropped: u64,
    pub stream_dropped: u64,
    /// Times that a topic gave all of them back, since there were `[limits] history_bytes`.
    pub histories_dropped: u64,
    /// Gaps told in frames built.
    pub gaps: u64,
}

impl FanoutCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_updates_framed", "Updates put into frames, once a frame", |c| {
            c.updates_framed
        }),
        Metric::counter("fanwire_frames_built", "Frames built", |c| c.frames_built),
        Metric::counter("fanwire_conflated", "Updates overwritten before a flush of a class", |c| {
            c.conflated
        }),
        Metric::counter(
            "fanwire_classes_refused",
            "Subscriptions refused because there were [limits] classes already",
            |c| c.classes_refused,
        ),
        Metric::counter(
            "fanwire_patterns_refused",
            "Subscriptions refused because there were [limits] shard_patterns already",
            |c| c.patterns_refused,
        ),
        Metric::counter(
            "fanwire_key_tombstones_dropped",
            "Tombstones of deleted keys dropped, since a topic had [[topic]] key_tombstones",
            |c| c.key_tombstones_dropped,
        ),
        Metric::counter(
            "fanwire_stream_dropped",
            "Updates dropped from the rings of stream topics ([[topic]] ring_updates, ring_bytes, ring_age)",
            |c| c.stream_dropped,
        ),
        Metric::counter(
            "fanwire_histories_dropped",
            "Times that a topic gave older updates or deleted keys back, since there were [limits] history_bytes",
            |c| c.histories_dropped,
        ),
        Metric::counter("fanwire_gaps", "Gaps in streams told in frames built", |c| c.gaps),
    ];
}
