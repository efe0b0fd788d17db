//! What one WebSocket source counts.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use net::metric::{Kind, Metric, named};

use crate::source::activity::Activity;

/// Why a message, or a publication of one, was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Not JSON.
    Json,
    /// A pointer leads nowhere, or to a value of another kind.
    Pointer,
    /// What came of `topic` may name no topic.
    Topic,
    /// Where `ts` leads stands no time.
    Ts,
    /// The gateway refused the publication: a limit, or the topic's mode.
    Refused,
    /// It is the venue's word that it will not bring what was asked for.
    Denied,
    /// A binary frame is not packed as `encoding` says.
    Encoding,
    /// More would have to be remembered than may be.
    Memory,
}

impl Bad {
    pub const ALL: [Bad; 8] =
        [Bad::Json, Bad::Pointer, Bad::Topic, Bad::Ts, Bad::Refused, Bad::Denied, Bad::Encoding, Bad::Memory];

    /// Its label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Bad::Json => "json",
            Bad::Pointer => "pointer",
            Bad::Topic => "topic",
            Bad::Ts => "ts",
            Bad::Refused => "refused",
            Bad::Denied => "denied",
            Bad::Encoding => "encoding",
            Bad::Memory => "memory",
        }
    }
}

/// How a connection, or the try to make one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// No connection came about.
    Connect,
    /// No TLS: mostly a certificate that is not accepted.
    Tls,
    /// The server answered the handshake with another status than 101.
    Refused,
    /// Its answer was none of a WebSocket server.
    Handshake,
    /// It broke the protocol, or sent too long a message.
    Protocol,
    /// It sent a close frame.
    Closed,
    /// The connection was cut without one.
    Cut,
    /// Something was missing that a new connection brings.
    Gap,
    /// Nothing came for too long.
    Idle,
    /// What came made no update for too long.
    Stale,
}

impl End {
    pub const ALL: [End; 10] = [
        End::Connect,
        End::Tls,
        End::Refused,
        End::Handshake,
        End::Protocol,
        End::Closed,
        End::Cut,
        End::Gap,
        End::Idle,
        End::Stale,
    ];

    /// Its label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            End::Connect => "connect",
            End::Tls => "tls",
            End::Refused => "refused",
            End::Handshake => "handshake",
            End::Protocol => "protocol",
            End::Closed => "closed",
            End::Cut => "cut",
            End::Gap => "gap",
            End::Idle => "idle",
            End::Stale => "stale",
        }
    }
}

#[derive(Debug, Default)]
pub struct WebsocketCounters {
    pub activity: Arc<Activity>,
    /// Messages received.
    pub messages: AtomicU64,
    /// Publications that messages became.
    pub publications: AtomicU64,
    /// Messages to which no entry of `map` applies.
    pub ignored: AtomicU64,
    /// By [`Bad`].
    pub bad: [AtomicU64; Bad::ALL.len()],
    /// Connects begun.
    pub connects: AtomicU64,
    /// Connections established. All but the first are reconnects.
    pub established: AtomicU64,
    /// Connects and connections that ended, by [`End`].
    pub ended: [AtomicU64; End::ALL.len()],
    /// Times that receiving stopped since an inbox was full.
    pub waits: AtomicU64,
    /// Messages that were answered by `[[source.reply]]`.
    pub replies: AtomicU64,
    /// Snapshots asked for, and those that did not come or could not be joined.
    pub snapshots: AtomicU64,
    pub snapshots_failed: AtomicU64,
    /// Changes that found no room to wait for a snapshot.
    pub changes_dropped: AtomicU64,
    /// Gauge: it is connected.
    pub connected: AtomicBool,
}

impl WebsocketCounters {
    /// Of each source.
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_source_messages", "Messages received from the source's server", |c| {
            c.messages.load(Ordering::Relaxed)
        }),
        Metric::counter("fanwire_source_items", "Items that messages became", |c| {
            c.publications.load(Ordering::Relaxed)
        }),
        Metric::counter("fanwire_source_ignored", "Messages that no [[source.map]] applies to", |c| {
            c.ignored.load(Ordering::Relaxed)
        }),
        Metric::counter("fanwire_source_connects", "Connects begun", |c| c.connects.load(Ordering::Relaxed)),
        Metric::counter("fanwire_source_waits", "Times that receiving stopped as an inbox was full", |c| {
            c.waits.load(Ordering::Relaxed)
        }),
        Metric::counter(
            "fanwire_source_reconnects",
            "Connections established after an earlier one had ended",
            |c| c.established.load(Ordering::Relaxed).saturating_sub(1),
        ),
        Metric::by(
            Kind::Counter,
            "fanwire_source_bad",
            "Messages and items that were not published",
            "kind",
            |c| named(Bad::ALL.map(Bad::name), &loaded(&c.bad)),
        ),
        Metric::by(
            Kind::Counter,
            "fanwire_source_ended",
            "Connects that failed and connections that ended",
            "reason",
            |c| named(End::ALL.map(End::name), &loaded(&c.ended)),
        ),
        Metric::counter("fanwire_source_replies", "Messages that were answered", |c| {
            c.replies.load(Ordering::Relaxed)
        }),
        Metric::counter("fanwire_source_snapshots", "Snapshots asked for by HTTP", |c| {
            c.snapshots.load(Ordering::Relaxed)
        }),
        Metric::counter(
            "fanwire_source_snapshots_failed",
            "Snapshots that did not come or could not be joined to the changes",
            |c| c.snapshots_failed.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_source_changes_dropped",
            "Changes that found no room to wait for a snapshot",
            |c| c.changes_dropped.load(Ordering::Relaxed),
        ),
        Metric::gauge("fanwire_source_connected", "Whether the source is connected", |c| {
            u64::from(c.connected.load(Ordering::Relaxed))
        }),
    ];

    pub fn new(activity: &Arc<Activity>) -> Self {
        Self { activity: activity.clone(), ..Self::default() }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.activity.name
    }

    /// Adds to the count of a kind; gives what it was.
    pub fn bad(&self, bad: Bad) -> u64 {
        self.bad[bad as usize].fetch_add(1, Ordering::Relaxed)
    }

    pub fn ended(&self, end: End) {
        self.ended[end as usize].fetch_add(1, Ordering::Relaxed);
    }
}

fn loaded<const N: usize>(counters: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|at| counters[at].load(Ordering::Relaxed))
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
