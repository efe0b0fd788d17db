//! What ends an open connection for want of a token, and what it is refused for want of one or of a grant: on plain, on
//! TLS and with MessagePack.
#![forbid(unsafe_code)]

mod support;

use std::{sync::Arc, time::Duration};

use engine::{
    access::{
        revoked::Revoked,
        rules::{Place, Rules},
    },
    client::CloseReason,
    shard::inbox::{Message, Revocation},
};
use gateway::config::Config;
use serde_json::{Value, json};
use support::{
    World, config,
    subscriber::{Asked, AskedOp},
    tokens::{Pass, granted},
    wires::{WIRES, Wire},
};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn world(change: impl FnOnce(&mut Config, &mut Rules)) -> World {
    let mut config = config();
    config.fanout.interval = Duration::ZERO;
    config.limits.idle = 3600 * S;
    let mut rules = Rules { is_open: false, ..Rules::default() };
    change(&mut config, &mut rules);
    config.access.tokens.rules = rules.into();
    World::new(config, 64, 1)
}

fn lives(world: &World, seconds: i64) -> Pass {
    Pass {
        sub: Some("a".to_owned()),
        jti: "7".to_owned(),
        exp_s: world.now.wall_us / 1_000_000 + seconds,
        subscribe: vec!["fx.*".to_owned()],
        ..Pass::default()
    }
}

fn pass(world: &World) -> Pass {
    lives(world, 600)
}

fn dial(world: &mut World, wire: Wire, pass: &Pass) -> usize {
    let peer = world.dial_by_showing(wire, "/ws", pass);
    world.settle();
    assert!(world.peers[peer].open, "{:?}", world.peers[peer]);
    peer
}

/// Without a token.
fn dial_bare(world: &mut World, wire: Wire, target: &str) -> usize {
    let peer = world.dial_by(wire, target);
    world.settle();
    assert!(world.peers[peer].open, "{:?}", world.peers[peer]);
    peer
}

/// Shows a token by the op, which may be verified late.
fn auth(world: &mut World, peer: usize, pass: &Pass) {
    world.ask(peer, AskedOp::Auth { pass: pass.clone() });
    world.settle();
    while world.believer.finish() {}
    world.settle();
}

fn subscribe(topics: &[&str]) -> AskedOp {
    let topics = topics.iter().map(|topic| topic.to_string()).collect();
    AskedOp::Subscribe { sub: String::new(), topics, interval_ms: None, since: None }
}

fn reload(world: &mut World, change: impl FnOnce(&mut Rules)) {
    let mut rules = (*world.config.access.tokens.rules).clone();
    change(&mut rules);
    world.config.access.tokens.rules = rules.into();
    world.reload();
}

fn revoke(world: &mut World, revoked: Revoked) {
    let now_us = world.now.wall_us;
    world.shared.tokens.revocations.revoke(revoked.clone(), now_us + 60_000_000, now_us).unwrap();
    let answer = Box::new(|closed| assert_eq!(closed, 1));
    assert!(world.inbox.push(Message::Revoke(Revocation { revoked: Arc::new(revoked), answer })).is_ok());
    world.settle();
}

/// A client whose connection a rule has just ended.
type Ended = fn(Wire) -> (World, usize);

const ENDS: &[(&str, Ended, CloseReason, &str)] = &[
    (
        "no token in time",
        |wire| {
            let mut world = world(|_, _| {});
            let peer = dial_bare(&mut world, wire, "/ws?topics=fx.EUR");
            world.advance(4_900 * MS);
            assert_eq!(world.peers[peer].close, None);
            world.advance(200 * MS);
            (world, peer)
        },
        CloseReason::Unauthorized,
        "no token within [limits] handshake",
    ),
    (
        "a first token that is bad",
        |wire| {
            let mut world = world(|_, _| {});
            let peer = dial_bare(&mut world, wire, "/ws");
            let bad = Pass { is_bad: true, ..pass(&world) };
            auth(&mut world, peer, &bad);
            assert_eq!(told(&world, peer, "error")["code"], 4401);
            (world, peer)
        },
        CloseReason::Unauthorized,
        "a bad token",
    ),
    (
        "a first token of a subject with as many connections",
        |wire| {
            let mut world = world(|_, _| {});
            let only = Pass { connections: Some(1), ..pass(&world) };
            let first = dial(&mut world, wire, &only);
            let peer = dial_bare(&mut world, wire, "/ws");
            auth(&mut world, peer, &only);
            assert_eq!(told(&world, peer, "error")["code"], 4429);
            world.reset(first);
            (world, peer)
        },
        CloseReason::Connections,
        "too many connections of this subject",
    ),
    (
        "a token that has expired",
        |wire| {
            let mut world = world(|_, _| {});
            let short = lives(&world, 20);
            let peer = dial(&mut world, wire, &short);
            world.advance(10_100 * MS);
            let notice = told(&world, peer, "notice");
            let exp_us = short.exp_s * 1_000_000;
            assert_eq!((&notice["code"], &notice["exp"]), (&json!("token_expiring"), &json!(exp_us)));
            world.advance(39_800 * MS);
            assert_eq!(world.peers[peer].close, None, "within the leeway");
            world.advance(200 * MS);
            (world, peer)
        },
        CloseReason::TokenExpired,
        "the token has expired",
    ),
    (
        "a token that has expired before its client's moment in a drain",
        |wire| {
            let mut world = world(|config, rules| {
                config.server.drain = 100 * S;
                rules.leeway_us = 0;
            });
            let short = lives(&world, 10);
            let peer = dial(&mut world, wire, &short);
            world.drain();
            world.advance(10_100 * MS);
            (world, peer)
        },
        CloseReason::TokenExpired,
        "the token has expired",
    ),
    (
        "nobody's token in time within a drain",
        |wire| {
            let mut world = world(|config, _| config.server.drain = 100 * S);
            let peer = dial_bare(&mut world, wire, "/ws");
            world.drain();
            world.advance(5_100 * MS);
            (world, peer)
        },
        CloseReason::Unauthorized,
        "no token within [limits] handshake",
    ),
    (
        "a token whose name was revoked",
        |wire| {
            let mut world = world(|_, _| {});
            let pass = pass(&world);
            let peer = dial(&mut world, wire, &pass);
            revoke(&mut world, Revoked::Jti("7".into()));
            (world, peer)
        },
        CloseReason::Revoked,
        "the token was revoked",
    ),
    (
        "a token whose subject was revoked",
        |wire| {
            let mut world = world(|_, _| {});
            let pass = pass(&world);
            let peer = dial(&mut world, wire, &pass);
            revoke(&mut world, Revoked::Sub("a".into()));
            (world, peer)
        },
        CloseReason::Revoked,
        "the token was revoked",
    ),
    (
        "a reload by which a token is needed",
        |wire| {
            let mut world = world(|_, rules| rules.anonymous = Some(granted(&["*"], &[])));
            let peer = dial_bare(&mut world, wire, "/ws");
            reload(&mut world, |rules| rules.anonymous = None);
            world.advance(1_500 * MS);
            (world, peer)
        },
        CloseReason::Unauthorized,
        "a token is needed now",
    ),
];

/// The last frame with this op.
fn told(world: &World, peer: usize, op: &str) -> Value {
    world.peers[peer].frames(op).pop().unwrap_or_else(|| panic!("no {op}: {:?}", world.peers[peer].texts))
}

#[test]
fn a_connection_ends_with_its_code_and_nothing_is_left_of_it() {
    for (what, end, reason, text) in ENDS {
        for wire in WIRES {
            let (mut world, peer) = end(wire);
            let close = world.peers[peer].close.clone();
            assert_eq!(close, Some((reason.code().unwrap(), (*text).to_owned())), "{what}, {wire:?}");
            assert_eq!(world.shard.stats().ended[*reason as usize], 1, "{what}, {wire:?}");
            world.advance(2 * S);
            assert!(world.peers[peer].slot_freed, "{what}, {wire:?}");
            let stats = world.shard.stats();
            let held = (world.shared.tokens.subjects(), stats.grants, stats.connections);
            assert_eq!(held, (0, 0, 0), "{what}, {wire:?}");
        }
    }
}

/// What a client is refused that goes on as it was: who it is, and what it does.
type Refused = fn(Wire) -> (World, usize);

/// With a token that grants `fx.*`.
fn known(wire: Wire) -> (World, usize) {
    let mut world = world(|_, _| {});
    let pass = pass(&world);
    let peer = dial(&mut world, wire, &pass);
    (world, peer)
}

/// That waits for its token.
fn waiting(wire: Wire) -> (World, usize) {
    let mut world = world(|_, _| {});
    let peer = dial_bare(&mut world, wire, "/ws");
    (world, peer)
}

const REFUSED: &[(&str, Refused, u16, &str)] = &[
    (
        "a pattern that is not granted",
        |wire| {
            let (mut world, peer) = known(wire);
            world.ask(peer, subscribe(&["fx.EUR", "lse.X", "*"]));
            (world, peer)
        },
        4403,
        "lse.X is not granted",
    ),
    (
        "a pattern that is wider than the grant",
        |wire| {
            let (mut world, peer) = known(wire);
            world.ask(peer, subscribe(&["*.EUR"]));
            (world, peer)
        },
        4403,
        "*.EUR is not granted",
    ),
    (
        "the gateway's own subscription",
        |wire| {
            let (mut world, peer) = known(wire);
            world.subscribe(peer, "auto", &["fx.EUR"], None);
            (world, peer)
        },
        4000,
        "the subscription auto is the gateway's own; give yours another name",
    ),
    (
        "a bad token in place of a good one",
        |wire| {
            let (mut world, peer) = known(wire);
            let bad = Pass { is_bad: true, ..pass(&world) };
            auth(&mut world, peer, &bad);
            (world, peer)
        },
        4401,
        "bad token: its signature is not good",
    ),
    (
        "one that has expired",
        |wire| {
            let (mut world, peer) = known(wire);
            let over = lives(&world, -60);
            auth(&mut world, peer, &over);
            (world, peer)
        },
        4401,
        "bad token: it has expired",
    ),
    (
        "one of another subject",
        |wire| {
            let (mut world, peer) = known(wire);
            let other = Pass { sub: Some("b".to_owned()), ..pass(&world) };
            auth(&mut world, peer, &other);
            (world, peer)
        },
        4401,
        "the token is of another subject than the connection",
    ),
    (
        "one of nobody",
        |wire| {
            let (mut world, peer) = known(wire);
            let nobody = Pass { sub: None, ..pass(&world) };
            auth(&mut world, peer, &nobody);
            (world, peer)
        },
        4401,
        "the token is of another subject than the connection",
    ),
    (
        "a bad token of who is anonymous",
        |wire| {
            let mut world = world(|_, rules| rules.anonymous = Some(granted(&["fx.*"], &[])));
            let peer = dial_bare(&mut world, wire, "/ws");
            let bad = Pass { is_bad: true, ..pass(&world) };
            auth(&mut world, peer, &bad);
            (world, peer)
        },
        4401,
        "bad token: its signature is not good",
    ),
    (
        "a subject with as many connections, of who is anonymous",
        |wire| {
            let mut world = world(|_, rules| rules.anonymous = Some(granted(&["fx.*"], &[])));
            let only = Pass { connections: Some(1), ..pass(&world) };
            dial(&mut world, wire, &only);
            let peer = dial_bare(&mut world, wire, "/ws");
            auth(&mut world, peer, &only);
            (world, peer)
        },
        4429,
        "the subject of the token has 1 connections already",
    ),
    (
        "a token by an op that is not taken",
        |wire| {
            let mut world = world(|_, rules| rules.from = vec![Place::Authorization]);
            let pass = pass(&world);
            let peer = dial(&mut world, wire, &pass);
            auth(&mut world, peer, &pass);
            (world, peer)
        },
        4403,
        "auth is not taken: [access] token_from has no \"op\"",
    ),
    (
        "a ping of who waits for its token",
        |wire| {
            let (mut world, peer) = waiting(wire);
            world.ask(peer, AskedOp::Ping);
            (world, peer)
        },
        4401,
        "a token is needed first: {\"op\":\"auth\",\"token\":…}",
    ),
    (
        "a subscription of who waits for its token",
        |wire| {
            let (mut world, peer) = waiting(wire);
            world.ask(peer, subscribe(&["fx.EUR"]));
            (world, peer)
        },
        4401,
        "a token is needed first: {\"op\":\"auth\",\"token\":…}",
    ),
    (
        "a topic of the URL that the token does not grant",
        |wire| {
            let mut world = world(|_, _| {});
            let peer = dial_bare(&mut world, wire, "/ws?topics=fx.EUR,lse.X");
            let pass = pass(&world);
            world.ask(peer, AskedOp::Auth { pass });
            world.peers[peer].model.asked.push_back(Asked { id: None, op: subscribe(&["fx.EUR", "lse.X"]) });
            world.settle();
            while world.believer.finish() {}
            (world, peer)
        },
        4403,
        "lse.X is not granted",
    ),
];

#[test]
fn what_a_connection_is_refused_leaves_it_as_it_was() {
    for (what, refuse, code, reason) in REFUSED {
        for wire in WIRES {
            let (mut world, peer) = refuse(wire);
            world.settle();
            let error = told(&world, peer, "error");
            assert_eq!(
                (&error["code"], &error["reason"]),
                (&json!(code), &json!(reason)),
                "{what}, {wire:?}"
            );
            assert_eq!(world.peers[peer].frames("error").len(), 1, "{what}, {wire:?}");
            assert!(world.peers[peer].model.subs.is_empty(), "nothing of it holds: {what}, {wire:?}");
            if what.contains("waits") {
                let pass = pass(&world);
                auth(&mut world, peer, &pass);
            }
            world.subscribe(peer, "", &["fx.EUR"], None);
            assert_eq!(world.peers[peer].model.subs.len(), 1, "{what}, {wire:?}");
            world.advance(10 * S);
            assert_eq!(world.peers[peer].close, None, "{what}, {wire:?}");
        }
    }
}

#[test]
fn a_token_holds_from_its_first_frame_to_its_renewals() {
    for wire in WIRES {
        let mut world = world(|_, rules| rules.everyone = granted(&["user.{sub}.*"], &["conn.{conn}"]));
        world.publish("fx.EUR", "1");
        let sub = Some("a@b.c".to_owned());
        let first = Pass { sub: sub.clone(), auto: vec!["news".to_owned()], ..lives(&world, 40) };
        let peer = world.dial_by_showing(wire, "/ws?topics=fx.EUR,user.a@b@x2Ec.*", &first);
        let of_url = subscribe(&["fx.EUR", "user.a@b@x2Ec.*"]);
        world.peers[peer].model.asked.push_back(Asked { id: None, op: of_url });
        world.settle();

        let authorized: Value = serde_json::from_str(&world.peers[peer].texts[0]).unwrap();
        let named = ["op", "sub", "as"].map(|name| authorized[name].as_str().unwrap());
        assert_eq!(named, ["authorized", "a@b.c", "a@b@x2Ec"], "{wire:?}");
        assert!(authorized.get("id").is_none() && authorized["exp"] == first.exp_s * 1_000_000);
        let conn = authorized["conn"].as_str().unwrap().to_owned();
        assert!(conn.len() == 16 && conn.bytes().all(|byte| byte.is_ascii_hexdigit()), "{conn}");
        let subscribed = world.peers[peer].frames("subscribed");
        let told: Vec<_> = subscribed.iter().map(|frame| (&frame["sub"], &frame["topics"])).collect();
        let own = json!([format!("conn.{conn}"), "news"]);
        assert_eq!(told[0], (&json!("auto"), &own), "{wire:?}");
        assert_eq!(told[1], (&json!(""), &json!(["fx.EUR", "user.a@b@x2Ec.*"])), "{wire:?}");

        world.advance(20_100 * MS);
        assert_eq!(self::told(&world, peer, "notice")["code"], "token_expiring", "at half of what was left");
        let second = Pass { sub, subscribe: vec!["lse.*".to_owned()], ..lives(&world, 600) };
        auth(&mut world, peer, &second);
        assert_eq!(self::told(&world, peer, "authorized")["conn"], conn.as_str(), "{wire:?}");
        let unsubscribed = world.peers[peer].frames("unsubscribed");
        let taken: Vec<_> = unsubscribed.iter().map(|frame| (&frame["sub"], &frame["topics"])).collect();
        assert_eq!(taken, [(&json!("auto"), &json!(["news"])), (&json!(""), &json!(["fx.EUR"]))], "{wire:?}");
        for topic in ["fx.EUR", "news", "user.a@b@x2Ec.inbox", &format!("conn.{conn}")] {
            world.publish(topic, "2");
        }
        world.advance(60 * S);
        world.peers[peer].model.check_newest(&world.publisher.epochs);
        assert_eq!(world.peers[peer].close, None, "{wire:?}");
    }
}

#[test]
fn only_mistakes_of_messages_count_towards_a_close() {
    for wire in WIRES {
        let (mut world, peer) = known(wire);
        let bad = Pass { is_bad: true, ..pass(&world) };
        for _ in 0..30 {
            world.ask(peer, subscribe(&["lse.X"]));
            auth(&mut world, peer, &bad);
        }
        assert_eq!(world.peers[peer].frames("error").len(), 60, "{wire:?}");
        for _ in 0..20 {
            world.subscribe(peer, "auto", &["fx.EUR"], None);
        }
        assert_eq!(world.peers[peer].close, None, "{wire:?}");
        world.subscribe(peer, "auto", &["fx.EUR"], None);
        assert_eq!(world.peers[peer].close_code(), Some(4506), "{wire:?}");
    }
}

#[test]
fn a_subject_has_no_more_connections_than_the_lower_of_both_limits() {
    for (of_all, of_token, most) in
        [(3, Some(2), 2), (2, Some(3), 2), (2, None, 2), (0, Some(2), 2), (0, None, 5)]
    {
        for wire in WIRES {
            let mut world = world(|config, _| config.limits.connections_per_sub = of_all);
            let pass = Pass { connections: of_token, ..pass(&world) };
            let nobody = Pass { sub: None, ..pass.clone() };
            let open = (0..5).filter(|_| {
                let peer = world.dial_by_showing(wire, "/ws", &pass);
                world.settle();
                world.peers[peer].open
            });
            assert_eq!(open.count(), most, "{of_all}, {of_token:?}, {wire:?}");
            // Who has no subject is nobody's connection.
            for _ in 0..3 {
                dial(&mut world, wire, &nobody);
            }
        }
    }
}

#[test]
fn a_limit_of_a_token_counts_connections_of_tokens_without_one() {
    for wire in WIRES {
        let mut world = world(|_, _| {});
        let pass = pass(&world);
        for _ in 0..2 {
            dial(&mut world, wire, &pass);
        }
        let third = world.dial_by_showing(wire, "/ws", &Pass { connections: Some(2), ..pass });
        world.settle();
        assert!(!world.peers[third].open, "{wire:?}");
    }
}
