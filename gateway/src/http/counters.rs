//! What the admin listener counts.

use std::sync::atomic::AtomicU64;

/// What had to wait or was cut off on the admin listener.
#[derive(Debug, Default)]
pub struct Counters {
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
