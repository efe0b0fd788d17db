//! Long batches and snapshots come in parts, applied at the last.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use serde_json::Value;

use support::{World, config};

const FRAME_BYTES: usize = 1024;

fn world() -> World {
    let mut config = config();
    config.fanout.frame_bytes_max = FRAME_BYTES;
    config.fanout.interval = Duration::ZERO;
    World::new(config, 64, 1)
}

fn publish_many(world: &mut World, data: &str) {
    use engine::sequencer::Grouping::Single;
    let items: Vec<_> = (0..50).map(|i| world.item(&format!("a.t{i}"), data)).collect();
    assert!(world.publisher.publish(&items, Single));
    world.settle();
}

fn check(parts: &[Value]) {
    let same = |key: &str| parts.iter().all(|part| part[key] == parts[0][key]);
    assert!(same("op") && same("class") && same("from") && same("version"), "{parts:#?}");
    let (last, before) = parts.split_last().unwrap();
    assert!(before.len() >= 3 && before.iter().all(|part| part["more"] == true && part["oldest"].is_null()));
    assert!(last["more"].is_null());
    let updates = parts.iter().flat_map(|part| part["updates"].as_array().unwrap());
    let topics: Vec<&str> = updates.map(|update| update["topic"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..50).map(|i| format!("a.t{i}")).collect();
    assert_eq!(topics, expected, "in version order over all parts");
}

#[test]
fn parts_are_bounded_and_alike_but_for_the_last() {
    let mut world = world();
    publish_many(&mut world, "\"first\"");
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*"], None);
    check(&world.peers[peer].frames("snapshot"));
    publish_many(&mut world, "\"second\"");
    let batch = world.peers[peer].frames("batch");
    check(&batch);
    assert!(batch.last().unwrap()["oldest"].is_i64(), "oldest stands on the last part");
    let longest = world.peers[peer].texts.iter().map(String::len).max().unwrap();
    assert!((FRAME_BYTES / 2..=FRAME_BYTES).contains(&longest), "{longest} bytes");
}

#[test]
fn a_single_update_longer_than_a_frame_goes_alone() {
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["*"], Some(100));
    let long = format!("\"{}\"", "x".repeat(3 * FRAME_BYTES));
    for (topic, data) in [("a", "1"), ("b", &*long), ("c", "1")] {
        world.publish(topic, data);
    }
    world.advance(Duration::from_millis(200));
    let counts: Vec<usize> = world.peers[peer]
        .frames("batch")
        .iter()
        .map(|part| part["updates"].as_array().unwrap().len())
        .collect();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn an_op_is_answered_after_the_last_part() {
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*"], None);
    world.stall(peer, 500);
    publish_many(&mut world, "1");
    // In the middle of the parts.
    world.unsubscribe(peer, "", None);
    world.resume(peer);
    world.settle();
    let texts = &world.peers[peer].texts;
    check(&world.peers[peer].frames("batch"));
    assert!(texts.last().unwrap().contains("unsubscribed"), "{texts:?}");
}

#[test]
fn an_atomic_publish_is_whole_at_the_last_part() {
    use engine::sequencer::Grouping::Atomic;
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*"], None);
    for n in 0..20 {
        let items: Vec<_> = (0..50).map(|i| world.item(&format!("a.t{i}"), &n.to_string())).collect();
        assert!(world.publisher.publish(&items, Atomic));
        // The model compares with the publisher's state at each position, which is between groups.
        world.settle();
    }
    let versions: Vec<u64> =
        world.peers[peer].frames("batch").iter().map(|part| part["version"].as_u64().unwrap()).collect();
    assert!(versions.len() >= 20 * 4 && versions.last() == Some(&20));
}
