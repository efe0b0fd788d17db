//! Statuses on the simulated ring: the newest to everyone whom it concerns, however slow, and to nobody else.
#![forbid(unsafe_code)]

mod support;

use std::{sync::Arc, time::Duration};

use gateway::{
    control::health::{Health, Origin},
    status::State,
};
use support::{World, config};

struct Told {
    world: World,
    health: Arc<Health>,
}

impl Told {
    fn new() -> Self {
        let mut config = config();
        config.fanout.interval = Duration::from_millis(20);
        let world = World::new(config, 64, 1);
        let health = Health::new(std::slice::from_ref(&world.inbox), 3);
        Self { world, health }
    }

    fn reader(&mut self, topics: &[&str]) -> usize {
        let peer = self.world.connect();
        self.world.subscribe(peer, "", topics, None);
        self.world.settle();
        peer
    }

    fn set(&mut self, origin: Origin, topic: &str, state: State) {
        let now_us = self.world.now.wall_us;
        self.health.set(origin, vec![topic.into()], state, "", now_us).unwrap();
        self.world.settle();
    }

    fn publisher(&mut self, topic: &str, state: State) {
        self.set(Origin::Publisher, topic, state);
    }

    /// Topics and states told so far, in order.
    fn seen(&self, peer: usize) -> Vec<String> {
        let frames = self.world.peers[peer].frames("status");
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let topics = |frame: &serde_json::Value| {
            frame["topics"].as_array().unwrap().iter().map(word).collect::<Vec<_>>().join(",")
        };
        frames.iter().map(|frame| format!("{} {}", topics(frame), word(&frame["state"]))).collect()
    }
}

#[test]
fn a_client_that_stalls_is_told_the_newest_only_however_often_it_changed() {
    let mut told = Told::new();
    let slow = told.reader(&["*"]);
    told.world.stall(slow, 0);
    told.world.publish("a", &"1".repeat(100));
    told.world.advance(Duration::from_millis(50));
    for _ in 0..20 {
        told.publisher("a.*", State::Stale);
        told.publisher("a.*", State::Live);
    }
    told.publisher("b.*", State::Stale);
    told.world.resume(slow);
    told.world.settle();
    assert_eq!(told.seen(slow), ["a.* live", "b.* stale"]);
}

#[test]
fn a_client_that_is_always_behind_on_values_hears_that_they_are_stale() {
    let mut told = Told::new();
    let slow = told.reader(&["*"]);
    // It reads a little at a time: whenever a send is done there is something newer.
    told.world.net.inner().set_window(told.world.peers[slow].conn, 60);
    told.publisher("a", State::Stale);
    for n in 0..40 {
        told.world.publish("a", &n.to_string());
        told.world.advance(Duration::from_millis(25));
    }
    assert_eq!(told.seen(slow), ["a stale"]);
}

#[test]
fn patterns_added_before_a_status_was_told_do_not_hide_it() {
    let mut told = Told::new();
    let peer = told.reader(&["a.*"]);
    told.world.stall(peer, 0);
    told.world.publish("a.b", "1");
    told.world.advance(Duration::from_millis(50));
    told.publisher("a.b", State::Stale);
    told.world.ask(
        peer,
        support::subscriber::AskedOp::Subscribe {
            sub: String::new(),
            topics: vec!["c.*".to_owned()],
            interval_ms: None,
            since: None,
        },
    );
    told.world.resume(peer);
    told.world.settle();
    told.world.advance(Duration::from_millis(50));
    assert_eq!(told.seen(peer), ["a.b stale"]);
}

#[test]
fn who_has_unsubscribed_is_told_nothing_and_who_subscribes_is_told_what_is_not_live() {
    let mut told = Told::new();
    let (left, stays) = (told.reader(&["a.*"]), told.reader(&["b.*"]));
    told.world.unsubscribe(left, "", None);
    told.publisher("a.b", State::Gap);
    assert_eq!((told.seen(left).len(), told.seen(stays).len()), (0, 0));
    let late = told.reader(&["a.b"]);
    told.world.subscribe(stays, "two", &["a.*"], None);
    told.world.settle();
    for peer in [late, stays] {
        assert_eq!(told.seen(peer), ["a.b gap"]);
    }
}

#[test]
fn a_dead_source_is_told_also_where_publishers_have_taken_all_room_and_since_stays() {
    let mut told = Told::new();
    let peer = told.reader(&["s.*"]);
    for topic in ["x", "y", "z"] {
        told.publisher(topic, State::Stale);
    }
    let full = told.health.set(Origin::Publisher, vec!["w".into()], State::Stale, "", 0).unwrap_err();
    assert!(full.to_string().contains("[limits] statuses"), "{full}");
    told.set(Origin::Source(0), "s.*", State::Stale);
    let since = told.world.peers[peer].frames("status")[0]["since"].clone();
    told.world.advance(Duration::from_secs(5));
    let now_us = told.world.now.wall_us;
    told.health.set(Origin::Source(0), vec!["s.*".into()], State::Stale, "another reason", now_us).unwrap();
    told.world.settle();
    assert_eq!(told.seen(peer), ["s.* stale"]);
    let late = told.reader(&["s.*"]);
    assert_eq!(told.world.peers[late].frames("status")[0]["since"], since);
}
