//! Where a server is: `ws://HOST[:PORT]/PATH` or `wss://…`.

use std::fmt;

use hyper::Uri;

/// `ws://HOST[:PORT]/PATH` or `wss://…`.
///
/// Its path and query may hold secrets, so they are not shown.
#[derive(Clone, PartialEq)]
pub struct Url {
    /// As it was written.
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

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
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
