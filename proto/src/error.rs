//! What a peer can do wrong.

use thiserror::Error;

/// The peer broke the framing rules. [`Error::close_code`] is what to close with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// RSV1–3 (RFC 6455, 5.2) where nothing agreed gives them a meaning; the value is those three bits.
    #[error("reserved bits {0:03b} set in a frame, and no extension that was agreed sets them there")]
    ReservedBits(u8),
    /// Opcodes 3–7 and 11–15 (5.2).
    #[error("reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A control frame without FIN (5.5).
    #[error("fragmented control frame (opcode {0})")]
    FragmentedControl(u8),
    /// A control frame that announces more than 125 bytes (5.5).
    #[error("control frame (opcode {0}) longer than 125 bytes")]
    ControlTooLong(u8),
    /// A client's frame without a mask (5.1).
    #[error("unmasked frame from a client")]
    Unmasked,
    /// A server's frame with a mask (5.1).
    #[error("masked frame from a server")]
    Masked,
    /// A payload length that would have fitted a shorter form (5.2).
    #[error("payload length {0} is not in its shortest form")]
    LengthNotMinimal(u64),
    /// A 64-bit payload length with its top bit set (5.2).
    #[error("64-bit payload length with its top bit set")]
    LengthTopBit,
    /// A continuation frame while no message is under way (5.4).
    #[error("continuation frame, but no message was begun")]
    UnexpectedContinuation,
    /// A text or binary frame in the middle of a fragmented message (5.4).
    #[error("a new message (opcode {0}) in the middle of a fragmented one")]
    ExpectedContinuation(u8),
    /// A message over [`Limits::message_bytes`](crate::Limits): what it would have at least, and the limit.
    #[error("message of {bytes} bytes or more; the limit is {limit}")]
    MessageTooBig {
        /// Bytes up to the end of the frame that was announced.
        bytes: u64,
        /// The limit in bytes (saturated at 4 GiB).
        limit: u32,
    },
    /// A compressed message that is not DEFLATE (RFC 1951).
    #[error("compressed message that cannot be decompressed")]
    NotDeflate,
    /// A compressed message that refers back to before its beginning, though it was agreed that none does
    /// (RFC 7692, 7.1.1.2).
    #[error(
        "compressed message that refers back to an earlier one, though client_no_context_takeover was agreed"
    )]
    RefersBack,
    /// A compressed message that becomes more than
    /// [`InflateLimits::ratio`](crate::deflate::InflateLimits) times its size.
    #[error("compressed message of {bytes} bytes that becomes more than {ratio} times as long")]
    Bomb {
        /// As it was sent.
        bytes: u64,
        /// The limit.
        ratio: u32,
    },
    /// Text, or the reason of a close, that is not UTF-8 (5.6, 8.1).
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A close frame with a payload of one byte (5.5.1).
    #[error("close frame with half a status code")]
    CloseTooShort,
    /// A status code that must not appear in a close frame (7.4).
    #[error("close frame with the invalid status code {0}")]
    CloseCode(u16),
}

impl Error {
    /// The status code to close with: 1002, 1007 or 1009 (RFC 6455, 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Error::MessageTooBig { .. } | Error::Bomb { .. } => 1009,
            Error::NotUtf8 | Error::NotDeflate | Error::RefersBack => 1007,
            _ => 1002,
        }
    }
}

/// A client's handshake that got an answer, but not that of a WebSocket server (RFC 6455, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Not an HTTP/1.x answer.
    #[error("malformed answer to the handshake: {0}")]
    Malformed(String),
    /// The head is longer than [`Limits::head_bytes`](crate::Limits).
    #[error("head of the answer longer than {0} bytes")]
    HeadTooLong(usize),
    /// More fields than [`Limits::headers`](crate::Limits).
    #[error("more than {0} header fields in the answer")]
    TooManyHeaders(usize),
    /// So many interim answers (RFC 9110, 15.2), and still none of its own.
    #[error("more than {0} interim answers to the handshake")]
    TooManyInterim(u8),
    /// A field that the handshake rests on is folded or holds other bytes than visible ASCII, or it is there
    /// only with white space before its colon: others might read it otherwise.
    #[error("101 whose field {0} is not written as HTTP wants it")]
    Dubious(String),
    /// A subprotocol that was not offered.
    #[error("101 with the subprotocol {0:?}, which was not asked for")]
    Subprotocol(String),
    /// No `Upgrade: websocket`.
    #[error("101 without `Upgrade: websocket`")]
    NoUpgrade,
    /// No `Connection: Upgrade`.
    #[error("101 without `Connection: Upgrade`")]
    NoConnection,
    /// `Sec-WebSocket-Accept` is absent or belongs to another key.
    #[error("101 whose Sec-WebSocket-Accept does not belong to the key sent")]
    WrongAccept,
    /// An extension was chosen that was not offered, or otherwise than it was offered.
    #[error("101 with an extension that was not offered like that: {0}")]
    Extension(String),
}
