//! Where a connection stands with the gateway's own ping.

/// Where a connection stands with the gateway's own ping (RFC 6455, section 5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    None,
    /// Being sent.
    Sending,
    /// In the kernel since then (µs, monotonic); the send queue after it is to be asked for.
    Sent {
        since_us: u64,
    },
    /// The same, with that many bytes in the send queue after it, once known.
    Waiting {
        since_us: u64,
        unsent: Option<u32>,
    },
}

/// An empty, unmasked ping frame.
pub(super) const FRAME: &[u8] = &[0x89, 0];
