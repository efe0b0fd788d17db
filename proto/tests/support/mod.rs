//! A peer's bytes in, owned events out.
#![allow(dead_code)] // each test file uses its part

use proto::{
    Conn, Error, Event, HandshakeError, Limits, State,
    encode::{self, Opcode},
};

pub const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
pub const NONCE: [u8; 16] = *b"the sample nonce";

/// [`Event`] without its borrow; of heads only what tests compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Request {
        method: String,
        target: String,
        key: Result<String, u16>,
        protocols: Vec<String>,
    },
    BadRequest(u16),
    Response(Option<String>),
    Refused(u16, String),
    HandshakeFailed(HandshakeError),
    Text(String),
    Binary(Vec<u8>),
    /// Of text or not.
    Deflated(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fail(Error),
}

pub fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

pub fn close(code: u16, reason: &str) -> Seen {
    Seen::Close(Some((code, reason.to_owned())))
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Request(request) => {
                let upgrade = request.upgrade();
                Seen::Request {
                    method: request.method().to_owned(),
                    target: request.target().to_owned(),
                    key: upgrade.as_ref().map(|it| it.key().to_owned()).map_err(|refusal| refusal.status),
                    protocols: upgrade.iter().flat_map(|it| it.protocols()).map(str::to_owned).collect(),
                }
            }
            Event::BadRequest(refusal) => Seen::BadRequest(refusal.status),
            Event::Response(response) => Seen::Response(response.subprotocol().map(str::to_owned)),
            Event::Refused { status, reason, .. } => Seen::Refused(status, reason),
            Event::HandshakeFailed(error) => Seen::HandshakeFailed(error),
            Event::Text(text) => Seen::Text(text.to_owned()),
            Event::Binary(bytes) => Seen::Binary(bytes.to_vec()),
            Event::Deflated(message) => Seen::Deflated(message.is_text, message.bytes.to_vec()),
            Event::Ping(payload) => Seen::Ping(payload.to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.to_vec()),
            Event::Close(close) => Seen::Close(close.map(|close| (close.code, close.reason.to_owned()))),
            Event::Fail(error) => Seen::Fail(error),
        }
    }
}

/// Feeds one read's bytes, as a caller would. A server accepts every upgrade.
pub fn feed(conn: &mut Conn, bytes: &[u8], limits: &Limits) -> Vec<Seen> {
    let mut input = bytes.to_vec();
    let mut seen = Vec::new();
    let mut at = 0;
    loop {
        let received = conn.receive(&mut input[at..], limits);
        let used = received.used;
        let event = received.event.map(Seen::from);
        assert!(used > 0 || at == bytes.len(), "no progress at {at} of {}", bytes.len());
        at += used;
        let Some(event) = event else {
            if at == bytes.len() {
                return seen;
            }
            continue;
        };
        if matches!(event, Seen::Request { key: Ok(_), .. }) {
            conn.upgraded(None);
        }
        seen.push(event);
    }
}

pub fn open_server() -> Conn {
    let mut conn = Conn::server();
    conn.upgraded(None);
    assert_eq!(conn.state(), State::Open);
    conn
}

pub fn open_client() -> Conn {
    let mut conn = Conn::client(NONCE);
    let mut answer = Vec::new();
    proto::handshake::accept(&mut answer, &sent_key(), None, None);
    assert_eq!(feed(&mut conn, &answer, &LIMITS), [Seen::Response(None)]);
    assert_eq!(conn.state(), State::Open);
    conn
}

/// The key that a client with [`NONCE`] sends.
pub fn sent_key() -> String {
    let mut request = Vec::new();
    proto::handshake::request(&mut request, "host", "/", NONCE, &[], false);
    let request = String::from_utf8(request).unwrap();
    let line = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    line.unwrap().to_owned()
}

/// All events of what a client sends to an open server in one read.
pub fn server_sees(bytes: &[u8]) -> Vec<Seen> {
    feed(&mut open_server(), bytes, &LIMITS)
}

/// The index of the byte, fed one by one, with which the server fails, and how.
pub fn server_fails_at(bytes: &[u8], limits: &Limits) -> Option<(usize, Error)> {
    let mut conn = open_server();
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(Seen::Fail(error)) = feed(&mut conn, &[*byte], limits).pop() {
            return Some((at, error));
        }
    }
    None
}

/// A client's frame; `fin` and RSV bits are free.
pub fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::masked_frame(&mut out, Opcode::Binary, payload, KEY);
    out[0] = first;
    out
}

pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    fragment(0x80 | opcode as u8, payload)
}

/// A client's close frame with any payload.
pub fn masked_close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(Opcode::Close, &[&code.to_be_bytes(), reason].concat())
}

pub fn request_head(change: impl Fn(&mut Vec<String>)) -> Vec<u8> {
    let mut lines: Vec<String> = [
        "GET /ws?topics=a HTTP/1.1",
        "Host: gateway.test",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    .map(String::from)
    .into();
    change(&mut lines);
    lines.join("\r\n").into_bytes().into_iter().chain(*b"\r\n\r\n").collect()
}
