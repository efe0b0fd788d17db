//! Connections that the ring opens.
#![forbid(unsafe_code)]

mod common;

use std::{
    collections::HashSet,
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use bytes::Bytes;
use common::{Host, small};
use net::{Close, Event, Io, Options, Sockets};

common::on_each! {
    a_connection_from_a_chosen_source_carries_bytes_both_ways
    without_a_source_and_over_ipv6_too
    a_refused_connection_tells_why_and_frees_its_slot
    a_source_that_is_not_ours_fails_the_connection_with_its_own_error
    closing_while_connecting_brings_only_closed
    bytes_and_an_end_that_come_before_connecting_is_told_are_told
}

fn a_connection_from_a_chosen_source_carries_bytes_both_ways(io: Io) {
    let mut host = Host::new(io, &small());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let source: SocketAddr = "127.0.9.7:0".parse().unwrap();
    let conn = host.sockets.connect(Some(source), target).unwrap();
    let Event::Connected { conn: connected, result: Ok(()) } = host.event() else { panic!("not connected") };
    assert_eq!(connected, conn);
    let (mut peer, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), source.ip());
    host.sockets.send(conn, Bytes::from_static(b"hello"));
    assert!(matches!(host.event(), Event::Sent { bytes: 5, done: true, .. }));
    let mut read = [0; 5];
    peer.read_exact(&mut read).unwrap();
    peer.write_all(b"world").unwrap();
    assert_eq!(host.receive(conn, 5), b"world");
    drop(peer);
    assert!(matches!(host.event(), Event::ReceiveEnded { error: None, .. }));
    host.sockets.close(conn, Close::Orderly);
    host.closed(conn);
}

fn without_a_source_and_over_ipv6_too(io: Io) {
    let mut host = Host::new(io, &small());
    let mut peers = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let conn = host.sockets.connect(None, listener.local_addr().unwrap()).unwrap();
        match host.event() {
            Event::Connected { conn: connected, result } => {
                assert_eq!((connected, result.is_ok()), (conn, true))
            }
            other => panic!("unexpected {other:?}"),
        }
        peers.push(listener.accept().unwrap());
    }
}

fn a_refused_connection_tells_why_and_frees_its_slot(io: Io) {
    let mut host = Host::new(io, &small());
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let conn = host.sockets.connect(None, target).unwrap();
    match host.event() {
        Event::Connected { conn: refused, result: Err(error) } => {
            assert_eq!((refused, error.kind()), (conn, ErrorKind::ConnectionRefused));
        }
        other => panic!("unexpected {other:?}"),
    }
    assert!(matches!(host.event(), Event::Closed { conn: gone } if gone == conn));
    assert_eq!(host.sockets.open(), 0);
}

fn a_source_that_is_not_ours_fails_the_connection_with_its_own_error(io: Io) {
    let mut host = Host::new(io, &small());
    let target = host.address;
    let conn = host.sockets.connect(Some("192.0.2.1:0".parse().unwrap()), target).unwrap();
    match host.event() {
        Event::Connected { result: Err(error), .. } => assert_eq!(error.kind(), ErrorKind::AddrNotAvailable),
        other => panic!("unexpected {other:?}"),
    }
    assert!(matches!(host.event(), Event::Closed { conn: gone } if gone == conn));
}

fn closing_while_connecting_brings_only_closed(io: Io) {
    let mut host = Host::new(io, &small());
    // A full backlog leaves further connects waiting for an answer.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let target = listener.local_addr().unwrap().as_socket().unwrap();
    let conns: Vec<_> = (0..6).map(|_| host.sockets.connect(None, target).unwrap()).collect();
    let connected = host.events_for(Duration::from_millis(50)).len();
    assert!(connected < 6, "all were answered");
    conns.iter().for_each(|conn| host.sockets.close(*conn, Close::Orderly));
    let events = host.events_for(Duration::from_millis(50));
    assert!(events.iter().all(|event| matches!(event, Event::Closed { .. })), "{events:?}");
    assert_eq!((events.len(), host.sockets.open()), (6, 0));
}

fn bytes_and_an_end_that_come_before_connecting_is_told_are_told(io: Io) {
    let mut host = Host::new(io, &small());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let conn = host.sockets.connect(None, listener.local_addr().unwrap()).unwrap();
    // A ring begins to connect when it is submitted; epoll is not asked yet.
    if io == Io::IoUring {
        host.sockets.submit().unwrap();
    }
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"bye").unwrap();
    drop(peer);
    assert!(matches!(host.event(), Event::Connected { result: Ok(()), .. }));
    assert_eq!(host.receive(conn, 3), b"bye");
    assert!(matches!(host.event(), Event::ReceiveEnded { error: None, .. }));
}

#[test]
fn thousands_of_connections_take_no_process_descriptors() {
    const CONNECTIONS: usize = 3000;
    let options = Options { slots: 2 * CONNECTIONS as u32, cq_entries: 16384, ..small() };
    let mut host = Host::new(Io::IoUring, &options);
    let target = host.address;
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let (mut asked, mut connected, mut accepted) = (0, 0, 0);
    let mut sources = HashSet::new();
    while accepted < CONNECTIONS || connected < CONNECTIONS {
        while asked < CONNECTIONS && asked < accepted + 500 {
            let source = Ipv4Addr::new(127, 0, 3, 1 + (asked % 50) as u8);
            host.sockets.connect(Some((source, 0).into()), target).unwrap();
            asked += 1;
        }
        match host.event() {
            Event::Connected { result, .. } => {
                result.unwrap();
                connected += 1;
            }
            Event::Accepted { peer, .. } => {
                assert!(sources.insert(peer));
                accepted += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    // Other tests of this process open and close a few.
    let during = descriptors();
    assert!(during < before + 100, "{before} descriptors before, {during} with {CONNECTIONS} connections");
    assert_eq!(host.sockets.open(), 2 * CONNECTIONS);
}
