//! A subscription that was sent nothing for `heartbeat` gets an empty batch, which moves its position.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use support::{World, config};

const MS: Duration = Duration::from_millis(1);
const HEARTBEAT: Duration = Duration::from_secs(2);

fn world(interval: Duration) -> World {
    let mut config = config();
    config.fanout.heartbeat = HEARTBEAT;
    config.fanout.interval = interval;
    World::new(config, 64, 1)
}

#[test]
fn silence_is_broken_once_a_heartbeat_and_the_position_moves() {
    let mut world = world(100 * MS);
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*"], None);
    world.publish("b", "1");
    world.advance(HEARTBEAT - 10 * MS);
    assert_eq!(world.peers[peer].frames("batch").len(), 0, "a flush with nothing changed sends nothing");
    world.advance(20 * MS);
    let batches = world.peers[peer].frames("batch");
    assert_eq!(batches.len(), 1);
    assert_eq!((&batches[0]["version"], &batches[0]["updates"]), (&1.into(), &serde_json::json!([])));
    world.advance(10 * HEARTBEAT);
    let count = world.peers[peer].frames("batch").len();
    assert!((10..=12).contains(&count), "{count} heartbeats in 11 periods");
}

#[test]
fn updates_count_as_signs_of_life() {
    let mut world = world(100 * MS);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], None);
    for _ in 0..20 {
        world.publish("a", "1");
        world.advance(HEARTBEAT / 2);
    }
    assert_eq!(world.peers[peer].model.heartbeats, 0);
}

#[test]
fn each_of_eight_subscriptions_of_a_connection_gets_its_own() {
    let mut world = world(100 * MS);
    let peer = world.connect();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        world.subscribe(peer, name, &[name], None);
    }
    // That none is late is checked at every step.
    world.advance(5 * HEARTBEAT);
    for sub in &world.peers[peer].model.subs {
        let beats = world.peers[peer].frames("batch").iter().filter(|b| b["class"] == sub.class).count();
        assert!((4..=6).contains(&beats), "{beats} heartbeats for {:?}", sub.name);
    }
}

#[test]
fn a_busy_subscription_does_not_starve_a_silent_one_beside_it() {
    let mut world = world(Duration::ZERO);
    let peer = world.connect();
    world.subscribe(peer, "busy", &["a"], None);
    world.subscribe(peer, "silent", &["b"], None);
    for n in 0..2000 {
        world.publish("a", &n.to_string());
        world.advance(5 * MS);
    }
    assert!(world.peers[peer].model.heartbeats >= 4);
}

#[test]
fn an_interval_longer_than_the_heartbeat_does_not_silence_it() {
    let mut world = world(5 * HEARTBEAT);
    let early = world.connect();
    world.subscribe(early, "", &["a"], None);
    world.publish("a", "1");
    world.advance(HEARTBEAT / 2);
    // It joins above what its class has looked through.
    let late = world.connect();
    world.subscribe(late, "", &["a"], None);
    world.publish("a", "2");
    world.advance(4 * HEARTBEAT);
    for peer in [early, late] {
        assert!(world.peers[peer].frames("batch").len() >= 3);
    }
}
