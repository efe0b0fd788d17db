//! When frames go out: on the grid, early where many updates wait, at once with interval 0.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use support::{World, config};

const MS: Duration = Duration::from_millis(1);

fn batches(world: &World, peer: usize) -> usize {
    world.peers[peer].frames("batch").iter().filter(|batch| batch["updates"][0].is_object()).count()
}

#[test]
fn moments_lie_on_the_grid_and_intervals_are_whole_steps_of_it() {
    let mut config = config();
    config.fanout.flush_grid = 10 * MS;
    let mut world = World::new(config, 32, 1);
    let topics: Vec<String> = (0..20).map(|n| format!("t.{n}")).collect();
    for topic in &topics {
        let peer = world.connect();
        world.subscribe(peer, "", &[topic], Some(25));
        assert_eq!(world.peers[peer].frames("subscribed")[0]["interval_ms"], 30);
    }
    let mut moments = vec![Vec::new(); topics.len()];
    for _ in 0..200 {
        topics.iter().for_each(|topic| world.publish(topic, "1"));
        let before: Vec<usize> = (0..topics.len()).map(|peer| batches(&world, peer)).collect();
        world.advance(MS);
        for (peer, moments) in moments.iter_mut().enumerate() {
            if batches(&world, peer) > before[peer] {
                moments.push(world.now.mono_us);
            }
        }
    }
    let phase = |moments: &Vec<u64>| moments[0] % 30_000;
    for moments in &moments {
        assert!(moments.len() >= 6 && moments.iter().all(|at_us| at_us % 10_000 == 0), "{moments:?}");
        assert!(moments.windows(2).all(|pair| pair[1] - pair[0] == 30_000), "{moments:?}");
    }
    assert!(moments.iter().any(|other| phase(other) != phase(&moments[0])), "all in the same moment");
}

#[test]
fn a_batch_comes_early_when_so_many_updates_wait_and_the_interval_goes_on() {
    let mut config = config();
    config.fanout.flush_updates = 3;
    let mut world = World::new(config, 16, 1);
    let peer = world.connect();
    world.subscribe(peer, "", &["a", "b"], Some(500));
    world.publish("a", "1");
    while batches(&world, peer) == 0 {
        world.advance(MS);
    }
    let regular_us = world.now.mono_us;
    world.advance(10 * MS);
    world.publish("a", "2");
    world.publish("a", "3");
    assert_eq!(batches(&world, peer), 1, "two wait");
    world.publish("b", "1");
    assert_eq!(batches(&world, peer), 2, "the third does not");
    world.publish("a", "4");
    while batches(&world, peer) == 2 {
        world.advance(MS);
    }
    assert_eq!(world.now.mono_us, regular_us + 500_000);
    assert_eq!(world.shard.stats().fanout.conflated, 1);
}

#[test]
fn an_update_that_two_patterns_match_counts_once() {
    let mut config = config();
    config.fanout.flush_updates = 3;
    let mut world = World::new(config, 16, 1);
    let peer = world.connect();
    world.subscribe(peer, "", &["a.*", "a.b", "*.b"], Some(60_000));
    // Not as many as would make a batch, and what a batch held does not count for the next.
    for early in 0..3 {
        for _ in 0..2 {
            world.publish("a.b", "1");
            assert_eq!(batches(&world, peer), early);
        }
        world.publish("a.b", "2");
        assert_eq!(batches(&world, peer), early + 1);
    }
}

#[test]
fn with_interval_0_what_happens_to_other_topics_asks_for_no_snapshot() {
    let mut config = config();
    config.limits.tombstones = 3;
    let mut world = World::new(config, 16, 1);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(0));
    world.publish("a", "1");
    assert_eq!(batches(&world, peer), 1, "at once");
    // Others come and go until what is left of them is dropped.
    for n in 0..10 {
        let topic = format!("other.{n}");
        world.publish(&topic, "1");
        world.remove(&topic);
    }
    world.publish("a", "2");
    let last = world.peers[peer].frames("batch").pop().unwrap();
    assert_eq!((batches(&world, peer), world.peers[peer].frames("snapshot").len()), (2, 1));
    assert_eq!(last["updates"][0]["data"], 2);
}

#[test]
fn updates_need_not_end_a_sleep_where_nobody_is_sent_them_at_once() {
    let mut world = World::new(config(), 16, 1);
    let peer = world.connect();
    world.subscribe(peer, "", &["a"], Some(1000));
    assert!(!world.shard.sleep(world.now).updates_wait, "none have come: the first is not to wait");
    world.publish("a", "1");
    let rest = world.shard.sleep(world.now);
    assert!(rest.updates_wait && rest.until_us <= Some(world.now.mono_us + 10_000), "{rest:?}");
    world.advance(20 * MS);
    assert!(!world.shard.sleep(world.now).updates_wait, "no more come");
    world.subscribe(peer, "now", &["b"], Some(0));
    world.publish("a", "2");
    assert!(!world.shard.sleep(world.now).updates_wait, "someone is sent them at once");
}
