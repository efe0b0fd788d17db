//! Accepting, receiving, sending and closing on loopback.
#![forbid(unsafe_code)]

mod common;

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use common::{Host, pattern, small};
use net::{Close, ConnId, Event, Events, Io, Options, Sockets};

common::on_each! {
    bytes_go_both_ways
    a_listener_on_ipv6_tells_its_peers_addresses_too
    a_received_buffer_may_be_changed_in_place_and_outlive_the_ring
    a_send_to_a_stalled_reader_goes_on_when_it_reads_and_reports_its_progress
    the_send_queue_is_told_and_shrinks_when_the_peer_reads
    more_completions_than_the_queue_holds_are_not_lost
    half_closes_are_seen_on_both_sides
    an_orderly_close_delivers_what_the_kernel_has
    a_close_with_a_send_in_flight_cancels_it
    a_storm_of_connects_is_accepted_whole
    a_crowd_at_one_listener_keeps_nobody_waiting_at_another
    few_tiny_receive_buffers_lose_nothing
    when_listening_stops_connects_are_refused_and_connections_go_on
    a_dropped_ring_closes_its_connections_and_releases_their_bytes
}

fn bytes_go_both_ways(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    client.write_all(b"hello").unwrap();
    assert_eq!(host.receive(conn, 5), b"hello");
    host.sockets.send(conn, Bytes::from_static(b"world"));
    assert!(matches!(host.event(), Event::Sent { bytes: 5, done: true, .. }));
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"world");
    assert_eq!((host.sockets.open(), host.sockets.capacity()), (1, 64));
}

fn a_listener_on_ipv6_tells_its_peers_addresses_too(io: Io) {
    let mut host = Host::new(io, &small());
    let listener = common::listener("[::1]:0");
    let address = listener.local_addr().unwrap();
    host.sockets.listen(listener).unwrap();
    host.sockets.submit().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let Event::Accepted { peer, .. } = host.event() else { panic!("not accepted") };
    assert_eq!(peer, client.local_addr().unwrap());
    // The first listener goes on.
    host.client();
}

fn a_received_buffer_may_be_changed_in_place_and_outlive_the_ring(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, _) = host.client();
    client.write_all(b"abc").unwrap();
    let Event::Received { mut bytes, .. } = host.event() else { panic!("nothing received") };
    bytes[0] = b'x';
    drop(host);
    assert_eq!(&*bytes, b"xbc");
}

fn a_send_to_a_stalled_reader_goes_on_when_it_reads_and_reports_its_progress(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    let bytes = pattern(1, 16 << 20);
    host.sockets.send(conn, Bytes::from(bytes.clone()));
    let early = host.events_for(Duration::from_millis(200));
    let (mut progress, mut finished) = (0, false);
    let mut note = |event: &Event| match event {
        Event::Sent { bytes, done, .. } => {
            assert!(!finished, "an event after the last one");
            progress += *bytes as usize;
            finished = *done;
            (progress, finished)
        }
        other => panic!("unexpected {other:?}"),
    };
    let (taken, done) = early.iter().map(&mut note).last().unwrap();
    assert!(!done && taken < bytes.len(), "the kernel took {taken} bytes, all of them");
    assert!(early.len() > 1, "progress is reported as it is made");
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; 16 << 20];
        client.read_exact(&mut read).unwrap();
        read
    });
    let total = loop {
        let (progress, finished) = note(&host.event());
        if finished {
            break progress;
        }
    };
    assert_eq!(total, bytes.len());
    assert!(reader.join().unwrap() == bytes, "the bytes differ");
    assert!(host.sockets.counters().sends_continued > 10);
}

fn the_send_queue_is_told_and_shrinks_when_the_peer_reads(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    host.sockets.send(conn, Bytes::from(vec![7; 8 << 20]));
    host.events_for(Duration::from_millis(100));
    let unsent = |host: &mut Host| {
        host.sockets.query_unsent(conn);
        host.sockets.query_unsent(conn);
        let events = host.events_for(Duration::from_millis(50));
        let answers: Vec<u32> = events
            .iter()
            .filter_map(|event| match event {
                Event::Unsent { bytes, .. } => Some(*bytes),
                _ => None,
            })
            .collect();
        assert_eq!(answers.len(), 1, "two questions at once have one answer");
        answers[0]
    };
    let stalled = unsent(&mut host);
    assert!(stalled > 0);
    assert_eq!(unsent(&mut host), stalled, "nobody reads");
    let reader = std::thread::spawn(move || {
        client.read_exact(&mut vec![0; 8 << 20]).unwrap();
        client
    });
    while !matches!(host.event(), Event::Sent { done: true, .. }) {}
    let _client = reader.join().unwrap();
    let left = unsent(&mut host);
    assert!(left < stalled, "{left} bytes after the peer read, {stalled} before");
}

fn more_completions_than_the_queue_holds_are_not_lost(io: Io) {
    const CLIENTS: usize = 500;
    let options = Options { slots: 600, cq_entries: 128, recv_buffers: 1024, ..small() };
    let mut host = Host::new(io, &options);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    let conns = host.accept_all(&clients);
    clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
    conns.iter().for_each(|conn| host.sockets.send(*conn, Bytes::from_static(b"y")));
    let (mut received, mut sent) = (0, 0);
    while received < CLIENTS || sent < CLIENTS {
        match host.event() {
            Event::Received { bytes, .. } => received += bytes.len(),
            Event::Sent { done: true, .. } => sent += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    let counters = host.sockets.counters();
    assert!(io == Io::Epoll || counters.cq_overflows > 0, "{counters:?}");
}

fn half_closes_are_seen_on_both_sides(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(host.receive(conn, 4), b"last");
    assert!(matches!(host.event(), Event::ReceiveEnded { error: None, .. }));
    host.sockets.send(conn, Bytes::from_static(b"answer"));
    assert!(matches!(host.event(), Event::Sent { done: true, .. }));
    host.sockets.shutdown(conn);
    host.sockets.submit().unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    assert_eq!(host.sockets.open(), 1, "the slot is held until close");
    host.sockets.close(conn, Close::Orderly);
    host.closed(conn);
    assert_eq!(host.sockets.open(), 0);
}

fn an_orderly_close_delivers_what_the_kernel_has(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    let bytes = pattern(2, 50_000);
    host.sockets.send(conn, Bytes::from(bytes.clone()));
    assert!(matches!(host.event(), Event::Sent { bytes: 50_000, done: true, .. }));
    host.sockets.close(conn, Close::Orderly);
    host.closed(conn);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert!(read == bytes);
}

fn a_close_with_a_send_in_flight_cancels_it(io: Io) {
    let mut host = Host::new(io, &small());
    let (client, conn) = host.client();
    let bytes = Bytes::from(vec![0; 16 << 20]);
    host.sockets.send(conn, bytes.clone());
    host.events_for(Duration::from_millis(50));
    host.sockets.close(conn, Close::Orderly);
    host.closed(conn);
    assert!(bytes.is_unique(), "the bytes are released");
    drop(client);
}

fn a_storm_of_connects_is_accepted_whole(io: Io) {
    const CLIENTS: usize = 2000;
    let options = Options { slots: 2100, accepts: 64, ..Options::default() };
    let mut host = Host::new(io, &options);
    let address = host.address;
    let storm = std::thread::spawn(move || {
        (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
    });
    let mut by_peer = HashMap::new();
    while by_peer.len() < CLIENTS {
        match host.event() {
            Event::Accepted { conn, peer, .. } => assert!(by_peer.insert(peer, conn).is_none()),
            other => panic!("unexpected {other:?}"),
        }
    }
    let mut clients = storm.join().unwrap();
    for (i, client) in clients.iter_mut().enumerate() {
        client.write_all(&(i as u32).to_le_bytes()).unwrap();
    }
    let mut received: HashMap<ConnId, Vec<u8>> = HashMap::new();
    while received.values().map(Vec::len).sum::<usize>() < 4 * CLIENTS {
        if let Event::Received { conn, bytes } = host.event() {
            received.entry(conn).or_default().extend_from_slice(&bytes);
        }
    }
    for (i, client) in clients.iter().enumerate() {
        assert_eq!(received[&by_peer[&client.local_addr().unwrap()]], (i as u32).to_le_bytes());
    }
}

fn a_crowd_at_one_listener_keeps_nobody_waiting_at_another(io: Io) {
    let mut host = Host::new(io, &small());
    let quiet = common::listener("127.0.0.1:0");
    let address = quiet.local_addr().unwrap();
    host.sockets.listen(quiet).unwrap();
    // More than are accepted in a turn.
    let _crowd: Vec<_> = (0..16).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    let _one = TcpStream::connect(address).unwrap();
    host.sockets.submit().unwrap();
    let mut first_turn = std::iter::from_fn(|| host.sockets.next());
    assert!(first_turn.any(|event| matches!(event, Event::Accepted { listener: 1, .. })));
}

fn few_tiny_receive_buffers_lose_nothing(io: Io) {
    const CLIENTS: usize = 40;
    const BYTES: usize = 20_000;
    let options = Options { recv_buffers: 4, recv_buffer_bytes: 64, ..small() };
    let mut host = Host::new(io, &options);
    let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    let conns = host.accept_all(&clients);
    let writers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(i, mut client)| {
            std::thread::spawn(move || {
                client.write_all(&pattern(i as u64, BYTES)).unwrap();
                client
            })
        })
        .collect();
    let mut received: HashMap<ConnId, Vec<u8>> = HashMap::new();
    let mut held = Vec::new();
    while received.values().map(Vec::len).sum::<usize>() < CLIENTS * BYTES {
        if let Event::Received { conn, bytes } = host.event() {
            received.entry(conn).or_default().extend_from_slice(&bytes);
            // Up to all buffers are held for a while: one of a connection, so fewer at the end.
            held.push(bytes);
            if held.len() == 4 {
                assert!(host.sockets.next().is_none_or(|event| !matches!(event, Event::Received { .. })));
            }
            let unfinished = CLIENTS - received.values().filter(|bytes| bytes.len() == BYTES).count();
            if held.len() >= unfinished.min(4) {
                held.clear();
            }
        }
    }
    for (i, conn) in conns.iter().enumerate() {
        assert!(received[conn] == pattern(i as u64, BYTES), "client {i} was received wrong");
    }
    let counters = host.sockets.counters();
    assert!(counters.enobufs > 0, "{counters:?}");
    writers.into_iter().for_each(|writer| drop(writer.join().unwrap()));
}

fn when_listening_stops_connects_are_refused_and_connections_go_on(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    host.sockets.stop_listening();
    assert!(host.events_for(Duration::from_millis(20)).is_empty());
    assert_eq!(TcpStream::connect(host.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"still").unwrap();
    assert_eq!(host.receive(conn, 5), b"still");
    let listener = common::listener("127.0.0.1:0");
    host.address = listener.local_addr().unwrap();
    host.sockets.listen(listener).unwrap();
    host.sockets.submit().unwrap();
    host.client();
}

fn a_dropped_ring_closes_its_connections_and_releases_their_bytes(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    let (_stalled, other) = host.client();
    let bytes = Bytes::from(vec![0; 16 << 20]);
    host.sockets.send(other, bytes.clone());
    host.sockets.send(conn, Bytes::from_static(b"end"));
    host.sockets.submit().unwrap();
    drop(host);
    assert!(bytes.is_unique());
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"end");
}
