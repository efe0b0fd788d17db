//! A connection as RFC 6455 sees it: where it stands, how it opens and how it ends. One whose request is answered by a
//! stream over HTTP goes through the same states.
//!
//! It knows no shard, no class and no socket. Bytes go in by [`Connection::receive`]; what is to be done
//! with the socket comes out of [`Connection::next`], what its timers want out of [`Connection::due`]. What
//! its client subscribed to stands beside it.

use bytes::Bytes;
use proto::deflate::Agreement;

use super::{CloseReason, Dictionary, ErrorWindow, Meter, ping::Ping, waiting::Waiting};
use crate::{clock::Now, invariant, protocol::encoding::Wire};

/// Where a connection stands (RFC 6455, sections 4 and 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Reading the request head.
    Connecting,
    /// A WebSocket, or an HTTP answer that goes on.
    Open,
    /// The last bytes, a close frame or the end of an HTTP answer, are on their way or were sent; input is discarded.
    Closing,
    /// Nothing is sent or read any more.
    Closed,
}

/// What an op that is not answered yet keeps a connection from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// From reading on.
    Input,
    /// From everything.
    All,
}

/// How a connection ended: told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    pub reason: CloseReason,
    /// It was [`State::Open`].
    pub was_open: bool,
    /// Heap that was taken for what its next compressed message might have referred back to.
    pub dictionary_bytes: usize,
}

/// One connection. Small, since there are very many.
#[derive(Debug)]
pub struct Connection {
    pub(super) conn: proto::Conn,
    pub(super) state: State,
    /// Closing, all was sent: it waits for the peer's end.
    pub(super) is_half_closed: bool,
    pub(super) wire: Wire,
    /// Why it ended, once known.
    pub(super) reason: Option<CloseReason>,
    pub(super) hold: Hold,
    pub(super) in_flight: bool,
    pub(super) is_paused: bool,
    /// The peer sends no more.
    pub(super) peer_done: bool,
    /// Bytes discarded while closing.
    pub(super) discarded: u32,
    pub(super) ping: Ping,
    pub(super) waiting: Option<Box<Waiting>>,
    pub(super) dictionary: Option<Box<Dictionary>>,
    pub(super) errors: Option<Box<ErrorWindow>>,
    pub(super) messages: Meter,
    pub(super) controls: Meter,
    /// Since when it is in this state, or without a subscription. µs, monotonic, like all below.
    pub(super) since_us: u64,
    /// When bytes last came from it; over HTTP, when something was last seen to have left the send queue.
    pub(super) heard_us: u64,
    /// When the send in flight began or last moved.
    pub(super) progress_us: u64,
    /// When a send that had been waiting for the peer last moved: a sign of life.
    pub(super) moved_us: u64,
}

const _: () = assert!(size_of::<Connection>() == 128);

impl Connection {
    pub fn new(now: Now) -> Self {
        let now_us = now.mono_us;
        Self {
            conn: proto::Conn::server(),
            state: State::Connecting,
            is_half_closed: false,
            wire: Wire::default(),
            reason: None,
            hold: Hold::Nothing,
            in_flight: false,
            is_paused: false,
            peer_done: false,
            discarded: 0,
            ping: Ping::None,
            waiting: None,
            dictionary: None,
            errors: None,
            messages: Meter::default(),
            controls: Meter::default(),
            since_us: now_us,
            heard_us: now_us,
            progress_us: now_us,
            moved_us: now_us,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// How messages reach the client.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Whether the fan-out may give it a frame.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.state == State::Open
            && !self.in_flight
            && self.hold != Hold::All
            && self.waiting.as_deref().is_none_or(Waiting::is_clear)
    }

    /// Whether it is being sent what takes several sends: a close passes between two of them, a message does not.
    pub fn is_midway(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.rest.is_empty())
    }

    /// Whether an op of it is not answered yet, through no fault of its own.
    pub fn is_held(&self) -> bool {
        self.hold != Hold::Nothing
    }

    /// What an op that is not answered keeps it from, from now on.
    pub fn hold(&mut self, hold: Hold) {
        self.hold = hold;
    }

    /// Heap taken for input that waits.
    pub fn held_bytes(&self) -> u64 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.held.capacity() as u64)
    }

    /// It gets an HTTP answer that goes on.
    pub fn is_stream(&self) -> bool {
        self.wire.encoding.is_stream()
    }

    /// Whether it has had a send under way since then without a byte being taken; `None`: there is none.
    pub fn send_progress_us(&self) -> Option<u64> {
        let is_sending = self.in_flight && !self.is_half_closed && self.state != State::Closed;
        is_sending.then_some(self.progress_us)
    }

    /// It has no subscription from now on.
    pub fn idles(&mut self, now: Now) {
        self.since_us = now.mono_us;
    }

    /// Counts a malformed message; `true`: that was one too many.
    pub fn note_malformed(&mut self, now: Now) -> bool {
        self.errors.get_or_insert_default().note(now.mono_us)
    }
}

/// How it opens.
impl Connection {
    /// The request is answered by `head`, a 101 or the head of a stream: [`State::Connecting`] becomes [`State::Open`].
    pub fn open(&mut self, head: Vec<u8>, wire: Wire, deflate: Option<Agreement>, now: Now) {
        invariant!(self.state == State::Connecting, "a request is answered that was answered before");
        self.state = State::Open;
        self.wire = wire;
        self.since_us = now.mono_us;
        self.queue(head);
        if !wire.encoding.is_stream() {
            self.conn.upgraded(deflate);
        }
    }

    /// The request is answered by the last thing that is sent: a whole HTTP answer, or a 101 and a close frame.
    pub fn answer(&mut self, answer: Vec<u8>, reason: CloseReason, now: Now) -> Option<Ended> {
        invariant!(self.state == State::Connecting, "a request is answered that was answered before");
        self.queue(answer);
        self.leave(reason, now)
    }
}

/// How it ends.
impl Connection {
    /// Queues a close frame with the text of the table. Does nothing unless [`State::Open`].
    pub fn close(&mut self, reason: CloseReason, now: Now) -> Option<Ended> {
        self.close_saying(reason, reason.text(), now)
    }

    /// The same with a text made for the case.
    pub fn close_saying(&mut self, reason: CloseReason, text: &str, now: Now) -> Option<Ended> {
        let code = reason.code().expect("a reason that goes with a close frame has a code");
        self.close_with(code, reason, text, now)
    }

    /// The same with the client's own code.
    pub(super) fn close_with(
        &mut self,
        code: u16,
        reason: CloseReason,
        text: &str,
        now: Now,
    ) -> Option<Ended> {
        let is_midway = self.is_midway();
        let ended = self.close_behind(code, reason, text, now)?;
        if is_midway {
            self.pass();
        }
        Some(ended)
    }

    /// The same with the text of the table, behind all that is being sent or waits.
    pub fn close_last(&mut self, reason: CloseReason, now: Now) -> Option<Ended> {
        let code = reason.code().expect("a reason that goes with a close frame has a code");
        self.close_behind(code, reason, reason.text(), now)
    }

    fn close_behind(&mut self, code: u16, reason: CloseReason, text: &str, now: Now) -> Option<Ended> {
        if self.state != State::Open {
            return None;
        }
        self.queue(self.wire.encoding.close(code, text));
        self.leave(reason, now)
    }

    /// A close frame that waits passes what is left of messages.
    pub fn pass(&mut self) {
        if self.state == State::Closing
            && let Some(waiting) = &mut self.waiting
        {
            waiting.cut_to_close();
        }
    }

    /// What is queued is the last thing sent; input is discarded from here on.
    fn leave(&mut self, reason: CloseReason, now: Now) -> Option<Ended> {
        let ended = self.end(reason);
        self.state = State::Closing;
        self.since_us = now.mono_us;
        self.hold = Hold::Nothing;
        if let Some(waiting) = &mut self.waiting {
            (waiting.held, waiting.pongs) = (Vec::new(), Vec::new());
        }
        ended
    }

    /// What came is no TLS. The session sends its alert and ends by itself, behind what is on its way; a
    /// reset would lose it. `Err`: it is to be hung up.
    pub fn broke(&mut self, now: Now) -> Result<Option<Ended>, CloseReason> {
        if self.is_half_closed || self.state == State::Closed {
            return Err(CloseReason::SocketError);
        }
        let ended = self.end(CloseReason::SocketError);
        self.waiting = None;
        self.half_close(now);
        Ok(ended)
    }

    /// Input is discarded until the peer ends too, for a bounded time.
    pub(super) fn half_close(&mut self, now: Now) {
        self.state = State::Closing;
        self.is_half_closed = true;
        self.hold = Hold::Nothing;
        self.since_us = now.mono_us;
    }

    /// It ends at once, without a word.
    pub fn hang_up(&mut self, reason: CloseReason) -> Option<Ended> {
        let ended = self.end(reason);
        self.state = State::Closed;
        self.hold = Hold::Nothing;
        self.waiting = None;
        ended
    }

    /// Ends for the first reason given.
    fn end(&mut self, reason: CloseReason) -> Option<Ended> {
        if self.reason.is_some() {
            return None;
        }
        self.reason = Some(reason);
        let dictionary_bytes = self.dictionary.take().map_or(0, |dictionary| dictionary.taken_bytes());
        Some(Ended { reason, was_open: self.state == State::Open, dictionary_bytes })
    }
}

/// What is said to the client.
impl Connection {
    /// Whole frames or an HTTP head, as they are; where they are empty, nothing.
    pub fn queue(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.waiting.get_or_insert_default().queue.push_back(bytes);
        }
    }
}
