//! Counters of the sockets of one thread.

use crate::metric::{Kind, Metric, named};

/// What the sockets of a thread did, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// System calls for them: with io_uring `io_uring_enter`, those of sleeping included.
    pub enters: u64,
    /// Sends that the program asked for.
    pub sends: u64,
    /// Further sends for the rest of one that the kernel took in part.
    pub sends_continued: u64,
    /// Times that a connection found no receive buffer free and had to wait for one.
    pub enobufs: u64,
    /// Times that completions were found waiting outside of a full completion queue.
    pub cq_overflows: u64,
    /// Queries of a send queue's length that the kernel refused.
    pub unsent_failed: u64,
}

impl SocketCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter(
            "fanwire_ring_enters",
            "System calls for the shards' sockets; with io_uring those of sleeping too",
            |c| c.enters,
        ),
        Metric::counter("fanwire_ring_sends", "Sends begun", |c| c.sends),
        Metric::counter(
            "fanwire_ring_sends_continued",
            "Further sends for what the kernel took in part",
            |c| c.sends_continued,
        ),
        Metric::counter(
            "fanwire_ring_receive_waits",
            "Times that a connection waited for a free receive buffer",
            |c| c.enobufs,
        ),
        Metric::counter(
            "fanwire_ring_overflows",
            "Times that completions did not fit the completion queue",
            |c| c.cq_overflows,
        ),
    ];
}

/// What TLS did, counted since the start; the last two are of now.
#[derive(Debug, Default, Clone, Copy)]
pub struct TlsCounters {
    pub handshakes: u64,
    /// Of them with a ticket of an earlier one.
    pub resumed: u64,
    /// By [`TlsFailure`].
    pub failed: [u64; TlsFailure::ALL.len()],
    /// Handshake messages put off to a later turn, and records that are short for want of sealed bytes.
    pub deferred: u64,
    pub shortened: u64,
    /// Bytes received, as they came over the wire.
    pub received_bytes: u64,
    pub sessions: u64,
    pub sealed_bytes: u64,
}

impl TlsCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge("fanwire_tls_sessions", "Connections that speak TLS", |c| c.sessions),
        Metric::gauge("fanwire_tls_sealed_bytes", "Sealed bytes the kernel has not taken", |c| {
            c.sealed_bytes
        }),
        Metric::counter("fanwire_tls_handshakes", "TLS handshakes that ended well", |c| c.handshakes),
        Metric::counter("fanwire_tls_resumed", "Of them with a ticket of an earlier one", |c| c.resumed),
        Metric::by(Kind::Counter, "fanwire_tls_failed", "TLS sessions that failed", "reason", |c| {
            named(TlsFailure::ALL.map(TlsFailure::name), &c.failed)
        }),
        Metric::counter(
            "fanwire_tls_deferred",
            "Handshake messages put off, since a turn answers [limits] handshakes_per_turn",
            |c| c.deferred,
        ),
        Metric::counter(
            "fanwire_tls_shortened",
            "Records that are short, since there were [limits] sealed_bytes",
            |c| c.shortened,
        ),
    ];
}

/// What came of connections that have to begin with a PROXY header, counted since the start; `waiting` is of now.
#[derive(Debug, Default, Clone, Copy)]
pub struct ProxyCounters {
    /// Whole ones that were read.
    pub headers: u64,
    /// By [`ProxyFailure`].
    pub refused: [u64; ProxyFailure::ALL.len()],
    /// Connections whose header is not whole, or that are being closed for want of one.
    pub waiting: u64,
}

impl ProxyCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge("fanwire_proxy_waiting", "Connections whose PROXY header is not whole yet", |c| {
            c.waiting
        }),
        Metric::counter("fanwire_proxy_headers", "PROXY headers read", |c| c.headers),
        Metric::by(
            Kind::Counter,
            "fanwire_proxy_refused",
            "Connections closed without a word, since no trusted proxy's header began them",
            "reason",
            |c| named(ProxyFailure::ALL.map(ProxyFailure::name), &c.refused),
        ),
    ];
}

/// Why a connection that has to begin with a PROXY header was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum ProxyFailure {
    /// Its peer is none of the trusted proxies.
    Untrusted,
    /// It begins with something else.
    Missing,
    /// It begins as a header does, and is none.
    Malformed,
    /// A line of more than 107 bytes, or a block of more than 4 KiB.
    TooLong,
    /// The header was not whole in time.
    Late,
    /// The peer ended before.
    Ended,
}

impl ProxyFailure {
    pub const ALL: [ProxyFailure; 6] = [
        ProxyFailure::Untrusted,
        ProxyFailure::Missing,
        ProxyFailure::Malformed,
        ProxyFailure::TooLong,
        ProxyFailure::Late,
        ProxyFailure::Ended,
    ];

    /// For a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            ProxyFailure::Untrusted => "untrusted",
            ProxyFailure::Missing => "missing",
            ProxyFailure::Malformed => "malformed",
            ProxyFailure::TooLong => "too_long",
            ProxyFailure::Late => "late",
            ProxyFailure::Ended => "ended",
        }
    }
}

/// Why a session failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum TlsFailure {
    /// The peer spoke HTTP without TLS.
    PlainHttp,
    /// No version, cipher suite or key share in common.
    Incompatible,
    /// A certificate that is missing or not accepted.
    Certificate,
    /// The peer gave up, with an alert that says why.
    Alert,
    /// A record that is not TLS, or cannot be decrypted.
    Malformed,
    /// A handshake message of more than 64 KiB.
    TooLong,
}

impl TlsFailure {
    pub const ALL: [TlsFailure; 6] = [
        TlsFailure::PlainHttp,
        TlsFailure::Incompatible,
        TlsFailure::Certificate,
        TlsFailure::Alert,
        TlsFailure::Malformed,
        TlsFailure::TooLong,
    ];

    /// For a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            TlsFailure::PlainHttp => "plain_http",
            TlsFailure::Incompatible => "incompatible",
            TlsFailure::Certificate => "certificate",
            TlsFailure::Alert => "alert",
            TlsFailure::Malformed => "malformed",
            TlsFailure::TooLong => "too_long",
        }
    }
}
