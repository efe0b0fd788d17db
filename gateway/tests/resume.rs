//! `since`: a client that comes back is told exactly what changed, or gets a snapshot.
#![forbid(unsafe_code)]

mod support;

use serde_json::Value;

use support::{EPOCH, World, config};

fn world(tombstones: usize) -> World {
    let mut config = config();
    config.fanout.interval = std::time::Duration::ZERO;
    config.limits.tombstones = tombstones;
    World::new(config, 64, 1)
}

/// The frame that a new client's subscription with this `since` begins with.
fn first(world: &mut World, topics: &[&str], since: (&str, u64)) -> Value {
    let peer = world.connect();
    world.subscribe_since(peer, "", topics, None, Some(since));
    serde_json::from_str(&world.peers[peer].texts[1]).unwrap()
}

fn topics(frame: &Value) -> Vec<&str> {
    frame["updates"].as_array().unwrap().iter().map(|update| update["topic"].as_str().unwrap()).collect()
}

#[test]
fn what_changed_since_comes_in_one_batch_without_oldest() {
    let mut world = world(10);
    for topic in ["a.x", "a.y", "b.z"] {
        world.publish(topic, "1");
    }
    let version = world.publisher.version();
    world.publish("a.y", "2");
    world.publish("b.z", "2");
    let batch = first(&mut world, &["a.*"], (EPOCH, version));
    assert_eq!((&batch["op"], &batch["from"]), (&"batch".into(), &version.into()));
    assert_eq!(topics(&batch), ["a.y"]);
    assert_eq!(batch["oldest"], Value::Null);
}

#[test]
fn where_nothing_changed_the_batch_is_empty_and_at_the_present_position() {
    let mut world = world(10);
    world.publish("a.x", "1");
    let version = world.publisher.version();
    world.publish("b", "1");
    let batch = first(&mut world, &["a.*"], (EPOCH, version));
    assert_eq!((&batch["op"], topics(&batch).len()), (&"batch".into(), 0));
    assert_eq!(batch["version"], world.publisher.version());
}

#[test]
fn a_foreign_epoch_and_a_version_ahead_get_a_snapshot() {
    let mut world = world(10);
    world.publish("a.x", "1");
    for since in [("00000000000000ff", 1), (EPOCH, 2), (EPOCH, u64::MAX)] {
        let snapshot = first(&mut world, &["a.*"], since);
        assert_eq!((&snapshot["op"], topics(&snapshot)), (&"snapshot".into(), vec!["a.x"]), "{since:?}");
    }
}

/// A client with a version that the shard has not reached, but another one has; and that version.
fn early() -> (World, usize, u64) {
    let mut world = world(10);
    world.publish("a.x", "1");
    let version = world.publisher.version() + 1;
    world.inbox.announce(version);
    let peer = world.connect();
    world.subscribe_since(peer, "", &["a.*"], None, Some((EPOCH, version)));
    (world, peer, version)
}

#[test]
fn a_version_that_another_shard_has_told_already_is_waited_for() {
    let (mut world, peer, version) = early();
    assert!(world.peers[peer].texts.is_empty(), "the shard is about to get there");
    assert_eq!(
        first(&mut world, &["a.*"], (EPOCH, version + 1))["op"],
        "snapshot",
        "nobody has told that one"
    );
    world.publish("a.y", "1");
    let batch: Value = serde_json::from_str(&world.peers[peer].texts[1]).unwrap();
    assert_eq!((&batch["op"], &batch["from"]), (&"batch".into(), &version.into()));
    assert_eq!(topics(&batch).len(), 0);
}

#[test]
fn who_waits_for_a_version_that_does_not_come_gets_a_snapshot_after_two_seconds() {
    let (mut world, peer, _) = early();
    world.advance(std::time::Duration::from_millis(1990));
    assert!(world.peers[peer].texts.is_empty());
    world.advance(std::time::Duration::from_millis(20));
    assert_eq!(world.peers[peer].frames("snapshot").len(), 1);
}

#[test]
fn a_removed_topic_is_told_as_gone_while_its_tombstone_is_kept() {
    let mut world = world(1);
    world.publish("a.x", "1");
    world.publish("a.y", "1");
    let version = world.publisher.version();
    world.remove("a.x");
    let batch = first(&mut world, &["a.*"], (EPOCH, version));
    assert_eq!(batch["updates"][0]["gone"], true);
    assert_eq!((&batch["updates"][0]["topic"], &batch["updates"][0]["v"]), (&"a.x".into(), &2.into()));
}

#[test]
fn a_position_older_than_the_oldest_dropped_tombstone_gets_a_snapshot_and_no_other() {
    let mut world = world(1);
    for topic in ["a.x", "a.y", "a.z"] {
        world.publish(topic, "1");
    }
    world.remove("a.x");
    let dropped = world.publisher.version();
    world.remove("a.y");
    assert_eq!(first(&mut world, &["a.*"], (EPOCH, dropped - 1))["op"], "snapshot");
    assert_eq!(first(&mut world, &["a.*"], (EPOCH, dropped))["op"], "batch");
}

#[test]
fn a_topic_born_after_tombstones_were_dropped_starts_above_the_highest_v_dropped() {
    let mut world = world(0);
    for n in 0..5 {
        world.publish("a.x", &n.to_string());
    }
    world.remove("a.x");
    world.publish("a.x", "1");
    world.publish("other", "1");
    let snapshot = first(&mut world, &["*"], ("00000000000000ff", 1));
    let v: Vec<u64> =
        snapshot["updates"].as_array().unwrap().iter().map(|u| u["v"].as_u64().unwrap()).collect();
    assert_eq!(v, [7, 7]);
}

#[test]
fn the_position_that_unsubscribed_tells_can_be_resumed_from() {
    let mut world = world(10);
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*"], Some(3000));
    world.publish("a.x", "1");
    world.unsubscribe(peer, "", None);
    let unsubscribed = &world.peers[peer].frames("unsubscribed")[0];
    let version = unsubscribed["version"].as_u64().unwrap();
    assert_eq!(world.peers[peer].frames("batch").len(), 1, "what it was owed came before the answer");
    world.publish("a.y", "1");
    assert_eq!(topics(&first(&mut world, &["a.*"], (EPOCH, version))), ["a.y"]);
}

#[test]
fn what_was_accepted_before_a_subscribe_is_in_its_snapshot() {
    let mut world = world(10);
    let peer = world.connect();
    // Accepted, and not yet taken in by the shard.
    let item = world.item("a.x", "1");
    assert!(world.publisher.publish(&[item], engine::sequencer::Grouping::Single));
    world.subscribe(peer, "", &["a.x"], None);
    assert_eq!(topics(&world.peers[peer].frames("snapshot")[0]), ["a.x"]);
}
