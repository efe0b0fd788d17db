//! Where a connection stands with the gateway's own ping. A stream is not pinged: there only the socket's send queue
//! tells whether the client is there.

use super::ClientLimits;

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

impl Ping {
    /// Bytes went to the socket: the send queue of a stream is so much longer, unless something leaves it.
    pub fn sends(&mut self, bytes: u32, is_stream: bool) {
        if let (true, Ping::Waiting { unsent: Some(unsent), .. }) = (is_stream, self) {
            *unsent = unsent.saturating_add(bytes);
        }
    }
}

/// How often it is looked whether what a stream was sent has left the send queue.
pub(super) fn look_us(limits: &ClientLimits) -> u64 {
    limits.pong_us / 4
}

/// An empty, unmasked ping frame.
pub(super) const FRAME: &[u8] = &[0x89, 0];
