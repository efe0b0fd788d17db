//! Draining: every client is told, flushed and closed 1001 at its own moment; stalled ones are reset.
#![forbid(unsafe_code)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use engine::shard::inbox::Message;
use net::{Sockets, sim::PeerEnd};

use support::{World, config};

const MS: Duration = Duration::from_millis(1);
const DRAIN: Duration = Duration::from_secs(10);

fn world(interval: Duration) -> World {
    let mut config = config();
    config.fanout.interval = interval;
    config.server.drain = DRAIN;
    config.limits.value_bytes = 8 << 20;
    World::new(config, 256, 1)
}

#[test]
fn each_client_is_told_then_flushed_then_closed_1001_at_its_own_moment() {
    let mut world = world(Duration::from_secs(60));
    let peers: Vec<usize> = (0..50).map(|_| world.connect()).collect();
    for peer in &peers {
        world.subscribe(*peer, "", &["a"], None);
    }
    world.publish("a", "1");
    world.drain();
    world.settle();
    let mut waits = BTreeSet::new();
    for peer in &peers {
        let notice = &world.peers[*peer].frames("notice")[0];
        assert_eq!(notice["code"], "draining");
        waits.insert(notice["reconnect_after_ms"].as_u64().unwrap());
    }
    assert!(waits.len() > 40 && waits.last() > Some(&5000), "spread: {waits:?}");
    let mut moments = BTreeSet::new();
    for ms in 0..10_000 {
        world.advance(MS);
        moments.extend(peers.iter().filter(|p| world.peers[**p].close.is_some()).map(|p| (*p, 0)));
        if moments.len() == peers.len() {
            assert!(ms > 5000, "all were closed after {ms} ms");
            break;
        }
        assert!(ms < 1000 || moments.len() < ms / 100 + 10, "{} closed after {ms} ms", moments.len());
    }
    for peer in peers {
        assert_eq!(world.peers[peer].close_code(), Some(1001));
        world.peers[peer].model.check_newest(&world.publisher.epochs);
    }
}

#[test]
fn publishing_goes_on_and_the_last_flush_has_the_newest_value() {
    let mut world = world(Duration::ZERO);
    let peers: Vec<usize> = (0..20).map(|_| world.connect()).collect();
    for peer in &peers {
        world.subscribe(*peer, "", &["a"], None);
    }
    world.drain();
    for n in 0..1000 {
        world.publish("a", &n.to_string());
        world.advance(10 * MS);
    }
    for peer in peers {
        // A client that is busy at its moment is not forgotten.
        assert_eq!(world.peers[peer].close_code(), Some(1001), "{peer}");
    }
}

#[test]
fn a_client_that_is_busy_at_its_moment_leaves_as_soon_as_it_is_not() {
    let mut world = world(Duration::ZERO);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], None);
    world.stall(peer, 0);
    world.publish("a", "1");
    world.drain();
    world.advance(DRAIN - 200 * MS);
    world.resume(peer);
    world.advance(100 * MS);
    assert_eq!(world.peers[peer].close_code(), Some(1001));
    world.peers[peer].model.check_newest(&world.publisher.epochs);
}

/// Lets time pass in steps, in each of which the client takes a little, until it is closed or reset. Gives how long
/// that took.
fn take_slowly(world: &mut World, peer: usize, bytes: usize, step: Duration) -> Duration {
    let mut passed = Duration::ZERO;
    while world.peers[peer].close.is_none() && world.end(peer) == PeerEnd::Open {
        let conn = world.peers[peer].conn;
        world.net.inner().set_window(conn, bytes);
        world.advance(step);
        world.read(peer, usize::MAX);
        passed += step;
        assert!(passed < 2 * DRAIN, "it outlives the drain");
    }
    passed
}

fn long_value() -> String {
    format!("\"{}\"", "x".repeat(3_000_000))
}

/// The model fails at any byte after the close frame.
fn check_cut(world: &World, peer: usize) {
    assert_eq!(world.peers[peer].close_code(), Some(1001));
    assert_eq!(world.peers[peer].frames("batch").len(), 0, "nothing more of the message is sent");
    assert_eq!(world.peers[peer].frames("notice").len(), 0, "a notice cannot stand within a message");
}

#[test]
fn a_client_in_the_midst_of_a_message_is_closed_at_its_moment_between_two_fragments() {
    for slot in 0..8 {
        let mut world = world(Duration::ZERO);
        let _others: Vec<usize> = (0..slot).map(|_| world.dial()).collect();
        let peer = world.connect();
        world.subscribe(peer, "", &["a"], None);
        world.stall(peer, 20_000);
        world.publish("a", &long_value());
        world.drain();
        let passed = take_slowly(&mut world, peer, 20_000, 100 * MS);
        check_cut(&world, peer);
        // Its moment, and what it takes for the fragment in flight.
        assert!(DRAIN / 4 <= passed && passed <= DRAIN * 9 / 10 + 400 * MS, "{passed:?}");
    }
}

#[test]
fn a_notice_comes_after_the_message_and_pings_are_answered_meanwhile() {
    let mut world = world(Duration::ZERO);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], None);
    world.stall(peer, 20_000);
    world.publish("a", &long_value());
    world.drain();
    world.settle();
    world.send_frame(peer, proto::encode::Opcode::Ping, b"still there?");
    while world.peers[peer].pongs.is_empty() {
        let conn = world.peers[peer].conn;
        world.net.inner().set_window(conn, 20_000);
        world.settle();
        world.read(peer, usize::MAX);
        assert_eq!(world.peers[peer].frames("batch").len(), 0, "the pong waits for the message");
    }
    world.resume(peer);
    world.settle();
    assert_eq!(world.peers[peer].frames("batch").len(), 1);
    assert_eq!(world.peers[peer].frames("notice").len(), 1);
    world.advance(DRAIN);
    assert_eq!(world.peers[peer].close_code(), Some(1001));
    world.peers[peer].model.check_newest(&world.publisher.epochs);
}

#[test]
fn a_client_that_never_has_all_that_it_was_sent_leaves_at_its_moment() {
    let mut world = world(Duration::ZERO);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], None);
    world.stall(peer, 0);
    world.drain();
    let mut left = None;
    for n in 0..1000 {
        world.publish("a", &format!("\"{n}{}\"", "x".repeat(5000)));
        let conn = world.peers[peer].conn;
        world.net.inner().set_window(conn, 700);
        world.advance(10 * MS);
        world.read(peer, usize::MAX);
        left = left.or(world.peers[peer].close.is_some().then_some(n));
    }
    assert_eq!(world.peers[peer].close_code(), Some(1001));
    assert!(left < Some(950), "it left at {left:?}");
    assert_eq!(world.peers[peer].frames("notice").len(), 1);
}

#[test]
fn a_last_flush_that_takes_too_long_is_cut_off_before_the_deadline() {
    for slot in 0..4 {
        let mut world = world(Duration::ZERO);
        let _others: Vec<usize> = (0..slot).map(|_| world.dial()).collect();
        let [peer, fast] = [0; 2].map(|_| world.connect());
        for peer in [peer, fast] {
            world.subscribe(peer, "", &["a"], None);
            world.stall(peer, 0);
        }
        world.publish("a", "1");
        world.publish("a", &long_value());
        world.drain();
        // It takes nothing before its moment.
        world.advance(DRAIN * 9 / 10);
        world.resume(fast);
        let passed = take_slowly(&mut world, peer, 20_000, 40 * MS);
        let peers = &world.peers;
        assert_eq!((peers[peer].close_code(), peers[fast].close_code()), (Some(1001), Some(1001)));
        assert!(passed < DRAIN / 10, "{passed:?}");
        assert_eq!(peers[peer].frames("batch").len(), 1, "of the last flush the end is missing");
        peers[fast].model.check_newest(&world.publisher.epochs);
    }
}

#[test]
fn stalled_clients_are_reset_at_the_deadline_and_nobody_is_left() {
    let mut world = world(Duration::ZERO);
    let (stalled, handshaking, reading) = (world.connect(), world.dial(), world.connect());
    for peer in [stalled, reading] {
        world.subscribe(peer, "", &["a"], None);
    }
    world.stall(stalled, 0);
    world.publish("a", "1");
    world.advance(6 * DRAIN / 10);
    world.drain();
    world.advance(DRAIN - 10 * MS);
    assert_eq!(world.end(stalled), PeerEnd::Open);
    world.advance(20 * MS);
    assert_eq!(world.end(stalled), PeerEnd::Reset);
    assert!(world.peers[handshaking].slot_freed);
    assert_eq!((world.net.open(), world.shared.connections()), (0, 0));
    assert!(!world.shard.finished());
    assert!(world.inbox.push(Message::Stop).is_ok());
    world.settle();
    assert!(world.shard.finished());
}

#[test]
fn whoever_sends_no_request_delays_the_end_by_a_second_at_most() {
    let mut config = config();
    config.limits.handshake = Duration::from_secs(3600);
    let mut world = World::new(config, 256, 1);
    let (silent, halfway) = (world.dial(), world.dial());
    world.send_raw(halfway, b"GET /ws HTTP/1.1\r\n");
    world.advance(5000 * MS);
    world.drain();
    world.advance(500 * MS);
    let late = world.dial();
    world.advance(480 * MS);
    assert!(!world.peers[silent].slot_freed && !world.peers[halfway].slot_freed);
    world.advance(40 * MS);
    assert!(world.peers[silent].slot_freed && world.peers[halfway].slot_freed);
    assert!(!world.peers[late].slot_freed);
    world.advance(500 * MS);
    assert_eq!((world.net.open(), world.shared.connections()), (0, 0));
}

#[test]
fn stop_resets_whoever_is_left_at_once() {
    let mut world = world(Duration::ZERO);
    let peer = world.connect();
    assert!(world.inbox.push(Message::Stop).is_ok());
    world.settle();
    assert_eq!((world.end(peer), world.shard.finished()), (PeerEnd::Reset, true));
}
