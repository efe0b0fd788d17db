//! Proxies in front of the gateway: which of them are believed, and for whom they ask.

use std::{
    iter::from_fn,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use net::Networks;
use proto::Request;

/// The field of a request by which a proxy tells for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// A list of addresses, by custom.
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl Forwarded {
    pub const ALL: [Forwarded; 2] = [Forwarded::XForwardedFor, Forwarded::Forwarded];

    /// As requests and configurations name it.
    pub fn name(self) -> &'static str {
        match self {
            Forwarded::XForwardedFor => "x-forwarded-for",
            Forwarded::Forwarded => "forwarded",
        }
    }

    /// What the lists of several lines tell, the last item first; `None`: no address.
    fn told<'a>(self, request: &Request<'a>) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
        let lines: Vec<&str> = request.header_values(self.name()).collect();
        let items = move |line| backwards(line, b',', self == Forwarded::Forwarded);
        lines.into_iter().rev().flat_map(items).map(move |item| match self {
            Forwarded::XForwardedFor => address(item),
            Forwarded::Forwarded => address(of_element(item)?),
        })
    }
}

/// What is known of proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Those that are believed.
    pub trusted: Networks,
    /// `None`: no field is looked at.
    pub forwarded: Option<Forwarded>,
}

impl Proxies {
    /// For whom one of those asks. Each proxy appends whom it got the request from, so what it says is
    /// walked from the right: the first address that is not trusted is the client. What is no address ends the walk
    /// at the address before it; where all are trusted, the leftmost counts. `None`: it asks for itself.
    pub fn client(&self, request: &Request<'_>) -> Option<IpAddr> {
        let mut client = None;
        for told in self.forwarded?.told(request) {
            let Some(address) = told else { break };
            client = Some(address);
            if !self.trusted.contains(address) {
                break;
            }
        }
        client
    }
}

/// The parts of a list that hold anything, the last one first. With `knows_quotes` a separator within quotes
/// (RFC 9110, section 5.6.4) is none. Since it begins at the end, what stands before the last parts cannot change what
/// those mean.
fn backwards(list: &str, separator: u8, knows_quotes: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    let parts = from_fn(move || {
        let text = rest?;
        let (before, part) = match last_separator(text, separator, knows_quotes) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        rest = before;
        Some(part.trim_ascii())
    });
    parts.filter(|part| !part.is_empty())
}

fn last_separator(text: &str, separator: u8, knows_quotes: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut within = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b'"' if knows_quotes => within = !within || is_escaped(&bytes[..at]),
            byte if *byte == separator && !within => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether what follows `before`, within quotes, stands for itself.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The node that one element of `Forwarded` is `for` (RFC 7239, section 4); `None`: it has no such pair, or several.
fn of_element(element: &str) -> Option<&str> {
    let mut node = None;
    for pair in backwards(element, b';', true) {
        let (name, value) = pair.split_once('=')?;
        if name.trim_ascii_end().eq_ignore_ascii_case("for")
            && node.replace(value.trim_ascii_start()).is_some()
        {
            return None;
        }
    }
    match node?.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => node,
    }
}

/// The address of a node, without its port (RFC 7239, section 6), which may be a number or a name that hides it.
fn address(node: &str) -> Option<IpAddr> {
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let is_good = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return is_good.then_some(address.into());
    }
    node.parse().ok().or_else(|| {
        let (address, port) = node.split_once(':')?;
        let address: Ipv4Addr = address.parse().ok()?;
        is_port(port).then_some(address.into())
    })
}

fn is_port(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    is_number || text.len() > 1 && text.starts_with('_')
}

#[cfg(test)]
mod tests {
    use proto::{Conn, Event, Limits};

    use super::*;

    /// For whom a request with these lines asks; proxies are 10.0.0.0/8 and 2001:db8::/32.
    fn client(forwarded: Forwarded, lines: &[&str]) -> Option<String> {
        let trusted = Networks(["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap()).into());
        let proxies = Proxies { trusted, forwarded: Some(forwarded) };
        let fields: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes();
        let limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 1 << 10 };
        let mut conn = Conn::server();
        let received = conn.receive(&mut head, &limits);
        let Some(Event::Request(request)) = received.event else { panic!("{lines:?}: {received:?}") };
        proxies.client(&request).map(|address| address.to_string())
    }

    #[test]
    fn x_forwarded_for_is_walked_from_the_right_over_those_that_are_trusted() {
        for (lines, expected) in [
            (&["x-real-ip: 192.0.2.1", "forwarded: for=192.0.2.1"][..], None),
            (&["X-Forwarded-For:"], None),
            (&["X-Forwarded-For: 192.0.2.1"], Some("192.0.2.1")),
            (&["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
            (&["X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.9"], Some("192.0.2.1")),
            (&["X-Forwarded-For: 6.6.6.6,192.0.2.1,10.0.0.9 ,10.0.0.8"], Some("192.0.2.1")),
            // Several lines are one list.
            (&["X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1, 10.0.0.9"], Some("192.0.2.1")),
            (&["X-Forwarded-For: 192.0.2.1", "Via: 1.1 p", "X-FORWARDED-FOR: 10.0.0.9"], Some("192.0.2.1")),
            // All are trusted.
            (&["X-Forwarded-For: 10.0.0.7, 10.0.0.8, 10.0.0.9"], Some("10.0.0.7")),
            (&["X-Forwarded-For: 10.0.0.7", "X-Forwarded-For: 10.0.0.9"], Some("10.0.0.7")),
            // No address: the one before it counts, from the right.
            (&["X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: 192.0.2.1, unknown"], None),
            (&["X-Forwarded-For: 192.0.2.1, 192.0.2.300"], None),
            (&["X-Forwarded-For: 192.0.2.1, 0x0a000001, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: 192.0.2.1, \"10.0.0.1\", 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: unknown, 192.0.2.1"], Some("192.0.2.1")),
            // Ports are cut off.
            (&["X-Forwarded-For: 192.0.2.1:4711, 10.0.0.9:1"], Some("192.0.2.1")),
            (&["X-Forwarded-For: [2001:db9::1]:4711"], Some("2001:db9::1")),
            (&["X-Forwarded-For: [2001:db9::1]"], Some("2001:db9::1")),
            (&["X-Forwarded-For: 2001:db9::1, 2001:db8::7"], Some("2001:db9::1")),
            (&["X-Forwarded-For: 192.0.2.1:port, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: 192.0.2.1:, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: 192.0.2.1:65536, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: [2001:db9::1]4711, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: [192.0.2.1]:80, 10.0.0.9"], Some("10.0.0.9")),
            (&["X-Forwarded-For: fe80::1%eth0, 10.0.0.9"], Some("10.0.0.9")),
            // A mapped address is the one that it maps.
            (&["X-Forwarded-For: 192.0.2.1, ::ffff:10.0.0.9"], Some("192.0.2.1")),
            // Empty elements of a list are none (RFC 9110, section 5.6.1).
            (&["X-Forwarded-For: , 192.0.2.1,, 10.0.0.9,"], Some("192.0.2.1")),
        ] {
            assert_eq!(client(Forwarded::XForwardedFor, lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_walked_in_the_same_way() {
        for (lines, expected) in [
            (&["x-forwarded-for: 192.0.2.1"][..], None),
            (&["Forwarded: for=192.0.2.1"], Some("192.0.2.1")),
            (&["Forwarded: proto=https;FOR=192.0.2.1;by=10.0.0.1"], Some("192.0.2.1")),
            (&["Forwarded: for=6.6.6.6, for=192.0.2.1;proto=http , for=10.0.0.9"], Some("192.0.2.1")),
            (&["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1, for=10.0.0.9"], Some("192.0.2.1")),
            (&["Forwarded: for=10.0.0.7, for=10.0.0.8"], Some("10.0.0.7")),
            (&["Forwarded: for=\"[2001:db9::1]:4711\", for=\"10.0.0.9:80\""], Some("2001:db9::1")),
            (&["Forwarded: for=\"[2001:db9::1]\""], Some("2001:db9::1")),
            (&["Forwarded: for=\"192.0.2.1:_hidden\""], Some("192.0.2.1")),
            (&["Forwarded: for=192.0.2.1; proto=https"], Some("192.0.2.1")),
            // Separators within quotes are none.
            (&["Forwarded: for=192.0.2.1;ext=\"a, for=6.6.6.6\", for=10.0.0.9"], Some("192.0.2.1")),
            (&["Forwarded: for=192.0.2.1;ext=\"a\\\", for=6.6.6.6\""], Some("192.0.2.1")),
            (&["Forwarded: for=192.0.2.1;ext=\"\\\\\", for=10.0.0.9"], Some("192.0.2.1")),
            (&["Forwarded: ext=\";for=6.6.6.6\";for=192.0.2.1"], Some("192.0.2.1")),
            // No address.
            (&["Forwarded: for=192.0.2.1, for=unknown, for=10.0.0.9"], Some("10.0.0.9")),
            (&["Forwarded: for=192.0.2.1, for=_gazonk"], None),
            (&["Forwarded: for=192.0.2.1, by=10.0.0.1, for=10.0.0.9"], Some("10.0.0.9")),
            (&["Forwarded: for=192.0.2.1, 192.0.2.2, for=10.0.0.9"], Some("10.0.0.9")),
            (&["Forwarded: for=192.0.2.1;for=192.0.2.2, for=10.0.0.9"], Some("10.0.0.9")),
            (&["Forwarded: for=\"192.0.2.1, for=10.0.0.9"], Some("10.0.0.9")),
            // What a client writes before cannot change what a proxy appends.
            (&["Forwarded: for=\"6.6.6.6, for=192.0.2.1"], Some("192.0.2.1")),
            (&["Forwarded: for=6.6.6.6;ext=\"\\, for=\"[2001:db9::1]:80\""], Some("2001:db9::1")),
        ] {
            assert_eq!(client(Forwarded::Forwarded, lines).as_deref(), expected, "{lines:?}");
        }
    }
}
