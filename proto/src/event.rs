//! What [`Conn::receive`](crate::Conn::receive) answers with.

use crate::{Close, Error, HandshakeError, Headers, Refusal, Request, Response, deflate::Deflated};

/// One step of [`Conn::receive`](crate::Conn::receive).
#[derive(Debug)]
pub struct Received<'a> {
    /// Bytes of the input that were consumed.
    pub used: usize,
    /// What they amount to, if anything yet.
    pub event: Option<Event<'a>>,
}

/// Something the peer said. Payloads are unmasked and lie in the input or in the connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// Server: a whole, well-formed request head, an upgrade or not. Answer it; after a 101 call
    /// [`Conn::upgraded`](crate::Conn::upgraded) before receiving on. Without that, all that follows is discarded.
    Request(Request<'a>),
    /// Server: not a request (400) or too large a head (431). Answer it; all that follows is discarded.
    BadRequest(Refusal),
    /// Client: the handshake is done, the connection open.
    Response(Response<'a>),
    /// Client: an HTTP answer other than 101.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The reason phrase of the status line.
        reason: String,
        /// Its header fields.
        headers: Headers<'a>,
        /// What of the body came together with the end of the head.
        body: &'a [u8],
    },
    /// Client: an answer that is not that of a WebSocket server. All that follows is discarded.
    HandshakeFailed(HandshakeError),
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A whole compressed message, where that was agreed: [`Inflater::inflate`](crate::deflate::Inflater)
    /// makes a text or binary message of it.
    Deflated(Deflated<'a>),
    /// At most 125 bytes; answer with a pong of the same payload (RFC 6455, 5.5.3).
    Ping(&'a [u8]),
    /// At most 125 bytes.
    Pong(&'a [u8]),
    /// The peer's close frame; `None` when it named no code. In [`State::Closing`](crate::State) answer with the
    /// same code (or an empty close frame); in [`State::Closed`](crate::State) it is the answer to ours.
    Close(Option<Close<'a>>),
    /// The peer broke the protocol. In [`State::Closing`](crate::State) send a close frame with
    /// [`Error::close_code`]; in [`State::Closed`](crate::State) ours was sent before. All that follows is discarded.
    Fail(Error),
}
