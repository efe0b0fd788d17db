//! A shard that cannot keep up leaves things out, rung by rung, says so, and takes them up again.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::protocol::encoding::Encoding;
use gateway::config::Config;
use serde_json::{Value, json};

use support::{World, config};

const MS: Duration = Duration::from_millis(1);
const INTERVAL_MS: u64 = 50;

/// Goes up after 2.5 s, down after 5 s.
fn world(rungs: u8) -> World {
    let mut config = config();
    config.overload.rungs = rungs;
    config.overload.after = 2_500 * MS;
    config.overload.calm = 5_000 * MS;
    config.overload.interval_max = 400 * MS;
    config.compression.bytes_min = 1;
    World::new(config, 300, 1)
}

fn watch(world: &mut World, deflate: bool, interval_ms: u64) -> usize {
    let peer = world.dial_as("/ws", deflate, Encoding::Json);
    world.settle();
    world.subscribe(peer, "", &["a"], Some(interval_ms));
    peer
}

/// The clock jumps by a second at a time, more than twice the longest of the intervals: three times for each step.
fn strain(world: &mut World, seconds: u64) {
    for n in 0..seconds {
        world.pass(1_000_000);
        world.publish("a", &n.to_string());
    }
}

fn rung(world: &World) -> u64 {
    world.shard.stats().overload_rung
}

/// Batches with updates in a second of many.
fn batches_a_second(world: &mut World, peer: usize) -> u64 {
    let before = world.peers[peer].model.batches;
    for n in 0..200 {
        world.advance(5 * MS);
        world.publish("a", &n.to_string());
    }
    world.peers[peer].model.batches - before
}

#[test]
fn intervals_are_lengthened_up_to_a_bound_and_interval_0_is_not() {
    let mut world = world(1);
    world.publish("a", "0");
    let (peer, long, immediate) =
        (watch(&mut world, false, INTERVAL_MS), watch(&mut world, false, 1000), watch(&mut world, false, 0));
    assert_eq!((rung(&world), batches_a_second(&mut world, peer)), (0, 20));
    strain(&mut world, 3);
    assert_eq!(rung(&world), 1);
    let before = world.peers[immediate].model.batches;
    assert_eq!(batches_a_second(&mut world, peer), 10, "twice as long");
    assert_eq!(world.peers[immediate].model.batches - before, 200);
    strain(&mut world, 6);
    assert_eq!((rung(&world), world.shard.stats().frames_late > 0), (1, true));
    let before = world.peers[long].model.batches;
    let seen = batches_a_second(&mut world, peer);
    assert!((2..=3).contains(&seen), "eight times as long: {seen}");
    assert_eq!(world.peers[long].model.batches - before, 1, "one above the bound stays");
}

#[test]
fn clients_hear_when_it_begins_and_when_it_ends_and_new_ones_that_it_is_so() {
    let mut world = world(1);
    world.publish("a", "0");
    // More than are told in one slice.
    let peers: Vec<usize> = (0..200).map(|_| watch(&mut world, false, INTERVAL_MS)).collect();
    let packed = world.dial_as("/ws", false, Encoding::Msgpack);
    strain(&mut world, 9);
    let late = watch(&mut world, false, INTERVAL_MS);
    assert_eq!(world.peers[late].frames("notice").len(), 1, "before anything else");
    world.advance(Duration::from_secs(60));
    assert_eq!(rung(&world), 0);
    let never = watch(&mut world, false, INTERVAL_MS);
    let begin = json!({"op": "notice", "code": "overload", "active": true, "interval_ms_max": 400});
    let end = json!({"op": "notice", "code": "overload", "active": false});
    for peer in peers.into_iter().chain([packed, late]) {
        assert_eq!(world.peers[peer].frames("notice"), [begin.clone(), end.clone()], "peer {peer}");
    }
    assert_eq!(world.peers[never].frames("notice"), Vec::<Value>::new());
}

#[test]
fn frames_go_out_plain_and_then_new_clients_are_refused() {
    let mut world = world(3);
    world.publish("a", "0");
    let peer = watch(&mut world, true, INTERVAL_MS);
    let long = format!("{:?}", "x".repeat(500));
    world.advance(100 * MS);
    world.publish("a", &long);
    world.advance(100 * MS);
    let deflated = world.peers[peer].deflated;
    assert!(deflated > 0);
    strain(&mut world, 15);
    assert_eq!(rung(&world), 3);
    let deflated = world.peers[peer].deflated;
    world.publish("a", &long);
    world.advance(400 * MS);
    assert_eq!(world.peers[peer].deflated, deflated, "it goes as it is");
    let refused = world.dial_to("/ws?topics=a");
    world.settle();
    let answer = String::from_utf8_lossy(&world.peers[refused].http).into_owned();
    assert!(!world.peers[refused].open && answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 5\r\n") && answer.contains("overloaded"), "{answer}");
    assert!(world.shard.stats().refuses_clients());
    for (path, status) in [("/healthz", "503"), ("/readyz", "503"), ("/livez", "200"), ("/nothing", "404")] {
        let asks = world.dial();
        world.send_raw(asks, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        world.settle();
        let answer = String::from_utf8_lossy(&world.peers[asks].http).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert_eq!(answer.contains("behind: the gateway is overloaded"), status == "503", "{path}: {answer}");
    }
    world.advance(Duration::from_secs(120));
    assert_eq!(rung(&world), 0);
    world.connect();
    world.publish("a", &long);
    world.advance(100 * MS);
    assert!(world.peers[peer].deflated > deflated, "compressed again");
}

#[test]
fn it_is_off_where_it_goes_up_no_rung() {
    let mut world = world(0);
    world.publish("a", "0");
    let peer = watch(&mut world, false, INTERVAL_MS);
    strain(&mut world, 20);
    assert_eq!((rung(&world), world.peers[peer].frames("notice").len()), (0, 0));
    assert!(world.shard.stats().frames_late > 0, "which is counted all the same");
}

#[test]
fn a_busy_shard_whose_frames_are_on_time_lengthens_nothing_unless_it_is_asked_to() {
    for (busy_percent, expected) in [(0, 0), (80, 1)] {
        let mut config: Config = config();
        config.overload.after = 500 * MS;
        config.overload.busy_percent = busy_percent;
        let mut world = World::new(config, 10, 1);
        world.publish("a", "0");
        watch(&mut world, false, INTERVAL_MS);
        for n in 0..200 {
            // As if each turn took so long.
            world.pass(10_000);
            world.publish("a", &n.to_string());
        }
        assert_eq!(rung(&world), expected);
    }
}
