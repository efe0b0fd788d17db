//! Resets, ours and the peer's.
#![forbid(unsafe_code)]

mod common;

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use bytes::Bytes;
use common::{Host, small};
use net::{Close, Event, Io, Sockets};
use socket2::SockRef;

common::on_each! {
    a_reset_is_a_reset_at_the_peer
    a_reset_drops_what_the_kernel_holds_and_what_is_in_flight
    a_peers_reset_ends_receiving_and_fails_the_send
    commands_to_a_closing_or_closed_connection_are_ignored
}

fn a_reset_is_a_reset_at_the_peer(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    host.sockets.close(conn, Close::Reset);
    host.closed(conn);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn a_reset_drops_what_the_kernel_holds_and_what_is_in_flight(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    let bytes = Bytes::from(vec![0; 16 << 20]);
    host.sockets.send(conn, bytes.clone());
    host.events_for(Duration::from_millis(50));
    host.sockets.close(conn, Close::Reset);
    assert!(matches!(host.event(), Event::Closed { conn: gone } if gone == conn), "nothing else is told");
    assert!(bytes.is_unique());
    let mut read = Vec::new();
    assert_eq!(client.read_to_end(&mut read).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(read.len() < 16 << 20);
}

fn a_peers_reset_ends_receiving_and_fails_the_send(io: Io) {
    let mut host = Host::new(io, &small());
    let (client, conn) = host.client();
    host.sockets.send(conn, Bytes::from(vec![0; 16 << 20]));
    host.events_for(Duration::from_millis(50));
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (mut ended, mut failed) = (false, false);
    while !(ended && failed) {
        match host.event() {
            Event::ReceiveEnded { error: Some(_), .. } => ended = true,
            Event::SendFailed { .. } => failed = true,
            Event::ReceiveEnded { error: None, .. } => ended = true,
            Event::Sent { done: false, .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    host.sockets.close(conn, Close::Orderly);
    host.closed(conn);
}

fn commands_to_a_closing_or_closed_connection_are_ignored(io: Io) {
    let mut host = Host::new(io, &small());
    let (_client, conn) = host.client();
    host.sockets.close(conn, Close::Orderly);
    for _ in 0..2 {
        host.sockets.send(conn, Bytes::from_static(b"late"));
        host.sockets.send(conn, Bytes::from_static(b"later"));
        host.sockets.pause_receive(conn);
        host.sockets.resume_receive(conn);
        host.sockets.query_unsent(conn);
        host.sockets.shutdown(conn);
        host.sockets.close(conn, Close::Reset);
        let events = host.events_for(Duration::from_millis(20));
        assert!(events.iter().all(|event| matches!(event, Event::Closed { .. })), "{events:?}");
    }
    assert_eq!(host.sockets.open(), 0);
}
