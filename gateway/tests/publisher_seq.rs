//! A publisher's `seq`: what it repeats is left out, what it skips is counted and told.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{
    sequencer::Grouping,
    topic::{
        pattern::Pattern,
        policy::{Behind, Keyed, Mode, Policies, Policy, Stream},
    },
};
use gateway::intake::publish::parse_publication;
use serde_json::{Value, json};

use support::{World, config};

const INTERVAL: Duration = Duration::from_millis(100);

fn world() -> World {
    let mut config = config();
    config.fanout.interval = INTERVAL;
    let stream = Stream {
        snapshot_updates: 3,
        history_updates: 4,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    let keyed = Keyed { keys: 4, key_tombstones: 4, table_bytes: 1 << 20 };
    let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
    config.topics =
        Policies::new(vec![policy("trade.*", Mode::Stream(stream)), policy("book.*", Mode::Keyed(keyed))]);
    World::new(config, 64, 1)
}

fn reader(world: &mut World) -> usize {
    let peer = world.connect();
    world.subscribe(peer, "", &["*"], None);
    peer
}

/// Publishes `data` with these counts, each by itself.
fn publish(world: &mut World, topic: &str, counts: &[u64]) {
    counts.iter().for_each(|seq| world.change(topic, &format!(r#""data":{seq},"seq":{seq}"#)));
}

/// (v, data, gap) of every update that came in a batch.
fn updates(world: &mut World, peer: usize) -> Vec<(u64, Value, Option<u64>)> {
    world.advance(2 * INTERVAL);
    let frames = world.peers[peer].frames("batch");
    let updates = frames.iter().flat_map(|frame| frame["updates"].as_array().unwrap());
    updates.map(|u| (u["v"].as_u64().unwrap(), u["data"].clone(), u["gap"].as_u64())).collect()
}

#[test]
fn of_two_feeds_with_the_same_counts_each_update_is_taken_once() {
    let mut world = world();
    let peer = reader(&mut world);
    publish(&mut world, "trade.a", &[7, 7, 8, 7, 8, 9]);
    publish(&mut world, "quote.a", &[1, 3, 2, 3]);
    let seen = updates(&mut world, peer);
    assert_eq!(seen, [(1, json!(7), None), (2, json!(8), None), (3, json!(9), None), (2, json!(3), None)]);
    let counters = world.publisher.counters();
    assert_eq!((counters.repeats, counters.by_topics.gaps, counters.by_topics.skipped), (5, 1, 1));
}

#[test]
fn what_a_publisher_skips_of_a_stream_is_told_as_a_gap_and_counted_by_v() {
    let mut world = world();
    let peer = reader(&mut world);
    publish(&mut world, "trade.a", &[10, 11, 15, 16]);
    let seen = updates(&mut world, peer);
    assert_eq!(
        seen,
        [(1, json!(10), None), (2, json!(11), None), (6, json!(15), Some(3)), (7, json!(16), None)]
    );
    // Dropped by the ring and skipped by the publisher are one gap.
    publish(&mut world, "trade.a", &[17, 18, 20, 21, 22, 23]);
    let seen = updates(&mut world, peer);
    assert_eq!(seen[4..][0], (11, json!(20), Some(3)));
    let snapshot = reader(&mut world);
    let snapshot = &world.peers[snapshot].frames("snapshot")[0]["updates"];
    assert_eq!(snapshot.as_array().unwrap().len(), 3);
}

#[test]
fn a_table_given_whole_makes_up_for_what_was_skipped() {
    let mut world = world();
    world.change("book.a", r#""data":{"a":1},"seq":1"#);
    world.change("book.a", r#""data":{"a":2},"seq":9"#);
    world.change("book.a", r#""set":{"a":3},"seq":10"#);
    world.change("book.a", r#""reset":true,"set":{"a":4},"seq":20"#);
    assert_eq!(world.publisher.counters().by_topics.gaps, 0);
    world.change("book.a", r#""set":{"a":5},"seq":23"#);
    assert_eq!(world.publisher.counters().by_topics.skipped, 2);
}

#[test]
fn a_topic_that_was_removed_counts_anew() {
    let mut world = world();
    publish(&mut world, "quote.a", &[5]);
    world.remove("quote.a");
    let peer = reader(&mut world);
    publish(&mut world, "quote.a", &[1]);
    assert_eq!(updates(&mut world, peer), [(3, json!(1), None)]);
}

#[test]
fn of_an_atomic_publish_that_repeats_in_part_the_rest_is_taken_whole() {
    let mut world = world();
    let peer = reader(&mut world);
    let items = |pairs: &[(&str, u64)]| {
        let item = |(topic, seq): &(&str, u64)| {
            parse_publication(&format!(r#"{{"topic":"{topic}","data":{seq},"seq":{seq}}}"#).into(), 7)
                .unwrap()
        };
        pairs.iter().map(item).collect::<Vec<_>>()
    };
    assert!(world.publisher.publish(&items(&[("x", 1), ("y", 1)]), Grouping::Atomic));
    assert!(world.publisher.publish(&items(&[("x", 1), ("y", 2)]), Grouping::Atomic));
    let version = world.publisher.version();
    assert!(world.publisher.publish(&items(&[("x", 1), ("y", 2)]), Grouping::Atomic));
    assert_eq!(world.publisher.version(), version, "nothing new, no new position");
    world.settle();
    assert_eq!(updates(&mut world, peer), [(1, json!(1), None), (2, json!(2), None)]);
}

#[test]
fn a_count_that_is_none_is_refused_by_name() {
    for seq in ["-1", "1.5", "\"7\"", "9007199254740992", "[]"] {
        let line = format!(r#"{{"topic":"a","data":1,"seq":{seq}}}"#);
        let reason = parse_publication(&line.into(), 0).unwrap_err();
        assert!(reason.starts_with(&format!("seq = {seq}: write a whole number from 0 to")), "{reason}");
    }
}
