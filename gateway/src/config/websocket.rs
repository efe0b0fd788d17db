//! `[[source]]` kinds "websocket" and "fanwire": where to connect, when to give up, what to ask for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{keys, topic::pattern::Pattern};
use hyper::Uri;

use super::{
    books,
    mapping::{self, Entry},
    policy::Policies,
    read::{Section, named},
    unit::show_duration,
};

use crate::names::Names;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
/// Texts sent after connecting, and their bytes together.
const SEND_MAX: usize = 256;
const SEND_BYTES_MAX: usize = 1 << 20;
const NAME_BYTES_MAX: usize = 64;

const HOST: &str = "write HOST or HOST:PORT";
const NAME: &str = "write 1 to 64 bytes of text";

keys! {
    /// of kind = "websocket" or "fanwire": a server that the gateway connects to, again and again.
    pub(super) struct LinkKeys in "source" {
        /// What logs and metrics call the source, 1 to 64 bytes. No two have the same. Default: HOST:PORT of `url`.
        name: Option<String> = text_like(NAME), example("\"coinbase\"");
        /// Where to connect, `ws://` or `wss://`.
        url: Option<String> = text(), example("\"wss://ws-feed.exchange.coinbase.com\"");
        /// PEM: who is trusted for a wss:// url. Default: those that this host trusts.
        ca: String = text_or(""), example("\"ca.pem\"");
        /// The `Host` header. Default: HOST:PORT of `url`.
        host: Option<String> = text_like(HOST), example("\"ws-feed.exchange.coinbase.com\"");
        /// How long to wait before the first new try, and twice as long after each that came to nothing. Of every wait
        /// up to half is left out at random.
        backoff_min: Duration = duration(500, 1..=HOUR);
        /// The longest wait before a new try.
        backoff_max: Duration = duration(30 * SECOND, 1..=HOUR);
        /// A connection that brought nothing for so long is pinged, and given up after as long again.
        idle: Duration = duration(30 * SECOND, 100..=HOUR);
        /// Bytes of a message. A longer one ends the connection with 1009. Default: 4MiB of kind "websocket", 64MiB of
        /// kind "fanwire".
        message_bytes: Option<usize> = size_found(128..=1 << 30), example("\"16MiB\"");
    }
}

keys! {
    /// of kind = "websocket": a venue's feed. Its `[[source.map]]` say what becomes of a message; coinbase.toml explains
    /// them.
    pub(super) struct WebsocketKeys in "source" {
        /// Texts sent in order after each connect, at most 256 of 1 MiB together.
        send: Vec<String> = texts(&[], "write a list of texts, like ['{\"op\":\"subscribe\"}']");
        /// What becomes of bytes that no topic may hold, of what pointers in `topic` lead to. "encode": `@x` and two
        /// hexadecimal digits. "replace": `_`.
        names: Names = choice("encode", &["encode", "replace"]);
    }
}

keys! {
    /// of kind = "fanwire": another gateway, whose topics, counts and positions are taken over.
    pub(super) struct FanwireKeys in "source" {
        /// Milliseconds of the interval to ask for. 0: each update is sent at once.
        interval_ms: u64 = count(0, 0..=HOUR);
        /// Bytes of a batch or a snapshot that comes in parts.
        batch_bytes: usize = size(256 << 20, 1024..=64 << 30);
    }
}

/// A feed that is fetched by connecting to its server.
#[derive(Debug, Clone, PartialEq)]
pub struct Websocket {
    pub link: Link,
    /// Sent in order after each connect.
    pub send: Vec<String>,
    /// Of topics' parts that the venue names.
    pub names: Names,
    /// Never empty.
    pub map: Vec<Entry>,
}

/// Another gateway, whose topics, counts and positions are taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Fanwire {
    pub link: Link,
    /// Never empty.
    pub topics: Vec<Pattern>,
    pub interval_ms: u64,
    /// Of a batch or snapshot in parts.
    pub batch_bytes: usize,
}

/// A server to connect to, again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What logs and metrics call it; no two are alike.
    pub name: String,
    pub url: Url,
    /// Of a `wss` URL: who is trusted in place of those that the host trusts.
    pub ca: Option<PathBuf>,
    /// The `Host` header.
    pub host: String,
    /// Between two tries; doubled after each that came to nothing.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// A silent connection is pinged after it, and given up after it once more.
    pub idle: Duration,
    /// Longest message.
    pub message_bytes: usize,
}

/// `ws://HOST[:PORT]/PATH` or `wss://…`.
#[derive(Debug, Clone, PartialEq)]
pub struct Url {
    pub text: String,
    /// `HOST[:PORT]` as written.
    pub host: String,
    /// `HOST:PORT`, to be resolved at each connect.
    pub address: String,
    /// Path and query, at least `/`.
    pub target: String,
    pub is_tls: bool,
}

impl Url {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HINT: &str = "write ws://HOST:PORT/PATH or wss://HOST:PORT/PATH";
        let host_start = text.find("://").map_or(0, |at| at + 3);
        let host_end = text[host_start..].find(['/', '?', '#']).map_or(text.len(), |at| host_start + at);
        if !text[..host_end].is_ascii() {
            return Err("a host name outside ASCII is written in its ASCII form (punycode), like xn--bcher-kva.example".to_owned());
        }
        let uri: Uri = percent_encoded(text, host_end).parse().map_err(|e| format!("{e}; {HINT}"))?;
        let (Some(scheme @ ("ws" | "wss")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(HINT.to_owned());
        };
        let is_tls = scheme == "wss";
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(format!("no user and no fragment has a place here; {HINT}"));
        }
        let port = match &authority.as_str()[authority.host().len()..] {
            "" if is_tls => Some(443u16),
            "" => Some(80),
            port => port[1..].parse().ok().filter(|port| *port > 0),
        };
        let port = port.ok_or(format!("a port is 1 to 65535; {HINT}"))?;
        Ok(Self {
            text: text.to_owned(),
            host: authority.to_string(),
            address: format!("{}:{port}", authority.host()),
            target: format!(
                "{}{}",
                uri.path(),
                uri.query().map_or(String::new(), |query| format!("?{query}"))
            ),
            is_tls,
        })
    }
}

/// `topics` with whether the file names the `keys` of each. `None`: its problems were told.
pub(super) fn websocket(
    section: &mut Section,
    dir: &Path,
    topics: &(Policies, Vec<bool>),
) -> Option<Websocket> {
    let WebsocketKeys { send, names } = section.keys();
    let send = section.convert("send", Some(send), check_send).unwrap_or_default();
    let map = mapping::entries(section);
    let link = link(section, dir, "ws://HOST:PORT/PATH", 4 << 20)?;
    books::check(section, &map, link.message_bytes, topics);
    Some(Websocket { link, send, names, map: map.into_iter().map(|(_, entry)| entry).collect() })
}

/// RFC 3986, 2.1: of path and query, from `at` on, bytes that stand in no URL, as of a symbol in another
/// script. A `%` begins what is encoded already.
fn percent_encoded(text: &str, at: usize) -> String {
    const NEVER: &[u8] = b" \"<>\\^`{|}";
    let mut encoded = text[..at].to_owned();
    for byte in text[at..].bytes() {
        match byte.is_ascii() && !NEVER.contains(&byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `named`: its `topics`. `None`: its problems were told.
pub(super) fn fanwire(
    section: &mut Section,
    dir: &Path,
    policies: &(Policies, Vec<bool>),
    named: Option<Vec<Pattern>>,
) -> Option<Fanwire> {
    let topics = named.unwrap_or_else(|| vec![Pattern::all()]);
    let FanwireKeys { interval_ms, batch_bytes } = section.keys();
    // A snapshot has a whole table in one update, and a frame is never shorter than that.
    let link = link(section, dir, "ws://HOST:PORT/ws", 64 << 20)?;
    books::check_tables(section, &topics, link.message_bytes, policies);
    Some(Fanwire { link, topics, interval_ms, batch_bytes })
}

/// `example` of a url; `bytes`: the default of message_bytes. `None`: its problems were told.
fn link(section: &mut Section, dir: &Path, example: &str, bytes: usize) -> Option<Link> {
    let keys: LinkKeys = section.keys();
    if section.named("url", ()).line.is_none() {
        section.problem(section.line(), format!("url is missing; write url = \"{example}\""));
    }
    let url = section.convert("url", keys.url, |url| Url::parse(&url));
    let host = section.convert("host", keys.host, check_host);
    let name = section.convert("name", keys.name, check_name);
    let (min, max) = (named!(section, keys.backoff_min), named!(section, keys.backoff_max));
    if let (Some(line), Some(_), true) = (min.line, max.line, min.value > max.value) {
        let (min, max) = (show_duration(min.value), show_duration(max.value));
        let text =
            format!("backoff_min = \"{min}\" is above backoff_max = \"{max}\"; write at most \"{max}\"");
        section.problem(line, text);
    }
    let url = url?;
    let ca = (!keys.ca.is_empty()).then(|| dir.join(&keys.ca));
    if let (Some(line), Some(file)) = (section.named("ca", ()).line, &ca) {
        if !url.is_tls {
            section.problem(line, "ca goes with a wss:// url");
        } else if let Err(error) = crate::tls::pem::read_ca(file) {
            section.problem(line, error);
        }
    }
    // Where only one of the two is named, the other's default follows it.
    let (least, most) = (min.value, max.value);
    Some(Link {
        name: name.unwrap_or_else(|| url.address.clone()),
        host: host.unwrap_or_else(|| url.host.clone()),
        url,
        ca,
        backoff_min: min.or(|default| default.min(most)),
        backoff_max: max.or(|default| default.max(least)),
        idle: keys.idle,
        message_bytes: keys.message_bytes.unwrap_or(bytes),
    })
}

fn check_host(host: String) -> Result<String, String> {
    match Url::parse(&format!("ws://{host}/")) {
        Ok(url) if url.host == host && url.target == "/" => Ok(url.host),
        Err(bad) if bad.contains("punycode") => Err(bad),
        _ => Err(HOST.to_owned()),
    }
}

fn check_name(name: String) -> Result<String, String> {
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    if is_good { Ok(name) } else { Err(NAME.to_owned()) }
}

fn check_send(texts: Vec<String>) -> Result<Vec<String>, String> {
    let bytes: usize = texts.iter().map(String::len).sum();
    if texts.len() > SEND_MAX || bytes > SEND_BYTES_MAX {
        let count = texts.len();
        return Err(format!(
            "{count} texts of {bytes} bytes; the most is {SEND_MAX} texts of {SEND_BYTES_MAX} bytes together"
        ));
    }
    Ok(texts)
}

impl From<&Link> for LinkKeys {
    fn from(link: &Link) -> Self {
        Self {
            name: Some(link.name.clone()),
            url: Some(link.url.text.clone()),
            ca: link.ca.as_ref().map_or(String::new(), |ca| ca.display().to_string()),
            host: Some(link.host.clone()),
            backoff_min: link.backoff_min,
            backoff_max: link.backoff_max,
            idle: link.idle,
            message_bytes: Some(link.message_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_address_and_target() {
        for (text, host, address, target) in [
            ("ws://127.0.0.1:8443/v2", "127.0.0.1:8443", "127.0.0.1:8443", "/v2"),
            ("ws://feed.example", "feed.example", "feed.example:80", "/"),
            ("ws://feed.example/a?streams=b/c@d", "feed.example", "feed.example:80", "/a?streams=b/c@d"),
            ("ws://[::1]:80/", "[::1]:80", "[::1]:80", "/"),
            ("wss://feed.example/a", "feed.example", "feed.example:443", "/a"),
            ("ws://h/%E5/å?s=币@b", "h", "h:80", "/%E5/%C3%A5?s=%E5%B8%81@b"),
            ("ws://h?s=å", "h", "h:80", "/?s=%C3%A5"),
            ("ws://h/a b%20c?s=d e", "h", "h:80", "/a%20b%20c?s=d%20e"),
            (
                "ws://h/<\"a\">?s={\"b\":[1]}|\\^`",
                "h",
                "h:80",
                "/%3C%22a%22%3E?s=%7B%22b%22:[1]%7D%7C%5C%5E%60",
            ),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((&*url.host, &*url.address, &*url.target), (host, address, target));
        }
    }

    #[test]
    fn what_is_no_websocket_url_is_refused_with_what_to_write() {
        for (bad, reason) in [
            ("http://feed.example/", "write ws://HOST:PORT/PATH"),
            ("127.0.0.1:80", "write ws://HOST:PORT/PATH"),
            ("ws://", "write ws://HOST:PORT/PATH"),
            ("ws://a b/", "write ws://HOST:PORT/PATH"),
            ("ws://a/\r\nX: y", "write ws://HOST:PORT/PATH"),
            ("ws://me@a/", "no user and no fragment"),
            ("ws://a/#b", "no user and no fragment"),
            ("ws://bücher.example/", "like xn--bcher-kva.example"),
            ("wss://币.example:443?a", "(punycode)"),
            ("ws://a:0/", "a port is 1 to 65535"),
            ("ws://a:70000/", "a port is 1 to 65535"),
        ] {
            let error = Url::parse(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
