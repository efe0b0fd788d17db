//! A shard's counters: plain integers, copied when scraped and summed by the control plane.

use hdrhistogram::Histogram;

use crate::{client::CloseReason, fanout::compress};

/// HTTP statuses the data listener refuses with; index into [`Stats::refused`].
pub const REFUSAL_STATUSES: [u16; 9] = [400, 403, 404, 405, 426, 429, 431, 500, 503];

/// Why frames waited to be built: the turn's budget was spent, it was a long one, there was no room among what
/// is pinned, or the address had used up its share. Index into [`Stats::build_waits`].
pub const BUILD_WAITS: [&str; 4] = ["budget", "long", "room", "address"];

/// Everything a shard counts. Gauges are as of the scrape.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Gauge: sockets open, in any state.
    pub sockets: u64,
    /// Gauge: slots of the ring's table that no socket has.
    pub slots_free: u64,
    /// Gauge: sockets that are only being refused.
    pub sockets_refused: u64,
    /// Of those, reset at once, since half of the slots kept for them were taken.
    pub refused_reset: u64,
    /// Gauge: bytes of input held for clients that are busy, and times that receiving from one stopped.
    pub held_bytes: u64,
    pub receive_pauses: u64,
    /// Gauge: WebSocket connections open.
    pub connections: u64,
    /// Handshakes that ended in 101.
    pub accepted: u64,
    /// Connections ended, by [`CloseReason`].
    pub ended: [u64; CloseReason::ALL.len()],
    /// Refusals, by [`REFUSAL_STATUSES`].
    pub refused: [u64; REFUSAL_STATUSES.len()],
    /// Connections the listener could not take (the table was full).
    pub accept_failures: u64,
    /// Gauges.
    pub topics: u64,
    pub classes: u64,
    pub patterns: u64,
    pub subscriptions: u64,
    /// Updates taken from the inbox.
    pub updates_in: u64,
    /// Updates in frames built, once per frame, and frames built.
    pub updates_framed: u64,
    pub frames_built: u64,
    /// Updates overwritten before a class of theirs was flushed, once per class flush.
    pub conflated: u64,
    /// Frames and updates handed to clients.
    pub frames_out: u64,
    pub updates_out: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// Client messages and errors answered.
    pub messages_in: u64,
    pub errors_out: u64,
    /// Flushes that skipped a client because its previous send was in flight.
    pub skipped_busy: u64,
    /// Snapshots and catch-up frames sent.
    pub snapshots_out: u64,
    pub catchups_out: u64,
    /// Subscriptions refused since there were `[limits] classes` already.
    pub classes_refused: u64,
    /// Subscriptions refused since their patterns would exceed `[limits] shard_patterns`.
    pub patterns_refused: u64,
    /// Gauge: addresses that hold patterns and classes, where those have a limit.
    pub addresses: u64,
    /// Subscriptions refused since the address had `[limits] patterns_per_ip` or `classes_per_ip`.
    pub shares_refused: u64,
    /// Gauge: keys of keyed topics.
    pub keys: u64,
    /// Tombstones of keys dropped, and updates dropped from histories of streams.
    pub key_tombstones_dropped: u64,
    pub stream_dropped: u64,
    /// Gauge: bytes of older updates and deleted keys; and times that a topic gave its own back, since there were
    /// `[limits] history_bytes`.
    pub history_bytes: u64,
    pub histories_dropped: u64,
    /// Gaps told in frames built.
    pub gaps: u64,
    /// Of frames sent, and compressed messages of clients that were read.
    pub compress: compress::Counters,
    pub inflated: u64,
    /// Gauge: bytes held for what clients' compressed messages may refer back to.
    pub dictionary_bytes: u64,
    /// Handshakes without the compression that was offered, since nine tenths of those were taken.
    pub compression_declined: u64,
    /// What the shard's ring did; zeroes in a simulation.
    pub ring: net::Counters,
    /// And its TLS.
    pub tls: net::TlsCounters,
    /// Gauge: bytes of frames alive, held by sends in flight or caches.
    pub pinned_bytes: u64,
    /// Gauges: clients and classes that wait for a frame to be built.
    pub build_clients: u64,
    pub build_classes: u64,
    /// How often one had to wait, by [`BUILD_WAITS`], and bytes of JSON made into frames.
    pub build_waits: [u64; BUILD_WAITS.len()],
    pub built_bytes: u64,
    /// Gauge: updates waiting in the inbox.
    pub inbox_depth: u64,
    /// Gauge: messages waiting in the inbox.
    pub inbox_messages: u64,
    /// Gauge: and their bytes.
    pub inbox_bytes: u64,
    /// Gauge: the shard's position.
    pub version: u64,
    /// From a flush's due time to the last member's send being queued. Microseconds.
    pub fanout_us: Histogram<u64>,
    /// From an update's `due` time to the flush that carried it, one sample a batch frame (its `oldest`). Microseconds.
    pub age_us: Histogram<u64>,
}

impl Default for Stats {
    fn default() -> Self {
        // One hour at two digits: bounded memory, errors below 1 %.
        let histogram = || Histogram::new_with_max(3_600_000_000, 2).expect("constant bounds are valid");
        Self {
            sockets: 0,
            slots_free: 0,
            sockets_refused: 0,
            refused_reset: 0,
            held_bytes: 0,
            receive_pauses: 0,
            connections: 0,
            accepted: 0,
            ended: [0; CloseReason::ALL.len()],
            refused: [0; REFUSAL_STATUSES.len()],
            accept_failures: 0,
            topics: 0,
            classes: 0,
            patterns: 0,
            subscriptions: 0,
            updates_in: 0,
            updates_framed: 0,
            frames_built: 0,
            conflated: 0,
            frames_out: 0,
            updates_out: 0,
            bytes_out: 0,
            bytes_in: 0,
            messages_in: 0,
            errors_out: 0,
            skipped_busy: 0,
            snapshots_out: 0,
            catchups_out: 0,
            classes_refused: 0,
            patterns_refused: 0,
            addresses: 0,
            shares_refused: 0,
            keys: 0,
            key_tombstones_dropped: 0,
            stream_dropped: 0,
            history_bytes: 0,
            histories_dropped: 0,
            gaps: 0,
            compress: compress::Counters::default(),
            inflated: 0,
            dictionary_bytes: 0,
            compression_declined: 0,
            ring: net::Counters::default(),
            tls: net::TlsCounters::default(),
            pinned_bytes: 0,
            build_clients: 0,
            build_classes: 0,
            build_waits: [0; BUILD_WAITS.len()],
            built_bytes: 0,
            inbox_depth: 0,
            inbox_messages: 0,
            inbox_bytes: 0,
            version: 0,
            fanout_us: histogram(),
            age_us: histogram(),
        }
    }
}

impl Stats {
    pub fn ended(&mut self, reason: CloseReason) {
        self.ended[reason as usize] += 1;
    }

    pub fn refused(&mut self, status: u16) {
        if let Some(i) = REFUSAL_STATUSES.iter().position(|s| *s == status) {
            self.refused[i] += 1;
        }
    }
}
