//! What every connection puts on the wire and takes from it.

use proto::Limits;

/// The gateway's parts are far smaller; other servers may send what they like.
pub const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 20 };

/// A mask for one frame.
pub fn key() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}
