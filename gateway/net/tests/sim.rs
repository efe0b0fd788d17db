//! The simulated ring keeps the promises of the real one.
#![forbid(unsafe_code)]

use std::{collections::HashMap, net::SocketAddr};

use bytes::Bytes;
use net::{
    Close, ConnId, Event, Sockets,
    sim::{PeerEnd, SimRing},
};

fn peer() -> SocketAddr {
    "192.0.2.7:4711".parse().unwrap()
}

#[derive(Default)]
struct Ends {
    sent_by_peer: Vec<u8>,
    received: Vec<u8>,
    sent: Vec<u8>,
    read_by_peer: Vec<u8>,
    sending: bool,
    closed: bool,
}

/// Random peers and a random program for many steps; every byte is accounted for.
fn run(seed: u64, steps: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut ring = SimRing::new(20, rng.u64(..));
    ring.set_default_window(1000);
    let mut ends: HashMap<ConnId, Ends> = HashMap::new();
    let mut open: Vec<ConnId> = Vec::new();
    let mut log = String::new();
    for _ in 0..steps {
        let conn = if open.is_empty() { None } else { Some(open[rng.usize(..open.len())]) };
        match (rng.u8(..10), conn) {
            (0, _) => open.extend(ring.accept(peer()).inspect(|conn| {
                assert!(ends.insert(*conn, Ends::default()).is_none(), "{conn:?} came twice");
            })),
            (1, Some(conn)) => {
                let bytes: Vec<u8> = (0..rng.usize(1..300)).map(|_| rng.u8(..)).collect();
                if ring.peer_send(conn, &bytes) {
                    ends.get_mut(&conn).unwrap().sent_by_peer.extend(&bytes);
                }
            }
            (2, Some(conn)) => {
                ends.get_mut(&conn).unwrap().read_by_peer.extend(ring.peer_read(conn, rng.usize(..2000)))
            }
            (3, Some(conn)) if !ends[&conn].sending => {
                let bytes: Vec<u8> = (0..rng.usize(..3000)).map(|_| rng.u8(..)).collect();
                let end = ends.get_mut(&conn).unwrap();
                end.sent.extend(&bytes);
                end.sending = true;
                ring.send(conn, Bytes::from(bytes));
            }
            (4, Some(conn)) if rng.bool() => ring.pause_receive(conn),
            (4, Some(conn)) => ring.resume_receive(conn),
            (5, Some(conn)) if rng.u8(..4) == 0 => {
                ring.close(conn, Close::Orderly);
                ring.close(conn, Close::Reset);
            }
            (6, _) => drop(ring.step()),
            _ => {}
        }
        let Some(event) = ring.next() else { continue };
        log.push_str(&format!("{event:?}\n"));
        match event {
            Event::Received { conn, bytes } => ends.get_mut(&conn).unwrap().received.extend(&*bytes),
            Event::Sent { conn, done, .. } => ends.get_mut(&conn).unwrap().sending = !done,
            Event::Closed { conn } => {
                open.retain(|other| *other != conn);
                assert!(!std::mem::replace(&mut ends.get_mut(&conn).unwrap().closed, true));
                assert_eq!(ring.peer_end(conn), PeerEnd::Ended);
                assert!(!ring.peer_send(conn, b"late"));
                ring.send(conn, Bytes::from_static(b"late"));
                ends.get_mut(&conn).unwrap().read_by_peer.extend(ring.peer_read(conn, usize::MAX));
                ring.peer_forget(conn);
            }
            Event::Accepted { conn, .. } => assert!(!ends[&conn].closed),
            other => panic!("unexpected {other:?}"),
        }
        assert_eq!(ring.open(), open.len());
    }
    for (conn, end) in &ends {
        assert!(end.sent_by_peer.starts_with(&end.received), "{conn:?} received something else, seed {seed}");
        assert!(end.sent.starts_with(&end.read_by_peer), "{conn:?} sent something else, seed {seed}");
    }
    assert!(ends.len() > 20 && ends.values().filter(|end| end.closed).count() > 10, "slots were reused");
    log
}

#[test]
fn bytes_keep_their_order_and_slots_their_user_under_random_interleaving() {
    for seed in 0..20 {
        run(seed, 20_000);
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    assert_eq!(run(7, 10_000), run(7, 10_000));
    assert_ne!(run(7, 10_000), run(8, 10_000));
}

#[test]
fn a_stalled_peer_keeps_the_send_in_flight_until_it_reads() {
    let mut ring = SimRing::new(1, 1);
    let conn = ring.accept(peer()).unwrap();
    assert!(ring.accept(peer()).is_none(), "one slot");
    assert!(matches!(ring.next(), Some(Event::Accepted { .. })));
    ring.set_window(conn, 100);
    ring.send(conn, Bytes::from(vec![1; 250]));
    let mut taken = 0;
    while let Some(Event::Sent { bytes, done, .. }) = ring.next() {
        assert!(!done);
        taken += bytes;
    }
    assert_eq!((taken, ring.in_flight(conn), ring.held_bytes()), (100, 150, 250));
    ring.query_unsent(conn);
    assert!(matches!(ring.next(), Some(Event::Unsent { bytes: 100, .. })));
    let mut read = 0;
    let mut finished = false;
    while !finished {
        read += ring.peer_read(conn, 30).len();
        while let Some(Event::Sent { done, .. }) = ring.next() {
            finished = done;
        }
    }
    assert!(read >= 150 && ring.held_bytes() == 0);
}

#[test]
#[should_panic(expected = "send in flight already")]
fn a_second_send_before_the_first_is_done_panics() {
    let mut ring = SimRing::new(1, 1);
    let conn = ring.accept(peer()).unwrap();
    ring.send(conn, Bytes::from_static(b"a"));
    while ring.step() && ring.in_flight(conn) > 0 {}
    // The kernel has taken all, but the program has not been told.
    ring.send(conn, Bytes::from_static(b"b"));
}

#[test]
fn a_peers_reset_fails_the_send_and_ends_receiving() {
    let mut ring = SimRing::new(1, 3);
    let conn = ring.accept(peer()).unwrap();
    ring.set_window(conn, 0);
    assert!(matches!(ring.next(), Some(Event::Accepted { .. })));
    ring.send(conn, Bytes::from_static(b"hello"));
    assert!(ring.next().is_none());
    ring.peer_reset(conn);
    let events: Vec<Event> = std::iter::from_fn(|| ring.next()).collect();
    assert_eq!(events.len(), 2);
    assert!(events.iter().any(|event| matches!(event, Event::SendFailed { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::ReceiveEnded { error: Some(_), .. })));
    ring.close(conn, Close::Orderly);
    assert!(matches!(ring.next(), Some(Event::Closed { .. })));
    assert_eq!((ring.peer_end(conn), ring.open()), (PeerEnd::Reset, 0));
}
