//! The gate before the admin listener's routes: a web page may neither ask nor write there, since browsers let
//! any page send requests to this machine.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};
use engine::http::host::Host;

/// Of browsers: how the page that asks is related to what it asks (Fetch Metadata, section 2.3).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// By which a proxy tells for whom it asks.
const FORWARDING: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Which requests are answered.
#[derive(Debug)]
pub struct Gate {
    /// The listener's address is of loopback, so that only names tell who asks.
    is_loopback: bool,
    /// `[access] hosts`.
    hosts: Vec<Host>,
}

impl Gate {
    pub fn new(is_loopback: bool, hosts: Vec<Host>) -> Self {
        Self { is_loopback, hosts }
    }

    /// `Err`: why the request is refused with 403.
    pub fn pass(&self, request: &Request) -> Result<(), String> {
        let asked = asked(request);
        let is_answered = asked.as_ref().is_some_and(|host| self.answers(host));
        let is_checked = self.is_loopback || !self.hosts.is_empty();
        if is_checked && !is_answered && !is_forwarded_upgrade(request) {
            let host = shown(request.headers(), header::HOST);
            let answered = match self.is_loopback {
                true => "is on loopback and answers to localhost, loopback addresses and [access] hosts",
                false => "answers to localhost, addresses and [access] hosts",
            };
            return Err(format!(
                "Host {host}: this listener {answered}; ask by one of those or add the name there"
            ));
        }
        for site in request.headers().get_all(SEC_FETCH_SITE) {
            if site.as_bytes().eq_ignore_ascii_case(b"cross-site") {
                return Err(
                    "Sec-Fetch-Site: cross-site: pages of other sites may not ask here; type the address \
                            or ask without a browser"
                        .to_owned(),
                );
            }
        }
        for origin in request.headers().get_all(header::ORIGIN) {
            let host = origin.to_str().ok().and_then(Host::of_origin);
            if !host.zip(asked.as_ref()).is_some_and(|(origin, asked)| origin.is_same(asked)) {
                let (origin, host) =
                    (shown(request.headers(), header::ORIGIN), shown(request.headers(), header::HOST));
                return Err(format!(
                    "Origin {origin} is not the host asked for, {host}: pages of other hosts may not ask here"
                ));
            }
        }
        Ok(())
    }

    fn answers(&self, host: &Host) -> bool {
        // A page that has the names of its own host lead here has a name.
        let is_address = !self.is_loopback && matches!(host, Host::Address(_));
        host.is_loopback() || is_address || self.hosts.contains(host)
    }
}

/// Whether a proxy passes a WebSocket on: a page can open one, but give it none of these fields.
fn is_forwarded_upgrade(request: &Request) -> bool {
    let headers = request.headers();
    let is_upgrade = headers.get_all(header::UPGRADE).iter().any(|value| {
        let named = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        named.into_iter().any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    });
    let is_upgrade = is_upgrade && request.method() == Method::GET;
    is_upgrade && FORWARDING.iter().any(|name| headers.contains_key(*name))
}

/// The one host that a request names: in its only `Host`, and in its target where that is absolute.
fn asked(request: &Request) -> Option<Host> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let host = Host::of_authority(fields.next()?.to_str().ok()?)?;
    if fields.next().is_some() {
        return None;
    }
    match request.uri().authority() {
        Some(target) => Host::of_authority(target.as_str()).filter(|target| target.is_same(&host)),
        None => Some(host),
    }
}

/// A header's first value for people, or what stands in its place.
fn shown(headers: &HeaderMap, name: HeaderName) -> String {
    const CHARS_MAX: usize = 100;
    let text =
        |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).chars().take(CHARS_MAX).collect();
    match (headers.get(&name), headers.get_all(&name).iter().count()) {
        (Some(value), 1) => text(value),
        (Some(value), times) => format!("{} and {} more", text(value) as String, times - 1),
        (None, _) => "(none)".to_owned(),
    }
}
