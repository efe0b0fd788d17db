//! How a connection to a server ended, and how long the server wants to be left alone.

use std::{io, time::Duration};

use proto::HandshakeError;
use thiserror::Error;

use super::counters::End;
use crate::fetch::{self, Failed};

/// Why there is no connection, or none any more.
#[derive(Debug, Error)]
pub enum Ended {
    #[error("cannot connect to {address}: {error}")]
    Connect { address: String, error: io::Error },
    #[error("token_file: {0}")]
    Token(String),
    #[error("[source.token]: none from {url}: {why}")]
    NoToken { url: String, why: String, retry_after: Option<Duration> },
    #[error("[source.token]: {0}")]
    NoUrl(String),
    #[error("headers: {0}")]
    Header(String),
    #[error("no TLS with {address}: {error}")]
    Tls { address: String, error: String },
    #[error("{0}: no connection and no answer to the handshake within {1}")]
    Late(String, String),
    #[error("the server refused the handshake with {status} {reason}{hint}")]
    Refused { status: u16, reason: String, hint: String, retry_after: Option<Duration> },
    #[error("{0}; look at url")]
    Handshake(#[from] HandshakeError),
    #[error("the server broke the protocol, it was closed with {}: {}{}", .0.close_code(), .0, remedy(.0))]
    Protocol(proto::Error),
    #[error("what the server says cannot be taken: {0}")]
    Unacceptable(String),
    #[error("something is missing that a new connection brings: {0}")]
    Gap(String),
    #[error("the server closed with {code}: {reason:?}")]
    Closed { code: u16, reason: String },
    #[error("the server closed without a code")]
    ClosedBare,
    #[error("the server ended the connection without a close frame")]
    Cut,
    #[error("the connection broke: {0}")]
    Broke(io::Error),
    #[error("nothing came for idle = {0:?}, nor for as long after a ping")]
    Idle(String),
    #[error("nothing came for {0} that made an update")]
    Stale(String),
}

fn remedy(error: &proto::Error) -> &'static str {
    match error {
        proto::Error::MessageTooBig { .. } => "; raise message_bytes",
        _ => "",
    }
}

impl Ended {
    /// `location` and `retry_after`: as the answer has them.
    pub(super) fn refused(
        status: u16,
        reason: String,
        location: Option<&str>,
        retry_after: Option<&str>,
    ) -> Self {
        let moved = location.filter(|_| matches!(status, 300..=399));
        let moved = moved.map(|location| format!("; it is at {location:?} now, write that as url"));
        let wait = retry_after.map(|wait| format!("; it wants to be left alone for Retry-After: {wait:?}"));
        let hint = match [moved, wait].into_iter().flatten().collect::<String>() {
            none if none.is_empty() => "; look at the path of url".to_owned(),
            hint => hint,
        };
        // RFC 9110, 10.2.3: whatever the status. Venues also send it with 418 and 403.
        let retry_after = retry_after.and_then(fetch::retry_after);
        Ended::Refused { status, reason, hint, retry_after }
    }

    /// `url`: who was asked.
    pub(super) fn no_token(url: String, failed: &Failed) -> Self {
        Ended::NoToken { url, why: failed.to_string(), retry_after: failed.retry_after() }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Ended::Refused { retry_after, .. } | Ended::NoToken { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What it counts as.
    pub fn end(&self) -> End {
        match self {
            Ended::Connect { .. }
            | Ended::Late(..)
            | Ended::Token(_)
            | Ended::NoToken { .. }
            | Ended::NoUrl(_)
            | Ended::Header(_) => End::Connect,
            Ended::Tls { .. } => End::Tls,
            Ended::Refused { .. } => End::Refused,
            Ended::Handshake(_) => End::Handshake,
            Ended::Protocol(_) | Ended::Unacceptable(_) => End::Protocol,
            Ended::Closed { .. } | Ended::ClosedBare => End::Closed,
            Ended::Cut | Ended::Broke(_) => End::Cut,
            Ended::Gap(_) => End::Gap,
            Ended::Idle(_) => End::Idle,
            Ended::Stale(_) => End::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::source::websocket::ended::*;

    #[test]
    fn a_refusal_tells_what_the_server_said_to_do() {
        let told = |status, location, wait| {
            let ended = Ended::refused(status, "No".to_owned(), location, wait);
            (ended.to_string(), ended.retry_after())
        };
        let moved = told(301, Some("wss://b.example/\n"), None);
        assert!(
            moved.0.ends_with("with 301 No; it is at \"wss://b.example/\\n\" now, write that as url"),
            "{moved:?}"
        );
        let busy = told(429, None, Some("5"));
        assert!(busy.0.ends_with("left alone for Retry-After: \"5\""), "{busy:?}");
        assert_eq!((moved.1, busy.1), (None, Some(Duration::from_secs(5))));
        for status in [301, 400, 403, 404, 418, 500, 503, 200] {
            let (text, wait) = told(status, None, Some("5"));
            assert!(text.ends_with("left alone for Retry-After: \"5\""), "{status}: {text}");
            assert_eq!(wait, Some(Duration::from_secs(5)), "{status}");
        }
        let both = told(308, Some("/b"), Some("5"));
        assert!(both.0.contains("it is at \"/b\" now") && both.0.contains("Retry-After: \"5\""), "{both:?}");
        assert!(told(404, None, None).0.ends_with("look at the path of url"));
    }
}
