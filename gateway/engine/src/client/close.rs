//! Why connections end: each reason and each close code in one table. The codes are those of RFC 6455, section
//! 7.4.1, of its registry up to 1015, and the gateway's own.

use Begun::{ByBoth, ByClients, ByGateway, ByServers, NotOnWire};
use CloseReason as Why;

/// Why a connection ended or was refused. Each has a row in [`TABLE`] and a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// The client closed or went away.
    ClientClosed,
    /// The client's socket failed (reset, broken pipe).
    SocketError,
    /// The gateway shuts down.
    Draining,
    /// The client broke a rule of framing.
    ProtocolError,
    /// A message of the other kind than was agreed.
    UnsupportedData,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A message over `message_bytes`.
    TooBig,
    /// A compressed message that is no DEFLATE, or refers back where it was agreed that none does.
    NotDeflate,
    /// A compressed message that becomes too many times its size.
    Bomb,
    /// Nothing of a send was taken for `stall`; over HTTP, nothing left the send queue for `pong`.
    Stalled,
    /// Frames held for slow clients exceeded `pinned_bytes`.
    Pinned,
    /// It was open for as long as `connection_age` allows.
    Age,
    /// No subscription for `idle`.
    Idle,
    /// No byte from a subscriber for `idle_subscribed`.
    Silent,
    /// No answer to a ping for `pong`.
    PingTimeout,
    /// Further behind on a `stream` topic than is kept.
    Behind,
    /// Its token has expired.
    TokenExpired,
    /// It showed no token, or a bad one, where one is needed.
    Unauthorized,
    /// No room for what its next compressed message may refer back to.
    Dictionaries,
    /// Its `since` was ahead of the gateway, which did not get there in time.
    Ahead,
    /// Over a rate.
    Rate,
    /// Too many malformed messages.
    Malformed,
    /// A client of bare values goes on to write what is refused: as malformed, for want of room, as not permitted. Or it
    /// may not have them any more.
    BadWrites,
    NoRoom,
    Forbidden,
    /// Its token was revoked.
    Revoked,
    /// Its subject has as many connections as it may have.
    Connections,
    /// No complete request head within `handshake`.
    HandshakeTimeout,
    /// Its request was refused: with an HTTP status, or by [`code_of_refusal`].
    Refused,
}

/// Who begins a close with a code. Answers are apart: a client may close with any code that may be on the wire, and
/// is answered with the same (section 5.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The gateway, whose own meaning it has.
    ByGateway,
    /// The gateway, and clients.
    ByBoth,
    /// Clients alone.
    ByClients,
    /// Servers of other kinds, such as one between the client and the gateway.
    ByServers,
    /// Nobody: a client that does breaks the protocol.
    NotOnWire,
}

/// A close code, or a way to end without one.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Of the close frame; `None`: the connection ends without one. Of `ClientClosed`: where the client's close has none.
    pub code: Option<u16>,
    /// By whom: for PROTOCOL.md, whose table a test compares.
    pub begun: Begun,
    /// Why a connection ended; `None`: the gateway has no reason to begin a close with this code.
    pub reason: Option<CloseReason>,
    /// Of the close frame, in all cases or in some; where there are none, the text is made for the case
    /// or stands beside what is broken (`NotDeflate`, `Dictionaries`).
    pub texts: &'static [&'static str],
    /// Of `reason` as a label of metrics.
    pub label: &'static str,
    /// Whether a client that gets it does well to connect again: for PROTOCOL.md, whose table a test compares.
    pub reconnect: bool,
    /// Whether a connection that is hung up for `reason` is reset.
    pub resets: bool,
}

/// A message of the other kind than its connection's encoding has.
pub const BINARY_FRAMES: &str = "binary frames are not part of fanwire.json.v1";
pub const TEXT_FRAMES: &str = "text frames are not part of fanwire.msgpack.v1";
pub const RAW_BINARY_FRAMES: &str = "binary frames are not taken here";
/// Over `messages_per_s`, and over `control_per_s`.
pub const MESSAGES: &str = "too many messages per second";
pub const CONTROLS: &str = "too many control frames per second";

/// What a client of bare values came for may be had no more.
pub const NOT_GRANTED_NOW: &str = "the topic is not granted any more";

/// No token came in time, the first one was bad, and none was needed before a reload.
pub const NO_TOKEN: &str = "no token within [limits] handshake";
pub const BAD_TOKEN: &str = "a bad token";
pub const TOKEN_NEEDED: &str = "a token is needed now";

/// Reasons in the order of [`CloseReason`], then the codes that the gateway begins no close with.
pub const TABLE: [Row; CloseReason::ALL.len() + 9] = [
    of(Some(1000), ByClients, Why::ClientClosed, &[], "client_closed", true),
    of(None, NotOnWire, Why::SocketError, &[], "socket_error", true),
    of(Some(1001), ByBoth, Why::Draining, &["the gateway is shutting down"], "draining", true).resetting(),
    of(Some(1002), ByBoth, Why::ProtocolError, &[], "protocol_error", false),
    of(
        Some(1003),
        ByBoth,
        Why::UnsupportedData,
        &[BINARY_FRAMES, TEXT_FRAMES, RAW_BINARY_FRAMES],
        "unsupported_data",
        false,
    ),
    of(Some(1007), ByBoth, Why::InvalidUtf8, &["text that is not UTF-8"], "invalid_utf8", false),
    of(Some(1009), ByBoth, Why::TooBig, &[], "too_big", false),
    of(Some(1007), ByBoth, Why::NotDeflate, &[], "not_deflate", false),
    of(Some(1009), ByBoth, Why::Bomb, &[], "bomb", false),
    of(None, NotOnWire, Why::Stalled, &[], "stalled", true).resetting(),
    of(None, NotOnWire, Why::Pinned, &[], "pinned_bytes", true).resetting(),
    of(
        Some(1001),
        ByBoth,
        Why::Age,
        &["the connection has reached its age; come back"],
        "connection_age",
        true,
    ),
    of(Some(4000), ByGateway, Why::Idle, &["no subscription"], "idle", true),
    of(Some(4000), ByGateway, Why::Silent, &["nothing came for too long"], "idle_subscribed", true),
    of(Some(4001), ByGateway, Why::PingTimeout, &["no answer to a ping"], "ping_timeout", true),
    of(Some(4004), ByGateway, Why::Behind, &[], "behind", true),
    of(Some(4005), ByGateway, Why::TokenExpired, &["the token has expired"], "token_expired", true),
    of(Some(4401), ByGateway, Why::Unauthorized, &[NO_TOKEN, BAD_TOKEN, TOKEN_NEEDED], "unauthorized", true),
    of(Some(1013), ByBoth, Why::Dictionaries, &[], "dictionaries", true),
    of(Some(1013), ByBoth, Why::Ahead, &["behind the position of since"], "ahead", true),
    of(Some(4429), ByGateway, Why::Rate, &[MESSAGES, CONTROLS], "rate", true),
    of(Some(4506), ByGateway, Why::Malformed, &["too many malformed messages"], "malformed", false),
    of(Some(4000), ByGateway, Why::BadWrites, &[], "bad_writes", true),
    of(Some(4008), ByGateway, Why::NoRoom, &[], "no_room", true),
    of(Some(4403), ByGateway, Why::Forbidden, &[NOT_GRANTED_NOW], "forbidden", true),
    of(Some(4401), ByGateway, Why::Revoked, &["the token was revoked"], "revoked", true),
    of(
        Some(4429),
        ByGateway,
        Why::Connections,
        &["too many connections of this subject"],
        "connections",
        true,
    ),
    of(None, NotOnWire, Why::HandshakeTimeout, &[], "handshake_timeout", true),
    of(None, NotOnWire, Why::Refused, &[], "refused", true).resetting(),
    // Reserved.
    code(1004, NotOnWire, false),
    // A close frame without a code, an end without a close frame.
    code(1005, NotOnWire, true),
    code(1006, NotOnWire, true),
    // Policy.
    code(1008, ByClients, false),
    // An extension that was not agreed, and that the client cannot do without.
    code(1010, ByClients, false),
    // A server's error, and its restart.
    code(1011, ByServers, true),
    code(1012, ByServers, true),
    // A proxy whose server did not answer well.
    code(1014, ByServers, true),
    // A TLS handshake that failed.
    code(1015, NotOnWire, false),
];

/// The code of a close frame that tells a refusal of a request with this status, where the client gets 101 first;
/// `None`: it is told by HTTP alone.
pub fn code_of_refusal(status: u16) -> Option<u16> {
    match status {
        401 => Some(4401),
        403 => Some(4403),
        429 => Some(4429),
        503 => Some(1013),
        _ => None,
    }
}

const fn of(
    code: Option<u16>,
    begun: Begun,
    reason: CloseReason,
    texts: &'static [&'static str],
    label: &'static str,
    reconnect: bool,
) -> Row {
    Row { code, begun, reason: Some(reason), texts, label, reconnect, resets: false }
}

impl Row {
    const fn resetting(mut self) -> Self {
        self.resets = true;
        self
    }
}

const fn code(code: u16, begun: Begun, reconnect: bool) -> Row {
    Row { code: Some(code), begun, reason: None, texts: &[], label: "", reconnect, resets: false }
}

impl CloseReason {
    /// In the order of [`TABLE`].
    pub const ALL: [CloseReason; 29] = [
        Why::ClientClosed,
        Why::SocketError,
        Why::Draining,
        Why::ProtocolError,
        Why::UnsupportedData,
        Why::InvalidUtf8,
        Why::TooBig,
        Why::NotDeflate,
        Why::Bomb,
        Why::Stalled,
        Why::Pinned,
        Why::Age,
        Why::Idle,
        Why::Silent,
        Why::PingTimeout,
        Why::Behind,
        Why::TokenExpired,
        Why::Unauthorized,
        Why::Dictionaries,
        Why::Ahead,
        Why::Rate,
        Why::Malformed,
        Why::BadWrites,
        Why::NoRoom,
        Why::Forbidden,
        Why::Revoked,
        Why::Connections,
        Why::HandshakeTimeout,
        Why::Refused,
    ];

    /// Of whoever is not told errors, and goes on: the code is that of the last one.
    pub fn of_error(code: u16) -> Self {
        match code {
            4008 => Self::NoRoom,
            4403 => Self::Forbidden,
            4429 => Self::Rate,
            _ => Self::BadWrites,
        }
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// As a label of metrics.
    pub fn label(self) -> &'static str {
        self.row().label
    }

    /// What a close frame says, unless it answers the client's code; `None`: the connection ends without one.
    pub fn code(self) -> Option<u16> {
        self.row().code
    }

    /// Whether a connection that is hung up for it is reset: the kernel drops what it holds of it.
    pub fn resets(self) -> bool {
        self.row().resets
    }

    /// Beside the code, where it is always the same; else empty.
    pub fn text(self) -> &'static str {
        if let [text] = self.row().texts { text } else { "" }
    }
}

impl From<&proto::Error> for CloseReason {
    fn from(error: &proto::Error) -> Self {
        match error {
            proto::Error::NotDeflate | proto::Error::RefersBack => Why::NotDeflate,
            proto::Error::Bomb { .. } => Why::Bomb,
            proto::Error::NotUtf8 => Why::InvalidUtf8,
            proto::Error::MessageTooBig { .. } => Why::TooBig,
            proto::Error::ReservedBits(_)
            | proto::Error::ReservedOpcode(_)
            | proto::Error::FragmentedControl(_)
            | proto::Error::ControlTooLong(_)
            | proto::Error::Unmasked
            | proto::Error::Masked
            | proto::Error::LengthNotMinimal(_)
            | proto::Error::LengthTopBit
            | proto::Error::UnexpectedContinuation
            | proto::Error::ExpectedContinuation(_)
            | proto::Error::CloseTooShort
            | proto::Error::CloseCode(_) => Why::ProtocolError,
        }
    }
}

const _: () = {
    assert!(size_of::<CloseReason>() == 1 && size_of::<Option<CloseReason>>() == 1);
    let mut i = 0;
    while i < CloseReason::ALL.len() {
        assert!(CloseReason::ALL[i] as usize == i);
        assert!(matches!(TABLE[i].reason, Some(reason) if reason as usize == i));
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_of_the_rfc_and_its_registry_has_a_row_and_one_meaning() {
        for code in 1000..=1015 {
            let rows: Vec<&Row> = TABLE.iter().filter(|row| row.code == Some(code)).collect();
            assert!(!rows.is_empty(), "{code} is missing");
            let same = |row: &&Row| (row.begun, row.reconnect) == (rows[0].begun, rows[0].reconnect);
            assert!(rows.iter().all(same), "{code} means two things: {rows:?}");
        }
        // Codes that must not be in a close frame (RFC 6455, section 7.4.1).
        let not_on_wire = TABLE.iter().filter(|row| row.begun == NotOnWire).filter_map(|row| row.code);
        assert_eq!(not_on_wire.collect::<Vec<_>>(), [1004, 1005, 1006, 1015]);
    }

    #[test]
    fn the_gateway_begins_a_close_with_the_codes_of_its_reasons_and_with_no_other() {
        for row in TABLE.iter().filter(|row| row.code.is_some()) {
            let tells_refusal = (400..600).any(|status| code_of_refusal(status) == row.code);
            let has_reason = row.reason.is_some_and(|reason| reason != Why::ClientClosed) || tells_refusal;
            assert_eq!(matches!(row.begun, ByGateway | ByBoth), has_reason, "{row:?}");
        }
    }

    #[test]
    fn the_codes_of_the_gateway_itself_tell_whether_reconnecting_helps() {
        for row in TABLE.iter().filter(|row| row.code.is_some_and(|code| code >= 4000)) {
            assert_eq!(row.reconnect, row.code < Some(4500), "{row:?}");
        }
    }

    #[test]
    fn labels_are_one_for_each_reason_and_texts_fit_a_close_frame() {
        let labels: HashSet<&str> = CloseReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), CloseReason::ALL.len());
        assert!(!labels.contains(""));
        for row in &TABLE {
            assert_eq!(row.reason.is_none(), row.label.is_empty(), "{row:?}");
            assert!(row.texts.iter().all(|text| (1..=123).contains(&text.len())), "{row:?}");
            assert!(row.texts.is_empty() || row.code.is_some(), "{row:?}");
        }
    }

    #[test]
    fn a_broken_rule_closes_with_the_code_of_its_error() {
        for error in [
            proto::Error::NotDeflate,
            proto::Error::RefersBack,
            proto::Error::Bomb { bytes: 1, ratio: 1 },
            proto::Error::NotUtf8,
            proto::Error::MessageTooBig { bytes: 2, limit: 1 },
            proto::Error::ReservedBits(1),
            proto::Error::ReservedOpcode(3),
            proto::Error::FragmentedControl(9),
            proto::Error::ControlTooLong(9),
            proto::Error::Unmasked,
            proto::Error::Masked,
            proto::Error::LengthNotMinimal(5),
            proto::Error::LengthTopBit,
            proto::Error::UnexpectedContinuation,
            proto::Error::ExpectedContinuation(1),
            proto::Error::CloseTooShort,
            proto::Error::CloseCode(1005),
        ] {
            let reason = CloseReason::from(&error);
            assert_eq!(reason.code(), Some(error.close_code()), "{error}");
            let text = reason.text();
            let is_listed = text.is_empty() || text == error.to_string() || reason == Why::NotDeflate;
            assert!(is_listed, "{error}: the table has {text}");
        }
    }
}
