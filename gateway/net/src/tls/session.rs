//! One connection's TLS: records in and out, between the events of its socket. No IO.

use std::{io, sync::Arc};

use bytes::{Buf, Bytes};
use rustls::{
    ClientConfig, Error, HandshakeKind, ServerConfig, client::UnbufferedClientConnection,
    pki_types::ServerName, server::UnbufferedServerConnection,
};

use super::{
    METHOD_BYTES,
    outcome::{Outcome, RECORD_EXTRA_BYTES, Traffic, failure_of, handle, seal},
    side::Side,
};
use crate::counters::TlsFailure;

/// RFC 8446, 5.1: of plaintext in a record.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// What may be sealed for every connection, also when there is no room: who does not read keeps nobody else
/// waiting.
const RECORD_BYTES_MIN: usize = 1 << 10;
/// Of a record or a handshake message that came in part, or waits for its turn: a client's certificates are
/// the longest.
const INCOMING_BYTES_MAX: usize = 64 << 10;
/// The alert decode_error (RFC 8446, 6.2) as it goes before anything is encrypted.
pub const ALERT_DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// What came of received bytes.
#[derive(Debug)]
pub enum Step {
    Goes,
    /// The peer will send no more.
    Ended,
    Failed {
        failure: TlsFailure,
        error: io::Error,
    },
}

/// What the socket is to do.
#[derive(Debug)]
pub enum Next {
    Nothing,
    /// `is_short`: for want of room the record is shorter than it could be.
    Send {
        bytes: Bytes,
        is_short: bool,
    },
    Shutdown,
}

/// What lies in the socket's send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    None,
    /// Sealed bytes, and whether some of them are the user's.
    Sealed {
        bytes: usize,
        of_user: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    /// What comes is not looked at any more.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// After what there is to send.
    Wanted,
    Done,
}

#[derive(Debug)]
pub struct Session {
    /// Of the slot that it is in.
    pub generation: u32,
    side: Side,
    phase: Phase,
    flight: Flight,
    end: End,
    /// It waits for its handshake's turn.
    is_deferred: bool,
    /// Nothing comes after what waits.
    is_ended: bool,
    /// A record of the peer was read.
    has_heard: bool,
    /// Something was sent.
    has_spoken: bool,
    /// Records that came in part, or wait for their turn.
    incoming: Vec<u8>,
    /// Handshake messages and alerts to be sent.
    control: Vec<u8>,
    /// What is left of the user's send; `Some` until its last byte lies in the kernel.
    user: Option<Bytes>,
}

impl Session {
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::new(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self::new(Side::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    fn new(side: Side) -> Self {
        Self {
            generation: 0,
            side,
            phase: Phase::Handshake,
            flight: Flight::None,
            end: End::No,
            is_deferred: false,
            is_ended: false,
            has_heard: false,
            has_spoken: false,
            incoming: Vec::new(),
            control: Vec::new(),
            user: None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub fn is_client(&self) -> bool {
        matches!(self.side, Side::Client(_))
    }

    /// The peer's own, without those that vouch for it.
    pub fn certificate(&self) -> Option<&[u8]> {
        let Side::Server(server) = &self.side else { return None };
        server.peer_certificates()?.first().map(|own| &**own)
    }

    pub fn is_resumed(&self) -> bool {
        let kind = match &self.side {
            Side::Server(conn) => conn.handshake_kind(),
            Side::Client(conn) => conn.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }

    /// Of the send in flight.
    pub fn sealed_bytes(&self) -> usize {
        match self.flight {
            Flight::None => 0,
            Flight::Sealed { bytes, .. } => bytes,
        }
    }

    /// Whether handshake bytes can be kept for a later turn.
    pub fn can_defer(&self, bytes: &[u8]) -> bool {
        self.phase == Phase::Handshake && self.incoming.len() + bytes.len() <= INCOMING_BYTES_MAX
    }

    /// Keeps them. `false`: it waits for its turn already.
    pub fn defer(&mut self, bytes: &[u8]) -> bool {
        self.incoming.extend_from_slice(bytes);
        !std::mem::replace(&mut self.is_deferred, true)
    }

    /// Keeps the peer's end behind the bytes that wait. `false`: none do.
    pub fn defer_end(&mut self) -> bool {
        self.is_ended |= self.is_deferred;
        self.is_deferred
    }

    /// Whether an end was kept; it becomes an event now.
    pub fn take_end(&mut self) -> bool {
        std::mem::take(&mut self.is_ended)
    }

    /// Of TLS itself, to be sent.
    pub fn control_bytes(&self) -> usize {
        self.control.len()
    }

    /// Takes received bytes, and appends what they say to `plain`.
    pub fn receive(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Step {
        self.is_deferred = false;
        if self.phase == Phase::Dead {
            return Step::Goes;
        }
        if !self.has_heard && !self.is_client() && super::may_be_http(&self.incoming, bytes) {
            if self.incoming.len() + bytes.len() < METHOD_BYTES {
                self.incoming.extend_from_slice(bytes);
                return Step::Goes;
            }
            self.incoming.extend_from_slice(bytes);
            self.refuse_http();
            let error = io::Error::new(io::ErrorKind::InvalidData, "HTTP without TLS on the TLS listener");
            return Step::Failed { failure: TlsFailure::PlainHttp, error };
        }
        let step = if self.incoming.is_empty() {
            // Mostly whole records come: they are opened where they lie.
            let (used, step) = self.process(bytes, plain);
            self.incoming.extend_from_slice(&bytes[used..]);
            step
        } else {
            let mut incoming = std::mem::take(&mut self.incoming);
            incoming.extend_from_slice(bytes);
            let (used, step) = self.process(&mut incoming, plain);
            if used < incoming.len() {
                incoming.drain(..used);
                self.incoming = incoming;
            }
            step
        };
        if self.phase == Phase::Dead {
            self.incoming = Vec::new();
        } else if self.incoming.len() > INCOMING_BYTES_MAX {
            return self.refuse_length();
        }
        step
    }

    /// No record is so long, and no message has to be.
    fn refuse_length(&mut self) -> Step {
        let mut incoming = std::mem::take(&mut self.incoming);
        let text = format!("a TLS message of more than {} bytes in part", INCOMING_BYTES_MAX);
        self.fail(&mut incoming);
        Step::Failed { failure: TlsFailure::TooLong, error: io::Error::new(io::ErrorKind::InvalidData, text) }
    }

    /// Looks at records until there is no whole one. Gives the bytes used.
    fn process(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> (usize, Step) {
        let mut used = 0;
        let mut is_ended = false;
        loop {
            let rest = &mut bytes[used..];
            let (discard, outcome) = match &mut self.side {
                Side::Server(conn) => handle(conn.process_tls_records(rest), &mut self.control, plain),
                Side::Client(conn) => handle(conn.process_tls_records(rest), &mut self.control, plain),
            };
            used += discard;
            self.has_heard |= discard > 0;
            match outcome {
                Ok(Outcome::Goes) => {}
                Ok(Outcome::PeerClosed) => is_ended = true,
                Ok(Outcome::Waits) => {
                    let handshaking = match &self.side {
                        Side::Server(conn) => conn.is_handshaking(),
                        Side::Client(conn) => conn.is_handshaking(),
                    };
                    if !handshaking {
                        self.phase = Phase::Open;
                    }
                    return (used, if is_ended { Step::Ended } else { Step::Goes });
                }
                Err(error) => {
                    self.fail(&mut bytes[used..]);
                    let failure = failure_of(&error);
                    let error = io::Error::new(io::ErrorKind::InvalidData, error);
                    return (used, Step::Failed { failure, error });
                }
            }
        }
    }

    /// Nothing more is read; the alert that says why is sent, and then the end. `rest`: what rustls was
    /// looking at, which it has places in.
    fn fail(&mut self, rest: &mut [u8]) {
        (self.phase, self.user) = (Phase::Dead, None);
        if self.end != End::No {
            // It has said already that nothing more comes from it.
            return;
        }
        // What was to be said before the failure and the alert stand in line, each a piece of its own. They
        // come first; what rustls says after them is the same error again, or nothing more.
        let (mut used, mut nothing) = (0, Vec::new());
        loop {
            let rest = &mut rest[used..];
            let (discard, outcome) = match &mut self.side {
                Side::Server(conn) => handle(conn.process_tls_records(rest), &mut self.control, &mut nothing),
                Side::Client(conn) => handle(conn.process_tls_records(rest), &mut self.control, &mut nothing),
            };
            used += discard;
            if !matches!(outcome, Ok(Outcome::Goes)) {
                break;
            }
        }
        if self.control.is_empty() && !self.has_spoken {
            // rustls has no alert for some of what it refuses.
            self.control.extend_from_slice(&ALERT_DECODE_ERROR);
        }
        self.end = End::Wanted;
    }

    fn refuse_http(&mut self) {
        self.phase = Phase::Dead;
        self.end = End::Wanted;
        self.control = super::answer_to_http(&std::mem::take(&mut self.incoming));
    }

    /// The user's send begins.
    pub fn send(&mut self, bytes: Bytes) {
        assert!(self.user.is_none(), "a send is in flight already");
        self.user = Some(bytes);
    }

    pub fn shutdown(&mut self) {
        if self.end == End::No {
            self.end = End::Wanted;
            if self.phase == Phase::Open {
                self.seal(|traffic, out| traffic.close_notify(out));
            }
        }
    }

    /// Of the send in flight something lies in the kernel, all with `done`: whether it is the user's, how
    /// many sealed bytes are free now, and whether more of the user's is to come.
    pub fn sent(&mut self, done: bool) -> (bool, usize, bool) {
        let Flight::Sealed { bytes, of_user } = self.flight else { return (false, 0, false) };
        if !done {
            return (of_user, 0, true);
        }
        self.flight = Flight::None;
        let rest = self.user.as_ref().is_some_and(Bytes::has_remaining);
        if !rest && of_user {
            self.user = None;
        }
        (of_user, bytes, rest)
    }

    /// What the socket is to do now. `room`: bytes that may be sealed.
    pub fn next(&mut self, room: usize) -> Next {
        if self.flight != Flight::None {
            return Next::Nothing;
        }
        if self.end == End::Done {
            // Whatever the peer asks for now.
            self.control = Vec::new();
            return Next::Nothing;
        }
        let left = self.user.as_ref().map_or(0, Bytes::len).min(RECORD_BYTES_MAX);
        let most = room.saturating_sub(RECORD_EXTRA_BYTES).max(RECORD_BYTES_MIN);
        let of_user = self.phase == Phase::Open && left > 0 && self.seal_user(left.min(most));
        if !self.control.is_empty() {
            self.has_spoken = true;
            let bytes = Bytes::from(std::mem::take(&mut self.control));
            self.flight = Flight::Sealed { bytes: bytes.len(), of_user };
            return Next::Send { bytes, is_short: of_user && left > most };
        }
        if self.end == End::Wanted && self.user.is_none() {
            self.end = End::Done;
            return Next::Shutdown;
        }
        Next::Nothing
    }

    /// Appends a record with the user's next `count` bytes to what is sent.
    fn seal_user(&mut self, count: usize) -> bool {
        let Some(mut user) = self.user.take() else { return false };
        let sealed = self.seal(|traffic, out| traffic.encrypt(&user[..count], out));
        if sealed {
            user.advance(count);
        }
        self.user = Some(user);
        sealed
    }

    /// Appends to what is sent. `false`: nothing may be sealed now.
    fn seal(&mut self, write: impl Fn(&mut dyn Traffic, &mut Vec<u8>)) -> bool {
        let (mut incoming, mut plain) = (std::mem::take(&mut self.incoming), Vec::new());
        let sealed = loop {
            let (discard, outcome) = match &mut self.side {
                Side::Server(conn) => {
                    seal(conn.process_tls_records(&mut incoming), &mut self.control, &mut plain, &write)
                }
                Side::Client(conn) => {
                    seal(conn.process_tls_records(&mut incoming), &mut self.control, &mut plain, &write)
                }
            };
            incoming.drain(..discard);
            match outcome {
                Ok(Some(sealed)) => break sealed,
                Ok(None) => {}
                Err(_) => break false,
            }
        };
        debug_assert!(plain.is_empty(), "whole records are read as they come");
        self.incoming = incoming;
        sealed
    }
}
