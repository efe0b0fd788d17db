//! Networks as configurations name them: addresses, and prefixes of them (RFC 4632, section 3.1; RFC 4291, section 2.3).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An IPv4 address mapped into IPv6 (RFC 4291, section 2.5.5.2) stands behind so many bits.
const MAPPED_BITS: u8 = 96;

/// Addresses whose first bits are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its bits behind `bits` are 0. One that IPv6 merely wraps is the IPv4 address.
    first: IpAddr,
    bits: u8,
}

/// A text that names no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl Network {
    fn new(address: IpAddr, bits: Option<u8>) -> Option<Self> {
        let bits = bits.unwrap_or(width(address));
        if bits > width(address) {
            return None;
        }
        let canonical = address.to_canonical();
        let (address, bits) = match bits.checked_sub(MAPPED_BITS) {
            Some(rest) if canonical != address => (canonical, rest),
            _ => (address, bits),
        };
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Ipv4Addr::from(u32::from(v4) & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Ipv6Addr::from(u128::from(v6) & mask).into()
            }
        };
        Some(Self { first, bits })
    }

    /// An IPv4 address mapped into IPv6 is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_bits = match (self.first, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros(),
            _ => return false,
        };
        same_bits >= u32::from(self.bits)
    }
}

/// Bits of such an address.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = NoNetwork;

    /// `ADDRESS` or `ADDRESS/BITS`; bits of the address behind those do not matter.
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse().map_err(|_| NoNetwork)?))
            }
            Some(_) => return Err(NoNetwork),
            None => (text, None),
        };
        let address = address.parse().map_err(|_| NoNetwork)?;
        Self::new(address, bits).ok_or(NoNetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.bits < width(self.first) { write!(f, "/{}", self.bits) } else { Ok(()) }
    }
}

/// Some networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Network>);

impl Networks {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, within, without) in [
            ("10.0.0.1", &["10.0.0.1", "::ffff:10.0.0.1"][..], &["10.0.0.2", "::a00:1", "::1"][..]),
            ("10.1.2.3/8", &["10.0.0.0", "10.255.255.255"], &["11.0.0.0", "9.255.255.255"]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]),
            ("192.0.2.4/31", &["192.0.2.4", "192.0.2.5"], &["192.0.2.3", "192.0.2.6"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::1"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "192.0.2.1"]),
            ("2001:db8::8/125", &["2001:db8::f"], &["2001:db8::10", "2001:db8::7"]),
            ("::/0", &["::1", "ffff::"], &["192.0.2.1", "::ffff:192.0.2.1"]),
            ("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.0"]),
            ("::ffff:10.0.0.7", &["10.0.0.7"], &["10.0.0.8"]),
        ] {
            let parsed: Network = network.parse().unwrap();
            for address in within {
                assert!(parsed.contains(address.parse().unwrap()), "{address} is in {network}");
            }
            for address in without {
                assert!(!parsed.contains(address.parse().unwrap()), "{address} is not in {network}");
            }
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{network}");
        }
    }

    #[test]
    fn it_is_written_shortly_and_what_is_none_is_refused() {
        let written = |text: &str| text.parse::<Network>().map(|network| network.to_string());
        for (text, shown) in [
            ("10.0.0.1/32", "10.0.0.1"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:DB8:0::5/128", "2001:db8::5"),
            ("2001:db8::5/64", "2001:db8::/64"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(shown), "{text}");
        }
        for text in [
            "",
            "10.0.0",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "10.0.0.1/-1",
            "10.0.0.1/8/8",
            "10.0.0.1:80",
            "::1/129",
            "[::1]",
            "localhost",
            " 10.0.0.1",
            "/8",
        ] {
            assert_eq!(written(text), Err(NoNetwork), "{text}");
        }
    }
}
