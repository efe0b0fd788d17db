//! Where a document is: `https://HOST[:PORT]/PATH`, or `http://…`.

use std::fmt;

use hyper::Uri;

const HINT: &str = "write https://HOST/PATH";

/// `https://HOST[:PORT]/PATH`, or `http://…`. Its path and query may hold secrets, so they are not shown.
#[derive(Clone, PartialEq)]
pub struct HttpUrl {
    pub text: String,
    pub is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// `HOST[:PORT]` as written.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

impl HttpUrl {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}; {HINT}"))?;
        let (Some(scheme @ ("https" | "http")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(HINT.to_owned());
        };
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(format!("no user and no fragment has a place here; {HINT}"));
        }
        let is_tls = scheme == "https";
        let port = match &authority.as_str()[authority.host().len()..] {
            "" if is_tls => Some(443),
            "" => Some(80),
            port => port[1..].parse().ok().filter(|port| *port > 0),
        };
        Ok(Self {
            text: text.to_owned(),
            is_tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: port.ok_or(format!("a port is 1 to 65535; {HINT}"))?,
            authority: authority.to_string(),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    }

    /// One that nobody on the way can read or change.
    pub fn parse_https(text: &str) -> Result<Self, String> {
        let url = Self::parse(text)?;
        if url.is_tls { Ok(url) } else { Err(HINT.to_owned()) }
    }

    /// `HOST[:PORT]` as written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The server alone, as what may be told.
    pub fn server(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority)
    }

    /// Where it leads that something has moved: on the same server only.
    pub(super) fn moved(&self, location: &str) -> Result<Self, String> {
        let is_path = location.starts_with('/') && !location.starts_with("//");
        let next = if is_path {
            Self::parse(&format!("{}{location}", self.server()))
        } else {
            Self::parse(location)
        };
        let next = next.map_err(|_| "it redirects to what is no http or https URL".to_owned())?;
        let is_same = next.host.eq_ignore_ascii_case(&self.host)
            && next.port == self.port
            && next.is_tls == self.is_tls;
        if is_same { Ok(next) } else { Err(format!("it redirects to another server, {}", next.server())) }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_and_target() {
        for (text, host, port, target) in [
            ("https://id.example", "id.example", 443, "/"),
            ("https://id.example:8443/a/jwks.json?v=1", "id.example", 8443, "/a/jwks.json?v=1"),
            ("https://[::1]:1/a", "::1", 1, "/a"),
            ("http://127.0.0.1/a", "127.0.0.1", 80, "/a"),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((&*url.host, url.port, &*url.target), (host, port, target));
        }
        for bad in ["ws://id.example/", "jwks.json", "https://me@id.example/", "https://id.example:0/", ""] {
            assert!(HttpUrl::parse(bad).unwrap_err().contains("https://HOST/PATH"), "{bad}");
        }
        assert!(HttpUrl::parse_https("http://id.example/").is_err());
        let secret = HttpUrl::parse("https://id.example/a?key=secret").unwrap();
        assert_eq!(format!("{secret:?}"), "id.example");
    }

    #[test]
    fn nothing_leads_to_another_server() {
        let url = HttpUrl::parse("https://id.example/a").unwrap();
        let moved = |location: &str| url.moved(location).map(|next| (next.authority, next.target));
        assert_eq!(moved("/b?c"), Ok(("id.example".to_owned(), "/b?c".to_owned())));
        assert_eq!(moved("https://ID.example:443/b").unwrap().1, "/b");
        for elsewhere in [
            "https://evil.example/a",
            "https://id.example:8443/a",
            "https://id.example.evil.example/a",
            "http://id.example/a",
            "http://id.example:443/a",
            "//evil.example/a",
            "b",
            "https://id.example@evil.example/a",
        ] {
            assert!(moved(elsewhere).unwrap_err().contains("it redirects to"), "{elsewhere}");
        }
        let told = moved("http://id.example/a?key=secret").unwrap_err();
        assert_eq!(told, "it redirects to another server, http://id.example");
    }
}
