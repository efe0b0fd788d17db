//! `[access] origins`: whose pages may connect (RFC 6454).

use std::fmt;

use super::host::Host;

/// What browsers put into `Origin`: scheme, host and port of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Lower case.
    scheme: Box<str>,
    host: Host,
    /// `None`: the scheme's own.
    port: Option<u16>,
}

impl Origin {
    /// Of `scheme://host` or `scheme://host:port`. `None`: no such, as `null`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(is_scheme) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let host = Host::of_authority(authority)?;
        let port = match authority[authority.rfind(']').unwrap_or(0)..].split_once(':') {
            Some((_, port)) if !port.is_empty() => Some(port.parse().ok()?),
            _ => None,
        };
        let usual = match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Some(Self { scheme: scheme.into(), host, port: port.filter(|port| Some(*port) != usual) })
    }

    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What a request says of the page that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// There is no `Origin`: it is no browser.
    None,
    Page(Origin),
    /// `null`, more than one, or what is no origin.
    Unknown,
}

impl Asking {
    /// Of all values of `Origin`.
    pub fn of<'a>(mut values: impl Iterator<Item = &'a str>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(only), None) => Origin::parse(only).map_or(Self::Unknown, Self::Page),
            (Some(_), Some(_)) => Self::Unknown,
        }
    }
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Pages of the host that is asked, whatever the port.
    SameHost,
    /// Who is no browser.
    None,
    /// Every page.
    Any,
    Exact(Origin),
    /// Pages of the hosts below one, at any depth.
    Below(Origin),
}

/// Whose pages may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(Vec<Entry>);

impl Default for Origins {
    fn default() -> Self {
        Self(vec![Entry::SameHost, Entry::None])
    }
}

impl Origins {
    /// The error says what to write instead.
    pub fn parse(texts: &[impl AsRef<str>]) -> Result<Self, String> {
        texts.iter().map(|text| Entry::parse(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// `host`: what the request asks for.
    pub fn allow(&self, asking: &Asking, host: Option<&Host>) -> bool {
        self.0.iter().any(|entry| entry.allows(asking, host))
    }

    pub fn has_any(&self) -> bool {
        self.0.contains(&Entry::Any)
    }

    pub fn has_none(&self) -> bool {
        self.0.contains(&Entry::None)
    }

    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "same-host" => return Ok(Self::SameHost),
            "none" => return Ok(Self::None),
            "any" => return Ok(Self::Any),
            _ => {}
        }
        let (below, text_of_host) = match text.split_once("://*.") {
            Some((scheme, parent)) => (true, format!("{scheme}://{parent}")),
            None => (false, text.to_owned()),
        };
        let origin = Origin::parse(&text_of_host).filter(|origin| match origin.host {
            Host::Name(_) => true,
            Host::Address(_) => !below,
        });
        match origin {
            Some(origin) if below => Ok(Self::Below(origin)),
            Some(origin) => Ok(Self::Exact(origin)),
            None => Err(format!(
                "{text:?} is no origin; write \"same-host\", \"none\", \"any\", or one as browsers send it, like \
                 \"https://app.example.com\" or \"https://*.example.com\""
            )),
        }
    }

    fn allows(&self, asking: &Asking, host: Option<&Host>) -> bool {
        match (self, asking) {
            (Self::None, Asking::None) => true,
            (Self::Any, Asking::Page(_) | Asking::Unknown) => true,
            (Self::SameHost, Asking::Page(page)) => host.is_some_and(|host| page.host.is_same(host)),
            (Self::Exact(origin), Asking::Page(page)) => page == origin,
            (Self::Below(origin), Asking::Page(page)) => {
                (&page.scheme, page.port) == (&origin.scheme, origin.port)
                    && is_below(&page.host, &origin.host)
            }
            _ => false,
        }
    }
}

fn is_below(host: &Host, parent: &Host) -> bool {
    let (Host::Name(host), Host::Name(parent)) = (host, parent) else { return false };
    host.strip_suffix(&**parent).is_some_and(|rest| rest.ends_with('.'))
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => f.write_str("same-host"),
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("any"),
            Self::Exact(origin) => origin.fmt(f),
            Self::Below(origin) => f.write_str(&origin.to_string().replacen("://", "://*.", 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::origin::*;

    fn allows(entries: &[&str], origin: &[&str], host: &str) -> bool {
        let origins = Origins::parse(entries).unwrap();
        origins.allow(&Asking::of(origin.iter().copied()), Host::of_authority(host).as_ref())
    }

    #[test]
    fn each_entry_lets_in_whom_it_names_and_nobody_else() {
        let exact = "https://app.example.com";
        let below = "https://*.example.com";
        for (entry, origin, host, allowed) in [
            ("same-host", "https://app.example.com", "app.example.com", true),
            ("same-host", "http://APP.example.com.:8080", "app.example.com:9001", true),
            ("same-host", "http://localhost:3000", "127.0.0.1:9001", true),
            ("same-host", "http://[::1]", "a.localhost:9001", true),
            ("same-host", "http://192.0.2.1", "192.0.2.1:9001", true),
            ("same-host", "https://example.com", "app.example.com", false),
            ("same-host", "https://app.example.com.evil.example", "app.example.com", false),
            ("same-host", "https://evil.example", "127.0.0.1:9001", false),
            ("same-host", "http://localhost", "app.example.com", false),
            ("same-host", "https://app.example.com", "", false),
            ("same-host", "null", "app.example.com", false),
            ("same-host", "", "", false),
            ("any", "https://evil.example", "app.example.com", true),
            ("any", "null", "app.example.com", true),
            ("any", "", "app.example.com", true),
            ("any", "what is this", "app.example.com", true),
            ("none", "null", "app.example.com", false),
            ("none", "https://app.example.com", "app.example.com", false),
            (exact, "https://app.example.com", "x", true),
            (exact, "HTTPS://APP.Example.com:443", "x", true),
            (exact, "http://app.example.com", "x", false),
            (exact, "https://app.example.com:8443", "x", false),
            (exact, "https://a.app.example.com", "x", false),
            (exact, "https://example.com", "x", false),
            (exact, "null", "x", false),
            ("https://app.example.com:443", "https://app.example.com", "x", true),
            ("https://app.example.com:8443", "https://app.example.com:8443", "x", true),
            ("https://app.example.com:8443", "https://app.example.com", "x", false),
            ("http://app.example.com:443", "http://app.example.com", "x", false),
            ("http://[2001:db8::1]:80", "http://[2001:db8:0::1]", "x", true),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", "x", true),
            (below, "https://a.example.com", "x", true),
            (below, "https://a.b.example.com:443", "x", true),
            (below, "https://example.com", "x", false),
            (below, "https://aexample.com", "x", false),
            (below, "https://a.example.com.evil.example", "x", false),
            (below, "http://a.example.com", "x", false),
            (below, "https://a.example.com:8443", "x", false),
            ("https://*.example.com:443", "https://a.example.com", "x", true),
            ("https://*.example.com:8443", "https://a.example.com:8443", "x", true),
        ] {
            assert_eq!(allows(&[entry], &[origin], host), allowed, "{entry}: {origin:?} asks {host}");
        }
    }

    #[test]
    fn who_sends_no_origin_is_no_browser_and_two_are_none() {
        assert!(allows(&["none"], &[], "x") && allows(&["same-host", "none"], &[], "x"));
        for entries in [&["any"][..], &["same-host"], &["https://*.example.com"], &[]] {
            assert!(!allows(entries, &[], "x"), "{entries:?}");
        }
        let twice = ["http://x", "http://x"];
        assert!(!allows(&["same-host", "none", "http://x"], &twice, "x") && allows(&["any"], &twice, "x"));
    }

    #[test]
    fn entries_are_shown_as_they_are_read() {
        for entry in ["same-host", "none", "any", "https://a.b", "http://a.b:81", "https://*.a.b:8443"] {
            let texts: Vec<String> = Origins::parse(&[entry]).unwrap().texts().collect();
            assert_eq!(texts, [entry]);
        }
        assert_eq!(Origins::default(), Origins::parse(&["same-host", "none"]).unwrap());
        for bad in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.b",
            "https://*a.b",
            "https://a.b/",
            "https://*.192.0.2.1",
            "https://a.b:x",
            "https://a.b:70000",
            "https://bücher.example",
            "ht tp://a.b",
            "https://a.b https://c.d",
        ] {
            assert!(Origins::parse(&[bad]).unwrap_err().contains("same-host"), "{bad}");
        }
    }
}
