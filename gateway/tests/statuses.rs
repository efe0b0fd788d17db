//! Statuses on the simulated ring: the newest to everyone whom it concerns, however slow, and to nobody else.
#![forbid(unsafe_code)]

mod support;

use std::{sync::Arc, time::Duration};

use engine::protocol::{encoding::Encoding, status::TopicState};
use gateway::health::{Full, Health, Origin};

use support::{World, config};

const STATUS_BYTES: usize = 20_000;

fn pattern(text: &str) -> engine::topic::pattern::Pattern {
    engine::topic::pattern::Pattern::parse(text).unwrap()
}

struct Told {
    world: World,
    health: Arc<Health>,
}

impl Told {
    fn new() -> Self {
        let mut config = config();
        config.fanout.interval = Duration::from_millis(20);
        let world = World::new(config, 64, 1);
        let health = Health::new(std::slice::from_ref(&world.inbox), 3, STATUS_BYTES);
        Self { world, health }
    }

    fn reader(&mut self, topics: &[&str]) -> usize {
        let peer = self.world.connect();
        self.world.subscribe(peer, "", topics, None);
        self.world.settle();
        peer
    }

    fn set(&mut self, origin: Origin, topic: &str, state: TopicState) {
        let now_us = self.world.now.wall_us;
        self.health.set(origin, vec![pattern(topic)], state, "", now_us).unwrap();
        self.world.settle();
    }

    /// Of so many topics that it takes about 4 KB.
    fn long(&mut self, name: &str) -> Result<(), Full> {
        let topics = (0..40).map(|i| pattern(&format!("{name}.t{i}.{}", "x".repeat(90)))).collect();
        let now_us = self.world.now.wall_us;
        let set = self.health.set(Origin::Publisher, topics, TopicState::Stale, "", now_us);
        self.world.settle();
        set
    }

    fn publisher(&mut self, topic: &str, state: TopicState) {
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
        told.publisher("a.*", TopicState::Stale);
        told.publisher("a.*", TopicState::Live);
    }
    told.publisher("b.*", TopicState::Stale);
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
    told.publisher("a", TopicState::Stale);
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
    told.publisher("a.b", TopicState::Stale);
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
fn a_pattern_that_nobody_had_before_does_not_hide_a_status_that_is_still_to_be_told() {
    let mut told = Told::new();
    let peer = told.reader(&["a.*"]);
    told.world.stall(peer, 0);
    told.world.publish("a.b", "1");
    told.world.advance(Duration::from_millis(50));
    told.publisher("c.d", TopicState::Stale);
    told.world.subscribe(peer, "", &["c.d"], None);
    told.world.resume(peer);
    told.world.settle();
    told.world.advance(Duration::from_millis(50));
    assert_eq!(told.seen(peer), ["c.d stale"]);
}

#[test]
fn who_has_unsubscribed_is_told_nothing_and_who_subscribes_is_told_what_is_not_live() {
    let mut told = Told::new();
    let (left, stays) = (told.reader(&["a.*"]), told.reader(&["b.*"]));
    told.world.unsubscribe(left, "", None);
    told.publisher("a.b", TopicState::Gap);
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
        told.publisher(topic, TopicState::Stale);
    }
    let full = told.health.set(Origin::Publisher, vec![pattern("w")], TopicState::Stale, "", 0).unwrap_err();
    assert!(full.to_string().contains("[limits] statuses"), "{full}");
    told.set(Origin::Source(0), "s.*", TopicState::Stale);
    let since = told.world.peers[peer].frames("status")[0]["since"].clone();
    told.world.advance(Duration::from_secs(5));
    let now_us = told.world.now.wall_us;
    told.health
        .set(Origin::Source(0), vec![pattern("s.*")], TopicState::Stale, "another reason", now_us)
        .unwrap();
    told.world.settle();
    assert_eq!(told.seen(peer), ["s.* stale"]);
    let late = told.reader(&["s.*"]);
    assert_eq!(told.world.peers[late].frames("status")[0]["since"], since);
}

#[test]
fn the_bytes_of_statuses_are_bounded_and_come_back() {
    let mut told = Told::new();
    let max = STATUS_BYTES / 5_000;
    told.health = Health::new(std::slice::from_ref(&told.world.inbox), 100, STATUS_BYTES);
    let taken = (0..2 * max).take_while(|i| told.long(&format!("s{i}")).is_ok()).count();
    assert!((max..2 * max).contains(&taken), "{taken}");
    let full = told.long("another").unwrap_err();
    assert!(full.to_string().contains("[limits] status_bytes = 20000"), "{full}");
    told.set(Origin::Source(0), "source.*", TopicState::Stale);
    told.health.end_all(Origin::Publisher, told.world.now.wall_us);
    told.long("another").unwrap();
    assert_eq!(told.health.counters().refused, 2);
}

#[test]
fn a_status_that_is_told_again_takes_no_bytes_beyond_the_bound_and_what_makes_it_smaller_always_passes() {
    for again in [TopicState::Stale, TopicState::Gap] {
        let mut told = Told::new();
        told.health = Health::new(std::slice::from_ref(&told.world.inbox), 1000, STATUS_BYTES);
        let now_us = told.world.now.wall_us;
        let reason = "r".repeat(1000);
        let set = |health: &Health, topic: &str, state, reason: &str| {
            health.set(Origin::Publisher, vec![pattern(topic)], state, reason, now_us)
        };
        let names: Vec<String> = (0..100).map(|i| format!("t{i}")).collect();
        for name in &names {
            set(&told.health, name, TopicState::Stale, "").unwrap();
        }
        told.set(Origin::Source(0), "s.*", TopicState::Stale);
        let grown = names.iter().filter(|name| set(&told.health, name, again, &reason).is_ok()).count();
        let bytes = told.health.counters().bytes;
        assert!(grown > 0 && bytes <= STATUS_BYTES as u64, "{grown} have grown to {bytes} bytes");
        let full = set(&told.health, "t99", again, &reason).unwrap_err();
        assert!(full.to_string().contains("[limits] status_bytes = 20000"), "{full}");
        assert_eq!(told.health.counters().refused as usize, 100 - grown + 1);
        // A source is told to be dead, and with a reason for which there is room.
        told.health.set(Origin::Source(0), vec![pattern("s.*")], again, &reason, now_us).unwrap();
        told.health.set(Origin::Source(1), vec![pattern("u.*")], again, &reason, now_us).unwrap();
        assert!(
            told.health.counters().bytes <= STATUS_BYTES as u64,
            "a source's reason has no room of its own"
        );
        set(&told.health, "t0", TopicState::Gap, &reason[..500]).unwrap();
        set(&told.health, "t1", again, &reason[..500]).unwrap();
        set(&told.health, "t99", again, &reason).unwrap();
    }
}

#[test]
fn what_is_not_live_follows_an_answer_one_status_at_a_time() {
    let mut told = Told::new();
    told.health = Health::new(std::slice::from_ref(&told.world.inbox), 100, 1 << 20);
    let peer = told.reader(&["nothing"]);
    for i in 0..30 {
        told.long(&format!("s{i}")).unwrap();
    }
    told.world.stall(peer, 0);
    // Of each status one topic less, so that its frames are made for this client.
    let topics = (0..30).flat_map(|i| (0..39).map(move |k| format!("s{i}.t{k}.*"))).take(900).collect();
    let op = |sub: &str, topics| support::subscriber::AskedOp::Subscribe {
        sub: sub.to_owned(),
        topics,
        interval_ms: None,
        since: None,
    };
    told.world.ask(peer, op("more", topics));
    told.world.ask(peer, support::subscriber::AskedOp::Ping);
    told.world.settle();
    // Whatever it reads, no more than one message of it is on its way.
    let conn = told.world.peers[peer].conn;
    for _ in 0..200 {
        told.world.net.inner().set_window(conn, 2_000);
        told.world.settle();
        let in_flight = told.world.net.inner().held_bytes();
        assert!(in_flight <= 40_000, "{in_flight} bytes on their way");
        told.world.read(peer, usize::MAX);
    }
    told.world.resume(peer);
    told.world.settle();
    let seen = told.seen(peer);
    assert!((23..=30).contains(&seen.len()), "{}", seen.len());
    assert!(told.world.peers[peer].model.asked.is_empty(), "what it asked after that is answered");
}

#[test]
fn whom_a_change_concerns_is_looked_up_within_the_budget_of_a_turn() {
    const CLIENTS: usize = 40;
    let mut config = config();
    config.fanout.build_bytes = 16 << 10;
    config.fanout.frame_bytes_max = 4 << 10;
    let world = World::new(config, 64, 1);
    let health = Health::new(std::slice::from_ref(&world.inbox), 3, STATUS_BYTES);
    let mut told = Told { world, health };
    // Each a class of its own.
    let peers: Vec<usize> = (0..CLIENTS)
        .map(|i| {
            let own = (0..200).map(|k| format!("own{i}.t{k}"));
            let topics: Vec<String> = own.chain(["a.b".to_owned()]).collect();
            told.reader(&topics.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    let now_us = told.world.now.wall_us;
    told.health.set(Origin::Publisher, vec![pattern("a.*")], TopicState::Stale, "", now_us).unwrap();
    let (mut turns, mut heard) = (0, 0);
    while heard < CLIENTS {
        told.world.turn(1024);
        peers.iter().for_each(|peer| _ = told.world.read(*peer, usize::MAX));
        let hear = peers.iter().filter(|peer| !told.seen(**peer).is_empty()).count();
        assert!(hear - heard <= 2, "{} were told in turn {turns}", hear - heard);
        (turns, heard) = (turns + 1, hear);
        assert!(turns < 1000, "{heard} were told");
    }
    assert!(told.world.shard.stats().build_waits[0] > 0, "who waited is counted");
    told.world.settle();
    peers.iter().for_each(|peer| assert_eq!(told.seen(*peer), ["a.* stale"]));
}

#[test]
fn who_subscribes_to_more_is_told_each_of_many_statuses_once_and_what_changes_meanwhile_as_it_is() {
    const STATUSES: usize = 150;
    let mut told = Told::new();
    told.health = Health::new(std::slice::from_ref(&told.world.inbox), 1000, 1 << 20);
    let peer = told.reader(&["nothing"]);
    for i in 0..STATUSES {
        told.publisher(&format!("a.t{i}"), TopicState::Stale);
        told.publisher(&format!("other.t{i}"), TopicState::Stale);
    }
    told.world.stall(peer, 0);
    let topics: Vec<String> = (0..STATUSES).map(|i| format!("a.t{i}.*")).chain(["a.*".into()]).collect();
    told.world.subscribe(peer, "more", &topics.iter().map(String::as_str).collect::<Vec<_>>(), None);
    told.world.settle();
    // It takes no more than the first.
    let conn = told.world.peers[peer].conn;
    while told.seen(peer).is_empty() {
        told.world.net.inner().set_window(conn, 40);
        told.world.settle();
        told.world.read(peer, usize::MAX);
    }
    told.publisher("a.t149", TopicState::Live);
    told.publisher("a.t148", TopicState::Gap);
    (0..64).for_each(|i| told.publisher(&format!("a.t{i}"), TopicState::Live));
    told.world.resume(peer);
    told.world.settle();
    let mut seen = told.seen(peer);
    assert!(told.world.peers[peer].model.asked.is_empty());
    let newest = |i: usize| match i {
        149 | 0..64 => TopicState::Live,
        148 => TopicState::Gap,
        _ => TopicState::Stale,
    };
    let held: Vec<String> = (0..STATUSES)
        .filter_map(|i| {
            let of = format!("a.t{i} ");
            seen.iter().rev().find(|word| word.starts_with(&of)).cloned()
        })
        .collect();
    let expected: Vec<String> = (0..STATUSES).map(|i| format!("a.t{i} {}", newest(i).name())).collect();
    assert_eq!(held, expected, "the newest of each");
    seen.sort();
    let told_once = seen.windows(2).all(|two| two[0] != two[1]);
    assert!(told_once && seen.iter().all(|word| word.starts_with("a.")), "{seen:?}");
}

#[test]
fn a_long_status_comes_in_frames_that_are_bounded_each_with_a_share_of_its_topics() {
    let mut config = config();
    config.fanout.frame_bytes_max = 1024;
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let mut world = World::new(config.clone(), 64, 1);
        let health = Health::new(std::slice::from_ref(&world.inbox), 3, STATUS_BYTES);
        let peer = world.dial_as("/ws", false, encoding);
        world.settle();
        world.subscribe(peer, "", &["*"], None);
        let mut told = Told { world, health };
        told.long("s").unwrap();
        // The model looks at how long each is.
        let frames = told.world.peers[peer].frames("status");
        let topics: usize = frames.iter().map(|frame| frame["topics"].as_array().unwrap().len()).sum();
        assert!(frames.len() > 4 && topics == 40, "{} frames, {topics} topics", frames.len());
    }
}

#[test]
fn who_was_behind_on_several_statuses_hears_of_each_topic_that_is_live_again() {
    let mut told = Told::new();
    let names: Vec<Arc<str>> = (0..4).map(|i| format!("a.t{i}").into()).collect();
    told.health.restored(&names, told.world.now.wall_us);
    told.world.settle();
    let slow = told.reader(&["a.*", "b.*"]);
    assert_eq!(told.seen(slow), ["a.t0,a.t1,a.t2,a.t3 stale"]);
    told.world.stall(slow, 0);
    told.world.publish("a.t9", &"1".repeat(100));
    told.world.advance(Duration::from_millis(50));
    let confirm =
        |told: &Told, i: usize| told.health.confirm([&names[i]].into_iter(), told.world.now.wall_us);
    confirm(&told, 1);
    told.publisher("b.*", TopicState::Stale);
    confirm(&told, 3);
    confirm(&told, 0);
    told.world.resume(slow);
    told.world.settle();
    assert_eq!(told.seen(slow)[1..], ["a.t1 live", "b.* stale", "a.t0,a.t3 live"]);
}

#[test]
fn of_topics_that_are_confirmed_together_each_client_hears_its_own() {
    let mut told = Told::new();
    let names: Vec<Arc<str>> = (0..2500).map(|i| format!("a.t{i:04}").into()).collect();
    told.health = Health::new(std::slice::from_ref(&told.world.inbox), 3, 1 << 20);
    told.health.restored(&names, told.world.now.wall_us);
    told.world.settle();
    let [all, twin, few] = [&["*"][..], &["*"], &["a.t0003", "a.t1500", "b"]].map(|own| told.reader(own));
    assert_eq!(told.seen(all).len(), 3, "a thousand topics a status");
    assert_eq!(told.seen(few), ["a.t0003,a.t1500 stale"]);
    told.health.confirm(names[..1501].iter().step_by(500), told.world.now.wall_us);
    told.world.settle();
    assert_eq!(told.seen(few)[1..], ["a.t1500 live"]);
    for peer in [all, twin] {
        assert_eq!(told.seen(peer)[3..], ["a.t0000,a.t0500,a.t1000,a.t1500 live"]);
    }
    let late = told.reader(&["a.t1500", "a.t1501"]);
    assert_eq!(told.seen(late), ["a.t1501 stale"]);
}
