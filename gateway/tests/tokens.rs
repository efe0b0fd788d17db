//! Who may: tokens that clients show, what they grant, and when that ends.
#![forbid(unsafe_code)]

mod support;

use std::{sync::Arc, time::Duration};

use engine::{
    access::{
        revoked::Revoked,
        rules::{Csrf, Granted, Place, Rules},
    },
    shard::inbox::{Message, Revocation},
};
use proto::encode::Opcode;
use serde_json::{Value, json};
use support::{
    World, config,
    subscriber::{Asked, AskedOp},
    tokens::{Pass, granted, token},
};

const S: Duration = Duration::from_secs(1);

fn world(change: impl FnOnce(&mut Rules)) -> World {
    let mut config = config();
    config.fanout.interval = Duration::ZERO;
    let mut rules = Rules { is_open: false, ..Rules::default() };
    change(&mut rules);
    config.access.tokens.rules = rules.into();
    World::new(config, 64, 1)
}

fn now_s(world: &World) -> i64 {
    world.now.wall_us / 1_000_000
}

fn pass(world: &World, sub: &str, subscribe: &[&str]) -> Pass {
    Pass {
        sub: Some(sub.to_owned()),
        jti: format!("of-{sub}"),
        exp_s: now_s(world) + 600,
        subscribe: subscribe.iter().map(|text| text.to_string()).collect(),
        ..Pass::default()
    }
}

/// The HTTP answer of a request with these fields.
fn answer(world: &mut World, target: &str, fields: &[(&str, &str)]) -> String {
    let peer = world.dial();
    let pass = pass(world, "a", &["*"]);
    world.peers[peer].model.asked.push_back(Asked { id: None, op: AskedOp::Auth { pass } });
    world.handshake_with(peer, target, false, fields);
    world.settle();
    String::from_utf8_lossy(&world.peers[peer].http).into_owned()
}

fn auth(world: &mut World, peer: usize, pass: &Pass) {
    world.ask(peer, AskedOp::Auth { pass: pass.clone() });
    while world.believer.finish() {}
    world.settle();
    while world.believer.finish() {}
    world.settle();
}

/// The last frame with this op.
fn last(world: &World, peer: usize, op: &str) -> Value {
    world.peers[peer].frames(op).pop().unwrap_or_else(|| panic!("no {op}: {:?}", world.peers[peer].texts))
}

#[test]
fn a_token_in_the_request_is_told_first_and_what_it_grants_may_be_subscribed_to() {
    let mut world = world(|_| {});
    let pass = pass(&world, "a@b.c", &["fx.*"]);
    let peer = world.dial_showing("/ws", &pass, false);
    world.settle();
    let first: Value = serde_json::from_str(&world.peers[peer].texts[0]).unwrap();
    assert_eq!(
        (&first["op"], &first["sub"], &first["as"]),
        (&json!("authorized"), &json!("a@b.c"), &json!("a@b@x2Ec"))
    );
    assert_eq!((&first["exp"], first["conn"].as_str().unwrap().len()), (&json!(pass.exp_s * 1_000_000), 16));
    world.publish("fx.EUR", "1");
    world.subscribe(peer, "", &["fx.*"], None);
    assert_eq!(last(&world, peer, "snapshot")["updates"][0]["topic"], "fx.EUR");
    world.subscribe(peer, "more", &["fx.USD", "lse.X"], None);
    let error = last(&world, peer, "error");
    assert_eq!((&error["code"], &error["reason"]), (&json!(4403), &json!("lse.X is not granted")));
    assert_eq!(world.peers[peer].model.subs.len(), 1, "nothing of it holds");
    assert_eq!(world.shard.stats().not_granted, 1);
}

#[test]
fn who_shows_none_waits_and_is_closed_in_time() {
    let mut world = world(|_| {});
    let peer = world.connect();
    world.ask(peer, AskedOp::Ping);
    world.settle();
    assert_eq!(last(&world, peer, "error")["code"], 4401);
    world.advance(Duration::from_millis(4_900));
    assert_eq!(world.peers[peer].close, None);
    world.advance(Duration::from_millis(200));
    assert_eq!(world.peers[peer].close, Some((4401, "no token within [limits] handshake".to_owned())));
}

#[test]
fn topics_of_the_url_wait_for_the_token_and_one_that_is_not_granted_is_an_error() {
    let mut world = world(|_| {});
    let pass = pass(&world, "a", &["fx.*"]);
    for (topics, is_granted) in [("fx.EUR", true), ("lse.X", false)] {
        let peer = world.dial_to(&format!("/ws?topics={topics}"));
        world.settle();
        assert!(world.peers[peer].texts.is_empty(), "{:?}", world.peers[peer].texts);
        let op = AskedOp::Subscribe {
            sub: String::new(),
            topics: vec![topics.into()],
            interval_ms: None,
            since: None,
        };
        world.ask(peer, AskedOp::Auth { pass: pass.clone() });
        world.peers[peer].model.asked.push_back(Asked { id: None, op });
        while world.believer.finish() {}
        world.settle();
        while world.believer.finish() {}
        world.settle();
        assert_eq!(world.peers[peer].model.subs.len(), usize::from(is_granted));
        assert_eq!(world.peers[peer].frames("error").len(), usize::from(!is_granted));
        assert_eq!(world.peers[peer].close, None);
    }
}

#[test]
fn a_first_token_that_is_bad_closes_and_a_later_one_does_not() {
    let mut world = world(|_| {});
    let good = pass(&world, "a", &["fx.*"]);
    let bad = Pass { is_bad: true, ..good.clone() };
    let peer = world.connect();
    auth(&mut world, peer, &bad);
    let error = last(&world, peer, "error");
    assert_eq!(
        (&error["code"], &error["reason"]),
        (&json!(4401), &json!("bad token: its signature is not good"))
    );
    assert_eq!(world.peers[peer].close_code(), Some(4401));
    let peer = world.connect();
    auth(&mut world, peer, &good);
    auth(&mut world, peer, &bad);
    let other = pass(&world, "b", &["*"]);
    auth(&mut world, peer, &other);
    assert_eq!(world.peers[peer].frames("error").len(), 2);
    assert_eq!(world.peers[peer].close, None);
    world.subscribe(peer, "", &["fx.*"], None);
    assert_eq!(world.peers[peer].model.subs.len(), 1, "it goes on as it was");
}

#[test]
fn each_place_of_a_request_is_looked_at_in_turn() {
    let mut world = world(|rules| {
        rules.from = vec![
            Place::Authorization,
            Place::Subprotocol,
            Place::Cookie("session".into()),
            Place::Query("jwt".into()),
        ];
    });
    let good = pass(&world, "a", &["*"]).token(false);
    let bearer = format!("Bearer {good}");
    let cookie = format!("x=1; session={good}; session=other");
    let protocol = format!("other, fanwire.token.{good}");
    let query = format!("/ws?jwt={good}&jwt=other");
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Fields<'_>, &str); 16] = [
        ("/ws", &[("Authorization", &bearer)], "101"),
        ("/ws", &[("authorization", &bearer.replace("Bearer", "bearer"))], "101"),
        ("/ws", &[("Sec-WebSocket-Protocol", &protocol)], "101"),
        ("/ws", &[("Cookie", &cookie)], "101"),
        (&query, &[], "101"),
        ("/ws", &[("Authorization", "Basic abc"), ("Cookie", &cookie)], "101"),
        // The first that is found counts, and a bad one is never as good as none.
        ("/ws", &[("Authorization", "Bearer forged"), ("Cookie", &cookie)], "401"),
        (&query, &[("Authorization", "Bearer")], "401"),
        (&query, &[("Authorization", "Bearer ")], "401"),
        (&query, &[("Authorization", "Bearer \u{e9}"), ("Cookie", "session=forged")], "401"),
        ("/ws", &[("Cookie", "session=forged; session=x")], "401"),
        ("/ws", &[("Cookie", "session=")], "401"),
        ("/ws", &[("Sec-WebSocket-Protocol", "fanwire.token.forged")], "401"),
        ("/ws?jwt=", &[], "401"),
        ("/ws?jwt=%zz", &[], "401"),
        ("/ws", &[("Authorization", "Basic abc")], "401"),
    ];
    for (target, fields, status) in cases {
        let answer = answer(&mut world, target, fields);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {fields:?}: {answer}");
        assert!(!answer.contains("fanwire.token"), "a token is no subprotocol");
    }
    let bad = answer(&mut world, "/ws", &[("Authorization", "Bearer forged")]);
    assert!(bad.contains("WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"), "{bad}");
    assert!(bad.contains("signature"), "{bad}");
    let none = answer(&mut world, "/ws", &[]);
    assert!(none.contains("WWW-Authenticate: Bearer\r\n"), "{none}");
    assert_eq!(world.shard.stats().refused[1], 12);
}

#[test]
fn a_cookie_needs_its_code_on_the_url() {
    let mut world = world(|rules| {
        rules.from = vec![Place::Cookie("session".into())];
        rules.csrf = Some(Csrf { cookie: None, param: "csrf".into() });
    });
    let good = pass(&world, "a", &["*"]).token(false);
    let cookie = format!("session={good}");
    for (target, status) in [
        (format!("/ws?csrf=code-of-{good}"), "101"),
        (format!("/ws?csrf=wrong&csrf=code-of-{good}"), "403"),
        ("/ws?csrf=".to_owned(), "403"),
        ("/ws".to_owned(), "403"),
    ] {
        let answer = answer(&mut world, &target, &[("Cookie", &cookie)]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
}

#[test]
fn a_token_that_takes_long_keeps_the_request_waiting_and_nobody_else() {
    let mut world = world(|_| {});
    let pass = pass(&world, "a", &["*"]);
    let late = world.dial_showing("/ws?topics=fx.*", &pass, true);
    let op = AskedOp::Subscribe {
        sub: String::new(),
        topics: vec!["fx.*".into()],
        interval_ms: None,
        since: None,
    };
    world.peers[late].model.asked.push_back(Asked { id: None, op });
    world.settle();
    // What follows the request waits with it.
    world.ask(late, AskedOp::Ping);
    let gone = world.dial_showing("/ws", &pass, true);
    world.settle();
    world.reset(gone);
    let other = world.dial_showing("/ws", &pass, false);
    world.settle();
    assert!(world.peers[other].open && !world.peers[late].open);
    assert_eq!((world.believer.waiting(), world.shared.tokens.checks()), (2, 2));
    while world.believer.finish() {}
    world.settle();
    assert!(world.peers[late].open && world.peers[late].model.asked.is_empty());
    assert_eq!(world.shared.tokens.checks(), 0);
    let too_late = world.dial_showing("/ws", &pass, true);
    world.advance(6 * S);
    assert!(!world.peers[too_late].open && world.peers[too_late].slot_freed, "within handshake");
    while world.believer.finish() {}
    world.settle();
    assert_eq!(world.shared.tokens.checks(), 0);
}

#[test]
fn no_more_tokens_are_verified_at_once_than_may_be_and_all_are_in_the_end() {
    let mut config = config();
    config.limits.token_checks = 2;
    config.access.tokens.rules = Rules { is_open: false, ..Rules::default() }.into();
    let mut world = World::new(config, 64, 1);
    let pass = pass(&world, "a", &["*"]);
    let peers: Vec<usize> = (0..10).map(|_| world.dial_showing("/ws", &pass, true)).collect();
    world.settle();
    assert_eq!((world.believer.waiting(), world.shard.stats().checks_waiting), (2, 8));
    world.reset(peers[5]);
    for _ in 0..20 {
        world.believer.finish();
        assert!(world.believer.waiting() <= 2);
        world.advance(Duration::from_millis(5));
    }
    let open = peers.iter().filter(|peer| world.peers[**peer].open).count();
    assert_eq!((open, world.shared.tokens.checks(), world.shard.stats().checks_waiting), (9, 0, 0));
}

#[test]
fn whoever_is_anonymous_may_what_that_grants_and_show_a_token_at_any_time() {
    let mut world = world(|rules| rules.anonymous = Some(granted(&["public.*"], &["public.hello"])));
    let peer = world.dial_to("/ws");
    let auto = AskedOp::Subscribe {
        sub: "auto".into(),
        topics: vec!["public.hello".into()],
        interval_ms: None,
        since: None,
    };
    world.peers[peer].model.asked.push_back(Asked { id: None, op: auto });
    world.settle();
    world.subscribe(peer, "", &["public.*"], None);
    world.subscribe(peer, "no", &["fx.*"], None);
    assert_eq!(last(&world, peer, "error")["code"], 4403);
    let fx = pass(&world, "a", &["fx.*"]);
    auth(&mut world, peer, &fx);
    // What was public is not granted by the token, and is taken.
    assert_eq!(world.peers[peer].frames("unsubscribed").len(), 2);
    assert!(world.peers[peer].model.subs.is_empty());
    world.subscribe(peer, "", &["fx.*"], None);
    let refused = answer(&mut world, "/ws?topics=fx.*", &[]);
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("fx.* is not granted"), "{refused}");
}

#[test]
fn a_renewal_takes_what_is_not_granted_any_more_and_the_rest_goes_on() {
    let mut world = world(|rules| rules.everyone = granted(&["user.{sub}.*"], &["user.{sub}.inbox"]));
    let first = Pass { auto: vec!["news".into()], ..pass(&world, "a", &["fx.*", "lse.*"]) };
    let peer = world.dial_showing("/ws", &first, false);
    world.settle();
    let auto = last(&world, peer, "subscribed");
    assert_eq!((&auto["sub"], &auto["topics"]), (&json!("auto"), &json!(["news", "user.a.inbox"])));
    world.subscribe(peer, "", &["fx.EUR", "lse.X", "user.a.*"], None);
    world.subscribe(peer, "lse", &["lse.*"], None);
    let second = Pass { exp_s: first.exp_s + 60, ..pass(&world, "a", &["fx.EUR"]) };
    auth(&mut world, peer, &second);
    let unsubscribed = world.peers[peer].frames("unsubscribed");
    let told: Vec<_> =
        unsubscribed.iter().map(|frame| (frame["sub"].clone(), frame["topics"].clone())).collect();
    assert_eq!(
        told,
        [(json!("auto"), json!(["news"])), (json!(""), json!(["lse.X"])), (json!("lse"), json!(["lse.*"])),]
    );
    world.publish("fx.EUR", "1");
    world.publish("lse.X", "1");
    world.publish("user.a.inbox", "1");
    world.advance(S);
    world.peers[peer].model.check_newest(&world.publisher.epochs);
    // Who ended it gets it again with the next token.
    world.unsubscribe(peer, "auto", None);
    auth(&mut world, peer, &second);
    assert!(world.peers[peer].model.sub("auto").is_some());
}

#[test]
fn auto_is_the_gateways_and_counts_for_nobody() {
    let mut config = config();
    (config.limits.subscriptions, config.limits.patterns) = (1, 1);
    let everyone = granted(&["*"], &["conn.x", "b.*"]);
    config.access.tokens.rules = Rules { is_open: false, everyone, ..Rules::default() }.into();
    let mut world = World::new(config, 64, 1);
    let pass = pass(&world, "a", &[]);
    let peer = world.dial_showing("/ws", &pass, false);
    world.settle();
    world.subscribe(peer, "own", &["a"], None);
    assert_eq!(world.peers[peer].model.subs.len(), 2);
    world.send_bad(peer, r#"{"op":"subscribe","sub":"auto","topics":["a"]}"#);
    world.settle();
    assert_eq!(last(&world, peer, "error")["code"], 4000);
}

#[test]
fn a_connection_is_told_that_its_token_expires_and_closed_when_it_has() {
    let mut world = world(|_| {});
    let short = Pass { exp_s: now_s(&world) + 20, ..pass(&world, "a", &["*"]) };
    let peer = world.dial_showing("/ws?topics=a", &short, false);
    let op =
        AskedOp::Subscribe { sub: String::new(), topics: vec!["a".into()], interval_ms: None, since: None };
    world.peers[peer].model.asked.push_back(Asked { id: None, op });
    world.advance(Duration::from_millis(9_900));
    assert!(!world.peers[peer].model.is_told);
    world.advance(Duration::from_millis(200));
    assert!(world.peers[peer].model.is_told, "at half of what was left");
    // One that is renewed in time stays.
    auth(&mut world, peer, &Pass { exp_s: short.exp_s + 20, ..short.clone() });
    world.advance(41 * S);
    assert_eq!(world.peers[peer].close, None);
    assert!(world.peers[peer].model.is_told);
    world.advance(19 * S);
    assert_eq!(world.peers[peer].close, Some((4005, "the token has expired".to_owned())));
    let expired = answer(&mut world, "/ws", &[("Authorization", &format!("Bearer {}", short.token(false)))]);
    assert!(expired.starts_with("HTTP/1.1 401 ") && expired.contains("expired"), "{expired}");
}

fn revoke(world: &mut World, revoked: Revoked) -> usize {
    let (tell, told) = std::sync::mpsc::channel();
    let now_us = world.now.wall_us;
    world.shared.tokens.revocations.revoke(revoked.clone(), now_us + 60_000_000, now_us).unwrap();
    let answer = Box::new(move |count| tell.send(count).unwrap());
    assert!(world.inbox.push(Message::Revoke(Revocation { revoked: Arc::new(revoked), answer })).is_ok());
    world.settle();
    told.try_recv().unwrap()
}

#[test]
fn revoked_tokens_end_their_connections_and_open_none() {
    let mut world = world(|_| {});
    let (a, b) = (pass(&world, "a", &["*"]), pass(&world, "b", &["*"]));
    let peers: Vec<usize> = [&a, &a, &b].iter().map(|pass| world.dial_showing("/ws", pass, false)).collect();
    let late = world.dial_showing("/ws", &b, true);
    world.settle();
    assert_eq!(revoke(&mut world, Revoked::Jti("of-a".into())), 2);
    assert_eq!(world.peers[peers[0]].close, Some((4401, "the token was revoked".to_owned())));
    assert_eq!(world.peers[peers[2]].close, None);
    assert_eq!(revoke(&mut world, Revoked::Sub("b".into())), 1);
    while world.believer.finish() {}
    world.settle();
    let answer = String::from_utf8_lossy(&world.peers[late].http).into_owned();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("revoked"), "{answer}");
    world.advance(61 * S);
    let again = world.dial_showing("/ws", &a, false);
    world.settle();
    assert!(world.peers[again].open);
}

#[test]
fn a_connection_that_ends_while_a_renewal_is_verified_ends_for_its_own_reason() {
    for is_revoked in [true, false] {
        let mut world = world(|_| {});
        let held = Pass { exp_s: now_s(&world) + 20, ..pass(&world, "a", &["*"]) };
        let peer = world.dial_showing("/ws", &held, false);
        world.settle();
        let next = Pass { jti: "next".into(), exp_s: held.exp_s + 600, ..held };
        world.send_frame(
            peer,
            Opcode::Text,
            json!({ "op": "auth", "token": next.token(true) }).to_string().as_bytes(),
        );
        world.settle();
        assert_eq!(world.believer.waiting(), 1);
        let expected = match is_revoked {
            true => (4401, "the token was revoked"),
            false => (4005, "the token has expired"),
        };
        if is_revoked {
            revoke(&mut world, Revoked::Sub("a".into()));
        }
        world.advance(51 * S);
        let (code, text) = world.peers[peer].close.clone().unwrap();
        assert_eq!((code, &*text), expected);
        assert!(world.believer.finish());
        world.settle();
        assert_eq!((world.shared.tokens.checks(), world.peers[peer].frames("authorized").len()), (0, 1));
    }
}

#[test]
fn a_renewal_waits_for_the_answer_that_is_being_built_and_takes_it_back() {
    let mut config = config();
    (config.fanout.build_bytes, config.fanout.frame_bytes_max) = (1024, 1024);
    config.access.tokens.rules = Rules { is_open: false, ..Rules::default() }.into();
    let mut world = World::new(config, 64, 1);
    for n in 0..200 {
        world.publish(&format!("fx.{n}"), &format!("\"{}\"", "x".repeat(100)));
    }
    let held = pass(&world, "a", &["fx.*"]);
    let peer = world.dial_showing("/ws", &held, false);
    world.settle();
    world.subscribe(peer, "kept", &["fx.7"], None);
    let topics = vec!["fx.*".to_owned()];
    world.ask(peer, AskedOp::Subscribe { sub: String::new(), topics, interval_ms: None, since: None });
    world.ask(peer, AskedOp::Auth { pass: Pass { subscribe: vec!["fx.7".into()], ..held } });
    world.settle();
    while world.believer.finish() {}
    world.settle();
    let ops: Vec<String> = world.peers[peer].texts.iter().skip(3).map(|text| op_of(text)).collect();
    assert!(ops.iter().filter(|op| *op == "snapshot").count() > 10, "in parts: {ops:?}");
    let in_order = |op: &str| ops.iter().position(|of| of == op).unwrap();
    let last = ops.iter().rposition(|op| op == "snapshot").unwrap();
    assert!(in_order("subscribed") < last && last < in_order("authorized"), "{ops:?}");
    assert!(in_order("authorized") < in_order("unsubscribed"), "{ops:?}");
    assert!(world.peers[peer].model.sub("").is_none() && world.peers[peer].model.sub("kept").is_some());
}

fn op_of(text: &str) -> String {
    let frame: Value = serde_json::from_str(text).unwrap();
    frame["op"].as_str().unwrap().to_owned()
}

#[test]
fn a_subject_has_as_many_connections_as_its_token_says() {
    let mut world = world(|_| {});
    let mut claims = pass(&world, "a", &["*"]).claims();
    claims["fanwire"]["connections"] = json!(2);
    let value = format!("Bearer {}", token(&claims, false));
    let fields = [("Authorization", &*value)];
    let dial = |world: &mut World| {
        let peer = world.dial();
        let op = AskedOp::Auth { pass: pass(world, "a", &["*"]) };
        world.peers[peer].model.asked.push_back(Asked { id: None, op });
        world.handshake_with(peer, "/ws", false, &fields);
        world.settle();
        peer
    };
    let (first, second, third) = (dial(&mut world), dial(&mut world), dial(&mut world));
    assert!(world.peers[first].open && world.peers[second].open);
    let answer = String::from_utf8_lossy(&world.peers[third].http).into_owned();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("Retry-After"), "{answer}");
    world.send_frame(first, Opcode::Close, &1000u16.to_be_bytes());
    world.settle();
    let fourth = dial(&mut world);
    assert!(world.peers[fourth].open);
    for peer in [second, fourth] {
        world.reset(peer);
    }
    world.settle();
    assert_eq!((world.shared.tokens.subjects(), world.shard.stats().grants), (0, 0));
}

#[test]
fn an_interval_of_the_token_is_the_least() {
    for (menu, of_everyone, own, expected_ms) in [
        (&[][..], Some(700), None, 700),
        (&[], Some(700), Some(300), 300),
        (&[], None, Some(5), 10),
        (&[50, 200], None, Some(100), 200),
        // What the menu offers at most is too short.
        (&[50, 200], Some(700), None, 700),
        (&[50, 200], Some(700), Some(300), 300),
    ] {
        let mut config = config();
        config.fanout.interval_menu = menu.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let everyone = Granted { interval_ms_min: of_everyone, ..Granted::default() };
        config.access.tokens.rules = Rules { is_open: false, everyone, ..Rules::default() }.into();
        let mut world = World::new(config, 64, 1);
        let pass = Pass { interval_ms_min: own, ..pass(&world, "a", &["*"]) };
        let peer = world.dial_showing("/ws", &pass, false);
        world.settle();
        world.subscribe(peer, "", &["a"], Some(10));
        assert_eq!(last(&world, peer, "subscribed")["interval_ms"], expected_ms, "{menu:?}, {own:?}");
        // A later token raises what is held, with the next op on it.
        auth(&mut world, peer, &Pass { interval_ms_min: Some(900), ..pass });
        world.subscribe(peer, "", &["b"], None);
        assert_eq!(last(&world, peer, "subscribed")["interval_ms"], 900, "{menu:?}, {own:?}");
    }
}

#[test]
fn with_open_clients_a_token_is_verified_and_reading_stays_open() {
    let mut world = world(|rules| rules.is_open = true);
    let bad = answer(&mut world, "/ws", &[("Authorization", "Bearer forged")]);
    assert!(bad.starts_with("HTTP/1.1 401 "), "{bad}");
    let with_auto = Pass { auto: vec!["x".into()], ..pass(&world, "a", &[]) };
    let peer = world.dial_showing("/ws", &with_auto, false);
    world.settle();
    world.subscribe(peer, "", &["*"], None);
    assert_eq!(world.peers[peer].model.subs.len(), 2);
    let peer = world.connect();
    world.subscribe(peer, "", &["*"], None);
    auth(&mut world, peer, &with_auto);
    assert_eq!(world.peers[peer].model.subs.len(), 2);
}
