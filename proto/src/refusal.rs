//! A request that is refused.

/// Why a request is not answered with a 101, as an HTTP answer
/// (see [`handshake::refuse`](crate::handshake::refuse)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 405, 426 or 431.
    pub status: u16,
    /// For people.
    pub reason: String,
    /// HEAD was asked: the answer has no body (RFC 9110, 9.3.2).
    pub is_head: bool,
}

impl Refusal {
    /// Of a request that is none of HEAD.
    pub fn new(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into(), is_head: false }
    }
}
