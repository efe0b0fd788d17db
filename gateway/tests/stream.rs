//! Stream topics: every update once and in order, or told how many are missing. The model subscriber
//! checks each step; here stands what the frames themselves must be.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::topic::{
    pattern::Pattern,
    policy::{Behind, Mode, Policies, Policy, Stream},
};
use serde_json::Value;

use support::{EPOCH, World, config};

const INTERVAL: Duration = Duration::from_millis(100);

fn world(history_updates: usize, behind: Behind) -> World {
    world_with(2, history_updates, behind)
}

fn world_with(snapshot_updates: usize, history_updates: usize, behind: Behind) -> World {
    let mut config = config();
    config.fanout.interval = INTERVAL;
    let mode =
        Stream { snapshot_updates, history_updates, history_bytes: 1 << 20, history_age: None, behind };
    config.topics =
        Policies::new(vec![Policy::new(Pattern::parse("*.trade.*").unwrap(), Mode::Stream(mode))]);
    World::new(config, 64, 1)
}

fn reader(world: &mut World) -> usize {
    let peer = world.connect();
    world.subscribe(peer, "", &["x.trade.*"], None);
    peer
}

fn trades(world: &mut World, numbers: std::ops::Range<u32>) {
    numbers.for_each(|n| world.publish("x.trade.a", &n.to_string()));
}

fn flush(world: &mut World) {
    world.advance(2 * INTERVAL);
}

/// `data` of every update of these frames, and the gaps told.
fn seen(frames: &[Value]) -> (Vec<u64>, Vec<u64>) {
    let updates = || frames.iter().flat_map(|frame| frame["updates"].as_array().unwrap());
    let data = updates().map(|update| update["data"].as_u64().unwrap()).collect();
    (data, updates().filter_map(|update| update["gap"].as_u64()).collect())
}

fn batches(world: &World, peer: usize) -> (Vec<u64>, Vec<u64>) {
    seen(&world.peers[peer].frames("batch"))
}

fn since(world: &mut World, version: u64) -> Value {
    let peer = world.connect();
    world.subscribe_since(peer, "", &["x.trade.*"], None, Some((EPOCH, version)));
    serde_json::from_str(&world.peers[peer].texts[1]).unwrap()
}

#[test]
fn every_update_comes_once_and_in_order_and_a_snapshot_has_the_history() {
    let mut world = world(100, Behind::Gap);
    trades(&mut world, 0..5);
    let peer = reader(&mut world);
    assert_eq!(seen(&world.peers[peer].frames("snapshot")).0, [3, 4]);
    trades(&mut world, 5..12);
    flush(&mut world);
    trades(&mut world, 12..14);
    flush(&mut world);
    assert_eq!(batches(&world, peer), ((5..14).collect(), vec![]));
}

#[test]
fn without_history_a_snapshot_has_no_update_and_what_comes_after_it_is_whole() {
    let mut world = world_with(0, 100, Behind::Gap);
    trades(&mut world, 0..5);
    let peer = reader(&mut world);
    assert_eq!(seen(&world.peers[peer].frames("snapshot")), (vec![], vec![]));
    trades(&mut world, 5..8);
    flush(&mut world);
    assert_eq!(batches(&world, peer), ((5..8).collect(), vec![]));
}

#[test]
fn a_client_that_stalls_gets_all_it_missed_while_the_ring_reaches_back() {
    let mut world = world(50, Behind::Close);
    trades(&mut world, 0..1);
    let peer = reader(&mut world);
    world.stall(peer, 0);
    for n in 1..40 {
        trades(&mut world, n..n + 1);
        flush(&mut world);
    }
    world.resume(peer);
    flush(&mut world);
    assert_eq!(batches(&world, peer), ((1..40).collect(), vec![]));
}

#[test]
fn what_the_ring_no_longer_has_is_told_as_a_gap_of_just_as_many() {
    let mut world = world(10, Behind::Gap);
    trades(&mut world, 0..1);
    let peer = reader(&mut world);
    trades(&mut world, 1..31);
    flush(&mut world);
    assert_eq!(batches(&world, peer), ((21..31).collect(), vec![20]));
    assert_eq!((world.shard.stats().fanout.stream_dropped, world.shard.stats().fanout.gaps), (21, 1));
    trades(&mut world, 31..33);
    flush(&mut world);
    assert_eq!(batches(&world, peer).0.len(), 12, "what follows is whole again");
}

#[test]
fn where_the_policy_says_close_who_is_behind_is_closed_with_4004_and_no_other() {
    let mut world = world(10, Behind::Close);
    trades(&mut world, 0..1);
    let (slow, fast) = (reader(&mut world), reader(&mut world));
    world.stall(slow, 0);
    for n in 1..40 {
        trades(&mut world, n..n + 1);
        flush(&mut world);
    }
    world.resume(slow);
    flush(&mut world);
    let (code, reason) = world.peers[slow].close.clone().unwrap();
    assert_eq!(code, 4004);
    assert!(reason.contains("updates of x.trade.a behind") && reason.contains("ring_updates"), "{reason}");
    assert_eq!((world.peers[fast].close.clone(), batches(&world, fast).0.len()), (None, 39));
    // All members of a class, where the ring is too short for its interval.
    trades(&mut world, 40..60);
    flush(&mut world);
    assert_eq!(world.peers[fast].close_code(), Some(4004));
}

#[test]
fn since_is_answered_while_the_ring_reaches_back_and_else_by_a_snapshot() {
    let mut world = world(10, Behind::Gap);
    trades(&mut world, 0..5);
    let version = world.publisher.version();
    trades(&mut world, 5..15);
    let batch = since(&mut world, version);
    assert_eq!(
        (&batch["op"], seen(std::slice::from_ref(&batch))),
        (&"batch".into(), ((5..15).collect(), vec![]))
    );
    trades(&mut world, 15..16);
    let snapshot = since(&mut world, version);
    assert_eq!(
        (&snapshot["op"], seen(std::slice::from_ref(&snapshot))),
        (&"snapshot".into(), (vec![14, 15], vec![]))
    );
}

#[test]
fn what_is_kept_of_the_past_has_a_bound_over_all_topics_and_what_is_not_kept_is_told() {
    let mut config = config();
    config.fanout.interval = INTERVAL;
    config.limits.history_bytes = 2000;
    let mode = Stream {
        snapshot_updates: 2,
        history_updates: 100,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    config.topics =
        Policies::new(vec![Policy::new(Pattern::parse("*.trade.*").unwrap(), Mode::Stream(mode))]);
    let mut world = World::new(config, 64, 1);
    world.publish("x.trade.b", "0");
    let peer = reader(&mut world);
    for n in 0..100 {
        world.publish("x.trade.a", &n.to_string());
        world.publish("x.trade.b", &n.to_string());
        let stats = world.shard.stats();
        assert!(stats.history_bytes <= 2000, "{}", stats.history_bytes);
    }
    assert!(world.shard.stats().fanout.histories_dropped > 5);
    flush(&mut world);
    let (data, gaps) = batches(&world, peer);
    assert_eq!(data.len() as u64 + gaps.iter().sum::<u64>(), 200, "{gaps:?}");
    assert!(data.iter().filter(|n| **n == 99).count() == 2, "the newest of each is there");
}

#[test]
fn streams_that_fell_silent_make_room_for_those_that_go_on() {
    let mut config = config();
    config.fanout.interval = INTERVAL;
    config.limits.history_bytes = 20_000;
    let mode = Stream {
        snapshot_updates: 2,
        history_updates: 50,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    config.topics =
        Policies::new(vec![Policy::new(Pattern::parse("*.trade.*").unwrap(), Mode::Stream(mode))]);
    let mut world = World::new(config, 64, 1);
    for n in 0..50 {
        (0..3).for_each(|silent| world.publish(&format!("x.trade.silent{silent}"), &n.to_string()));
    }
    trades(&mut world, 0..1);
    let peer = reader(&mut world);
    trades(&mut world, 1..40);
    flush(&mut world);
    assert_eq!(batches(&world, peer), ((1..40).collect(), vec![]));
}
