//! An address as limits count it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Whom a limit per address counts for: an IPv4 address, or the /64 of an IPv6 address, since one line is
/// given that many (RFC 6177). An IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2) is that IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The upper half of an IPv6 address.
    V6([u8; 8]),
}

impl Address {
    /// Itself where it is of loopback: of IPv6 there is one such address, `::1`, in its /64.
    pub fn loopback(self) -> Option<IpAddr> {
        match self {
            Address::V4(octets) => Some(Ipv4Addr::from(octets).into()).filter(IpAddr::is_loopback),
            Address::V6(half) => (half == [0; 8]).then_some(Ipv6Addr::LOCALHOST.into()),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Address::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Address::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Address::V4(octets) => Ipv4Addr::from(octets).fmt(f),
            Address::V6(half) => {
                write!(f, "{}/64", Ipv6Addr::from(u128::from(u64::from_be_bytes(half)) << 64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_ipv6_address_counts_by_its_64_and_an_ipv4_address_as_a_whole() {
        assert_eq!(address("2001:db8:0:7::1"), address("2001:db8:0:7:ffff:ffff:ffff:ffff"));
        assert_ne!(address("2001:db8:0:7::1"), address("2001:db8:0:8::1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("::ffff:192.0.2.1"), address("::ffff:192.0.2.2"));
        assert_ne!(address("::ffff:0.0.0.0"), address("::1"));
    }

    #[test]
    fn one_of_loopback_is_found_again() {
        for (text, loopback) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.8.0.3", Some("127.8.0.3")),
            ("::ffff:127.0.0.1", Some("127.0.0.1")),
            ("::1", Some("::1")),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
            ("fe80::1", None),
        ] {
            assert_eq!(address(text).loopback(), loopback.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn it_is_told_as_people_write_it() {
        assert_eq!(address("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(address("2001:db8:0:7::1").to_string(), "2001:db8:0:7::/64");
    }
}
