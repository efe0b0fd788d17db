//! How messages reach a client, as was agreed in its handshake.

use proto::{
    encode::{self, HEADER_BYTES_MAX, Opcode},
    msgpack,
};

/// Clients that differ in it share no frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wire {
    pub encoding: Encoding,
    /// permessage-deflate with a window of 2 to this power; `None`: frames are sent as they are.
    pub window_bits: Option<u8>,
}

/// What a message, which is JSON, becomes on the way out.
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

    /// Appends one message, whose payload is `json`, in frames with at most `fragment_bytes` of payload each.
    pub fn frame(self, json: &[u8], fragment_bytes: usize, out: &mut Vec<u8>) {
        let mut packed = Vec::new();
        let payload = match self {
            Encoding::Json => json,
            Encoding::Msgpack => {
                packed.reserve(json.len());
                msgpack::from_json(json, &mut packed).expect("the gateway's own messages are JSON");
                &packed
            }
        };
        encode::fragments(out, self.opcode() as u8, payload, fragment_bytes);
    }

    /// One message, whose payload is `json`.
    pub fn framed(self, json: &[u8], fragment_bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(json.len() + HEADER_BYTES_MAX);
        self.frame(json, fragment_bytes, &mut out);
        out
    }
}
