//! A turn builds within its budget: the rest waits its turn, nobody is forgotten, and others go on.
#![forbid(unsafe_code)]

mod support;

use std::{net::SocketAddr, time::Duration};

use engine::{client::CloseReason, protocol::encoding::Encoding, sequencer::Grouping::Single};
use gateway::config::Config;
use net::sim::PeerEnd;

use support::{World, config, subscriber::AskedOp};

const MS: Duration = Duration::from_millis(1);
const BUILD_BYTES: usize = 16 << 10;
const PART_BYTES: usize = 4 << 10;
const TOPICS: usize = 2_000;

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut config = config();
    config.fanout.interval = Duration::ZERO;
    config.fanout.build_bytes = BUILD_BYTES;
    config.fanout.frame_bytes_max = PART_BYTES;
    change(&mut config);
    let mut world = World::new(config, 256, 1);
    world.log = false;
    publish_all(&mut world, 1);
    world
}

/// A snapshot of them is many times the budget of a turn.
fn publish_all(world: &mut World, n: u64) {
    let items: Vec<_> = (0..TOPICS).map(|i| world.item(&format!("big.t{i}"), &n.to_string())).collect();
    for some in items.chunks(500) {
        assert!(world.publisher.publish(some, Single));
        world.shard.take_inbox(world.now);
    }
}

/// An open client that asks for everything and a name that nobody else asks for, so that it shares no frame.
fn ask_for_all(world: &mut World, peer: usize, interval_ms: u64) {
    let topics = vec!["big.*".to_owned(), format!("own.t{peer}")];
    let op = AskedOp::Subscribe { sub: String::new(), topics, interval_ms: Some(interval_ms), since: None };
    world.ask(peer, op);
}

/// Turns until `done`; each builds no more than its budget and one slice. Others' values come in between.
fn turn_until(world: &mut World, probe: usize, what: &str, done: impl Fn(&World) -> bool) -> usize {
    for turn in 1..10_000 {
        let item = world.item("probe", &turn.to_string());
        assert!(world.publisher.publish(&[item], Single));
        // Built and handed out in this turn, said to be sent in the next.
        for _ in 0..2 {
            let before = world.shard.stats().built_bytes;
            world.turn(1024);
            let built = (world.shard.stats().built_bytes - before) as usize;
            assert!(built <= BUILD_BYTES + PART_BYTES, "{what}: {built} bytes in turn {turn}");
            let reading = (0..world.peers.len()).filter(|at| world.peers[*at].reading).collect::<Vec<_>>();
            reading.into_iter().for_each(|at| _ = world.read(at, usize::MAX));
        }
        let held = world.peers[probe].model.sub("").unwrap().holds(world.publisher.current(), "probe");
        assert_eq!(held, Some(turn), "{what}: another client waits");
        if done(world) {
            return turn as usize;
        }
    }
    panic!("{what}: not done");
}

fn probe(world: &mut World) -> usize {
    let probe = world.connect();
    world.subscribe(probe, "", &["probe"], Some(0));
    probe
}

fn is_answered(world: &World, peers: &[usize]) -> bool {
    peers.iter().all(|peer| world.peers[*peer].model.asked.is_empty())
}

fn snapshots_are_built_within_the_budget(encoding: Encoding, deflate: bool) {
    let mut world = world(|_| ());
    let probe = probe(&mut world);
    let peers: Vec<usize> = (0..20).map(|_| world.dial_as("/ws", deflate, encoding)).collect();
    world.settle();
    for peer in &peers {
        ask_for_all(&mut world, *peer, 100);
        // What comes behind it waits for it.
        world.ask(*peer, AskedOp::Ping);
        world.ask(
            *peer,
            AskedOp::Unsubscribe { sub: String::new(), topics: Some(vec![format!("own.t{peer}")]) },
        );
    }
    let what = format!("{encoding:?}, deflate {deflate}");
    let turns = turn_until(&mut world, probe, &what, |world| is_answered(world, &peers));
    assert!(turns > 40, "{what}: all were built in {turns} turns");
    let stats = world.shard.stats();
    assert!(stats.build_waits[1] >= 20, "{what}: who waited is counted: {:?}", stats.build_waits);
    world.advance(200 * MS);
    for peer in peers {
        world.peers[peer].model.check_newest(&world.publisher.epochs);
    }
    let stats = world.shard.stats();
    assert_eq!((stats.build_clients, stats.build_classes), (0, 0));
}

#[test]
fn snapshots_are_built_within_the_budget_of_a_turn_and_answered_in_order() {
    snapshots_are_built_within_the_budget(Encoding::Json, false);
}

#[test]
fn as_messagepack_too() {
    snapshots_are_built_within_the_budget(Encoding::Msgpack, false);
}

#[test]
fn and_compressed() {
    snapshots_are_built_within_the_budget(Encoding::Json, true);
}

#[test]
fn classes_that_are_due_at_once_are_built_one_by_one() {
    let mut world = world(|_| ());
    let probe = probe(&mut world);
    let peers: Vec<usize> = (0..10).map(|_| world.connect()).collect();
    for peer in &peers {
        ask_for_all(&mut world, *peer, if peer % 2 == 0 { 0 } else { 50 });
    }
    world.settle();
    publish_all(&mut world, 2);
    world.pass(60_000);
    let newest = |world: &World| {
        peers.iter().all(|peer| world.peers[*peer].model.sub("").unwrap().version >= TOPICS as u64 * 2)
    };
    let turns = turn_until(&mut world, probe, "due classes", newest);
    assert!(turns > 20, "all were built in {turns} turns");
    world.advance(200 * MS);
    for peer in peers {
        world.peers[peer].model.check_newest(&world.publisher.epochs);
    }
}

#[test]
fn what_a_client_missed_is_built_within_the_budget_and_comes_before_what_is_newer() {
    let mut world = world(|_| ());
    let probe = probe(&mut world);
    let peers: Vec<usize> = (0..10).map(|_| world.connect()).collect();
    for peer in &peers {
        ask_for_all(&mut world, *peer, 20);
    }
    world.settle();
    peers.iter().for_each(|peer| world.stall(*peer, 0));
    world.publish("big.t0", "2");
    world.advance(100 * MS);
    publish_all(&mut world, 3);
    world.advance(100 * MS);
    peers.iter().for_each(|peer| world.resume(*peer));
    let newest = |world: &World| {
        peers.iter().all(|peer| world.peers[*peer].model.sub("").unwrap().version > TOPICS as u64 * 2)
    };
    turn_until(&mut world, probe, "catching up", newest);
    world.advance(100 * MS);
    for peer in peers {
        world.peers[peer].model.check_newest(&world.publisher.epochs);
    }
}

#[test]
fn nothing_is_built_that_does_not_fit_what_may_be_pinned_and_small_frames_still_do() {
    const PINNED_BYTES: usize = 1 << 20;
    let mut world = world(|config| {
        config.limits.pinned_bytes = PINNED_BYTES;
        config.limits.stall = Duration::from_secs(3600);
    });
    let probe = probe(&mut world);
    let stalled: Vec<usize> = (0..40).map(|_| world.connect()).collect();
    for peer in &stalled {
        world.stall(*peer, 0);
        ask_for_all(&mut world, *peer, 100);
    }
    let honest = world.connect();
    ask_for_all(&mut world, honest, 100);
    for n in 0..200 {
        let item = world.item("probe", &n.to_string());
        assert!(world.publisher.publish(&[item], Single));
        world.advance(50 * MS);
        let pinned_bytes = world.shard.stats().pinned_bytes as usize;
        assert!(pinned_bytes <= PINNED_BYTES, "{pinned_bytes} bytes are pinned");
        let held = world.peers[probe].model.sub("").unwrap().holds(world.publisher.current(), "probe");
        assert_eq!(held, Some(n + 1), "a small frame waits");
    }
    assert!(is_answered(&world, &[honest]), "who reads is answered in the end");
    let stats = world.shard.stats();
    assert!(stats.build_waits[2] > 0, "{:?}", stats.build_waits);
    assert!(stats.ended[CloseReason::Pinned as usize] > 0, "who takes nothing makes room");
    assert_eq!(world.end(probe), PeerEnd::Open);
}

/// While addresses with many connections that read nothing hold all that may be pinned, and ask for more than
/// will ever be: whoever else asks has his turn when room comes, and not when they are gone.
fn room_goes_round(addresses: u8) {
    let mut world = world(|config| {
        config.limits.pinned_bytes = 1 << 20;
        config.limits.stall = Duration::from_secs(3600);
    });
    let probe = probe(&mut world);
    let from = |address: u8, port: u16| SocketAddr::from(([10, 9, 0, address], port));
    for port in 1..=100 / u16::from(addresses) {
        for address in 1..=addresses {
            let peer = world.dial_from(from(address, port));
            world.handshake(peer, "/ws", false);
            world.settle();
            world.stall(peer, 0);
            ask_for_all(&mut world, peer, 100);
        }
    }
    for round in 0..5 {
        world.advance(300 * MS);
        let honest = world.dial_from(from(200, round));
        world.handshake(honest, "/ws", false);
        world.settle();
        ask_for_all(&mut world, honest, 100);
        let before = world.shard.stats();
        assert!(before.build_clients > 5, "others wait too: {}", before.build_clients);
        let answered = (0..1000).any(|_| {
            world.advance(10 * MS);
            is_answered(&world, &[honest])
        });
        assert!(answered, "round {round}: it is never its turn");
        let reset = world.shard.stats().ended[CloseReason::Pinned as usize]
            - before.ended[CloseReason::Pinned as usize];
        // One for the turn of each address.
        assert!(reset <= u64::from(addresses) + 2, "round {round}: {reset} had to go before it was its turn");
        assert!(world.shard.stats().pinned_bytes <= 1 << 20);
        world.reset(honest);
    }
    assert_eq!(world.end(probe), PeerEnd::Open);
}

#[test]
fn one_address_does_not_keep_another_from_the_room_that_comes() {
    room_goes_round(1);
}

#[test]
fn nor_do_several() {
    room_goes_round(3);
}

#[test]
fn an_address_that_has_used_up_its_share_waits_and_nobody_else_does() {
    let mut world = world(|config| {
        config.limits.build_bytes_per_ip = 50_000;
        config.limits.ping = Duration::from_secs(2);
        config.limits.pong = Duration::from_secs(1);
        config.limits.idle = Duration::from_secs(2);
    });
    let probe = probe(&mut world);
    let greedy: Vec<usize> = (1..=8)
        .map(|port| world.dial_from(SocketAddr::from(([0x2001, 0xdb8, 0, 7, 0, 0, 0, port], port))))
        .collect();
    let other = world.dial_from(SocketAddr::from(([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1], 1)));
    for peer in greedy.iter().chain([&other]) {
        world.handshake(*peer, "/ws", false);
    }
    world.settle();
    for peer in &greedy {
        ask_for_all(&mut world, *peer, 100);
    }
    world.settle();
    assert!(!is_answered(&world, &greedy));
    ask_for_all(&mut world, other, 100);
    world.settle();
    assert!(is_answered(&world, &[other]), "another network is served at once");
    assert!(world.shard.stats().build_waits[3] > 0, "{:?}", world.shard.stats().build_waits);
    // Nobody is closed for what it has to wait for, and in the end all are served.
    for _ in 0..200 {
        world.advance(100 * MS);
    }
    for peer in greedy.iter().chain([&other, &probe]) {
        assert_eq!((world.end(*peer), world.peers[*peer].close_code()), (PeerEnd::Open, None));
        world.peers[*peer].model.check_newest(&world.publisher.epochs);
    }
}

#[test]
fn a_drain_ends_though_many_stand_in_line_and_who_goes_away_leaves_it() {
    let mut world = world(|config| {
        config.limits.build_bytes_per_ip = 1_000;
        config.server.drain = Duration::from_secs(2);
    });
    let peers: Vec<usize> = (0..10).map(|_| world.connect()).collect();
    for peer in &peers {
        ask_for_all(&mut world, *peer, 100);
    }
    world.settle();
    let waiting = world.shard.stats().build_clients;
    assert!(waiting >= 5, "{waiting}");
    let last = peers.iter().rev().find(|peer| !is_answered(&world, &[**peer])).unwrap();
    world.reset(*last);
    world.settle();
    assert_eq!(world.shard.stats().build_clients, waiting - 1);
    world.drain();
    world.advance(Duration::from_secs(4));
    assert!(peers.iter().all(|peer| world.peers[*peer].slot_freed));
    // What was cached for others goes with the next update.
    world.publish("last", "1");
    let stats = world.shard.stats();
    assert_eq!((stats.build_clients, stats.classes, stats.pinned_bytes), (0, 0, 0));
}

const STEP: usize = 300;

/// Of an op with many patterns that all topics are looked at for.
fn ask_far(world: &mut World, peer: usize, patterns: usize) {
    let topics = (0..patterns).map(|at| format!("*.*.x{at}")).collect();
    world.ask(peer, AskedOp::Subscribe { sub: String::new(), topics, interval_ms: Some(100), since: None });
}

#[test]
fn the_topics_of_an_ops_patterns_are_looked_for_within_the_budget_of_a_turn() {
    let mut world = world(|_| ());
    let probe = probe(&mut world);
    let peer = world.connect();
    world.shard.set_pattern_sizes(256, STEP);
    ask_far(&mut world, peer, 50);
    let mut looked_at = world.shard.stats().topics_looked_at;
    for turn in 0.. {
        assert!(turn < 1_000, "the op is never answered");
        let item = world.item("probe", &turn.to_string());
        assert!(world.publisher.publish(&[item], Single));
        world.turn(1024);
        let now = world.shard.stats().topics_looked_at;
        // In a turn's events, and where it is served after them.
        let most = 2 * STEP as u64;
        assert!(now - looked_at <= most, "turn {turn}: {} topics are looked at", now - looked_at);
        looked_at = now;
        world.read(peer, usize::MAX);
        if is_answered(&world, &[peer]) {
            break;
        }
    }
    assert!(looked_at >= (50 * TOPICS) as u64, "{looked_at}");
    world.advance(200 * MS);
    for peer in [peer, probe] {
        world.peers[peer].model.check_newest(&world.publisher.epochs);
    }
}

#[test]
fn patterns_that_would_select_too_many_topics_are_refused() {
    let mut world = world(|config| config.limits.pattern_topics = 2 * TOPICS + 100);
    world.log = true;
    let peers: Vec<usize> = (0..3).map(|_| world.connect()).collect();
    world.subscribe(peers[0], "", &["big.*"], Some(100));
    world.subscribe(peers[1], "", &["*.*"], Some(100));
    world.send_bad(peers[2], r#"{"op":"subscribe","topics":["*"]}"#);
    world.settle();
    let told = world.peers[peers[2]].frames("error");
    assert!(told[0]["reason"].as_str().unwrap().contains("pattern_topics"), "{told:?}");
    // There is room again when another has left, and its pattern is not kept any more.
    world.unsubscribe(peers[1], "", None);
    world.advance(Duration::from_secs(10));
    world.subscribe(peers[2], "", &["*"], Some(100));
    world.peers[peers[2]].model.check_newest(&world.publisher.epochs);
}

#[test]
fn what_was_looked_for_is_given_up_with_the_op() {
    let mut world = world(|config| config.fanout.pattern_keep = Duration::ZERO);
    let before = world.shard.stats().patterns;
    let peer = world.connect();
    ask_far(&mut world, peer, 50);
    for _ in 0..5 {
        world.turn(1024);
    }
    assert!(world.shard.stats().patterns > before, "some of it is interned by now");
    assert!(!is_answered(&world, &[peer]));
    world.reset(peer);
    world.settle();
    assert_eq!(world.shard.stats().patterns, before);
    // The same where the op is answered, and its client leaves.
    let peer = world.connect();
    ask_far(&mut world, peer, 50);
    world.settle();
    assert!(is_answered(&world, &[peer]));
    world.unsubscribe(peer, "", None);
    assert_eq!(world.shard.stats().patterns, before);
}
