//! How messages reach a client, as was agreed in its handshake.

use proto::{
    encode::{self, HEADER_BYTES_MAX, Opcode},
    msgpack,
};

use super::{event, reply};

/// Clients that differ in it share no frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wire {
    pub encoding: Encoding,
    /// permessage-deflate with a window of 2 to this power; `None`: frames are sent as they are.
    pub window_bits: Option<u8>,
}

/// Of clients.
pub const KINDS: [&str; 4] = ["websocket", "sse", "ndjson", "raw"];

/// What a message, which is JSON, becomes on the way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `fanwire.json.v1`: text messages.
    #[default]
    Json,
    /// `fanwire.msgpack.v1`: the same objects as MessagePack, in binary messages.
    Msgpack,
    /// The same as server-sent events, over HTTP. `ids`: a whole batch or snapshot says where it takes its reader.
    Sse { ids: bool },
    /// The same as lines, over HTTP.
    Ndjson,
    /// Of each update its `data` alone, as a text message; nothing else is a message.
    Raw,
}

impl Wire {
    /// Whether what is sent is about as long as its JSON.
    pub fn is_plain(self) -> bool {
        self.window_bits.is_none() && self.encoding != Encoding::Msgpack
    }
}

impl Encoding {
    /// Encodings of whole messages.
    pub const WHOLE: usize = 4;

    /// By subprotocol.
    pub fn of(subprotocol: &str) -> Option<Self> {
        [Encoding::Json, Encoding::Msgpack]
            .into_iter()
            .find(|encoding| encoding.subprotocol() == Some(subprotocol))
    }

    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Encoding::Json => Some("fanwire.json.v1"),
            Encoding::Msgpack => Some("fanwire.msgpack.v1"),
            Encoding::Sse { .. } | Encoding::Ndjson | Encoding::Raw => None,
        }
    }

    /// Which of the [whole](Self::WHOLE) ones it is, where messages are alike.
    pub fn whole(self) -> Option<usize> {
        match self {
            Encoding::Json => Some(0),
            Encoding::Msgpack => Some(1),
            Encoding::Sse { .. } => Some(2),
            Encoding::Ndjson => Some(3),
            Encoding::Raw => None,
        }
    }

    /// What clients are told apart by where they are counted: an index into [`KINDS`].
    pub fn kind(self) -> usize {
        match self {
            Encoding::Json | Encoding::Msgpack => 0,
            Encoding::Sse { .. } => 1,
            Encoding::Ndjson => 2,
            Encoding::Raw => 3,
        }
    }

    /// The client gets an HTTP answer that goes on, and says nothing after its request.
    pub fn is_stream(self) -> bool {
        matches!(self, Encoding::Sse { .. } | Encoding::Ndjson)
    }

    /// The client may ask for other topics while it is connected.
    pub fn takes_ops(self) -> bool {
        matches!(self, Encoding::Json | Encoding::Msgpack)
    }

    /// Of WebSockets.
    pub fn opcode(self) -> Opcode {
        if self == Encoding::Msgpack { Opcode::Binary } else { Opcode::Text }
    }

    /// Appends one message, whose payload is `json`, in frames with at most `fragment_bytes` of payload each where it goes
    /// in frames.
    pub fn frame(self, json: &[u8], fragment_bytes: usize, out: &mut Vec<u8>) {
        match self {
            Encoding::Json => encode::fragments(out, self.opcode() as u8, json, fragment_bytes),
            Encoding::Msgpack => {
                let mut packed = Vec::with_capacity(json.len());
                msgpack::from_json(json, &mut packed).expect("the gateway's own messages are JSON");
                encode::fragments(out, self.opcode() as u8, &packed, fragment_bytes);
            }
            Encoding::Sse { .. } => {
                event::begin(out, event::name_of(json));
                out.extend_from_slice(json);
                event::end(out, None);
            }
            Encoding::Ndjson => {
                out.extend_from_slice(json);
                out.push(b'\n');
            }
            Encoding::Raw => {}
        }
    }

    /// One message, whose payload is `json`; empty where it is none.
    pub fn framed(self, json: &[u8], fragment_bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(json.len() + HEADER_BYTES_MAX);
        self.frame(json, fragment_bytes, &mut out);
        out
    }

    /// The last thing that is sent: a close frame, or what stands in its place.
    pub fn close(self, code: u16, reason: &str) -> Vec<u8> {
        if self.is_stream() {
            return self.framed(&reply::close(code, reason), 0);
        }
        let mut frame = Vec::with_capacity(4 + reason.len());
        encode::close(&mut frame, code, reason);
        frame
    }
}
