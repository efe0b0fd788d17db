//! What the data listener answers to a request head. No IO.

use proto::Request;

pub use super::{
    answers::{Answer, refusal},
    situation::Situation,
};
use super::{
    answers::{Upgrade, plain, redirect, refuse, refuse_by_http, refuse_with, without_body},
    gate::{self, host_named, pass_host},
    refused::Refused,
    stream,
    subscriber::{self, Entry},
};
use crate::http::{host::Host, raw_path};

pub fn answer(request: &Request<'_>, situation: &Situation<'_>) -> Answer {
    // What GET is answered, without the body (RFC 9110, section 9.3.2).
    if request.method() == "HEAD" && !situation.echo {
        return match answer(&request.as_get(), situation) {
            Answer::Upgrade(upgrade) if upgrade.wire.encoding.is_stream() => {
                Answer::Upgrade(Box::new(Upgrade { is_head: true, ..*upgrade }))
            }
            Answer::Upgrade(_) | Answer::Close { .. } => {
                without_body(refuse_with(405, "a WebSocket upgrade is asked for by GET", &[("Allow", "GET")]))
            }
            http => without_body(http),
        };
    }
    if situation.echo {
        return subscriber::echo(request, situation);
    }
    let path = request.path();
    let host = host_named(request);
    if situation.is_loopback
        && let Err(reason) = pass_host(request, host.as_ref(), situation.hosts)
    {
        situation.tell(&reason, situation.hosts_told);
        return refuse_by_http(Refused::Host, &reason, &[]);
    }
    let entry = entry(path, situation);
    if entry.is_none() && !matches!(path, "/healthz" | "/readyz" | "/livez" | "/") {
        return refuse(404, NO_SUCH_PATH);
    }
    match (request.method(), &entry) {
        ("GET", _) | ("OPTIONS", Some(Entry::Stream(_))) => {}
        (_, Some(Entry::Stream(_))) => {
            let allow = [("Allow", "GET, HEAD, OPTIONS")];
            return refuse_with(405, "only GET, HEAD and OPTIONS are allowed here", &allow);
        }
        _ => return refuse_with(405, "only GET and HEAD are allowed here", &[("Allow", "GET, HEAD")]),
    }
    match (path, entry) {
        (_, Some(entry)) => subscriber::answer(request, &entry, host, situation),
        ("/livez", None) => told(situation.silent.then_some("some shards do not answer")),
        ("/", None) => root(request, host.as_ref(), situation),
        (_, None) => told(unready(situation)),
    }
}

/// What a path leads to, where that is for subscribers.
fn entry(path: &str, situation: &Situation<'_>) -> Option<Entry> {
    if path == "/ws" {
        return Some(Entry::WebSocket);
    }
    let stream = stream::encoding_of(path).map(Entry::Stream);
    stream.or_else(|| raw_path::topic_of(path, situation.raw_paths).map(Entry::Raw))
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

const NO_SUCH_PATH: &str = "no such path here; subscribers connect to /ws, /sse, /stream or /raw/TOPIC";

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
