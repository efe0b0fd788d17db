//! The gateway's own rules that requests are refused by.

/// Why a request is refused that is well-formed otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// `[limits] connections`, or a shard's table.
    Full,
    /// `[limits] connections_per_ip`.
    Address,
    /// `[overload] rungs`.
    Overload,
    /// The gateway drains.
    Draining,
    /// `[limits] handshakes`.
    Handshakes,
    /// `[limits] handshakes_per_ip`.
    AddressHandshakes,
    /// `[access] origins`.
    Origin,
    /// `[access] hosts`.
    Host,
    /// No token, or a bad one.
    Token,
    /// No grant covers what rides on the URL.
    Grant,
    /// The code beside a cookie is not its own.
    Code,
    /// The token's subject has as many connections as it may have.
    Subject,
    /// A stream that could never have anything.
    NoTopics,
    /// The values of a keyed topic are wanted, which has none.
    Keyed,
}

impl Refused {
    pub const ALL: [Self; 14] = [
        Self::Full,
        Self::Address,
        Self::Overload,
        Self::Draining,
        Self::Handshakes,
        Self::AddressHandshakes,
        Self::Origin,
        Self::Host,
        Self::Token,
        Self::Grant,
        Self::Code,
        Self::Subject,
        Self::NoTopics,
        Self::Keyed,
    ];

    /// As a label of metrics: the key where there is one.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "connections",
            Self::Address => "connections_per_ip",
            Self::Overload => "overload",
            Self::Draining => "draining",
            Self::Handshakes => "handshakes",
            Self::AddressHandshakes => "handshakes_per_ip",
            Self::Origin => "origins",
            Self::Host => "hosts",
            Self::Token => "token",
            Self::Grant => "grants",
            Self::Code => "csrf",
            Self::Subject => "connections_per_sub",
            Self::NoTopics => "no_topics",
            Self::Keyed => "keyed",
        }
    }

    pub fn status(self) -> u16 {
        match self {
            Self::Full | Self::Overload | Self::Draining => 503,
            Self::Address | Self::Handshakes | Self::AddressHandshakes | Self::Subject => 429,
            Self::Origin | Self::Host | Self::Grant | Self::Code => 403,
            Self::Token => 401,
            Self::NoTopics | Self::Keyed => 400,
        }
    }

    /// What is said where nothing is made for the case.
    pub fn text(self) -> &'static str {
        match self {
            Self::Full => "the gateway is full",
            Self::Address => "too many connections from this address",
            Self::Overload => "the gateway is overloaded and takes no new clients; come back later",
            Self::Draining => "draining",
            Self::Handshakes => "too many handshakes at a time; come back later",
            Self::AddressHandshakes => "too many handshakes at a time from this address; come back later",
            Self::Token => "a token is needed here, where [access] token_from says",
            Self::NoTopics => "no topics: name some in the URL, as ?topics=a.b,c.*",
            Self::Keyed => {
                "the topic is keyed: it has no values of its own, only keys; subscribe to it by /ws or /sse"
            }
            // Each case is told by its own names and numbers.
            Self::Origin | Self::Host | Self::Grant | Self::Code | Self::Subject => "not permitted",
        }
    }

    /// Seconds to wait before another try, where no rate tells.
    pub fn retry_after_s(self) -> Option<u64> {
        matches!(self, Self::Overload | Self::Address | Self::Subject).then_some(5)
    }
}

const _: () = {
    let mut i = 0;
    while i < Refused::ALL.len() {
        assert!(Refused::ALL[i] as usize == i);
        i += 1;
    }
};
