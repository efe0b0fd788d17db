//! What the data listener answers to a request head. No IO.

use std::net::SocketAddr;

use proto::{Request, handshake};

use super::{
    answers::{
        self, BAD_TOKEN, Field, NO_TOKEN, Upgrade, closes, plain, redirect, refuse, refuse_by_http,
        refuse_with, turn_away, without_body,
    },
    dictionaries::Dictionaries,
    gate::{self, host_forwarded, host_named, pass_host, pass_origin},
    handshakes::Handshakes,
    query::Query,
    refused::Refused,
};
use crate::{
    access::{
        rules::{Place, Rules},
        shown::{Found, Wrong, shown},
        verify::{Compact, Credential, Verify},
    },
    address::Address,
    clock::Now,
    http::{host::Host, origin::Origins, proxies::Proxies},
    minutely::Minutely,
    protocol::encoding::{Encoding, Wire},
    settings::{Compression, Refusing},
};
pub use answers::{Answer, refusal};

/// What the answer depends on beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    pub peer: Address,
    /// The peer is a proxy whose word on the host that it was asked for counts, where origins are compared with it.
    pub is_proxied: bool,
    /// The listener's address is of loopback.
    pub is_loopback: bool,
    /// `[access] hosts`.
    pub hosts: &'a [Host],
    /// `[access] origins`.
    pub origins: &'a Origins,
    /// `[server] refuse`.
    pub refusing: Refusing,
    /// Where the peer is a proxy that tells for whom it asks.
    pub proxies: Option<&'a Proxies>,
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
    /// What `[access]` says of tokens, and what verifies them; `None`: there are no keys.
    pub rules: &'a Rules,
    pub verifier: Option<&'a dyn Verify>,
    /// The client has shown a certificate.
    pub has_certificate: bool,
    /// Room for what clients' compressed messages refer back to.
    pub dictionaries: &'a Dictionaries,
    /// How many may begin.
    pub handshakes: &'a Handshakes,
    /// Requests that are refused for their host, and for their origin: the log names some.
    pub hosts_told: &'a Minutely,
    pub origins_told: &'a Minutely,
    pub now: Now,
    /// Every path is a WebSocket and no subprotocol is spoken: the echo server.
    pub echo: bool,
}

pub fn answer(request: &Request<'_>, situation: &Situation<'_>) -> Answer {
    // What GET is answered, without the body (RFC 9110, section 9.3.2).
    if request.method() == "HEAD" && !situation.echo {
        return match answer(&request.as_get(), situation) {
            Answer::Upgrade(_) | Answer::Close { .. } => {
                without_body(refuse_with(405, "a WebSocket upgrade is asked for by GET", &[("Allow", "GET")]))
            }
            http => without_body(http),
        };
    }
    let (path, text) = (request.path(), request.query().unwrap_or(""));
    if situation.echo {
        let query = Query::parse(text, situation.patterns_max).unwrap_or_default();
        return upgrade(request, query, false, situation);
    }
    let host = host_named(request);
    if situation.is_loopback
        && let Err(reason) = pass_host(request, host.as_ref(), situation.hosts)
    {
        tell(&reason, situation.hosts_told, situation);
        return refuse_by_http(Refused::Host, &reason);
    }
    if !matches!(path, "/ws" | "/healthz" | "/readyz" | "/livez" | "/") {
        return refuse(404, NO_SUCH_PATH);
    }
    if request.method() != "GET" {
        return refuse_with(405, "only GET and HEAD are allowed here", &[("Allow", "GET, HEAD")]);
    }
    match path {
        "/livez" => told(situation.silent.then_some("some shards do not answer")),
        "/healthz" | "/readyz" => told(unready(situation)),
        "/" => root(request, host.as_ref(), situation),
        _ => subscriber(request, host, text, situation),
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
fn root(request: &Request<'_>, host: Option<&Host>, situation: &Situation<'_>) -> Answer {
    let is_near = host.is_some_and(Host::is_loopback);
    match situation.admin.zip(situation.peer.loopback()) {
        Some((admin, peer)) if is_near && !request.has_field(gate::is_forwarding) => {
            redirect(admin, peer, if situation.admin_tls { "https" } else { "http" })
        }
        _ => refuse(404, NO_SUCH_PATH),
    }
}

/// Who asks first, what is asked last: a page that may not connect takes nothing of what others may have.
fn subscriber(request: &Request<'_>, named: Option<Host>, query: &str, situation: &Situation<'_>) -> Answer {
    let host = situation.is_proxied.then(|| host_forwarded(request)).flatten().or(named);
    if let Err(reason) = pass_origin(request, host.as_ref(), situation.origins) {
        tell(&reason, situation.origins_told, situation);
        return refuse_by_http(Refused::Origin, &reason);
    }
    let turn_away = |refused: Refused, retry_after_s: Option<u64>| {
        let seconds = retry_after_s.map(|seconds| seconds.to_string());
        let fields: Option<Field<'_>> = seconds.as_deref().map(|seconds| ("Retry-After", seconds));
        turn_away(request, situation.refusing, refused, refused.text(), fields.as_slice())
    };
    if situation.draining {
        return turn_away(Refused::Draining, None);
    }
    if let Some(refused) = situation.refused {
        return turn_away(refused, refused.retry_after_s());
    }
    if let Err(over) = situation.handshakes.begin(situation.peer, situation.now) {
        return turn_away(over.rate, Some(over.wait_us.div_ceil(1_000_000).max(1)));
    }
    match Query::parse(query, situation.patterns_max) {
        Ok(query) => upgrade(request, query, true, situation),
        Err(reason) => refuse(400, &reason),
    }
}

/// The log names a request that is refused for its page or its host, once a minute.
fn tell(reason: &str, told: &Minutely, situation: &Situation<'_>) {
    if let Some(left_out) = told.happened(situation.now.mono_us) {
        tracing::warn!(peer = %situation.peer, left_out, "refused with 403: {reason}");
    }
}

fn upgrade(request: &Request<'_>, query: Query, subprotocol: bool, situation: &Situation<'_>) -> Answer {
    let compression = situation.compression;
    match request.upgrade() {
        Err(refused) => Answer::Http { status: refused.status, bytes: refusal(&refused), refused: None },
        Ok(upgrade) => {
            let chosen = upgrade.protocols().find_map(Encoding::of).filter(|_| subprotocol);
            let token = match token(request, upgrade.protocols(), subprotocol, situation) {
                Ok(token) => token,
                Err(refused) => return refused,
            };
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
            let (subscribe, closes) = (query.subscribe, closes(request, situation.refusing));
            Answer::Upgrade(Box::new(Upgrade { head, wire, deflate, declined, subscribe, token, closes }))
        }
    }
}

/// The token that a request shows, or how it is refused for what it shows, or for showing none where one is needed.
fn token<'a>(
    request: &Request<'a>,
    protocols: impl Iterator<Item = &'a str>,
    is_subscriber: bool,
    situation: &Situation<'_>,
) -> Result<Option<Credential>, Answer> {
    let rules = situation.rules;
    let turn_away =
        |reason: &str, fields| turn_away(request, situation.refusing, Refused::Token, reason, fields);
    // Where nobody needs a token, and none could be good, what a client shows is for somebody else.
    let looks = |verifier: &&dyn Verify| is_subscriber && (!rules.is_open || verifier.has_keys());
    let (verifier, has_certificate) =
        (situation.verifier.filter(looks), is_subscriber && situation.has_certificate);
    let shown = shown(request, protocols, rules, verifier, has_certificate).map_err(|wrong| match wrong {
        Wrong::Token(bad) => turn_away(&format!("bad token: {bad}"), BAD_TOKEN),
        Wrong::Code(param) => {
            refuse_by_http(Refused::Code, &format!("{param} in the URL is not the code of the cookie"))
        }
    })?;
    if shown.is_none() && is_subscriber && rules.wants_token() && !rules.from.contains(&Place::Op) {
        return Err(turn_away(Refused::Token.text(), NO_TOKEN));
    }
    Ok(shown.map(|found| match found {
        Found::Token(token) => Credential::Token(Compact(token.into_owned())),
        Found::Certificate => Credential::Certificate,
    }))
}

/// Whether an offer to compress is taken: not from a browser that is known to get it wrong.
fn wants_compression(request: &Request<'_>, compression: &Compression) -> bool {
    let bad = |agent: &str| compression.user_agents_off.iter().any(|part| agent.contains(&**part));
    compression.enabled && !request.header("user-agent").is_some_and(bad)
}
