//! WebSockets with the bare values of one topic, for clients that know only `send` and `onmessage`.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{
    access::{
        grant::Grant,
        rules::{Granted, Rules},
    },
    http::raw_path::RawPath,
    protocol::encoding::Encoding,
    settings::Refusing,
    topic::{
        pattern::Pattern,
        policy::{Behind, Keyed, Mode, Policies, Policy, Stream},
    },
};
use gateway::config::Config;
use net::sim::PeerEnd;
use proto::encode::Opcode;
use serde_json::Value;

use support::{World, config, tokens::Pass};

fn world() -> World {
    world_with(|_| {})
}

fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let mut config = config();
    let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
    let stream = Stream {
        snapshot_updates: 2,
        history_updates: 10,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    config.topics = Policies::new(vec![
        policy("k.*", Mode::Keyed(Keyed { keys: 10, key_tombstones: 10, table_bytes: 1 << 20 })),
        policy("s.*", Mode::Stream(stream)),
    ]);
    config.raw_paths = vec![RawPath::parse("/chat/{room}", "chat.{room}").unwrap()];
    change(&mut config);
    World::new(config, 64, 1)
}

fn raw(world: &mut World, target: &str) -> usize {
    let peer = world.dial_as(target, false, Encoding::Raw);
    world.settle();
    assert!(world.peers[peer].open, "{}", String::from_utf8_lossy(&world.peers[peer].http));
    peer
}

/// Status and reason.
fn refused(world: &mut World, target: &str) -> (u16, String) {
    let peer = world.dial_as(target, false, Encoding::Raw);
    world.settle();
    let answer = world.answer(peer);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, body["reason"].as_str().unwrap().to_owned())
}

#[test]
fn only_data_is_sent_a_text_as_what_it_says() {
    let mut world = world();
    world.publish("a", "0");
    let peer = raw(&mut world, "/raw/a?interval_ms=0");
    for data in [r#"{"bid": 1.0}"#, r#""said \"so\" \u00e5""#, "1.50", "null", "\"\""] {
        world.publish("a", data);
    }
    world.publish("b", "9");
    world.remove("a");
    world.publish("a", "[1]");
    assert_eq!(world.peers[peer].texts, [r#"{"bid": 1.0}"#, "said \"so\" å", "1.50", "null", "", "[1]"]);
    world.advance(Duration::from_secs(20));
    assert_eq!(world.peers[peer].texts.len(), 6, "neither heartbeats nor notices are messages");
}

#[test]
fn a_latest_topic_is_conflated_by_the_interval_and_a_stream_is_not() {
    let mut world = world();
    let (latest, stream) =
        (raw(&mut world, "/raw/a?interval_ms=100"), raw(&mut world, "/raw/s.a?interval_ms=100"));
    for n in 0..5 {
        world.publish("a", &n.to_string());
        world.publish("s.a", &n.to_string());
    }
    world.advance(Duration::from_millis(150));
    assert_eq!(world.peers[latest].texts, ["4"]);
    assert_eq!(world.peers[stream].texts, ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_snapshot_comes_where_one_is_asked_for() {
    let mut world = world();
    for topic in ["a", "s.a"] {
        for n in 1..=3 {
            world.publish(topic, &n.to_string());
        }
    }
    for (target, expected) in [
        ("/raw/a", &[][..]),
        ("/raw/a?snapshot=0", &[]),
        ("/raw/a?snapshot=1", &["3"]),
        ("/raw/s.a?snapshot=1", &["2", "3"]),
        ("/raw/none?snapshot=1", &[]),
    ] {
        let peer = raw(&mut world, target);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.peers[peer].texts, expected, "{target}");
    }
}

#[test]
fn who_was_behind_gets_each_update_once() {
    let mut world = world_with(|config| config.limits.tombstones = 0);
    let (latest, stream) =
        (raw(&mut world, "/raw/a?interval_ms=0"), raw(&mut world, "/raw/s.a?interval_ms=0"));
    for topic in ["a", "s.a"] {
        world.publish(topic, "0");
    }
    for peer in [latest, stream] {
        world.stall(peer, 0);
    }
    for n in 1..=4 {
        world.publish("a", &n.to_string());
        world.publish("s.a", &n.to_string());
        // What is forgotten of others is not missed here.
        world.publish("other", "1");
        world.remove("other");
    }
    for peer in [latest, stream] {
        world.resume(peer);
    }
    world.advance(Duration::from_secs(1));
    world.advance(Duration::from_secs(10));
    let (latest, stream) = (&world.peers[latest].texts, &world.peers[stream].texts);
    assert!(latest.len() <= 3 && latest.last().unwrap() == "4", "{latest:?}");
    assert!(latest.windows(2).all(|two| two[0] < two[1]), "{latest:?}");
    assert_eq!(*stream, ["0", "1", "2", "3", "4"]);
}

#[test]
fn other_paths_stand_for_topics() {
    let mut world = world();
    let peers = [
        ("/chat/lobby", "chat.lobby"),
        ("/chat/a.b", "chat.a@x2Eb"),
        ("/chat/%C3%A5", "chat.@xC3@xA5"),
        ("/raw/fx%2EEUR/USD", "fx.EUR/USD"),
    ]
    .map(|(path, topic)| (raw(&mut world, &format!("{path}?interval_ms=0")), topic));
    for (peer, topic) in peers {
        world.publish(topic, &format!("{topic:?}"));
        assert_eq!(world.peers[peer].texts, [topic]);
    }
    world.config.raw_paths = vec![RawPath::parse("/room/{id}", "chat.{id}").unwrap()];
    world.reload();
    assert_eq!(refused(&mut world, "/chat/lobby").0, 404);
    raw(&mut world, "/room/lobby");
}

#[test]
fn no_subprotocol_is_spoken_and_frames_come_compressed_where_that_was_agreed() {
    let mut world = world();
    let peer = world.dial();
    world.peers[peer].encoding = Encoding::Raw;
    world.handshake_with(peer, "/raw/a", false, &[("Sec-WebSocket-Protocol", "chat, fanwire.json.v1")]);
    world.settle();
    let head = world.answer(peer).head;
    assert!(world.peers[peer].open && !head.contains("sec-websocket-protocol"), "{head}");
    let peer = world.dial_as("/raw/a?interval_ms=0", true, Encoding::Raw);
    world.settle();
    let long = "x".repeat(5000);
    world.publish("a", &format!("{long:?}"));
    assert_eq!((&world.peers[peer].texts[0], world.peers[peer].deflated), (&long, 1));
}

#[test]
fn what_leads_to_nothing_is_refused() {
    let mut world = world();
    world.change("k.a", r#""set":{"x":1}"#);
    for (target, status) in [
        ("/raw/", 400),
        ("/raw/a..b", 400),
        ("/raw/a.*", 400),
        ("/raw/*", 400),
        ("/raw/%zz", 400),
        ("/raw/%E9", 400),
        ("/chat/", 400),
        ("/raw/k.a", 400),
        ("/raw/k.unborn", 400),
        ("/raw/a?interval_ms=x", 400),
        ("/raw/a?snapshot=2", 400),
        ("/raw/a?compress=2", 400),
        ("/raw", 404),
        ("/chat", 404),
        ("/chat/a/b", 404),
    ] {
        let (found, reason) = refused(&mut world, target);
        assert_eq!((found, reason.is_empty()), (status, false), "{target}: {reason}");
    }
    assert!(refused(&mut world, "/raw/k.a").1.contains("keyed"));
    for (method, status) in [("GET", 400), ("HEAD", 400), ("POST", 405), ("OPTIONS", 405)] {
        let peer = world.ask_for_stream(method, "/raw/a", &[]);
        assert_eq!(world.answer(peer).status, status, "{method}: no upgrade");
    }
    let peer = world.dial();
    world.handshake_with(peer, "/raw/a", false, &[("Origin", "http://evil.example")]);
    world.settle();
    assert_eq!(world.answer(peer).status, 403);
}

fn with_tokens(refusing: Refusing) -> World {
    world_with(|config| {
        config.server.refusing = refusing;
        config.access.tokens.rules = Rules { is_open: false, ..Rules::default() }.into();
    })
}

fn pass(world: &World, subscribe: &[&str]) -> Pass {
    Pass {
        sub: Some("a".to_owned()),
        jti: "a".to_owned(),
        exp_s: world.now.wall_us / 1_000_000 + 600,
        subscribe: subscribe.iter().map(|text| text.to_string()).collect(),
        auto: vec!["own".to_owned()],
        ..Pass::default()
    }
}

#[test]
fn a_token_is_needed_at_once_and_told_as_for_other_websockets() {
    for refusing in [Refusing::Http, Refusing::Close] {
        let mut world = with_tokens(refusing);
        let shown = |world: &World, topics: &[&str]| format!("Bearer {}", pass(world, topics).token(false));
        let (good, other) = (shown(&world, &["a"]), shown(&world, &["b"]));
        for (fields, status, code) in [
            (&[][..], 401, 4401),
            (&[("Authorization", "Bearer forged")], 401, 4401),
            (&[("Authorization", &*other)], 403, 4403),
        ] {
            let peer = world.dial();
            world.peers[peer].encoding = Encoding::Raw;
            world.handshake_with(peer, "/raw/a", false, fields);
            world.settle();
            match refusing {
                Refusing::Http => assert_eq!(world.answer(peer).status, status),
                _ => assert_eq!(world.peers[peer].close_code(), Some(code)),
            }
        }
        let peer = world.dial();
        world.peers[peer].encoding = Encoding::Raw;
        world.handshake_with(peer, "/raw/a?interval_ms=0", false, &[("Authorization", &good)]);
        world.settle();
        for topic in ["a", "own"] {
            world.publish(topic, &format!("{topic:?}"));
        }
        assert_eq!(world.peers[peer].texts, ["a"], "neither `authorized` nor what is granted as `auto`");
        world.advance(Duration::from_secs(640));
        assert_eq!(world.peers[peer].close_code(), Some(4005));
    }
}

#[test]
fn who_may_not_have_it_any_more_is_closed() {
    let rules = |topic: &str| Rules {
        is_open: false,
        anonymous: Some(Granted { subscribe: vec![Grant::parse(topic).unwrap()], ..Granted::default() }),
        ..Rules::default()
    };
    let mut world = world_with(|config| config.access.tokens.rules = rules("a").into());
    let peer = raw(&mut world, "/raw/a");
    world.config.access.tokens.rules = rules("*").into();
    world.reload();
    world.advance(Duration::from_secs(3));
    assert_eq!(world.peers[peer].close, None);
    world.config.access.tokens.rules = rules("b").into();
    world.reload();
    world.advance(Duration::from_secs(3));
    assert_eq!(world.peers[peer].close, Some((4403, "the topic is not granted any more".to_owned())));
}

#[test]
fn what_a_client_says_is_dropped_and_counted_and_the_21st_in_10_s_closes() {
    let mut world = world();
    let peer = raw(&mut world, "/raw/a?interval_ms=0");
    for n in 0..20 {
        world.send_frame(peer, Opcode::Text, format!("hello {n}").as_bytes());
    }
    world.settle();
    world.advance(Duration::from_secs(11));
    for _ in 0..20 {
        world.send_frame(peer, Opcode::Text, br#"{"op":"subscribe","topics":["b"]}"#);
    }
    world.publish("a", "1");
    world.publish("b", "1");
    assert_eq!((&world.peers[peer].texts[..], &world.peers[peer].close), (&["1".to_owned()][..], &None));
    world.send_frame(peer, Opcode::Text, b"once more");
    world.settle();
    assert_eq!(world.peers[peer].close_code(), Some(4403));
    assert_eq!(world.shard.stats().raw_refused, 41);
    let peer = raw(&mut world, "/raw/a");
    world.send_frame(peer, Opcode::Binary, b"\x00");
    world.settle();
    assert_eq!(world.peers[peer].close_code(), Some(1003));
}

#[test]
fn pings_closes_and_limits_are_those_of_websockets() {
    let mut world = world_with(|config| config.limits.messages_per_s = 1);
    let peer = raw(&mut world, "/raw/a");
    world.send_frame(peer, Opcode::Ping, b"there?");
    world.settle();
    assert_eq!(world.peers[peer].pongs, [b"there?"]);
    world.advance(Duration::from_secs(60));
    assert!(world.peers[peer].pings > 0);
    world.send_frame(peer, Opcode::Close, &1000u16.to_be_bytes());
    world.settle();
    assert_eq!((world.peers[peer].close_code(), world.end(peer)), (Some(1000), PeerEnd::Ended));
    let peer = raw(&mut world, "/raw/a");
    for _ in 0..10 {
        world.send_frame(peer, Opcode::Text, b"x");
    }
    world.settle();
    assert_eq!(world.peers[peer].close_code(), Some(4429));
    let leaving = raw(&mut world, "/raw/a");
    world.drain();
    world.advance(world.config.server.drain);
    assert_eq!((world.peers[leaving].close_code(), world.peers[leaving].texts.len()), (Some(1001), 0));
}

#[test]
fn what_cannot_be_subscribed_to_is_told_by_a_close() {
    let mut world = world_with(|config| config.limits.classes = 1);
    raw(&mut world, "/raw/a");
    let peer = world.dial_as("/raw/b", false, Encoding::Raw);
    world.settle();
    let (code, reason) = world.peers[peer].close.clone().unwrap();
    assert!(code == 4000 && reason.contains("classes"), "{code} {reason}");
}
