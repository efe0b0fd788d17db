//! A host as requests name it: in `Host`, in an absolute target, in `Origin`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// A name or an address, without the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// One that IPv6 merely wraps is the IPv4 address.
    Address(IpAddr),
    /// Lower case, without the dot at its end.
    Name(Box<str>),
}

impl Host {
    /// Of `host` or `host:port` (RFC 9110, section 7.2). `None`: no such, a user before the host among them.
    pub fn of_authority(authority: &str) -> Option<Self> {
        let end = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[end..].split_once(':') {
            Some((rest, port)) => (&authority[..end + rest.len()], port),
            None => (authority, ""),
        };
        port.bytes().all(|byte| byte.is_ascii_digit()).then(|| Self::parse(host)).flatten()
    }

    /// Of `scheme://host:port` (RFC 6454, section 7). `None`: no such, as `null`.
    pub fn of_origin(origin: &str) -> Option<Self> {
        Self::of_authority(origin.split_once("://")?.1)
    }

    /// Without a port; IPv6 in brackets.
    pub fn parse(host: &str) -> Option<Self> {
        if let Some(address) = host.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(IpAddr::from(address).to_canonical()));
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Ok(address) = host.parse() {
            return Some(Host::Address(IpAddr::V4(address)));
        }
        let is_label = |label: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.bytes().all(known)
        };
        host.split('.').all(is_label).then(|| Host::Name(host.to_ascii_lowercase().into()))
    }

    /// Whether it is this machine, whatever the network says: an address of its own loopback, or a name
    /// that stands for one (RFC 6761, section 6.3).
    pub fn is_loopback(&self) -> bool {
        match self {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => &**name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Whether both are one host. All names and addresses of loopback are.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other || self.is_loopback() && other.is_loopback()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Address(address) => write!(f, "{address}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::host::*;

    #[test]
    fn what_leads_to_this_machine_is_known_in_every_spelling() {
        for authority in [
            "localhost",
            "LOCALHOST:9002",
            "localhost.",
            "localhost.:9002",
            "localhost:",
            "desk.localhost:1",
            "127.0.0.1",
            "127.0.0.1:9002",
            "127.9.9.9",
            "[::1]",
            "[::1]:9002",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:9002",
        ] {
            assert!(Host::of_authority(authority).is_some_and(|host| host.is_loopback()), "{authority}");
        }
    }

    #[test]
    fn what_only_looks_like_it_does_not_count() {
        for authority in [
            "evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "10.0.0.1:9002",
            "0.0.0.0",
            "[::]",
            "[::1].evil.example",
            "2130706433",
            "127.1",
        ] {
            assert!(!Host::of_authority(authority).is_some_and(|host| host.is_loopback()), "{authority}");
        }
        for authority in [
            "",
            ":9002",
            "localhost..",
            "localhost:80:80",
            "localhost:x",
            "::1",
            "[::1",
            "evil@localhost",
            "a b",
        ] {
            assert_eq!(Host::of_authority(authority), None, "{authority}");
        }
    }

    #[test]
    fn an_origin_names_its_host() {
        let same = |origin: &str, host: &str| {
            Host::of_origin(origin).zip(Host::of_authority(host)).is_some_and(|(a, b)| a.is_same(&b))
        };
        assert!(same("http://localhost:3000", "127.0.0.1:9002"));
        assert!(same("https://Ops.example", "ops.example.:8443"));
        assert!(same("http://[::1]", "localhost"));
        assert!(!same("https://evil.example", "ops.example"));
        assert!(!same("https://evil.ops.example", "ops.example"));
        for origin in ["null", "", "file://", "ops.example", "https://ops.example/path"] {
            assert!(!same(origin, "ops.example"), "{origin}");
        }
    }
}
