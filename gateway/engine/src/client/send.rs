//! What is to be done with the socket: one send at a time, and what follows when it is done.

use bytes::Bytes;

use super::{ClientLimits, CloseReason, Connection, Hold, State, ping::Ping};
use crate::{clock::Now, invariant, protocol::fragment};

/// A send that takes longer was waiting for the peer, so that its end is a sign of life.
const PENDING_US: u64 = 50_000;

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Nothing, until something else has come.
    Wait,
    Send(Bytes),
    /// Input that was held is to be given to [`Connection::receive`].
    Receive(Vec<u8>),
    /// The socket is to receive again.
    Resume,
    /// The socket is to say what lies in its send queue, for [`Connection::unsent`].
    QueryUnsent,
    /// The socket is to be half-closed.
    Shutdown,
    /// It is to be hung up.
    HangUp(CloseReason),
    /// The client has all that was queued: what it is owed beside may be given.
    Free,
}

impl Connection {
    /// The next thing to do. To be called after everything that may have changed it, until it says
    /// [`Next::Wait`], or [`Next::Free`] and nothing is given.
    pub fn next(&mut self, limits: &ClientLimits, now: Now) -> Next {
        if let Ping::Sent { since_us } = self.ping {
            self.ping = Ping::Waiting { since_us, unsent: None };
            return Next::QueryUnsent;
        }
        if self.state == State::Closed {
            return Next::Wait;
        }
        if self.is_half_closed {
            return if std::mem::take(&mut self.is_paused) { Next::Resume } else { Next::Wait };
        }
        if self.in_flight {
            return Next::Wait;
        }
        if let Some(waiting) = &mut self.waiting {
            let reads = self.hold == Hold::Nothing && self.state < State::Closing;
            if !waiting.rest.is_empty() {
                return self.go_on(reads, limits, now);
            }
            waiting.settle_pongs();
            if let Some(bytes) = waiting.queue.pop_front() {
                let bytes = self.first_of(bytes, limits.fragment_bytes);
                self.tidy();
                return Next::Send(self.begin_send(bytes, now));
            }
            if reads && !waiting.held.is_empty() {
                return Next::Receive(std::mem::take(&mut waiting.held));
            }
        }
        if self.hold == Hold::All {
            return Next::Wait;
        }
        self.tidy();
        self.rest(now)
    }

    /// Between two frames of what is being sent: what the client said meanwhile is read, so that its pings are
    /// answered before the next.
    fn go_on(&mut self, reads: bool, limits: &ClientLimits, now: Now) -> Next {
        let waiting = self.waiting.as_mut().expect("what is left waits there");
        if reads && !waiting.is_full() {
            if !waiting.held.is_empty() {
                return Next::Receive(std::mem::take(&mut waiting.held));
            }
            if std::mem::take(&mut self.is_paused) {
                self.heard_us = now.mono_us;
                return Next::Resume;
            }
        }
        let bytes = if waiting.pongs.is_empty() {
            let rest = std::mem::take(&mut waiting.rest);
            self.first_of(rest, limits.fragment_bytes)
        } else {
            std::mem::take(&mut waiting.pongs).into()
        };
        self.tidy();
        Next::Send(self.begin_send(bytes, now))
    }

    /// As much of whole frames as is sent together; the rest waits.
    #[inline]
    fn first_of(&mut self, bytes: Bytes, fragment_bytes: usize) -> Bytes {
        if fragment::is_long(&bytes, fragment_bytes) && !self.is_stream() {
            return self.cut(bytes, fragment_bytes);
        }
        bytes
    }

    /// The first piece. What is left is boxed: the one allocation of what is longer than a fragment.
    #[cold]
    fn cut(&mut self, mut rest: Bytes, fragment_bytes: usize) -> Bytes {
        // An answer to a request. As a frame it would be a close in fragments, of which there are none.
        if rest.starts_with(b"HTTP") {
            return rest;
        }
        let piece = rest.split_to(fragment::piece_bytes(&rest, fragment_bytes));
        if !rest.is_empty() {
            self.waiting.get_or_insert_default().rest = rest;
        }
        piece
    }

    /// Nothing is left to send or to read.
    fn rest(&mut self, now: Now) -> Next {
        let reads = self.hold == Hold::Nothing;
        match self.state {
            State::Connecting | State::Closed => Next::Wait,
            State::Open if reads && self.is_paused => {
                self.is_paused = false;
                // What it said meanwhile comes only now.
                self.heard_us = now.mono_us;
                Next::Resume
            }
            State::Open if reads && self.peer_done => Next::HangUp(CloseReason::ClientClosed),
            State::Open => Next::Free,
            State::Closing if self.peer_done => Next::HangUp(CloseReason::ClientClosed),
            State::Closing => {
                self.half_close(now);
                Next::Shutdown
            }
        }
    }

    /// Takes a frame of the fan-out; what it gives is to be sent now. To be called when it [is free](Self::is_free).
    #[inline]
    pub fn give(&mut self, frame: Bytes, fragment_bytes: usize, now: Now) -> Bytes {
        invariant!(self.is_free(), "a frame for a connection that sends another");
        let bytes = self.first_of(frame, fragment_bytes);
        self.begin_send(bytes, now)
    }

    #[inline]
    pub(super) fn begin_send(&mut self, bytes: Bytes, now: Now) -> Bytes {
        invariant!(!self.in_flight && self.state != State::Closed, "two sends at once, or one after the end");
        self.in_flight = true;
        self.progress_us = now.mono_us;
        bytes
    }

    /// Bytes of the send under way went to the kernel; `done`: the last of them.
    pub fn sent(&mut self, bytes: u32, done: bool, now: Now) {
        self.ping.sends(bytes, self.wire.encoding.is_stream());
        if !done || now.mono_us > self.progress_us + PENDING_US {
            self.moved_us = now.mono_us;
        }
        self.progress_us = now.mono_us;
        if done {
            self.in_flight = false;
            if self.ping == Ping::Sending {
                self.ping = Ping::Sent { since_us: now.mono_us };
            }
        }
    }

    /// The peer sends no more. Some: it is to be hung up for it; else what is queued still goes out.
    pub fn receive_ended(&mut self, failed: bool) -> Option<CloseReason> {
        self.peer_done = true;
        match self.state {
            State::Closed => None,
            _ if failed => Some(CloseReason::SocketError),
            State::Connecting => Some(CloseReason::ClientClosed),
            State::Closing if self.is_half_closed => Some(CloseReason::ClientClosed),
            State::Open | State::Closing => None,
        }
    }

    /// Gives memory back when nothing waits.
    fn tidy(&mut self) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_over()) {
            self.waiting = None;
        }
    }
}
