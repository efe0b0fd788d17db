//! What one connection may do, in the units it computes with.

use std::time::Duration;

use proto::deflate::InflateLimits;

use super::RateLimit;
use crate::{protocol::fragment::FRAGMENT_BYTES, settings};

/// Of a request head; PROTOCOL.md says so, and that a longer one is refused with 431.
pub const HEAD_BYTES: usize = 16 << 10;

/// Limits of a connection. Times in µs.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    pub proto: proto::Limits,
    pub inflate: InflateLimits,
    /// Messages, and control frames.
    pub messages: RateLimit,
    pub controls: RateLimit,
    pub handshake_us: u64,
    pub idle_us: u64,
    /// Of a subscriber; `u64::MAX`: it may be silent.
    pub silent_us: u64,
    pub ping_us: u64,
    pub pong_us: u64,
    pub stall_us: u64,
    /// Whole frames that are sent together, and the longest payload of one.
    pub fragment_bytes: usize,
}

impl ClientLimits {
    pub fn new(limits: &settings::Limits, compression: &settings::Compression) -> Self {
        let us = |duration: Duration| duration.as_micros() as u64;
        let message_bytes = limits.message_bytes;
        Self {
            proto: proto::Limits { head_bytes: HEAD_BYTES, headers: 64, message_bytes },
            inflate: InflateLimits { message_bytes, ratio: compression.inflate_ratio },
            messages: RateLimit::per_s(limits.messages_per_s),
            controls: RateLimit::per_s(limits.control_per_s),
            handshake_us: us(limits.handshake),
            idle_us: us(limits.idle),
            silent_us: Some(us(limits.idle_subscribed)).filter(|us| *us > 0).unwrap_or(u64::MAX),
            ping_us: us(limits.ping),
            pong_us: us(limits.pong),
            stall_us: us(limits.stall),
            fragment_bytes: FRAGMENT_BYTES,
        }
    }
}
