//! A client's opening request: RFC 6455, 4.2.1.

use crate::{Refusal, deflate::Agreement, fields::Fields, head};

/// A whole, well-formed HTTP/1 request head.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    minor: u8,
    fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// `head` was found whole by [`head::request_end`], which also checked what is expected here.
    pub(crate) fn of_head(head: &'a [u8]) -> Request<'a> {
        let (line, fields) = head::split(head);
        let line = std::str::from_utf8(line).expect("a checked request line is UTF-8");
        let (method, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (target, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
        Request { method, target, minor: u8::from(version == "HTTP/1.1"), fields }
    }

    /// `GET`, as it was sent.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The same, asked by `GET`: what `HEAD` is answered is what that would be.
    #[must_use]
    pub fn as_get(self) -> Self {
        Self { method: "GET", ..self }
    }

    /// The request target as it was sent: `/ws?topics=a`, rarely `http://host/ws`, `*` or `host:port`.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The target's path, still percent-encoded; of the absolute form (RFC 9112, 3.2.2) too.
    pub fn path(&self) -> &'a str {
        self.path_and_query().0
    }

    /// What stands after the first `?` of the target, still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query().1
    }

    fn path_and_query(&self) -> (&'a str, Option<&'a str>) {
        let mut target = self.target;
        if !target.starts_with('/')
            && let Some((_, rest)) = target.split_once("://")
        {
            target = rest.find(['/', '?']).map_or("/", |at| &rest[at..]);
        }
        match target.split_once('?') {
            Some(("", query)) => ("/", Some(query)),
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        }
    }

    /// The minor version: 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub fn version(&self) -> u8 {
        self.minor
    }

    /// The first value of that name (case-insensitive) that is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.fields.values(name).next()
    }

    /// Whether the name of any field `is_one` of those, whatever its value.
    pub fn has_field(&self, is_one: fn(&str) -> bool) -> bool {
        self.fields.names().any(is_one)
    }

    /// All values of that name, one per line, without white space around them.
    pub fn header_values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.fields.values(name)
    }

    /// Checks the request as a WebSocket handshake: 405 for another method than GET, 426 for no
    /// or another `Sec-WebSocket-Version`, 400 for anything else that is missing or wrong.
    pub fn upgrade(&self) -> Result<Upgrade<'a>, Refusal> {
        let fields = self.fields;
        if self.method != "GET" {
            return Err(Refusal::new(405, "only GET is served here"));
        }
        if self.minor < 1 {
            return Err(Refusal::new(400, "a WebSocket handshake needs HTTP/1.1"));
        }
        if fields.only("host").is_none_or(str::is_empty) {
            return Err(Refusal::new(400, "exactly one Host header is needed"));
        }
        if !fields.has_token("upgrade", "websocket") {
            return Err(Refusal::new(400, "a WebSocket upgrade is needed: no `Upgrade: websocket`"));
        }
        if !fields.has_token("connection", "upgrade") {
            return Err(Refusal::new(400, "a WebSocket upgrade is needed: no `Connection: Upgrade`"));
        }
        if fields.only("sec-websocket-version") != Some("13") {
            return Err(Refusal::new(426, "only `Sec-WebSocket-Version: 13` is spoken"));
        }
        let has_body = fields.values("transfer-encoding").next().is_some()
            || fields.values("content-length").any(|length| length != "0");
        if has_body {
            return Err(Refusal::new(400, "a WebSocket handshake has no body"));
        }
        match fields.only("sec-websocket-key") {
            Some(key) if is_key(key) => Ok(Upgrade { key, fields }),
            Some(_) => Err(Refusal::new(400, "Sec-WebSocket-Key is not 16 bytes in base64")),
            None => Err(Refusal::new(400, "exactly one Sec-WebSocket-Key is needed")),
        }
    }
}

/// 16 bytes in base64 are 22 digits and two signs of padding. The 4 spare bits of the last digit
/// are not looked at: some clients draw the digits at random.
fn is_key(key: &str) -> bool {
    let Some(digits) = key.strip_suffix("==") else { return false };
    digits.len() == 22
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// A request that may be answered with [`handshake::accept`](crate::handshake::accept).
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'a> {
    key: &'a str,
    fields: Fields<'a>,
}

impl<'a> Upgrade<'a> {
    /// `Sec-WebSocket-Key`: 24 characters.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The subprotocols offered, most wanted first, over all `Sec-WebSocket-Protocol` fields.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.fields.list("sec-websocket-protocol")
    }

    /// permessage-deflate as the first offer that can be served would have it; `window_bits`: our own
    /// largest window, in [`deflate::WINDOW_BITS`](crate::deflate::WINDOW_BITS); `takes_context`: whether a
    /// message of the client may refer back to earlier ones, which the caller then keeps for
    /// [`Inflater::inflate_after`](crate::deflate::Inflater::inflate_after).
    pub fn deflate(&self, window_bits: u8, takes_context: bool) -> Option<Agreement> {
        Agreement::of_offers(self.fields.list("sec-websocket-extensions"), window_bits, takes_context)
    }

    /// `Origin`, which browsers always send.
    pub fn origin(&self) -> Option<&'a str> {
        self.fields.values("origin").next()
    }
}
