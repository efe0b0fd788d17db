//! How messages reach a client, as was agreed in its handshake.

use bytes::Bytes;
use proto::{
    encode::{HEADER_BYTES_MAX, Opcode, header},
    msgpack,
};

/// Clients that differ in it share no frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wire {
    pub encoding: Encoding,
    /// permessage-deflate with a window of 2 to this power; `None`: frames are sent as they are.
    pub window_bits: Option<u8>,
}

/// Messages are JSON everywhere in the gateway; what they become on the way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `fanwire.json.v1`: text messages.
    #[default]
    Json,
    /// `fanwire.msgpack.v1`: the same objects as MessagePack, in binary messages.
    Msgpack,
}

impl Encoding {
    /// By subprotocol.
    pub fn of(subprotocol: &str) -> Option<Self> {
        [Encoding::Json, Encoding::Msgpack].into_iter().find(|encoding| encoding.subprotocol() == subprotocol)
    }

    pub fn subprotocol(self) -> &'static str {
        match self {
            Encoding::Json => "fanwire.json.v1",
            Encoding::Msgpack => "fanwire.msgpack.v1",
        }
    }

    pub fn opcode(self) -> Opcode {
        match self {
            Encoding::Json => Opcode::Text,
            Encoding::Msgpack => Opcode::Binary,
        }
    }

    /// One whole text frame with a message of the gateway, as it goes to a client that speaks this.
    pub fn frame(self, text: Bytes) -> Bytes {
        if self == Encoding::Json {
            return text;
        }
        let payload = match text[1] {
            126 => &text[4..],
            127 => &text[HEADER_BYTES_MAX..],
            _ => &text[2..],
        };
        let mut packed = Vec::with_capacity(payload.len());
        msgpack::from_json(payload, &mut packed).expect("the gateway's own messages are JSON");
        let mut frame = Vec::with_capacity(packed.len() + HEADER_BYTES_MAX);
        frame.extend_from_slice(&header(Opcode::Binary, true, packed.len()));
        frame.extend_from_slice(&packed);
        frame.into()
    }
}
