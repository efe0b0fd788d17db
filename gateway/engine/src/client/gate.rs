//! Who may ask: by the host that a request names, and by the page that it comes from. A browser sends any page's
//! requests to any address, and only these two tell.

use proto::Request;

use crate::http::{
    host::Host,
    origin::{Asking, Origins},
};

/// Characters of a field that a reason shows.
const SHOWN_CHARS_MAX: usize = 100;

/// The host that a request names, by its only `Host`.
pub(super) fn host_named(request: &Request<'_>) -> Option<Host> {
    let mut named = request.header_values("host");
    named.next().and_then(Host::of_authority).filter(|_| named.next().is_none())
}

/// The host that a client asked the first of its proxies for.
pub(super) fn host_forwarded(request: &Request<'_>) -> Option<Host> {
    if let Some(named) = request.header("x-forwarded-host") {
        return Host::of_authority(named.split(',').next()?.trim());
    }
    let pairs = request.header("forwarded")?.split([',', ';']).filter_map(|pair| pair.split_once('='));
    let mut hosts = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("host"));
    Host::of_authority(hosts.next()?.1.trim().trim_matches('"'))
}

/// Whether a listener that only this machine reaches answers: a page whose name leads here is of one origin with it,
/// and only its `Host` tells. The error is the reason.
pub(super) fn pass_host(request: &Request<'_>, host: Option<&Host>, hosts: &[Host]) -> Result<(), String> {
    let is_answered = host.is_some_and(|host| host.is_loopback() || hosts.contains(host));
    if is_answered || is_forwarded_upgrade(request) {
        return Ok(());
    }
    Err(format!(
        "Host {}: this listener is on loopback and answers to localhost, loopback addresses and [access] hosts; ask by \
         one of those or add the name there",
        shown(request, "host")
    ))
}

/// Whether the page that asks may connect. `host`: what is asked for. The error is the reason.
pub(super) fn pass_origin(
    request: &Request<'_>,
    host: Option<&Host>,
    origins: &Origins,
) -> Result<(), String> {
    let asking = asking(request);
    if origins.allow(&asking, host) {
        return Ok(());
    }
    let host = host.map_or_else(|| shown(request, "host"), ToString::to_string);
    Err(match asking {
        Asking::None => {
            format!("no Origin at host {host}: only pages may connect; add \"none\" to [access] origins")
        }
        Asking::Page(_) | Asking::Unknown => {
            let origin = shown(request, "origin");
            format!("Origin {origin} at host {host}: its pages may not connect; add it to [access] origins")
        }
    })
}

fn asking(request: &Request<'_>) -> Asking {
    match Asking::of(request.header_values("origin")) {
        // A value that cannot be read is none of a program's.
        Asking::None if names_origin(request) => Asking::Unknown,
        asking => asking,
    }
}

/// Whether a browser asks, or what behaves like one.
pub(super) fn names_origin(request: &Request<'_>) -> bool {
    request.has_field(|name| name.eq_ignore_ascii_case("origin"))
}

/// Whether a proxy passes a WebSocket on: a page can open one, but give it none of these fields.
fn is_forwarded_upgrade(request: &Request<'_>) -> bool {
    let mut upgrades = request.header_values("upgrade").flat_map(|value| value.split(','));
    let is_upgrade = upgrades.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"));
    let tells = |name: &str| {
        ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|of| name.eq_ignore_ascii_case(of))
    };
    is_upgrade && request.method() == "GET" && request.has_field(tells)
}

/// Whether a proxy tells by that field for whom it asks.
pub(super) fn is_forwarding(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(&*name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
}

/// A field's values for people.
fn shown(request: &Request<'_>, name: &str) -> String {
    let values: Vec<&str> = request.header_values(name).collect();
    if values.is_empty() {
        return "(none)".to_owned();
    }
    values.join(", ").chars().take(SHOWN_CHARS_MAX).collect()
}
