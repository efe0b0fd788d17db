//! The PROXY protocol: who is told of whom, however what came is cut, and who is closed without a word.
#![forbid(unsafe_code)]

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use net::{
    Close, ConnId, Event, Events, Io, Networks, ProxyFailure, Sockets,
    proxy::{HEADER_BYTES_MAX, LOCAL_HEADER, Proxied, Rule},
    sim::{PeerEnd, SimRing},
};

const PATIENCE_US: u64 = 5_000_000;
const PROXY: &str = "10.0.0.1:40000";
const SAID: &[u8] = b"GET / HTTP/1.1\r\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rule(trusted: &[&str]) -> Option<Rule> {
    let trusted = Networks(trusted.iter().map(|text| text.parse().unwrap()).collect());
    Some(Rule { trusted, patience_us: PATIENCE_US })
}

fn proxied(seed: u64) -> Proxied<SimRing> {
    Proxied::new(SimRing::new(4, seed), rule(&["10.0.0.0/8", "2001:db8::/32"]))
}

/// Version 2: `command` and `family` as they stand in it, and all behind the length.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// Addresses and ports of version 2, from 192.0.2.1:4711 or its like in IPv6.
const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 9, 0x12, 0x67, 0, 80];

fn v6() -> [u8; 36] {
    let mut block = [0; 36];
    block[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb9]);
    block[15] = 1;
    block[32..34].copy_from_slice(&[0x12, 0x67]);
    block
}

/// A padding of so many bytes (PP2_TYPE_NOOP).
fn noop(bytes: usize) -> Vec<u8> {
    [&[4][..], &(bytes as u16).to_be_bytes(), &vec![0; bytes]].concat()
}

/// What the user is told of a connection; `None` where it is nothing.
#[derive(Debug, PartialEq)]
struct Told {
    peer: SocketAddr,
    said: Vec<u8>,
}

/// All that happens at this moment, of one connection.
fn told(net: &mut Proxied<SimRing>, conn: ConnId) -> Option<Told> {
    let mut told: Option<Told> = None;
    while let Some(event) = net.next() {
        match (event, &mut told) {
            (Event::Accepted { conn: of, peer, listener: 1, .. }, None) if of == conn => {
                told = Some(Told { peer, said: Vec::new() });
            }
            (Event::Received { conn: of, bytes }, Some(told)) if of == conn => {
                told.said.extend_from_slice(&bytes);
            }
            (other, told) => panic!("{other:?} after {told:?}"),
        }
    }
    told
}

/// What comes of a connection of `peer` that begins with `bytes`, however they are cut: whom it is told to come from.
fn outcome(name: &str, peer: &str, bytes: &[u8], expected: Result<&str, ProxyFailure>) {
    for cut in [1, 3, 16, 100, 4096] {
        let mut net = proxied(cut as u64);
        net.set_recv_bytes_max(cut);
        let conn = net.accept_at(address(peer), 1).unwrap();
        net.peer_send(conn, bytes);
        if expected.is_ok() {
            net.peer_send(conn, SAID);
        }
        let told = told(&mut net, conn);
        let counters = net.proxy_counters();
        match expected {
            Ok(peer) => {
                assert_eq!(told, Some(Told { peer: address(peer), said: SAID.to_vec() }), "{name}, {cut}");
                assert_eq!((counters.headers, counters.refused, counters.waiting), (1, [0; 6], 0), "{name}");
            }
            Err(failure) => {
                assert_eq!(told, None, "{name}, {cut}");
                assert_eq!((net.peer_end(conn), net.open()), (PeerEnd::Ended, 0), "{name}, {cut}");
                assert_eq!(net.peer_read(conn, usize::MAX), b"", "{name}, {cut}");
                let mut refused = [0; 6];
                refused[failure as usize] = 1;
                assert_eq!((counters.headers, counters.refused, counters.waiting), (0, refused, 0), "{name}");
            }
        }
    }
}

#[test]
fn a_header_of_version_1_names_the_client() {
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    let unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!((longest.len(), unknown.len()), (104, 107));
    for (header, client) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\r\n", "192.0.2.1:4711"),
        ("PROXY TCP6 2001:db9::1 ::1 4711 80\r\n", "[2001:db9::1]:4711"),
        (&longest, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ("PROXY UNKNOWN\r\n", PROXY),
        ("PROXY UNKNOWN 192.0.2.1 10.0.0.9 4711 80\r\n", PROXY),
        (&unknown, PROXY),
    ] {
        outcome(header, PROXY, header.as_bytes(), Ok(client));
    }
}

#[test]
fn a_header_of_version_2_names_the_client() {
    let (v6, ssl) = (v6(), [&V4[..], &noop(0), b"\x20\0\x05\x01\0\0\0\0"].concat());
    let fullest = [&V4[..], &noop(HEADER_BYTES_MAX - 16 - V4.len() - 3)].concat();
    for (name, header, client) in [
        ("TCP over IPv4", v2(0x21, 0x11, &V4), "192.0.2.1:4711"),
        ("TCP over IPv6", v2(0x21, 0x21, &v6), "[2001:db9::1]:4711"),
        ("with more than addresses", v2(0x21, 0x11, &ssl), "192.0.2.1:4711"),
        ("the longest", v2(0x21, 0x11, &fullest), "192.0.2.1:4711"),
        ("LOCAL", LOCAL_HEADER.to_vec(), PROXY),
        ("LOCAL with addresses", v2(0x20, 0x11, &V4), PROXY),
        ("LOCAL of a family without its addresses", v2(0x20, 0x21, &[]), PROXY),
        ("LOCAL of an unknown family", v2(0x20, 0xff, &[1, 2, 3]), PROXY),
        ("unspecified", v2(0x21, 0x00, &[]), PROXY),
        ("UDP", v2(0x21, 0x12, &V4), PROXY),
        ("a socket of Unix", v2(0x21, 0x31, &[0; 216]), PROXY),
    ] {
        outcome(name, PROXY, &header, Ok(client));
    }
}

#[test]
fn what_does_not_begin_with_a_header_is_closed_without_a_word_and_counted_by_reason() {
    use ProxyFailure::{Malformed, Missing, TooLong};
    let long_line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    let long_block = v2(0x21, 0x11, &[&V4[..], &noop(HEADER_BYTES_MAX - 16 - V4.len() - 2)].concat());
    for (bytes, failure) in [
        (&b"GET / HTTP/1.1\r\n"[..], Missing),
        (b"\x16\x03\x01\x02\x00\x01", Missing),
        (b"PROXZ", Missing),
        (b"PROXY\r\n", Missing),
        (b"PROXYxTCP4 192.0.2.1 10.0.0.9 4711 80\r\n", Missing),
        (b"proxy TCP4 192.0.2.1 10.0.0.9 4711 80\r\n", Missing),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", Missing),
        (b"\r\n\r\n\0\r\nQUIT\r", Missing),
        (b"PROXY \r\n", Malformed),
        (b"PROXY TCP5 192.0.2.1 10.0.0.9 4711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.300 10.0.0.9 4711 80\r\n", Malformed),
        (b"PROXY TCP4 2001:db9::1 ::1 4711 80\r\n", Malformed),
        (b"PROXY TCP6 192.0.2.1 10.0.0.9 4711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.9 4711\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 65536\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 80 90\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1  10.0.0.9 4711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\r\r\n", Malformed),
        (long_line.as_bytes(), TooLong),
        (&[b"PROXY ", &[b'x'; 200][..]].concat(), TooLong),
        (&v2(0x11, 0x11, &V4), Malformed),
        (&v2(0x22, 0x11, &V4), Malformed),
        (&v2(0x21, 0x41, &V4), Malformed),
        (&v2(0x21, 0x13, &V4), Malformed),
        (&v2(0x21, 0x11, &V4[..11]), Malformed),
        (&v2(0x21, 0x21, &V4), Malformed),
        (&long_block, TooLong),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", TooLong),
    ] {
        outcome(&bytes.escape_ascii().to_string(), PROXY, bytes, Err(failure));
    }
}

#[test]
fn only_proxies_that_are_trusted_are_let_in() {
    let header = b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\r\n";
    for (peer, is_trusted) in [
        ("10.255.0.1:1", true),
        ("[::ffff:10.0.0.1]:1", true),
        ("[2001:db8::1]:1", true),
        ("11.0.0.1:1", false),
        ("127.0.0.1:1", false),
        ("192.0.2.1:1", false),
        ("[2001:db9::1]:1", false),
    ] {
        let expected = if is_trusted { Ok("192.0.2.1:4711") } else { Err(ProxyFailure::Untrusted) };
        outcome(peer, peer, header, expected);
    }
}

#[test]
fn a_header_that_is_late_is_waited_for_no_longer() {
    let mut net = proxied(1);
    net.begin_turn(1_000_000);
    let [silent, slow, quick] = [(); 3].map(|()| net.accept_at(address(PROXY), 1).unwrap());
    net.peer_send(slow, b"PROXY TCP4 192.0.2.1 10.0.");
    net.peer_send(quick, b"PROXY UNK");
    assert!(net.next().is_none(), "nobody is told of them");
    assert_eq!((net.next_us(), net.proxy_counters().waiting), (Some(1_000_000 + PATIENCE_US), 3));
    net.begin_turn(1_000_000 + PATIENCE_US - 7);
    net.peer_send(quick, b"NOWN\r\n");
    let Some(Event::Accepted { conn, waited_us, .. }) = net.next() else { panic!("it was in time") };
    assert_eq!((conn, u64::from(waited_us)), (quick, PATIENCE_US - 7));
    net.begin_turn(1_000_000 + PATIENCE_US);
    net.peer_send(slow, b"0.9 4711 80\r\n");
    assert!(net.next().is_none());
    for late in [silent, slow] {
        assert_eq!(net.peer_end(late), PeerEnd::Ended);
    }
    assert_eq!(net.proxy_counters().refused[ProxyFailure::Late as usize], 2);
    assert_eq!((net.next_us(), net.open()), (None, 1), "the third one goes on");
}

#[test]
fn who_ends_before_its_header_is_whole_is_counted() {
    for is_reset in [false, true] {
        let mut net = proxied(1);
        let conn = net.accept_at(address(PROXY), 1).unwrap();
        net.peer_send(conn, b"PROXY TCP4 ");
        assert!(net.next().is_none());
        if is_reset {
            net.peer_reset(conn)
        } else {
            net.peer_close(conn)
        }
        assert!(net.next().is_none());
        assert_eq!((net.open(), net.proxy_counters().refused[ProxyFailure::Ended as usize]), (0, 1));
    }
}

#[test]
fn what_came_behind_a_header_is_not_told_of_a_connection_that_was_closed_at_its_accept() {
    let mut net = proxied(1);
    let conn = net.accept_at(address(PROXY), 1).unwrap();
    net.peer_send(conn, b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n");
    assert!(matches!(net.next(), Some(Event::Accepted { .. })));
    net.close(conn, Close::Reset);
    assert!(matches!(net.next(), Some(Event::Closed { conn: closed }) if closed == conn));
    assert!(net.next().is_none());
}

#[test]
fn without_a_rule_connections_begin_with_what_clients_say() {
    let mut net = Proxied::new(SimRing::new(4, 1), None);
    let conn = net.accept_at(address("192.0.2.1:1"), 1).unwrap();
    net.peer_send(conn, b"PROXY UNKNOWN\r\n");
    let expected = Told { peer: address("192.0.2.1:1"), said: b"PROXY UNKNOWN\r\n".to_vec() };
    assert_eq!(told(&mut net, conn), Some(expected));
    // Another rule holds for who comes from then on.
    net.set_rule(rule(&["10.0.0.1"]));
    net.peer_send(conn, b"more");
    let more = std::iter::from_fn(|| net.next()).map(|event| match event {
        Event::Received { bytes, .. } => bytes.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(more.sum::<usize>(), 4);
    let conn = net.accept_at(address("192.0.2.1:1"), 1).unwrap();
    assert_eq!(told(&mut net, conn), None);
    assert_eq!(net.peer_end(conn), PeerEnd::Ended);
}

common::on_each! {
    a_client_behind_a_proxy_is_told_by_its_address_and_answered
    who_is_no_proxy_is_closed_without_a_word
}

/// Proxies of which a listener on loopback trusts 127.0.0.2.
struct Host(Proxied<net::Backend>, SocketAddr);

impl Host {
    fn new(io: Io) -> Self {
        let common::Host { sockets, address } = common::Host::new(io, &common::small());
        Self(Proxied::new(sockets, rule(&["127.0.0.2"])), address)
    }

    /// Events of a tenth of a second.
    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..10 {
            events.extend(std::iter::from_fn(|| self.0.next()));
            self.0.wait(Some(Duration::from_millis(10))).unwrap();
        }
        events
    }

    fn connect(&self, from: &str) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address(&format!("{from}:0")).into()).unwrap();
        socket.connect(&self.1.into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.into()
    }
}

fn a_client_behind_a_proxy_is_told_by_its_address_and_answered(io: Io) {
    for parts in [
        &[&b"PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\r\nhello"[..]][..],
        &[b"PROXY TCP4 192.0.2.1 10", b".0.0.9 4711 80\r\nhel", b"lo"],
    ] {
        let mut host = Host::new(io);
        let mut client = host.connect("127.0.0.2");
        let mut events = Vec::new();
        for part in parts {
            client.write_all(part).unwrap();
            events.extend(host.events());
        }
        let Some(Event::Accepted { conn, peer, .. }) = events.first() else { panic!("{events:?}") };
        let (conn, peer) = (*conn, *peer);
        assert_eq!(peer, address("192.0.2.1:4711"));
        let said = events.iter().filter_map(|event| match event {
            Event::Received { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        });
        assert_eq!(said.collect::<Vec<_>>().concat(), b"hello");
        host.0.send(conn, Bytes::from_static(b"world"));
        host.0.submit().unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"world");
    }
}

fn who_is_no_proxy_is_closed_without_a_word(io: Io) {
    let mut host = Host::new(io);
    for (from, says, failure) in [
        ("127.0.0.1", &b""[..], ProxyFailure::Untrusted),
        ("127.0.0.2", b"GET / HTTP/1.1\r\n\r\n", ProxyFailure::Missing),
    ] {
        let mut client = host.connect(from);
        client.write_all(says).unwrap();
        assert!(host.events().is_empty());
        // What was said and not read makes a reset of it.
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert_eq!(answer, b"");
        assert_eq!((host.0.open(), host.0.proxy_counters().refused[failure as usize]), (0, 1));
    }
}
