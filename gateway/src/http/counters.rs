//! What the admin listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

use net::metric::{Kind, Metric, named};

/// What had to wait or was cut off on the admin listener.
#[derive(Debug, Default)]
pub struct AdminCounters {
    /// Connections reset since all places were busy: they were the oldest in reserve, or too long there, or did not
    /// catch up with their answers, or their address held the most.
    pub connections_reset: AtomicU64,
    /// Idle connections closed for a new one.
    pub connections_evicted: AtomicU64,
    /// Requests refused with 503 on a connection in reserve.
    pub connections_refused: AtomicU64,
    /// Connections closed since no request came within `[limits] admin_idle`.
    pub connections_idle: AtomicU64,
    /// Connections closed since no whole request head, or TLS handshake, came within `[limits] handshake`.
    pub heads_late: AtomicU64,
    /// Handshakes of TLS that came to nothing.
    pub tls_failed: AtomicU64,
    /// Requests refused since they named another host or came from a page of another site.
    pub pages_refused: AtomicU64,
    /// Requests refused with 401, without a key or with one that is none, and with 403, since it may not do that.
    pub keys_unknown: AtomicU64,
    pub keys_refused: AtomicU64,
    /// Long bodies that waited for another one to end.
    pub publishes_waited: AtomicU64,
    /// Bodies refused with 408: by `[limits] admin_body`, and by `admin_bytes_per_s`.
    pub bodies_late: AtomicU64,
    pub bodies_slow: AtomicU64,
    /// Publishes refused with 503, since no inbox had room for so long.
    pub publishes_late: AtomicU64,
    /// Connections reset since their answer was read too slowly.
    pub answers_slow: AtomicU64,
    /// Requests refused with 503, since `[limits] admin_answer_bytes` were held.
    pub answers_refused: AtomicU64,
}

/// Of the bytes of [`Answers`](super::answers::Answers).
pub const ANSWERS: &[Metric<u64>] = &[Metric::gauge(
    "fanwire_admin_answer_bytes",
    "Bytes of long answers that readers of the admin listener hold",
    |bytes| *bytes,
)];

impl AdminCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter(
            "fanwire_admin_connections_reset",
            "Connections of the admin listener reset since all [limits] admin_connections were busy: the oldest or too long in reserve, or behind with reading answers",
            |c| c.connections_reset.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_connections_evicted",
            "Idle connections of the admin listener closed for a new one",
            |c| c.connections_evicted.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_connections_refused",
            "Requests of the admin listener refused with 503, since all [limits] admin_connections were busy",
            |c| c.connections_refused.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_heads_late",
            "Connections of the admin listener closed, since no whole request head came within [limits] handshake",
            |c| c.heads_late.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_connections_idle",
            "Connections of the admin listener closed, since they asked nothing for [limits] admin_idle",
            |c| c.connections_idle.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_pages_refused",
            "Requests of the admin listener refused, since they named another host or came from a page of another site",
            |c| c.pages_refused.load(Ordering::Relaxed),
        ),
        Metric::by(
            Kind::Counter,
            "fanwire_admin_keys_refused",
            "Requests of the admin listener refused for their key: none or an unknown one (401), or one that may not do this (403)",
            "status",
            |c| {
                let counts = [&c.keys_unknown, &c.keys_refused].map(|count| count.load(Ordering::Relaxed));
                named(["401", "403"], &counts)
            },
        ),
        Metric::counter(
            "fanwire_admin_tls_failed",
            "TLS handshakes of the admin listener that failed",
            |c| c.tls_failed.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_publishes_waited",
            "Bodies over 64 KiB that waited, since there were [limits] admin_publishes of them",
            |c| c.publishes_waited.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_bodies_late",
            "Publishes refused, since their body took longer than [limits] admin_body",
            |c| c.bodies_late.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_bodies_slow",
            "Bodies refused, since less of them came than [limits] admin_bytes_per_s",
            |c| c.bodies_slow.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_publishes_late",
            "Publishes refused with 503, since no inbox had room within [limits] admin_body",
            |c| c.publishes_late.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_answers_slow",
            "Connections of the admin listener reset, since they read less of an answer than [limits] admin_bytes_per_s",
            |c| c.answers_slow.load(Ordering::Relaxed),
        ),
        Metric::counter(
            "fanwire_admin_answers_refused",
            "Requests refused with 503, since [limits] admin_answer_bytes were held",
            |c| c.answers_refused.load(Ordering::Relaxed),
        ),
    ];
}
