//! Subscriptions: patterns come and go, intervals change, limits hold, class numbers tell what is meant.
#![forbid(unsafe_code)]

mod support;

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};
use support::{World, config};

fn world() -> World {
    let mut config = config();
    config.fanout.interval = Duration::from_millis(100);
    World::new(config, 64, 1)
}

fn last(world: &World, peer: usize, op: &str) -> Value {
    world.peers[peer].frames(op).pop().unwrap_or_else(|| panic!("no {op}: {:?}", world.peers[peer].texts))
}

fn topics(frame: &Value) -> Vec<&str> {
    frame["updates"].as_array().unwrap().iter().map(|update| update["topic"].as_str().unwrap()).collect()
}

#[test]
fn a_later_subscribe_adds_patterns_and_its_snapshot_covers_those_of_the_op() {
    let mut world = world();
    for topic in ["a.x", "b.x", "c.x"] {
        world.publish(topic, "1");
    }
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*"], None);
    world.subscribe(peer, "", &["b.*", "a.x"], None);
    let subscribed = last(&world, peer, "subscribed");
    assert_eq!(subscribed["topics"].as_array().unwrap().len(), 3);
    assert_eq!(topics(&last(&world, peer, "snapshot")), ["a.x", "b.x"]);
}

#[test]
fn a_star_selects_one_segment_anywhere_and_a_topic_that_several_patterns_select_comes_once() {
    let mut world = world();
    for topic in ["host.a.cpu", "host.a.cpu.user", "host.cpu", "host.a.b.cpu", "rack.a.cpu"] {
        world.publish(topic, "1");
    }
    let peer = world.connect();
    world.subscribe(peer, "", &["host.*.cpu", "*.a.*", "host.a.cpu"], None);
    assert_eq!(
        topics(&last(&world, peer, "snapshot")),
        ["host.a.cpu", "host.a.cpu.user", "host.a.b.cpu", "rack.a.cpu"]
    );
    for topic in ["host.b.cpu", "host.a.cpu", "host.b.disk", "a.a.b"] {
        world.publish(topic, "2");
    }
    world.advance(Duration::from_millis(200));
    assert_eq!(topics(&last(&world, peer, "batch")), ["host.b.cpu", "host.a.cpu", "a.a.b"]);
    world.unsubscribe(peer, "", Some(&["host.*.cpu"]));
    assert_eq!(last(&world, peer, "unsubscribed")["topics"], json!(["host.*.cpu"]));
    world.publish("host.b.cpu", "3");
    world.publish("host.a.cpu", "3");
    world.advance(Duration::from_millis(200));
    assert_eq!(topics(&last(&world, peer, "batch")), ["host.a.cpu"]);
}

/// Feeds of so many topics, with patterns kept for a second.
fn feeds(topics: usize, set: impl FnOnce(&mut gateway::config::Config)) -> World {
    let mut config = config();
    config.fanout.pattern_keep = Duration::from_secs(1);
    set(&mut config);
    let mut world = World::new(config, 64, 1);
    for n in 0..topics {
        world.publish(&format!("feed.t{n}"), "1");
    }
    world
}

#[test]
fn who_comes_back_to_a_pattern_of_many_topics_soon_finds_it_with_all_that_changed() {
    let mut world = feeds(300, |_| {});
    let peer = world.connect();
    world.subscribe(peer, "", &["feed.*", "feed.t7"], None);
    assert_eq!(world.shard.stats().topics_looked_at, 301);
    let epoch = last(&world, peer, "subscribed")["epoch"].as_str().unwrap().to_owned();
    for topic in ["feed.new", "feed.t3"] {
        world.unsubscribe(peer, "", None);
        let (stats, version) = (world.shard.stats(), world.publisher.version());
        assert_eq!((stats.patterns, stats.patterns_kept), (0, 1), "one of a single topic is made anew");
        world.publish(topic, "2");
        world.subscribe_since(peer, "", &["feed.*"], None, Some((&epoch, version)));
        assert_eq!(topics(&last(&world, peer, "batch")), [topic]);
    }
    let stats = world.shard.stats();
    assert_eq!((stats.patterns_found, stats.patterns_kept, stats.topics_looked_at), (2, 0, 301));
    world.unsubscribe(peer, "", None);
    world.advance(Duration::from_millis(1100));
    assert_eq!((world.shard.stats().patterns_kept, world.shard.stats().patterns_evicted), (0, 0));
    world.subscribe(peer, "", &["feed.*"], None);
    assert_eq!(world.shard.stats().topics_looked_at, 301 + 301);
}

#[test]
fn patterns_that_nobody_holds_are_bounded_in_bytes_and_in_number() {
    let mut world = feeds(300, |config| config.limits.kept_pattern_bytes = 2 * 300 * 24);
    let peer = world.connect();
    for pattern in ["feed.*", "*", "*.*", "feed.*"] {
        world.subscribe(peer, "", &[pattern], None);
        world.unsubscribe(peer, "", None);
    }
    let stats = world.shard.stats();
    assert_eq!((stats.patterns_kept, stats.patterns_evicted, stats.patterns_found), (2, 2, 0));
    for n in 0..70 {
        world.subscribe(peer, "", &[&format!("feed.*.none{n}")], None);
        world.unsubscribe(peer, "", None);
    }
    assert_eq!(world.shard.stats().patterns_kept, 64);
}

#[test]
fn a_client_whose_patterns_cost_many_looks_waits_and_is_not_closed_for_it() {
    let mut world = feeds(300, |config| config.limits.topics_looked_at_per_s = 600);
    let (greedy, other) = (world.connect(), world.connect());
    for n in 0..6 {
        world.subscribe(greedy, "", &[&format!("feed.*.x{n}")], None);
    }
    world.subscribe(other, "", &["*.y"], None);
    let answers = |world: &World, peer: usize| world.peers[peer].frames("subscribed").len();
    assert_eq!((answers(&world, greedy), answers(&world, other)), (5, 1), "twice a second's share at once");
    assert_eq!(world.shard.stats().ops_rested, 1);
    world.advance(Duration::from_millis(600));
    assert_eq!(answers(&world, greedy), 6);
    world.subscribe(greedy, "", &["feed.*.x0"], None);
    assert_eq!(answers(&world, greedy), 7, "what is held costs no look");
}

#[test]
fn an_op_that_costs_more_looks_than_may_be_done_at_once_rests_once_and_is_answered() {
    let mut world = feeds(300, |config| {
        config.limits.topics_looked_at_per_s = 100;
        config.fanout.pattern_keep = Duration::ZERO;
        config.fanout.build_bytes = 16 << 10;
    });
    let peer = world.connect();
    world.subscribe(peer, "", &["feed.t1"], None);
    let epoch = last(&world, peer, "subscribed")["epoch"].as_str().unwrap().to_owned();
    // Ahead of the gateway: only when it is built does the answer turn out to be a snapshot, which is long.
    let ahead = Some((epoch.as_str(), world.publisher.version() + 1));
    world.subscribe_since(peer, "two", &["feed.*"], None, ahead);
    world.advance(Duration::from_secs(10));
    assert_eq!(last(&world, peer, "subscribed")["sub"], "two");
}

#[test]
fn only_a_change_gives_another_class() {
    let mut world = world();
    let peer = world.connect();
    let mut classes = Vec::new();
    for (topics, interval_ms) in [
        (["a", "b"], None),
        (["a", "b"], None),
        (["b", "a"], Some(100)),
        (["a", "c"], None),
        (["a", "c"], Some(200)),
    ] {
        world.subscribe(peer, "", &topics, interval_ms);
        classes.push(last(&world, peer, "subscribed")["class"].as_u64().unwrap());
    }
    assert_eq!(classes[0], classes[1]);
    assert_eq!(classes[1], classes[2]);
    assert_eq!(HashSet::from([classes[2], classes[3], classes[4]]).len(), 3);
}

#[test]
fn clients_with_the_same_interest_share_a_class_and_one_clients_equal_subscriptions_do_not() {
    let mut world = world();
    let peers = [world.connect(), world.connect()];
    for peer in peers {
        world.subscribe(peer, "one", &["a", "b.*"], None);
        world.subscribe(peer, "two", &["b.*", "a"], None);
    }
    let classes =
        |peer: usize| -> Vec<u64> { world.peers[peer].model.subs.iter().map(|s| s.class).collect() };
    assert_eq!(classes(peers[0]), classes(peers[1]));
    assert_ne!(classes(peers[0])[0], classes(peers[0])[1]);
    assert_eq!(world.shard.stats().classes, 2);
}

#[test]
fn a_class_number_is_never_used_again_for_something_else() {
    let mut world = world();
    let peer = world.connect();
    // The model remembers what every number stood for.
    for n in 0..50 {
        world.subscribe(peer, "", &[&format!("t{n}")], None);
        world.unsubscribe(peer, "", None);
    }
    let classes: HashSet<u64> =
        world.peers[peer].frames("subscribed").iter().map(|frame| frame["class"].as_u64().unwrap()).collect();
    assert_eq!(classes.len(), 50);
    assert_eq!((world.shard.stats().classes, world.shard.stats().patterns), (0, 0));
}

#[test]
fn an_interval_changes_only_where_the_op_names_one() {
    let mut world = world();
    let peer = world.connect();
    let mut held = Vec::new();
    for interval_ms in [None, Some(250), None, Some(0)] {
        world.subscribe(peer, "", &["a"], interval_ms);
        held.push(last(&world, peer, "subscribed")["interval_ms"].as_u64().unwrap());
    }
    assert_eq!(held, [100, 250, 250, 0]);
}

#[test]
fn intervals_are_raised_to_the_least_and_rounded_up_to_the_menu() {
    let mut config = config();
    config.fanout.interval_min = Duration::from_millis(20);
    let mut world = World::new(config.clone(), 16, 1);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(0));
    assert_eq!(last(&world, peer, "subscribed")["interval_ms"], 20);
    config.fanout.interval_menu = [50, 100, 1000].map(Duration::from_millis).to_vec();
    let mut world = World::new(config, 16, 1);
    let peer = world.connect();
    for (asked, held) in [(0, 50), (50, 50), (51, 100), (999, 1000), (5000, 1000)] {
        world.subscribe(peer, "", &["a"], Some(asked));
        assert_eq!(last(&world, peer, "subscribed")["interval_ms"], held, "{asked}");
    }
}

#[test]
fn an_interval_is_the_least_time_between_two_batches() {
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(100));
    for n in 0..100 {
        world.publish("a", &n.to_string());
        world.advance(Duration::from_millis(10));
    }
    let batches = world.peers[peer].frames("batch");
    let ts: Vec<i64> = batches.iter().map(|batch| batch["ts"].as_i64().unwrap()).collect();
    assert!((9..=11).contains(&ts.len()), "{} batches in a second", ts.len());
    assert!(ts.windows(2).all(|two| (99_000..=101_000).contains(&(two[1] - two[0]))), "{ts:?}");
}

#[test]
fn unsubscribing_removes_patterns_as_they_were_subscribed_and_ignores_others() {
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*", "b"], None);
    world.unsubscribe(peer, "", Some(&["a.x", "*", "none"]));
    assert_eq!(last(&world, peer, "unsubscribed")["topics"], json!([]));
    assert_eq!(last(&world, peer, "unsubscribed")["class"], last(&world, peer, "subscribed")["class"]);
    world.unsubscribe(peer, "", Some(&["a.*", "none"]));
    assert_eq!(last(&world, peer, "unsubscribed")["topics"], json!(["a.*"]));
    world.unsubscribe(peer, "unknown", None);
    assert_eq!(last(&world, peer, "unsubscribed")["topics"], json!([]));
}

#[test]
fn unsubscribed_is_a_barrier_also_while_the_client_is_stalled() {
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["a", "b"], Some(0));
    world.stall(peer, 5);
    for n in 0..10 {
        world.publish("a", &n.to_string());
    }
    world.unsubscribe(peer, "", Some(&["a"]));
    for n in 0..10 {
        world.publish("a", &n.to_string());
        world.publish("b", &n.to_string());
    }
    world.resume(peer);
    world.settle();
    world.publish("a", "11");
    world.publish("b", "11");
    let barrier = world.peers[peer].texts.iter().position(|text| text.contains("unsubscribed")).unwrap();
    let after = &world.peers[peer].texts[barrier + 1..];
    assert!(!after.is_empty() && after.iter().all(|text| !text.contains(r#""topic":"a""#)), "{after:?}");
    world.peers[peer].model.check_newest(&world.publisher.epochs);
}

#[test]
fn the_ninth_subscription_is_refused_and_nothing_changes() {
    let mut world = world();
    let peer = world.connect();
    for n in 0..8 {
        world.subscribe(peer, &n.to_string(), &["a"], None);
    }
    world.send_bad(peer, r#"{"op":"subscribe","sub":"ninth","topics":["a"]}"#);
    world.settle();
    assert_eq!(last(&world, peer, "error")["code"], 4000);
    assert_eq!(world.shard.stats().subscriptions, 8);
    world.unsubscribe(peer, "3", None);
    world.subscribe(peer, "ninth", &["a"], None);
    assert_eq!(world.shard.stats().subscriptions, 8);
}

#[test]
fn a_thousand_patterns_are_the_most_over_all_subscriptions() {
    let mut world = world();
    let peer = world.connect();
    let names: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.subscribe(peer, "one", &names[..600], None);
    world.subscribe(peer, "two", &names[600..], None);
    // Already held, so not one more.
    world.subscribe(peer, "one", &names[..3], None);
    world.send_bad(peer, r#"{"op":"subscribe","sub":"one","topics":["t1","one.more"]}"#);
    world.settle();
    assert_eq!(last(&world, peer, "error")["code"], 4000);
    assert_eq!(world.shard.stats().patterns, 1000);
}

#[test]
fn one_bad_pattern_refuses_the_whole_op_and_the_connection_goes_on() {
    let mut world = world();
    let peer = world.connect();
    world.send_bad(peer, r#"{"op":"subscribe","topics":["good","a*.b"]}"#);
    world.settle();
    let error = last(&world, peer, "error");
    assert_eq!(error["reason"], "bad pattern: a*.b (a * may only stand for a whole segment)");
    assert_eq!(world.shard.stats().patterns, 0);
    world.subscribe(peer, "", &["good"], None);
    assert_eq!(world.shard.stats().patterns, 1);
}

#[test]
fn what_a_changed_subscription_was_owed_comes_before_the_answer() {
    let mut world = world();
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(3000));
    world.publish("a", "1");
    world.subscribe(peer, "", &["b"], None);
    let ops: Vec<String> = world.peers[peer]
        .texts
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["op"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ops, ["subscribed", "snapshot", "batch", "subscribed", "snapshot"]);
}

#[test]
fn a_pattern_over_the_shards_bound_is_refused_with_its_key_and_those_that_are_held_are_not() {
    let mut config = config();
    config.limits.shard_patterns = 3;
    let mut world = World::new(config, 64, 1);
    let (first, second) = (world.connect(), world.connect());
    world.subscribe(first, "", &["a", "b.*"], None);
    world.send_bad(second, r#"{"op":"subscribe","topics":["c","a","d","c"]}"#);
    world.settle();
    let error = last(&world, second, "error");
    assert_eq!(error["code"], 4000);
    assert!(error["reason"].as_str().unwrap().contains("[limits] shard_patterns = 3"), "{error}");
    let stats = world.shard.stats();
    assert_eq!((stats.patterns, stats.fanout.patterns_refused), (2, 1));
    world.subscribe(second, "", &["c", "a", "b.*"], None);
    assert_eq!(last(&world, second, "subscribed")["topics"].as_array().unwrap().len(), 3);
    world.unsubscribe(first, "", None);
    world.unsubscribe(second, "", None);
    world.subscribe(second, "", &["x", "y", "z"], None);
    assert_eq!(world.shard.stats().patterns, 3, "room comes back with those who leave");
}

#[test]
fn a_long_set_of_patterns_is_told_in_messages_that_are_bounded() {
    let mut config = config();
    config.fanout.frame_bytes_max = 1024;
    let mut world = World::new(config, 64, 1);
    let peer = world.connect();
    let names: Vec<String> = (0..300).map(|i| format!("some.quite.long.name.of.a.topic.{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for some in names.chunks(100) {
        // The model takes all parts together, and looks at how long each is.
        world.subscribe(peer, "", some, None);
    }
    world.unsubscribe(peer, "", Some(&names[..250]));
    world.unsubscribe(peer, "", None);
    assert!(world.peers[peer].model.subs.is_empty() && world.peers[peer].model.asked.is_empty());
    let parts = world.peers[peer].model.parts_of_answer;
    assert!(parts > 30, "{parts}");
}
