//! No address takes more than its share of the tables that all need, and what it took comes back exactly.
#![forbid(unsafe_code)]

mod support;

use std::net::SocketAddr;

use engine::{address::Address, client::Refused, shard::shared::Shared};
use serde_json::json;

use support::{World, config};

/// Of each address: 100 patterns and 6 subscriptions.
fn world() -> World {
    let mut config = config();
    (config.limits.patterns_per_ip, config.limits.classes_per_ip) = (100, 6);
    World::new(config, 64, 1)
}

fn connect(world: &mut World, ip: &str) -> usize {
    let peer = world.dial_from(SocketAddr::new(ip.parse().unwrap(), 1));
    world.handshake(peer, "/ws", false);
    world.settle();
    assert!(world.peers[peer].open);
    peer
}

fn topics(name: &str, patterns: usize) -> Vec<String> {
    (0..patterns).map(|n| format!("{name}.{n}")).collect()
}

#[test]
fn connections_are_counted_exactly_and_a_refused_address_takes_no_room() {
    let mut config = config();
    config.limits.connections_per_ip = 2;
    let shared = Shared::new(
        engine::topic::epoch::Epoch::parse("0123456789abcdef").expect("16 hex digits"),
        None,
        3,
        &config.settings(),
    );
    let (a, b) = (Address::V4([127, 0, 0, 1]), Address::V4([127, 0, 0, 2]));
    assert_eq!((shared.admit(Some(a)), shared.admit(Some(a))), (Ok(true), Ok(true)));
    assert_eq!(shared.admit(Some(a)), Err(Refused::Address));
    assert_eq!(shared.admit(Some(b)), Ok(true));
    assert_eq!(shared.admit(Some(b)), Err(Refused::Full));
    shared.release(Some(a));
    assert_eq!(shared.admit(Some(a)), Ok(true));
    assert_eq!(shared.connections(), 3);
    // One whose address is not known yet takes room, and counts for its address later.
    shared.release(Some(b));
    assert_eq!((shared.admit(None), shared.admit(None)), (Ok(false), Err(Refused::Full)));
    assert_eq!((shared.admit_for(a), shared.admit_for(b)), (Err(Refused::Address), Ok(true)));
    shared.release(None);
    assert_eq!((shared.connections(), shared.admit(Some(b))), (2, Ok(true)));
    assert_eq!(shared.admit_for(b), Err(Refused::Address));
}

/// Subscribes to so many patterns of that name.
fn hold(world: &mut World, peer: usize, sub: &str, name: &str, patterns: usize) {
    let topics = topics(name, patterns);
    world.subscribe(peer, sub, &topics.iter().map(String::as_str).collect::<Vec<_>>(), None);
}

/// The same, which is refused; the reason.
fn refusal(world: &mut World, peer: usize, sub: &str, name: &str, patterns: usize) -> String {
    let op = json!({"op": "subscribe", "sub": sub, "topics": topics(name, patterns)});
    world.send_bad(peer, &op.to_string());
    world.settle();
    let error = world.peers[peer].frames("error").pop().expect("it is refused");
    assert_eq!(error["code"], 4000);
    error["reason"].as_str().unwrap().to_owned()
}

#[test]
fn an_address_gets_its_share_of_the_patterns_over_all_its_connections() {
    let mut world = world();
    let crowd: Vec<usize> = (0..3).map(|_| connect(&mut world, "192.0.2.1")).collect();
    hold(&mut world, crowd[0], "", "a", 60);
    // What another of its connections holds already counts for each.
    hold(&mut world, crowd[1], "", "a", 40);
    let reason = refusal(&mut world, crowd[2], "", "b", 1);
    assert!(reason.contains("101 patterns") && reason.contains("patterns_per_ip = 100"), "{reason}");
    // What it asks for again is nothing more.
    hold(&mut world, crowd[0], "", "a", 60);
    refusal(&mut world, crowd[0], "", "a", 61);
    let other = connect(&mut world, "192.0.2.2");
    hold(&mut world, other, "", "b", 100);
    let stats = world.shard.stats();
    assert_eq!((stats.addresses, stats.shares_refused), (2, 2));
    // What is given back may be taken again.
    world.unsubscribe(crowd[1], "", Some(&["a.0"]));
    hold(&mut world, crowd[2], "", "b", 1);
    world.reset(crowd[0]);
    world.settle();
    hold(&mut world, crowd[2], "", "b", 60);
    refusal(&mut world, crowd[2], "", "b", 62);
}

#[test]
fn an_address_gets_its_share_of_the_classes() {
    let mut world = world();
    let crowd = [connect(&mut world, "192.0.2.1"), connect(&mut world, "192.0.2.1")];
    for n in 0..6 {
        hold(&mut world, crowd[n % 2], &n.to_string(), "a", 1);
    }
    let reason = refusal(&mut world, crowd[0], "more", "a", 1);
    assert!(reason.contains("7 subscriptions") && reason.contains("classes_per_ip = 6"), "{reason}");
    // A change of one that it has is none more.
    hold(&mut world, crowd[0], "0", "b", 2);
    let other = connect(&mut world, "192.0.2.2");
    hold(&mut world, other, "", "a", 1);
    world.unsubscribe(crowd[0], "0", None);
    hold(&mut world, crowd[0], "more", "a", 1);
}

#[test]
fn one_line_of_ipv6_has_one_share() {
    let mut world = world();
    let (one, same) = (connect(&mut world, "2001:db8::1"), connect(&mut world, "2001:db8::ffff:1"));
    hold(&mut world, one, "", "a", 100);
    refusal(&mut world, same, "", "a", 1);
    let other = connect(&mut world, "2001:db8:0:1::1");
    hold(&mut world, other, "", "a", 100);
}

#[test]
fn what_was_taken_comes_back_however_it_ends() {
    let mut world = world();
    let peers: Vec<usize> = (0..6).map(|_| connect(&mut world, "192.0.2.1")).collect();
    for (n, peer) in peers.iter().enumerate() {
        hold(&mut world, *peer, "", "a", 10 + n);
    }
    hold(&mut world, peers[0], "", "b", 5);
    world.unsubscribe(peers[0], "", Some(&["a.3", "b.1", "none"]));
    world.unsubscribe(peers[1], "", None);
    world.reset(peers[2]);
    world.half_close(peers[3], false);
    world.send_raw(peers[4], &[0xff; 10]);
    world.settle();
    assert_eq!(world.shard.stats().addresses, 1);
    world.drain();
    world.advance(world.config.server.drain + std::time::Duration::from_secs(2));
    let stats = world.shard.stats();
    assert_eq!((stats.addresses, stats.patterns, stats.classes), (0, 0, 0));
}
