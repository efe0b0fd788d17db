//! A slow client gets fewer and fresher frames, harms nobody, and is bounded in what it costs.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{
    client::CloseReason,
    sequencer::{UpstreamBatch, UpstreamUpdate},
    topic::epoch::Epoch,
};
use net::sim::PeerEnd;

use support::{World, config};

const MS: Duration = Duration::from_millis(1);

fn world(change: impl FnOnce(&mut gateway::config::Config)) -> World {
    let mut config = config();
    config.fanout.interval = Duration::ZERO;
    change(&mut config);
    World::new(config, 256, 1)
}

fn padded(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes))
}

#[test]
fn a_stalled_client_delays_nobody_and_its_next_frame_has_the_newest_values() {
    let mut world = world(|_| ());
    let (slow, quick) = (world.connect(), world.connect());
    for peer in [slow, quick] {
        world.subscribe(peer, "", &["a.*"], None);
    }
    world.stall(slow, 0);
    for n in 1..=100 {
        world.publish("a.t", &n.to_string());
        let held = world.peers[quick].model.sub("").unwrap().holds(world.publisher.current(), "a.t");
        assert_eq!(held, Some(n), "the other client is not delayed");
    }
    world.publish("a.u", "1");
    world.resume(slow);
    world.settle();
    world.peers[slow].model.check_newest(&world.publisher.epochs);
    let batches = world.peers[slow].frames("batch");
    // What was in flight when it stalled, and one frame with all the rest.
    assert_eq!(batches.len(), 2, "{batches:#?}");
    assert_eq!(batches[1]["updates"].as_array().unwrap().len(), 2, "each topic once, its newest value");
}

#[test]
fn a_client_without_progress_is_reset_after_stall() {
    let mut world = world(|config| config.limits.stall = Duration::from_secs(3));
    let slow = world.connect();
    world.subscribe(slow, "", &["t"], None);
    world.stall(slow, 10);
    world.publish("t", &padded(100));
    world.advance(2_900 * MS);
    assert_eq!(world.end(slow), PeerEnd::Open);
    world.advance(200 * MS);
    assert_eq!((world.end(slow), world.peers[slow].slot_freed), (PeerEnd::Reset, true));
    assert_eq!(world.shard.stats().ended[CloseReason::Stalled as usize], 1);
}

#[test]
fn a_client_that_reads_a_little_now_and_then_is_not_reset() {
    let mut world = world(|config| config.limits.stall = Duration::from_secs(3));
    let slow = world.connect();
    world.subscribe(slow, "", &["t"], None);
    world.stall(slow, 10);
    world.publish("t", &padded(1000));
    for _ in 0..10 {
        world.advance(2_000 * MS);
        world.read(slow, 10);
    }
    assert_eq!(world.end(slow), PeerEnd::Open);
}

/// Stalls one client after another, each on a frame of about 20 KB of its own.
fn stall_one_by_one(world: &mut World, count: usize) -> Vec<usize> {
    (0..count)
        .map(|_| {
            let peer = world.connect();
            world.subscribe(peer, "", &["t"], None);
            world.stall(peer, 0);
            world.publish("t", &padded(20_000));
            world.advance(100 * MS);
            peer
        })
        .collect()
}

#[test]
fn over_the_pinned_limit_the_most_behind_is_reset_and_only_until_it_is_kept() {
    let mut world = world(|config| config.limits.pinned_bytes = 70_000);
    let quick = world.connect();
    world.subscribe(quick, "", &["t"], None);
    let slow = stall_one_by_one(&mut world, 5);
    world.advance(Duration::from_secs(1));
    let ends: Vec<PeerEnd> = slow.iter().map(|peer| world.end(*peer)).collect();
    use PeerEnd::{Open, Reset};
    assert_eq!(ends, [Reset, Reset, Open, Open, Open]);
    assert_eq!(world.end(quick), Open);
    assert!(world.shard.stats().pinned_bytes <= 70_000);
    assert_eq!(world.shard.stats().ended[CloseReason::Pinned as usize], 2);
}

#[test]
fn over_the_pinned_limit_who_was_sent_nothing_of_a_new_epoch_is_the_most_behind() {
    let mut world = world(|config| config.limits.pinned_bytes = 30_000);
    let [first, second, quick] = [0; 3].map(|_| {
        let peer = world.connect();
        world.subscribe(peer, "", &["t"], None);
        peer
    });
    world.stall(first, 0);
    world.publish("t", &padded(20_000));
    let epoch = Epoch::parse("00000000000000ff");
    let updates = vec![UpstreamUpdate { publication: world.item("t", &padded(1)), v: 1 }];
    world.publisher.follow(&UpstreamBatch { epoch, is_whole: true, version: 5, updates });
    world.settle();
    world.advance(1_100 * MS);
    world.stall(second, 0);
    world.publish("t", &padded(2_000));
    world.publish("t", &padded(1));
    // This one has no room beside what the two hold.
    world.publish("t", &padded(20_000));
    world.advance(100 * MS);
    let ends = [first, second, quick].map(|peer| world.end(peer));
    assert_eq!(ends, [PeerEnd::Reset, PeerEnd::Open, PeerEnd::Open]);
}

#[test]
fn the_pinned_limit_does_not_touch_clients_that_keep_up() {
    let mut world = world(|config| config.limits.pinned_bytes = 30_000);
    let quick: Vec<usize> = (0..100).map(|_| world.connect()).collect();
    for peer in &quick {
        world.subscribe(*peer, "", &["t"], None);
    }
    let slow = stall_one_by_one(&mut world, 2);
    world.publish("t", &padded(20_000));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.end(slow[0]), PeerEnd::Reset);
    for peer in quick {
        assert_eq!(world.end(peer), PeerEnd::Open);
    }
}

#[test]
fn a_snapshot_larger_than_the_pinned_limit_is_still_delivered() {
    let mut world = world(|config| config.limits.pinned_bytes = 10_000);
    world.publish("t", &padded(20_000));
    for _ in 0..3 {
        let peer = world.connect();
        world.subscribe(peer, "", &["t"], None);
        world.advance(200 * MS);
        world.peers[peer].model.check_newest(&world.publisher.epochs);
        assert_eq!(world.end(peer), PeerEnd::Open);
    }
    assert!(world.shard.stats().pinned_bytes <= 10_000, "what is only cached is dropped");
}
