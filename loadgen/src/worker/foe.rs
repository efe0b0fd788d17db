//! A connection that misbehaves, beside those that are measured: it comes again as often as the
//! server ends it, and how the server did is counted.

use bytes::Bytes;
use net::ConnId;
use proto::{Conn, encode};

use super::wire::{LIMITS, key};
use crate::args::{Args, Hostile, template::Fill};

const GARBAGE_BYTES: usize = 256;
/// What an oversized message says of itself, and what comes of it.
const ANNOUNCED_BYTES: usize = 1 << 30;
const OVERSIZED_BYTES: usize = 4096;

/// One hostile connection.
#[derive(Debug)]
pub struct Foe {
    pub kind: Hostile,
    pub conn: Option<ConnId>,
    /// Counts connects.
    pub attempt: u32,
    proto: Conn,
    /// What the handshake would say.
    request: Bytes,
    /// Bytes of it that were sent, for a slow handshake.
    at: usize,
    /// What the server said before it ended the connection.
    pub told: Option<String>,
}

impl Foe {
    pub fn new(kind: Hostile) -> Self {
        Self {
            kind,
            conn: None,
            attempt: 0,
            proto: Conn::client([0; 16]),
            request: Bytes::new(),
            at: 0,
            told: None,
        }
    }

    /// `number`: among all connections, after those that are measured.
    pub fn connecting(&mut self, conn: ConnId, number: u32, args: &Args) {
        let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        let mut request = Vec::new();
        args.opening.request(&mut request, nonce, false, &Fill { conn: number, ..Fill::default() });
        self.proto = Conn::client(nonce);
        self.request = request.into();
        self.conn = Some(conn);
        self.attempt = self.attempt.wrapping_add(1);
        (self.at, self.told) = (0, None);
    }

    /// What it says as soon as it is connected.
    pub fn opening(&self) -> Bytes {
        match self.kind {
            Hostile::HalfOpen | Hostile::SlowHandshake => Bytes::new(),
            Hostile::Garbage if self.attempt.is_multiple_of(2) => garbage(),
            Hostile::Garbage | Hostile::Oversized => self.request.clone(),
        }
    }

    /// What it says once the handshake is done.
    pub fn attack(&self) -> Bytes {
        match self.kind {
            Hostile::Oversized => {
                let mut message = encode::header(encode::Opcode::Text, true, ANNOUNCED_BYTES).to_vec();
                message[1] |= 0x80;
                message.extend_from_slice(&key());
                message.resize(message.len() + OVERSIZED_BYTES, b'x');
                message.into()
            }
            _ => garbage(),
        }
    }

    /// The next byte of a slow handshake.
    pub fn step(&mut self) -> Bytes {
        let at = self.at.min(self.request.len());
        self.at = (at + 1).min(self.request.len());
        self.request.slice(at..self.at)
    }

    /// Takes what the server says. `true`: the handshake is done.
    pub fn receive(&mut self, bytes: &mut [u8]) -> bool {
        let (mut at, mut open) = (0, false);
        while at < bytes.len() {
            let received = self.proto.receive(&mut bytes[at..], &LIMITS);
            at += received.used;
            let told = match received.event {
                Some(proto::Event::Response(_)) => {
                    open = true;
                    continue;
                }
                Some(proto::Event::Refused { status, .. }) => format!("HTTP {status}"),
                Some(proto::Event::Close(Some(close))) => format!("close {}", close.code),
                Some(proto::Event::Close(None)) => "close without a code".into(),
                Some(proto::Event::HandshakeFailed(_) | proto::Event::Fail(_)) => {
                    "neither HTTP nor WebSocket".into()
                }
                _ => continue,
            };
            self.told.get_or_insert(told);
        }
        open
    }
}

fn garbage() -> Bytes {
    std::iter::repeat_with(|| fastrand::u8(..)).take(GARBAGE_BYTES).collect()
}

/// The foes of one thread.
pub fn foes(args: &Args, thread: usize, threads: usize) -> Vec<Foe> {
    let kind = |index: usize| args.hostile_kinds[index % args.hostile_kinds.len()];
    (thread..args.hostile as usize).step_by(threads).map(|index| Foe::new(kind(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(kind: Hostile, attempt: u32) -> Foe {
        let mut foe = Foe::new(kind);
        foe.request = Bytes::from_static(b"GET /ws HTTP/1.1\r\n\r\n");
        foe.attempt = attempt;
        foe
    }

    #[test]
    fn a_slow_handshake_is_the_request_byte_by_byte_and_then_nothing() {
        let mut foe = connected(Hostile::SlowHandshake, 1);
        assert!(foe.opening().is_empty());
        let said: Vec<u8> =
            std::iter::repeat_with(|| foe.step()).take_while(|byte| !byte.is_empty()).flatten().collect();
        assert_eq!(said, foe.request);
    }

    #[test]
    fn an_oversized_message_announces_a_gibibyte_and_is_masked() {
        let attack = connected(Hostile::Oversized, 1).attack();
        assert_eq!(attack[..2], [0x81, 0xff]);
        assert_eq!(u64::from_be_bytes(attack[2..10].try_into().unwrap()), 1 << 30);
        assert_eq!(attack.len(), 10 + 4 + OVERSIZED_BYTES);
    }

    #[test]
    fn garbage_comes_in_place_of_the_request_and_after_it_in_turn() {
        let (first, second) = (connected(Hostile::Garbage, 1), connected(Hostile::Garbage, 2));
        assert_eq!((first.opening(), first.attack().len()), (first.request.clone(), GARBAGE_BYTES));
        assert_eq!(second.opening().len(), GARBAGE_BYTES);
    }

    #[test]
    fn what_the_server_says_is_kept_in_its_own_words() {
        let mut foe = connected(Hostile::Garbage, 2);
        let mut answer = *b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        assert!(!foe.receive(&mut answer));
        assert_eq!(foe.told.as_deref(), Some("HTTP 400"));
    }
}
