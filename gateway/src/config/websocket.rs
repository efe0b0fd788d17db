//! `[[source]]` kinds "websocket" and "fanwire": where to connect, when to give up, what to ask for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use toml::de::DeValue;

use super::{
    books,
    freshness::patterns,
    mapping::{self, Entry},
    policy::Policies,
    read::Section,
    unit::show_duration,
};

use crate::names::Names;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
/// Texts sent after connecting, and their bytes together.
const SEND_MAX: usize = 256;
const SEND_BYTES_MAX: usize = 1 << 20;
const NAME_BYTES_MAX: usize = 64;

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
    /// Checked patterns; never empty.
    pub topics: Vec<String>,
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
    let send = section.read("send", Vec::new(), texts).value;
    let names = read_names(section);
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

/// Of a source that makes names of topics.
pub(super) fn read_names(section: &mut Section) -> Names {
    let names =
        section.read("names", Names::Encode, |value| Names::parse(value.as_str().unwrap_or_default()));
    names.value
}

/// `None`: its problems were told.
pub(super) fn fanwire(
    section: &mut Section,
    dir: &Path,
    policies: &(Policies, Vec<bool>),
) -> Option<Fanwire> {
    let topics = section.read("topics", vec!["*".to_owned()], patterns).value;
    let interval_ms = section.int("interval_ms", 0, 0..=HOUR).value;
    let batch_bytes = section.size("batch_bytes", 256 << 20, 1024..=64 << 30).value as usize;
    // A snapshot has a whole table in one update, and a frame is never shorter than that.
    let link = link(section, dir, "ws://HOST:PORT/ws", 64 << 20)?;
    books::check_tables(section, &topics, link.message_bytes, policies);
    Some(Fanwire { link, topics, interval_ms, batch_bytes })
}

/// `example` of a url; `bytes`: the default of message_bytes. `None`: its problems were told.
fn link(section: &mut Section, dir: &Path, example: &str, bytes: u64) -> Option<Link> {
    let url = section.read("url", None, |value| match value {
        DeValue::String(text) => Url::parse(&text).map(Some),
        _ => Err("write text in quotes".to_owned()),
    });
    let host = section.read("host", None, |value| {
        match value.as_str().map(|host| (host, Url::parse(&format!("ws://{host}/")))) {
            Some((host, Ok(url))) if url.host == host && url.target == "/" => Ok(Some(url.host)),
            Some((_, Err(bad))) if bad.contains("punycode") => Err(bad),
            _ => Err("write HOST or HOST:PORT".to_owned()),
        }
    });
    let name = section.read("name", None, |value| match value.as_str() {
        Some(name) if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(format!("write 1 to {NAME_BYTES_MAX} bytes of text")),
    });
    let ca = section.text("ca", "");
    let min = section.duration("backoff_min", 500, 1..=HOUR);
    let max = section.duration("backoff_max", 30 * SECOND, 1..=HOUR);
    let idle = section.duration("idle", 30 * SECOND, 100..=HOUR).value;
    let message_bytes = section.size("message_bytes", bytes, 128..=1 << 30).value as usize;

    if url.line.is_none() {
        section.problem(section.line(), format!("url is missing; write url = \"{example}\""));
    }
    if let (Some(line), Some(_), true) = (min.line, max.line, min.value > max.value) {
        let (min, max) = (show_duration(min.value), show_duration(max.value));
        let text =
            format!("backoff_min = \"{min}\" is above backoff_max = \"{max}\"; write at most \"{max}\"");
        section.problem(line, text);
    }
    let url = url.value?;
    let ca_file = (!ca.value.is_empty()).then(|| dir.join(&ca.value));
    if let (Some(line), Some(file)) = (ca.line, &ca_file) {
        if !url.is_tls {
            section.problem(line, "ca goes with a wss:// url");
        } else if let Err(error) = crate::tls::read_ca(file) {
            section.problem(line, error);
        }
    }
    let name = name.value.unwrap_or_else(|| url.address.clone());
    let host = host.value.unwrap_or_else(|| url.host.clone());
    // Where only one of the two is named, the other's default follows it.
    let (least, most) = (min.value, max.value);
    let (backoff_min, backoff_max) =
        (min.or(|default| default.min(most)), max.or(|default| default.max(least)));
    Some(Link { name, url, ca: ca_file, host, backoff_min, backoff_max, idle, message_bytes })
}

fn texts(value: DeValue<'_>) -> Result<Vec<String>, String> {
    const HINT: &str = "write a list of texts, like ['{\"op\":\"subscribe\"}']";
    let DeValue::Array(array) = value else { return Err(HINT.to_owned()) };
    let text = |value: &toml::Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
    let texts: Vec<String> = array.iter().map(text).collect::<Option<_>>().ok_or(HINT)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    if texts.len() > SEND_MAX || bytes > SEND_BYTES_MAX {
        let count = texts.len();
        return Err(format!(
            "{count} texts of {bytes} bytes; the most is {SEND_MAX} texts of {SEND_BYTES_MAX} bytes together"
        ));
    }
    Ok(texts)
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
