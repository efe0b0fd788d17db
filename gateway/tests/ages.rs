//! Clients that are sent away for their age (`connection_age`), and those that say nothing (`idle_subscribed`).
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{client::CloseReason, protocol::encoding::Encoding};
use gateway::config::Config;
use net::sim::PeerEnd;
use support::{
    EPOCH, World, config,
    subscriber::AskedOp,
    tls::{Clients, Version},
};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut config = config();
    config.fanout.heartbeat = 3600 * S;
    change(&mut config);
    World::new(config, 64, 1)
}

#[test]
fn a_client_that_has_reached_its_age_is_told_so_and_leaves_with_the_newest_values() {
    let mut world = world(|config| config.limits.connection_age = 100 * S);
    world.publish("a.x", "0");
    let plain = world.connect();
    let tls = Clients::without_tickets().connect(Version::Tls13);
    let tls = world.dial_tls(Some(tls), "/ws", true, Encoding::Json);
    let msgpack = world.dial_as("/ws", true, Encoding::Msgpack);
    world.settle();
    for peer in [plain, tls, msgpack] {
        world.subscribe(peer, "", &["a.*"], Some(10_000));
    }
    world.advance(74_900 * MS);
    assert!([plain, tls, msgpack].iter().all(|peer| world.peers[*peer].close.is_none()));
    for n in 0..502 {
        // Newer than what the interval brings.
        world.publish("a.x", &n.to_string());
        world.advance(100 * MS);
    }
    for peer in [plain, tls, msgpack] {
        let peer = &world.peers[peer];
        assert_eq!(peer.close.as_ref().unwrap(), &(1001, CloseReason::Age.text().to_owned()));
        let ops: Vec<_> = peer.texts.iter().map(|text| text.split('"').nth(3).unwrap().to_owned()).collect();
        assert_eq!(ops[ops.len() - 2..], ["notice", "batch"], "the last flush is behind the notice");
        let notices = peer.frames("notice");
        assert_eq!((notices.len(), notices[0]["code"].as_str()), (1, Some("draining")));
        let after_ms = notices[0]["reconnect_after_ms"].as_u64().unwrap();
        assert!((100..500).contains(&after_ms), "{after_ms}");
    }
    assert_eq!(world.shard.stats().ended[CloseReason::Age as usize], 3);
    // It comes back with what it holds and is told what it missed.
    let version = world.peers[plain].model.sub("").unwrap().version;
    world.publish("a.y", "1");
    let back = world.connect();
    world.subscribe_since(back, "", &["a.*"], Some(100), Some((EPOCH, version)));
    assert_eq!((world.peers[back].frames("snapshot").len(), world.peers[back].frames("batch").len()), (0, 1));
    world.advance(3 * S);
    assert!([plain, tls, msgpack].iter().all(|peer| world.peers[*peer].slot_freed));
    assert_eq!((world.shard.stats().connections, world.peers[back].close_code()), (1, None));
}

#[test]
fn ages_differ_by_a_quarter_either_way_and_without_one_a_client_may_stay() {
    let mut world = world(|config| config.limits.connection_age = 40 * S);
    let peers: Vec<usize> = (0..40).map(|_| world.connect()).collect();
    for peer in &peers {
        world.subscribe(*peer, "", &["a"], None);
    }
    let here = |world: &World| peers.iter().filter(|peer| world.peers[**peer].close.is_none()).count();
    world.advance(29_900 * MS);
    assert_eq!(here(&world), 40);
    let mut left = Vec::new();
    for _ in 0..4 {
        let before = here(&world);
        world.advance(5 * S);
        left.push(before - here(&world));
    }
    assert!(left.iter().all(|count| *count >= 4), "{left:?}");
    world.advance(200 * MS);
    assert_eq!(here(&world), 0);
    let mut world = self::world(|_| ());
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], None);
    world.advance(3600 * S);
    assert_eq!(world.peers[peer].close_code(), None);
}

#[test]
fn who_reads_slowly_at_that_moment_gets_all_that_is_on_its_way_and_then_the_close() {
    let mut world = world(|config| {
        config.limits.connection_age = 20 * S;
        config.fanout.interval = Duration::ZERO;
    });
    world.set_fragment_bytes(1000);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], None);
    world.advance(14 * S);
    world.stall(peer, 500);
    world.publish("a", &format!("\"{}\"", "x".repeat(20_000)));
    world.advance(12 * S);
    assert_eq!((world.end(peer), world.peers[peer].close_code()), (PeerEnd::Open, None));
    world.resume(peer);
    world.advance(S);
    assert_eq!(world.peers[peer].close_code(), Some(1001));
    assert_eq!(world.peers[peer].frames("notice").len(), 1);
    assert_eq!(world.peers[peer].frames("batch").len(), 1, "the long one came whole");
}

#[test]
fn a_drain_takes_over_who_is_of_age() {
    let mut world = world(|config| {
        config.limits.connection_age = 20 * S;
        config.server.drain = 10 * S;
    });
    let peers: Vec<usize> = (0..20).map(|_| world.connect()).collect();
    for peer in &peers {
        world.subscribe(*peer, "", &["a"], None);
    }
    world.advance(14 * S);
    world.drain();
    world.advance(11 * S);
    for peer in peers {
        let reason = CloseReason::Draining.text().to_owned();
        assert_eq!(world.peers[peer].close, Some((1001, reason)), "a drain has begun");
        assert_eq!(world.peers[peer].frames("notice").len(), 1);
    }
}

fn silent() -> World {
    world(|config| {
        config.limits.idle_subscribed = 20 * S;
        config.limits.ping = 8 * S;
        config.limits.pong = 5 * S;
        config.limits.idle = 3600 * S;
    })
}

#[test]
fn a_subscriber_that_sends_no_byte_is_closed_4000_and_a_pong_is_one() {
    let mut world = silent();
    world.config.limits.ping = 3600 * S;
    let mut world = World::new(Config { ..world.config.clone() }, 64, 1);
    let (silent, speaks, unsubscribed) = (world.connect(), world.connect(), world.connect());
    world.subscribe(silent, "", &["a"], Some(100));
    world.subscribe(speaks, "", &["a"], Some(100));
    for _ in 0..6 {
        // What it is sent is nothing that it says.
        world.publish("a", "1");
        world.advance(5 * S);
        world.ask(speaks, AskedOp::Ping);
        world.settle();
    }
    assert_eq!(world.peers[silent].close, Some((4000, CloseReason::Silent.text().to_owned())));
    assert_eq!([speaks, unsubscribed].map(|peer| world.peers[peer].close_code()), [None, None]);
    assert_eq!(world.shard.stats().ended[CloseReason::Silent as usize], 1);
    let mut world = self::silent();
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(100));
    world.advance(300 * S);
    assert_eq!((world.peers[peer].close_code(), world.peers[peer].pings > 20), (None, true));
}

#[test]
fn who_is_not_read_from_is_not_silent() {
    let mut world = silent();
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(0));
    world.stall(peer, 100);
    world.publish("a", &format!("\"{}\"", "x".repeat(50_000)));
    for _ in 0..8 {
        world.advance(5 * S);
        world.ask(peer, AskedOp::Ping);
        world.read(peer, 10);
    }
    assert_eq!(world.peers[peer].close_code(), None);
    assert_eq!(world.shard.stats().ended[CloseReason::Silent as usize], 0);
}
