//! What a reload of `[access]` means for live connections.
#![forbid(unsafe_code)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use engine::access::rules::Rules;
use proto::encode::Opcode;
use support::{
    World, config,
    subscriber::{Asked, AskedOp},
    tokens::{Pass, granted},
};

/// All connections are judged within it.
const JUDGED: Duration = Duration::from_millis(1_500);

fn world(change: impl FnOnce(&mut Rules)) -> World {
    let mut config = config();
    config.fanout.interval = Duration::ZERO;
    let mut rules = Rules { is_open: false, ..Rules::default() };
    change(&mut rules);
    config.access.tokens.rules = rules.into();
    World::new(config, 64, 1)
}

fn reload(world: &mut World, change: impl FnOnce(&mut Rules)) {
    let mut rules = (*world.config.access.tokens.rules).clone();
    change(&mut rules);
    world.config.access.tokens.rules = rules.into();
    world.reload();
}

fn pass(world: &World, sub: &str, subscribe: &[&str]) -> Pass {
    Pass {
        sub: Some(sub.to_owned()),
        jti: format!("of-{sub}"),
        exp_s: world.now.wall_us / 1_000_000 + 600,
        subscribe: subscribe.iter().map(|text| text.to_string()).collect(),
        ..Pass::default()
    }
}

fn patterns(world: &World, peer: usize, sub: &str) -> BTreeSet<String> {
    world.peers[peer].model.sub(sub).map(|sub| sub.patterns.clone()).unwrap_or_default()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

#[test]
fn what_is_not_granted_any_more_is_taken_and_the_rest_goes_on() {
    let mut world = world(|rules| rules.everyone = granted(&["fx.*", "lse.*"], &["news"]));
    let pass = pass(&world, "a", &["own"]);
    let peer = world.dial_showing("/ws", &pass, false);
    world.settle();
    world.subscribe(peer, "", &["fx.*", "lse.X", "own"], None);
    assert_eq!(patterns(&world, peer, "auto"), set(&["news"]));
    reload(&mut world, |rules| rules.everyone = granted(&["fx.*"], &["alerts"]));
    world.expect_own(peer);
    world.advance(JUDGED);
    assert_eq!(patterns(&world, peer, ""), set(&["fx.*", "own"]));
    assert_eq!(patterns(&world, peer, "auto"), set(&["alerts"]));
    world.subscribe(peer, "more", &["lse.X"], None);
    assert_eq!(world.peers[peer].frames("error").pop().unwrap()["code"], 4403);
    assert_eq!(world.peers[peer].close, None);
}

#[test]
fn who_has_unsubscribed_from_auto_gets_it_again_with_the_next_token_alone() {
    let mut world = world(|rules| rules.everyone = granted(&[], &["news"]));
    let pass = pass(&world, "a", &[]);
    let peer = world.dial_showing("/ws", &pass, false);
    world.settle();
    world.unsubscribe(peer, "auto", None);
    reload(&mut world, |rules| rules.everyone = granted(&[], &["news", "alerts"]));
    world.expect_own(peer);
    world.advance(JUDGED);
    assert_eq!(patterns(&world, peer, "auto"), set(&[]));
    world.ask(peer, AskedOp::Auth { pass });
    world.settle();
    while world.believer.finish() {}
    world.settle();
    assert_eq!(patterns(&world, peer, "auto"), set(&["news", "alerts"]));
}

#[test]
fn a_token_is_judged_by_the_rules_that_hold_when_it_is_verified() {
    let mut world = world(|_| {});
    let pass = pass(&world, "a", &["*"]);
    let late = world.dial_showing("/ws", &pass, true);
    let peer = world.dial_showing("/ws", &pass, false);
    world.settle();
    reload(&mut world, |rules| rules.issuer = vec!["id".to_owned()]);
    assert!(world.believer.finish());
    world.settle();
    let answer = String::from_utf8_lossy(&world.peers[late].http).into_owned();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("issuer"), "{answer}");
    world.advance(JUDGED);
    assert_eq!(world.peers[peer].close, None, "an accepted token holds until it ends");
}

#[test]
fn who_needs_a_token_now_is_closed_and_who_has_one_stays() {
    let mut world = world(|rules| rules.anonymous = Some(granted(&["*"], &[])));
    let stranger = world.connect();
    world.subscribe(stranger, "", &["*"], None);
    let pass = pass(&world, "a", &["*"]);
    let known = world.dial_showing("/ws", &pass, false);
    world.settle();
    world.subscribe(known, "", &["*"], None);
    reload(&mut world, |rules| rules.anonymous = None);
    world.advance(JUDGED);
    assert_eq!(world.peers[stranger].close, Some((4401, "a token is needed now".to_owned())));
    assert_eq!((patterns(&world, known, ""), &world.peers[known].close), (set(&["*"]), &None));
}

#[test]
fn who_waits_for_a_token_is_let_in_where_none_is_needed_any_more() {
    for is_granted in [true, false] {
        let mut world = world(|_| {});
        let peer = world.dial_to("/ws?topics=fx.EUR");
        world.settle();
        let topics = vec!["fx.EUR".to_owned()];
        let op = AskedOp::Subscribe { sub: String::new(), topics, interval_ms: None, since: None };
        world.peers[peer].model.asked.push_back(Asked { id: None, op });
        let anonymous = granted(if is_granted { &["fx.*"] } else { &["lse.*"] }, &[]);
        reload(&mut world, |rules| rules.anonymous = Some(anonymous));
        world.advance(Duration::from_secs(6));
        assert_eq!(world.peers[peer].model.subs.len(), usize::from(is_granted));
        assert_eq!(world.peers[peer].close, None);
    }
}

#[test]
fn a_limit_that_a_reload_brings_counts_who_came_before() {
    let mut world = world(|_| {});
    let pass = pass(&world, "a", &["*"]);
    let dial = |world: &mut World| {
        let peer = world.dial_showing("/ws", &pass, false);
        world.settle();
        peer
    };
    let held = [dial(&mut world), dial(&mut world)];
    assert_eq!(world.shared.tokens.subjects(), 1);
    world.config.limits.connections_per_sub = 2;
    world.reload();
    let third = dial(&mut world);
    assert!(world.peers[third].http.starts_with(b"HTTP/1.1 429 "), "{:?}", world.peers[third]);
    world.send_frame(held[0], Opcode::Close, &1000u16.to_be_bytes());
    world.settle();
    let fourth = dial(&mut world);
    assert!(world.peers[fourth].open);
    [held[1], fourth].into_iter().for_each(|peer| world.reset(peer));
    world.settle();
    assert_eq!(world.shared.tokens.subjects(), 0);
}

/// A client with a token that holds `lse.X`, and whose `subscribe` to `topics` rests for minutes.
fn resting(topics: &[&str]) -> (World, usize) {
    let mut world = world(|rules| rules.everyone = granted(&["fx.*", "lse.*"], &[]));
    world.config.limits.topics_looked_at_per_s = 1;
    world.reload();
    (0..100).for_each(|n| world.publish(&format!("fx.{n}.a"), "1"));
    let peer = world.dial_showing("/ws", &pass(&world, "a", &[]), false);
    world.settle();
    world.subscribe(peer, "", &["lse.X", "fx.*.b"], None);
    world.subscribe(peer, "more", topics, None);
    assert_eq!((world.shard.stats().ops_rested, world.peers[peer].frames("subscribed").len()), (1, 1));
    (world, peer)
}

#[test]
fn what_is_not_granted_any_more_is_taken_while_an_op_rests() {
    let (mut world, peer) = resting(&["fx.*.c"]);
    reload(&mut world, |rules| rules.everyone = granted(&["fx.*"], &["news"]));
    world.expect_own(peer);
    world.advance(JUDGED);
    assert_eq!(patterns(&world, peer, ""), set(&["fx.*.b"]));
    world.advance(Duration::from_secs(200));
    assert_eq!(patterns(&world, peer, "auto"), set(&["news"]));
    assert_eq!(patterns(&world, peer, "more"), set(&["fx.*.c"]));
}

#[test]
fn an_op_that_rests_is_judged_by_the_grants_that_hold_when_it_goes_on() {
    let (mut world, peer) = resting(&["lse.*.c", "fx.*.c"]);
    reload(&mut world, |rules| rules.everyone = granted(&["fx.*"], &[]));
    world.expect_own(peer);
    world.advance(Duration::from_secs(200));
    assert_eq!(world.peers[peer].frames("error").pop().unwrap()["reason"], "lse.*.c is not granted");
    assert_eq!(patterns(&world, peer, "more"), set(&[]));
}

#[test]
fn an_op_that_waits_for_a_position_is_judged_when_it_goes_on() {
    let mut world = world(|rules| rules.everyone = granted(&["fx.*"], &[]));
    let peer = world.dial_showing("/ws", &pass(&world, "a", &[]), false);
    world.settle();
    let epoch = world.publisher.epochs[0].name.clone();
    let ahead = world.publisher.version() + 1;
    world.inbox.announce(ahead);
    world.subscribe_since(peer, "", &["fx.*"], None, Some((&epoch, ahead)));
    reload(&mut world, |rules| rules.everyone = granted(&["lse.*"], &[]));
    world.publish("fx.EUR", "1");
    assert_eq!(world.peers[peer].frames("error").pop().unwrap()["code"], 4403);
}
