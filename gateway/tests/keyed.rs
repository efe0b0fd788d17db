//! Keyed topics: whoever applies what comes holds exactly the publisher's table. The model subscriber
//! compares tables key by key after every frame; here stands what the frames themselves must be.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{
    sequencer::Grouping,
    topic::{
        pattern::Pattern,
        policy::{Keyed, Mode, Policies, Policy},
    },
};
use gateway::intake::publish::parse_publication;
use serde_json::{Value, json};

use support::{EPOCH, World, config};

fn world(key_tombstones: usize) -> World {
    let mut config = config();
    config.fanout.interval = Duration::from_millis(100);
    let mode = Mode::Keyed(Keyed { keys: 4, key_tombstones, table_bytes: 1 << 20 });
    let pattern = Pattern::parse("book.*").unwrap();
    config.topics = Policies::new(vec![Policy::new(pattern, mode)]);
    World::new(config, 64, 1)
}

/// Connects and subscribes to all books.
fn reader(world: &mut World) -> usize {
    let peer = world.connect();
    world.subscribe(peer, "", &["book.*"], None);
    peer
}

fn flush(world: &mut World) {
    world.advance(Duration::from_millis(250));
}

fn last(world: &World, peer: usize, op: &str) -> Value {
    world.peers[peer].frames(op).last().unwrap_or_else(|| panic!("no {op}"))["updates"][0].clone()
}

/// The frame that a new client's subscription with this `since` begins with.
fn since(world: &mut World, version: u64) -> Value {
    let peer = world.connect();
    world.subscribe_since(peer, "", &["book.*"], None, Some((EPOCH, version)));
    serde_json::from_str(&world.peers[peer].texts[1]).unwrap()
}

#[test]
fn a_snapshot_is_the_whole_table_and_a_batch_the_newest_state_of_touched_keys() {
    let mut world = world(10);
    world.change("book.a", r#""set":{"b1":1,"b2":2,"b3":3}"#);
    let peer = reader(&mut world);
    let snapshot = last(&world, peer, "snapshot");
    assert_eq!((&snapshot["reset"], &snapshot["set"]), (&json!(true), &json!({"b1": 1, "b2": 2, "b3": 3})));
    world.change("book.a", r#""set":{"b1":10},"del":["b3"]"#);
    world.change("book.a", r#""set":{"b1":11,"b4":{"x": [1]}},"del":["b2"]"#);
    world.change("book.a", r#""set":{"b2":20}"#);
    flush(&mut world);
    let batch = last(&world, peer, "batch");
    assert_eq!(batch["set"], json!({"b1": 11, "b4": {"x": [1]}, "b2": 20}));
    assert_eq!((&batch["del"], &batch["v"], &batch["reset"]), (&json!(["b3"]), &json!(4), &Value::Null));
}

#[test]
fn a_reset_a_removal_and_dropped_tombstones_are_told_as_the_whole_table() {
    let mut world = world(1);
    world.change("book.a", r#""set":{"x":1,"y":2,"z":3}"#);
    let peer = reader(&mut world);
    world.change("book.a", r#""reset":true,"set":{"y":5}"#);
    flush(&mut world);
    let batch = last(&world, peer, "batch");
    assert_eq!((&batch["reset"], &batch["set"]), (&json!(true), &json!({"y": 5})));

    world.change("book.a", r#""set":{"p":1,"q":2}"#);
    flush(&mut world);
    let version = world.publisher.version();
    world.change("book.a", r#""del":["p"]"#);
    assert_eq!(since(&mut world, version)["updates"][0]["del"], json!(["p"]));
    world.change("book.a", r#""del":["q"]"#);
    let frame = since(&mut world, version);
    assert_eq!((&frame["op"], &frame["updates"][0]["reset"]), (&json!("batch"), &json!(true)));
    assert_eq!(since(&mut world, version + 1)["updates"][0]["del"], json!(["q"]));
    assert_eq!(world.shard.stats().fanout.key_tombstones_dropped, 1);

    let version = world.publisher.version();
    world.remove("book.a");
    world.change("book.a", r#""set":{"n":1}"#);
    let frame = since(&mut world, version);
    assert_eq!(
        (&frame["updates"][0]["reset"], &frame["updates"][0]["set"]),
        (&json!(true), &json!({"n": 1}))
    );
    assert_eq!(world.shard.stats().keys, 1);
}

#[test]
fn of_a_published_object_only_what_differs_is_sent() {
    let mut world = world(10);
    world.publish("book.a", r#"{"a":1,"b":2,"c":3}"#);
    let peer = reader(&mut world);
    world.publish("book.a", r#"{"c":3,"b":2.0}"#);
    flush(&mut world);
    let batch = last(&world, peer, "batch");
    assert_eq!((&batch["set"], &batch["del"]), (&json!({"b": 2.0}), &json!(["a"])));
    world.publish("book.a", r#"{"b":2.0,"c":3}"#);
    flush(&mut world);
    let batch = last(&world, peer, "batch");
    assert_eq!((&batch["set"], &batch["v"]), (&json!({}), &json!(3)), "every accepted item takes a v");
}

#[test]
fn a_client_that_stalls_gets_the_newest_state_of_all_it_missed() {
    let mut world = world(10);
    world.change("book.a", r#""set":{"a":0}"#);
    let (slow, fast) = (reader(&mut world), reader(&mut world));
    world.stall(slow, 0);
    for n in 1..40 {
        let other = ["b", "c"][n % 2];
        world.change("book.a", &format!(r#""set":{{"{other}":{n}}},"del":["{}"]"#, ["c", "b"][n % 2]));
        flush(&mut world);
    }
    world.resume(slow);
    flush(&mut world);
    let batches = |peer: usize| world.peers[peer].frames("batch").len();
    assert!(batches(slow) < 5 && batches(fast) >= 39, "{} and {}", batches(slow), batches(fast));
    // The model compared its table with the publisher's; this is that it really got there.
    assert_eq!(world.peers[slow].model.subs[0].version, world.publisher.version());
}

#[test]
fn bounds_refuse_all_of_a_group_and_say_what_to_raise() {
    let mut world = world(10);
    world.change("book.a", r#""set":{"a":0,"b":0,"c":0}"#);
    let item = |json: &str| {
        parse_publication(&format!(r#"{{"topic":"book.a",{json}}}"#).into(), world.now.wall_us).unwrap()
    };
    let (more, less) = (item(r#""set":{"d":1,"e":1}"#), item(r#""del":["a"]"#));
    let version = world.publisher.version();
    assert!(!world.publisher.publish(&[more.clone(), less.clone()], Grouping::Atomic));
    assert!(!world.publisher.publish(std::slice::from_ref(&more), Grouping::Single));
    assert_eq!(world.publisher.version(), version);
    assert!(world.publisher.publish(&[less, more], Grouping::Atomic));
    world.settle();
    assert_eq!(world.shard.stats().keys, 4);
}
