//! What every connection puts on the wire and takes from it.

use proto::{Limits, encode, msgpack};

/// The gateway's parts are far smaller; other servers may send what they like.
pub const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 20 };

/// A mask for one frame.
pub fn key() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}

/// Queues an op of Fanwire's protocol, which is JSON.
pub fn ask(outbox: &mut Vec<u8>, op: &str, as_msgpack: bool) {
    if !as_msgpack {
        return encode::masked_frame(outbox, encode::Opcode::Text, op.as_bytes(), key());
    }
    let mut packed = Vec::with_capacity(op.len());
    msgpack::from_json(op.as_bytes(), &mut packed).expect("it was just written");
    encode::masked_frame(outbox, encode::Opcode::Binary, &packed, key());
}
