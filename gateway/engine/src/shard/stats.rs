//! A shard's counters: plain integers, copied when scraped and summed by the control plane.

use std::ops::{Deref, DerefMut};

use hdrhistogram::Histogram;
use net::metric::{Kind, Metric, named};

use crate::{
    client::{self, CloseReason, Refused},
    fanout::{self, compress},
    protocol::encoding::KINDS,
    shard::overload::RUNG_REFUSES,
};

/// HTTP statuses the data listener refuses with; index into [`Stats::refused`].
pub const REFUSAL_STATUSES: [u16; 9] = [400, 401, 403, 404, 405, 426, 429, 431, 503];

/// Why frames waited to be built: the turn's budget was spent, it was a long one, there was no room among what
/// is pinned, or the address had used up its share. Index into [`Stats::build_waits`].
pub const BUILD_WAITS: [&str; 4] = ["budget", "long", "room", "address"];

/// Everything a shard counts. Gauges are as of the scrape.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Gauge: sockets open, in any state.
    pub sockets: u64,
    /// Gauge: slots of the table of sockets that are free.
    pub slots_free: u64,
    /// Gauge: sockets that are only being refused.
    pub sockets_refused: u64,
    /// Of those, reset at once, since half of the slots kept for them were taken.
    pub refused_reset: u64,
    /// Gauge: bytes of input held for clients that are busy.
    pub held_bytes: u64,
    /// Times that receiving from one stopped.
    pub receive_pauses: u64,
    /// Gauges: clients, and those of each of [`KINDS`].
    pub connections: u64,
    pub clients_by: [u64; KINDS.len()],
    /// Clients that were let in, and those of each of [`KINDS`].
    pub accepted: u64,
    pub accepted_by: [u64; KINDS.len()],
    /// Connections ended, by [`CloseReason`].
    pub ended: [u64; CloseReason::ALL.len()],
    /// Refusals, by [`REFUSAL_STATUSES`].
    pub refused: [u64; REFUSAL_STATUSES.len()],
    /// Those by a rule of the gateway's, by [`Refused`].
    pub refused_by: [u64; Refused::ALL.len()],
    /// Connections the listener could not take (the table was full).
    pub accept_failures: u64,
    /// Gauges.
    pub classes: u64,
    pub patterns: u64,
    pub patterns_kept: u64,
    pub subscriptions: u64,
    /// Kept patterns to which a client came back.
    pub patterns_found: u64,
    /// Kept patterns that had to make room.
    pub patterns_evicted: u64,
    /// Topics looked at for new patterns.
    pub topics_looked_at: u64,
    /// Ops that waited, since `[limits] topics_looked_at_per_s` were looked at for their client.
    pub ops_rested: u64,
    /// Frames and updates handed to clients.
    pub frames_out: u64,
    pub updates_out: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// Of the fan-out.
    pub fanout: fanout::FanoutCounters,
    /// Of connections.
    pub client: client::ClientCounters,
    /// Errors answered.
    pub errors_out: u64,
    /// Tokens accepted and refused, and ops and requests that no grant covered.
    pub tokens_accepted: u64,
    pub tokens_refused: u64,
    pub not_granted: u64,
    /// Publishes of clients: answered with `published`, refused, over a rate.
    pub writes: u64,
    pub writes_refused: u64,
    pub writes_limited: u64,
    /// Messages of clients of bare values that were dropped.
    pub raw_refused: u64,
    /// Gauges: different grants of tokens, and clients whose token waits to be verified.
    pub grants: u64,
    pub checks_waiting: u64,
    /// Flushes that skipped a client because its previous send was in flight.
    pub skipped_busy: u64,
    /// Snapshots and catch-up frames sent.
    pub snapshots_out: u64,
    pub catchups_out: u64,
    /// Gauge: addresses that hold patterns and classes, where those have a limit.
    pub addresses: u64,
    /// Subscriptions refused since the address had `[limits] patterns_per_ip` or `classes_per_ip`.
    pub shares_refused: u64,
    /// Gauge: keys of keyed topics.
    pub keys: u64,
    /// Gauge: bytes of older updates and deleted keys.
    pub history_bytes: u64,
    /// Of frames sent.
    pub compress: compress::CompressCounters,
    /// Handshakes without the compression that was offered, since nine tenths of those were taken.
    pub compression_declined: u64,
    /// What its sockets did; zeroes in a simulation.
    pub ring: net::SocketCounters,
    /// And the layers on it.
    pub proxy: net::ProxyCounters,
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
    /// Gauge: bytes of the updates waiting in the inbox.
    pub inbox_bytes: u64,
    /// Gauge: the shard's position.
    pub version: u64,
    /// Gauge: what it leaves out, since it cannot keep up: see [`super::overload`].
    pub overload_rung: u64,
    /// Members of classes whose frame was later than its interval, also those that were too busy to get it.
    pub frames_late: u64,
    /// From a flush's due time to the last member's send being queued. Microseconds.
    pub fanout_us: Times,
    /// From an update's `due` time to the flush that carried it, one sample a batch frame (its `oldest`). Microseconds.
    pub age_us: Times,
}

impl Stats {
    /// Of all shards together.
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge("fanwire_sockets", "Sockets of clients in any state", |s| s.sockets),
        Metric::gauge("fanwire_slots_free", "Slots of the shards' tables that no socket has", |s| {
            s.slots_free
        }),
        Metric::gauge("fanwire_sockets_refused", "Sockets that are only being refused", |s| {
            s.sockets_refused
        }),
        Metric::counter(
            "fanwire_refused_reset",
            "Connections over a limit that were reset at once, since half of the slots kept for telling such were taken",
            |s| s.refused_reset,
        ),
        Metric::gauge(
            "fanwire_held_bytes",
            "Bytes of input held for clients that do not take what they are sent",
            |s| s.held_bytes,
        ),
        Metric::counter("fanwire_receive_pauses", "Times that receiving from such a client stopped", |s| {
            s.receive_pauses
        }),
        Metric::gauge("fanwire_subscriptions", "Subscriptions", |s| s.subscriptions),
        Metric::counter("fanwire_accepted", "Clients that were let in", |s| s.accepted),
        Metric::by(Kind::Counter, "fanwire_accepted_by", "Those of each kind", "kind", |s| {
            named(KINDS, &s.accepted_by)
        }),
        Metric::by(Kind::Gauge, "fanwire_clients", "Clients of each kind", "kind", |s| {
            named(KINDS, &s.clients_by)
        }),
        Metric::counter(
            "fanwire_raw_refused",
            "Messages of clients of bare values that were dropped, as they were not granted",
            |s| s.raw_refused,
        ),
        Metric::counter("fanwire_accept_failures", "Connections no listener could take", |s| {
            s.accept_failures
        }),
        Metric::by(Kind::Counter, "fanwire_ended", "Connections that ended", "reason", |s| {
            named(CloseReason::ALL.map(CloseReason::label), &s.ended)
        }),
        Metric::by(
            Kind::Counter,
            "fanwire_refused",
            "Requests refused on the data listener",
            "status",
            |s| named(REFUSAL_STATUSES.map(|status| status.to_string()), &s.refused),
        ),
        Metric::by(
            Kind::Counter,
            "fanwire_refused_by",
            "Requests refused on the data listener by a rule of the gateway's: a limit, an origin, a host",
            "rule",
            |s| named(Refused::ALL.map(Refused::label), &s.refused_by),
        ),
        Metric::counter("fanwire_errors_out", "Errors answered to clients", |s| s.errors_out),
        Metric::counter("fanwire_writes", "Publishes of clients that were answered with published", |s| {
            s.writes
        }),
        Metric::counter("fanwire_writes_refused", "Publishes of clients that were refused", |s| {
            s.writes_refused
        }),
        Metric::counter("fanwire_writes_limited", "Publishes of clients over a rate", |s| s.writes_limited),
        Metric::counter("fanwire_tokens_accepted", "Tokens accepted, renewals included", |s| {
            s.tokens_accepted
        }),
        Metric::counter("fanwire_tokens_refused", "Tokens refused", |s| s.tokens_refused),
        Metric::counter("fanwire_not_granted", "Ops and requests that no grant covered", |s| s.not_granted),
        Metric::gauge("fanwire_token_grants", "Different grants of tokens, equal ones once a shard", |s| {
            s.grants
        }),
        Metric::gauge(
            "fanwire_token_checks_waiting",
            "Clients whose token waits for a place among [limits] token_checks",
            |s| s.checks_waiting,
        ),
        Metric::counter("fanwire_bytes_in", "Bytes received from clients", |s| s.bytes_in),
        Metric::gauge("fanwire_classes", "Classes of subscriptions", |s| s.classes),
        Metric::gauge("fanwire_patterns", "Different patterns subscribed to", |s| s.patterns),
        Metric::gauge(
            "fanwire_patterns_kept",
            "Patterns that nobody subscribes to any more, kept for [fanout] pattern_keep",
            |s| s.patterns_kept,
        ),
        Metric::counter("fanwire_patterns_found", "Kept patterns to which a client came back", |s| {
            s.patterns_found
        }),
        Metric::counter(
            "fanwire_patterns_evicted",
            "Of those, ended before their time, since there were [limits] kept_pattern_bytes or 64 of them",
            |s| s.patterns_evicted,
        ),
        Metric::counter(
            "fanwire_topics_looked_at",
            "Topics looked at for patterns that nobody subscribed to before",
            |s| s.topics_looked_at,
        ),
        Metric::counter(
            "fanwire_ops_rested",
            "Ops that waited, since [limits] topics_looked_at_per_s were looked at for their client",
            |s| s.ops_rested,
        ),
        Metric::gauge(
            "fanwire_addresses",
            "Addresses that hold patterns and classes, once a shard, where [limits] patterns_per_ip or classes_per_ip is on",
            |s| s.addresses,
        ),
        Metric::counter(
            "fanwire_shares_refused",
            "Subscriptions refused because the address held [limits] patterns_per_ip or classes_per_ip already",
            |s| s.shares_refused,
        ),
        Metric::counter(
            "fanwire_frames_late",
            "Members of subscriptions whose frame was later than its interval",
            |s| s.frames_late,
        ),
        Metric::counter("fanwire_frames_out", "Frames handed to clients", |s| s.frames_out),
        Metric::counter("fanwire_updates_out", "Updates handed to clients", |s| s.updates_out),
        Metric::counter("fanwire_bytes_out", "Bytes handed to clients", |s| s.bytes_out),
        Metric::by(
            Kind::Gauge,
            "fanwire_builds_waiting",
            "Clients and classes that wait for a frame to be built",
            "kind",
            |s| named(["client", "class"], &[s.build_clients, s.build_classes]),
        ),
        Metric::by(
            Kind::Counter,
            "fanwire_build_waits",
            "Times that a frame had to wait to be built",
            "reason",
            |s| named(BUILD_WAITS, &s.build_waits),
        ),
        Metric::counter("fanwire_built_bytes", "Bytes of JSON made into frames", |s| s.built_bytes),
        Metric::counter(
            "fanwire_skipped_busy",
            "Flushes that passed over a client whose last frame was still in flight",
            |s| s.skipped_busy,
        ),
        Metric::counter("fanwire_snapshots_out", "Snapshots sent", |s| s.snapshots_out),
        Metric::counter("fanwire_catchups_out", "Catch-up frames sent", |s| s.catchups_out),
        Metric::times("fanwire_fanout_seconds", "From the due time of a flush to its last send", |s| {
            s.fanout_us.steps()
        }),
        Metric::times(
            "fanwire_age_seconds",
            "From the due time of the oldest update of a batch to its flush",
            |s| s.age_us.steps(),
        ),
        Metric::counter(
            "fanwire_compression_declined",
            "Handshakes without the compression offered, since nine tenths of [compression] dictionaries, or of the address's share, were taken",
            |s| s.compression_declined,
        ),
    ];

    /// Of each shard.
    pub const METRICS_EACH: &[Metric<Self>] = &[
        Metric::gauge("fanwire_connections", "Clients", |s| s.connections),
        Metric::gauge("fanwire_inbox_updates", "Updates waiting for the shard", |s| s.inbox_depth),
        Metric::gauge("fanwire_inbox_bytes", "Bytes of updates waiting for the shard", |s| s.inbox_bytes),
        Metric::gauge(
            "fanwire_history_bytes",
            "Bytes of older updates and deleted keys, as [limits] history_bytes counts them",
            |s| s.history_bytes,
        ),
        Metric::gauge("fanwire_inbox_messages", "Messages waiting for the shard", |s| s.inbox_messages),
        Metric::gauge("fanwire_pinned_bytes", "Bytes of frames held by the shard", |s| s.pinned_bytes),
        Metric::gauge("fanwire_shard_version", "Position of the shard", |s| s.version),
        Metric::gauge(
            "fanwire_overload_rung",
            "What the shard leaves out, since it cannot keep up: 1 lengthens intervals, 2 sends plain, 3 refuses clients",
            |s| s.overload_rung,
        ),
    ];

    /// Whether the shard takes no new clients, as it does not keep up.
    pub fn refuses_clients(&self) -> bool {
        self.overload_rung >= u64::from(RUNG_REFUSES)
    }

    pub fn ended(&mut self, reason: CloseReason) {
        self.ended[reason as usize] += 1;
    }

    pub fn refused(&mut self, status: u16, by: Option<Refused>) {
        if let Some(rule) = by {
            self.refused_by[rule as usize] += 1;
        }
        let at = REFUSAL_STATUSES.iter().position(|known| *known == status);
        self.refused[at.unwrap_or_else(|| panic!("nothing is refused with {status}"))] += 1;
    }
}

/// How long something took, in microseconds: one hour at two digits, so memory is bounded and errors are below 1 %.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_max(3_600_000_000, 2).expect("constant bounds are valid"))
    }
}

impl Times {
    /// Microseconds, and how often it took so long.
    fn steps(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }
}

impl Deref for Times {
    type Target = Histogram<u64>;

    fn deref(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl DerefMut for Times {
    fn deref_mut(&mut self) -> &mut Histogram<u64> {
        &mut self.0
    }
}
