//! What the data listener answers to a request head. No IO.

use std::net::{IpAddr, SocketAddr};

use proto::{Refusal, Request, deflate::Agreement, handshake};

use super::{dictionaries::Dictionaries, query::Query};
use crate::{
    address::Address,
    http::host::Host,
    protocol::{
        encoding::{Encoding, Wire},
        request::Subscribe,
    },
    settings::Compression,
};

/// Seconds a client over a limit is asked to wait.
const RETRY_AFTER_S: &str = "5";

/// Why the gateway lets a connection in only to refuse its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// 503.
    Full,
    /// 429.
    Address,
    /// 503.
    Overload,
}

/// The answer and what follows it.
#[derive(Debug)]
pub enum Answer {
    /// A whole HTTP answer; then the connection ends. From 400 on it is a refusal.
    Http { status: u16, bytes: Vec<u8> },
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
    pub peer: Address,
    /// The listener's address is of loopback.
    pub is_loopback: bool,
    /// `[access] hosts`.
    pub hosts: &'a [Host],
    pub refused: Option<Refused>,
    pub draining: bool,
    /// Sources are waited for that have brought nothing yet.
    pub warming: bool,
    /// Why the gateway does not keep up.
    pub behind: Option<&'static str>,
    /// Some shard does not answer the control plane.
    pub silent: bool,
    pub admin: Option<SocketAddr>,
    pub admin_tls: bool,
    /// `[limits] patterns`.
    pub patterns_max: usize,
    pub compression: &'a Compression,
    /// Room for what clients' compressed messages refer back to.
    pub dictionaries: &'a Dictionaries,
    /// Every path is a WebSocket and no subprotocol is spoken: the echo server.
    pub echo: bool,
}

pub fn answer(request: &Request<'_>, situation: &Situation<'_>) -> Answer {
    // What GET is answered, without the body (RFC 9110, section 9.3.2).
    if request.method() == "HEAD" && !situation.echo {
        return match answer(&request.as_get(), situation) {
            Answer::Upgrade { .. } => {
                without_body(refusal_of(405, "a WebSocket upgrade is asked for by GET", &[("Allow", "GET")]))
            }
            http => without_body(http),
        };
    }
    let (path, text) = (request.path(), request.query().unwrap_or(""));
    if situation.echo {
        let query = Query::parse(text, situation.patterns_max).unwrap_or_default();
        return upgrade(request, query, false, situation);
    }
    if !matches!(path, "/ws" | "/healthz" | "/readyz" | "/livez" | "/") {
        return refuse(404, NO_SUCH_PATH);
    }
    if request.method() != "GET" {
        return refusal_of(405, "only GET and HEAD are allowed here", &[("Allow", "GET, HEAD")]);
    }
    match path {
        "/livez" => told(situation.silent.then_some("some shards do not answer")),
        "/healthz" | "/readyz" => told(unready(situation)),
        "/" => root(request, situation),
        _ => subscriber(request, text, situation),
    }
}

/// Why new clients should go elsewhere.
fn unready(situation: &Situation<'_>) -> Option<&'static str> {
    if situation.draining {
        return Some("draining");
    }
    situation.warming.then_some("warming: some sources have brought nothing yet").or(situation.behind)
}

fn told(trouble: Option<&str>) -> Answer {
    trouble.map_or_else(|| plain(200, "text/plain", b"ok\n"), |reason| refuse(503, reason))
}

const NO_SUCH_PATH: &str = "no such path here; subscribers connect to /ws";

/// Where the page lives, for people on this machine who ask it themselves: behind a proxy everybody's peer is
/// loopback, and an address within is nothing to tell strangers.
fn root(request: &Request<'_>, situation: &Situation<'_>) -> Answer {
    let mut named = request.header_values("host");
    let host = named.next().and_then(Host::of_authority).filter(|_| named.next().is_none());
    let is_near = host.as_ref().is_some_and(Host::is_loopback);
    if situation.is_loopback && !is_near && !host.is_some_and(|host| situation.hosts.contains(&host)) {
        let reason = "this listener is on loopback and answers here to localhost, loopback addresses and [access] hosts";
        return refuse(403, reason);
    }
    match situation.admin.zip(situation.peer.loopback()) {
        Some((admin, peer)) if is_near && !request.has_field(is_forwarding) => {
            redirect(admin, peer, if situation.admin_tls { "https" } else { "http" })
        }
        _ => refuse(404, NO_SUCH_PATH),
    }
}

/// Whether a proxy tells by that field for whom it asks.
fn is_forwarding(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(&*name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
}

fn subscriber(request: &Request<'_>, query: &str, situation: &Situation<'_>) -> Answer {
    if situation.draining {
        return refuse(503, "draining");
    }
    match situation.refused {
        Some(Refused::Full) => return refuse(503, "the gateway is full"),
        Some(Refused::Address) => return refuse(429, "too many connections from this address"),
        Some(Refused::Overload) => {
            let reason = "the gateway is overloaded and takes no new clients; come back later";
            return refusal_of(503, reason, &[("Retry-After", RETRY_AFTER_S)]);
        }
        None => {}
    }
    match Query::parse(query, situation.patterns_max) {
        Ok(query) => upgrade(request, query, true, situation),
        Err(reason) => refuse(400, &reason),
    }
}

fn upgrade(request: &Request<'_>, query: Query, subprotocol: bool, situation: &Situation<'_>) -> Answer {
    let compression = situation.compression;
    match request.upgrade() {
        Err(refused) => Answer::Http { status: refused.status, bytes: refusal(&refused) },
        Ok(upgrade) => {
            let chosen = upgrade.protocols().find_map(Encoding::of).filter(|_| subprotocol);
            let mut head = Vec::with_capacity(192);
            let agree = |takes_context| upgrade.deflate(compression.window_bits, takes_context);
            let wanted = !query.uncompressed && wants_compression(request, compression);
            let wanted = wanted.then(|| agree(true)).flatten();
            let takes_context = || situation.dictionaries.have_room(situation.peer);
            let deflate =
                if wanted.is_some() && takes_context() { wanted } else { wanted.and_then(|_| agree(false)) };
            handshake::accept(&mut head, upgrade.key(), chosen.map(Encoding::subprotocol), deflate.as_ref());
            let window_bits = deflate.map(|agreed| agreed.server_window_bits);
            let wire = Wire { encoding: chosen.unwrap_or_default(), window_bits };
            let declined = wanted.is_some() && deflate.is_none();
            Answer::Upgrade { head, wire, deflate, declined, subscribe: query.subscribe }
        }
    }
}

/// Whether an offer to compress is taken: not from a browser that is known to get it wrong.
fn wants_compression(request: &Request<'_>, compression: &Compression) -> bool {
    let bad = |agent: &str| compression.user_agents_off.iter().any(|part| agent.contains(&**part));
    compression.enabled && !request.header("user-agent").is_some_and(bad)
}

/// The HTTP answer of a refusal.
pub fn refusal(refusal: &Refusal) -> Vec<u8> {
    let extra: &[(&str, &str)] = if refusal.status == 429 { &[("Retry-After", RETRY_AFTER_S)] } else { &[] };
    let mut out = Vec::with_capacity(256);
    handshake::refuse(&mut out, refusal.status, &refusal.reason, extra);
    if refusal.is_head {
        cut_body(&mut out);
    }
    out
}

fn refuse(status: u16, reason: &str) -> Answer {
    Answer::Http { status, bytes: refusal(&Refusal::new(status, reason)) }
}

fn refusal_of(status: u16, reason: &str, extra: &[(&str, &str)]) -> Answer {
    let mut bytes = Vec::with_capacity(256);
    handshake::refuse(&mut bytes, status, reason, extra);
    Answer::Http { status, bytes }
}

fn plain(status: u16, content_type: &str, body: &[u8]) -> Answer {
    let mut bytes = Vec::with_capacity(192);
    handshake::respond(&mut bytes, status, content_type, body);
    Answer::Http { status, bytes }
}

fn without_body(mut answer: Answer) -> Answer {
    if let Answer::Http { bytes, .. } = &mut answer {
        cut_body(bytes);
    }
    answer
}

fn cut_body(answer: &mut Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    answer.truncate(end.map_or(answer.len(), |end| end + 4));
}

/// For a loopback peer. A listener on all addresses is reached at the peer's own.
fn redirect(mut admin: SocketAddr, peer: IpAddr, scheme: &str) -> Answer {
    if admin.ip().is_unspecified() {
        admin.set_ip(peer);
    }
    let head = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {scheme}://{admin}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    Answer::Http { status: 307, bytes: head.into_bytes() }
}
