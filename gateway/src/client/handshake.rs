//! What the data listener answers to a request head. No IO.

use std::net::{IpAddr, SocketAddr};

use proto::{Refusal, Request, deflate::Agreement, handshake};

use crate::{
    config::Compression,
    protocol::{self, Subscribe},
    shared::Refused,
    wire::{Encoding, Wire},
};

/// Seconds a client over a limit is asked to wait.
const RETRY_AFTER_S: &str = "5";

/// The answer and what follows it.
#[derive(Debug)]
pub enum Answer {
    /// A whole HTTP answer that is no refusal; then the connection ends.
    Plain(Vec<u8>),
    Refuse(Refusal),
    /// The 101, and the subscription that rode on the URL.
    Upgrade {
        head: Vec<u8>,
        wire: Wire,
        deflate: Option<Agreement>,
        /// An offer to compress was not taken for want of room.
        declined: bool,
        subscribe: Option<Subscribe>,
    },
}

/// What the answer depends on beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    pub peer: IpAddr,
    pub refused: Option<Refused>,
    pub draining: bool,
    pub admin: Option<SocketAddr>,
    pub admin_tls: bool,
    /// `[limits] patterns`.
    pub patterns_max: usize,
    pub compression: &'a Compression,
    /// There is room for what a client's compressed messages refer back to.
    pub takes_context: bool,
    /// Every path is a WebSocket and no subprotocol is spoken: the echo server.
    pub echo: bool,
}

pub fn answer(request: &Request<'_>, situation: &Situation<'_>) -> Answer {
    let (path, query) = (request.path(), request.query().unwrap_or(""));
    if situation.echo {
        return upgrade(request, None, false, situation);
    }
    if !matches!(path, "/ws" | "/healthz" | "/") {
        return refuse(404, "no such path here; subscribers connect to /ws");
    }
    if request.method() != "GET" {
        return refuse(405, "only GET is allowed here");
    }
    match path {
        "/healthz" if situation.draining => refuse(503, "draining"),
        "/healthz" => plain(200, "text/plain", b"ok\n"),
        "/" => match situation.admin {
            Some(admin) if situation.peer.is_loopback() => {
                redirect(admin, situation.peer, if situation.admin_tls { "https" } else { "http" })
            }
            _ => refuse(404, "no such path here; subscribers connect to /ws"),
        },
        _ => subscriber(request, query, situation),
    }
}

fn subscriber(request: &Request<'_>, query: &str, situation: &Situation<'_>) -> Answer {
    if situation.draining {
        return refuse(503, "draining");
    }
    match situation.refused {
        Some(Refused::Full) => return refuse(503, "the gateway is full"),
        Some(Refused::Address) => return refuse(429, "too many connections from this address"),
        None => {}
    }
    match subscribe_of(query, situation.patterns_max) {
        Ok(subscribe) => upgrade(request, subscribe, true, situation),
        Err(reason) => refuse(400, &reason),
    }
}

fn upgrade(
    request: &Request<'_>,
    subscribe: Option<Subscribe>,
    subprotocol: bool,
    situation: &Situation<'_>,
) -> Answer {
    let compression = situation.compression;
    match request.upgrade() {
        Err(refusal) => Answer::Refuse(refusal),
        Ok(upgrade) => {
            let chosen = upgrade.protocols().find_map(Encoding::of).filter(|_| subprotocol);
            let mut head = Vec::with_capacity(192);
            let agree = |takes_context| upgrade.deflate(compression.window_bits, takes_context);
            let wanted = wants_compression(request, compression).then(|| agree(true)).flatten();
            let deflate = if situation.takes_context { wanted } else { wanted.and_then(|_| agree(false)) };
            handshake::accept(&mut head, upgrade.key(), chosen.map(Encoding::subprotocol), deflate.as_ref());
            let window_bits = deflate.map(|agreed| agreed.server_window_bits);
            let wire = Wire { encoding: chosen.unwrap_or_default(), window_bits };
            let declined = wanted.is_some() && deflate.is_none();
            Answer::Upgrade { head, wire, deflate, declined, subscribe }
        }
    }
}

/// Whether an offer to compress is taken: not for `?compress=0`, and not from a browser that is known
/// to get it wrong.
fn wants_compression(request: &Request<'_>, compression: &Compression) -> bool {
    let off = |query: &str| query.split('&').any(|pair| pair == "compress=0");
    let bad = |agent: &str| compression.user_agents_off.iter().any(|part| agent.contains(&**part));
    compression.enabled && !request.query().is_some_and(off) && !request.header("user-agent").is_some_and(bad)
}

/// The HTTP answer of a refusal.
pub fn refusal(refusal: &Refusal) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let extra: &[(&str, &str)] = if refusal.status == 429 { &[("Retry-After", RETRY_AFTER_S)] } else { &[] };
    handshake::refuse(&mut out, refusal.status, &refusal.reason, extra);
    out
}

fn refuse(status: u16, reason: &str) -> Answer {
    Answer::Refuse(Refusal { status, reason: reason.to_owned() })
}

fn plain(status: u16, content_type: &str, body: &[u8]) -> Answer {
    let mut out = Vec::with_capacity(192);
    handshake::respond(&mut out, status, content_type, body);
    Answer::Plain(out)
}

/// For a loopback peer. A listener on all addresses is reached at the peer's own.
fn redirect(mut admin: SocketAddr, peer: IpAddr, scheme: &str) -> Answer {
    if admin.ip().is_unspecified() {
        admin.set_ip(peer);
    }
    let head = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {scheme}://{admin}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    Answer::Plain(head.into_bytes())
}

/// The subscription on a URL: `topics=a.b,c.*&interval_ms=100&since=EPOCH:VERSION`. Other
/// parameters are ignored, as unknown fields are; without `topics` there is none.
fn subscribe_of(query: &str, patterns_max: usize) -> Result<Option<Subscribe>, String> {
    let mut subscribe = Subscribe::default();
    let (mut topics, mut others) = (None, false);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=').or(Some((pair, "")))) {
        let value =
            decode(value).ok_or_else(|| format!("bad {name} in the URL: not percent-encoded UTF-8"))?;
        match name {
            "topics" => topics.get_or_insert_with(Vec::new).extend(value.split(',').map(str::to_owned)),
            "interval_ms" => {
                subscribe.interval_ms = Some(protocol::parse_interval(&value)?);
                others = true;
            }
            "since" => {
                subscribe.since = Some(protocol::parse_since(&value)?);
                others = true;
            }
            // See `wants_compression`.
            "compress" if value != "0" && value != "1" => {
                return Err(format!("bad compress: {value} (0 or 1)"));
            }
            _ => {}
        }
    }
    match topics {
        Some(topics) => {
            subscribe.topics = protocol::check_topics(topics)?;
            if subscribe.topics.len() > patterns_max {
                let named = subscribe.topics.len();
                return Err(format!("{named} patterns in the URL ({patterns_max} are the most)"));
            }
            Ok(Some(subscribe))
        }
        None if others => Err("interval_ms or since without topics".into()),
        None => Ok(None),
    }
}

/// Percent-decoding (RFC 3986, section 2.1).
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => {
                let (high, low) = (bytes.next()?, bytes.next()?);
                (char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?) as u8
            }
            other => other,
        };
        out.push(decoded);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_rides_on_the_url() {
        let subscribe = subscribe_of("topics=a.b,c.%2A&interval_ms=100&since=8f0c2a77d1e94b02:7&x=1", 2)
            .unwrap()
            .unwrap();
        assert_eq!(subscribe.topics, ["a.b", "c.*"]);
        assert_eq!(subscribe.interval_ms, Some(100));
        assert_eq!(subscribe.since.unwrap().version, 7);
        assert_eq!(subscribe_of("", 2).unwrap(), None);
    }

    #[test]
    fn bad_values_are_named() {
        for query in [
            "topics=",
            "topics=a..b",
            "topics=a,b,c",
            "topics=%zz",
            "topics=a&interval_ms=x",
            "compress=no",
            "topics=a&compress",
            "topics=a&since=1",
            "since=8f0c2a77d1e94b02:7",
        ] {
            assert!(subscribe_of(query, 2).is_err(), "{query}");
        }
    }
}
