//! Refusals for what a request shows, and for what it asks for: tokens, grants, cookies.

use engine::{
    access::{
        bad::Bad,
        revoked::Revoked,
        rules::{Csrf, Granted, Place, Rules},
    },
    client::Refused,
    settings::Refusing,
    unit::Rate,
};
use gateway::config::Config;
use serde_json::{Value, json};

use super::{Outcome, PAGE, S, dial, forms, outcome, world};
use crate::support::{
    World,
    subscriber::{Asked, AskedOp},
    tokens::{Pass, token},
    wires::{WIRES, Wire},
};

/// What is refused, and what is said of it.
struct Row {
    what: &'static str,
    target: &'static str,
    /// What differs from a good token; `None`: none is shown.
    shown: Option<Value>,
    refused: Refused,
    reason: String,
}

fn row(
    what: &'static str,
    target: &'static str,
    shown: Option<Value>,
    refused: Refused,
    reason: impl ToString,
) -> Row {
    Row { what, target, shown, refused, reason: reason.to_string() }
}

fn bad(what: &'static str, differs: Value, bad: &Bad) -> Row {
    row(what, "/ws?topics=fx.EUR", Some(differs), Refused::Token, format!("bad token: {bad}"))
}

/// When the world of a test begins, in seconds.
const NOW_S: i64 = 1_700_000_005;

fn rows() -> Vec<Row> {
    let claim = |claim, wanted| Bad::Claim { claim, wanted };
    let seconds = |name| claim(name, "a number of seconds since 1970");
    let grants = |reason: &str| Bad::Grants(reason.to_owned());
    let own = |own: Value| json!({ "fanwire": own });
    let known = "subscribe, publish, auto, interval_ms_min, connections and act_for";
    vec![
        row("nothing", "/ws", None, Refused::Token, Refused::Token.text()),
        bad("an exp of nothing", json!({ "exp": null }), &seconds("exp")),
        bad("an exp of text", json!({ "exp": "1900000000" }), &seconds("exp")),
        bad("an end long gone", json!({ "exp": NOW_S - 60 }), &Bad::Expired),
        bad("a begin ahead", json!({ "nbf": NOW_S + 60 }), &Bad::NotYet),
        bad("an issue ahead", json!({ "iat": NOW_S + 60 }), &claim("iat", "it was issued in the future")),
        bad(
            "a long life",
            json!({ "exp": NOW_S + 86_401 }),
            &Bad::TooLong { lives_s: 86_401, max_s: 86_400 },
        ),
        bad("another issuer", json!({ "iss": "them" }), &Bad::Issuer),
        bad("another audience", json!({ "aud": ["them"] }), &Bad::Audience),
        bad("no subject", json!({ "sub": "" }), &claim("sub", "a text of 1 to 128 bytes")),
        bad("a name of another kind", json!({ "jti": 7 }), &claim("jti", "a text of 1 to 255 bytes")),
        bad("a revoked name", json!({ "jti": "gone" }), &Bad::Revoked),
        bad("a revoked subject", json!({ "sub": "mallory" }), &Bad::Revoked),
        bad("grants of another kind", own(json!([])), &grants("what stands at /fanwire is no object")),
        bad(
            "an unknown member",
            own(json!({ "read": [] })),
            &grants(&format!("\"read\" is unknown; there are {known}")),
        ),
        bad(
            "a bad pattern to subscribe to",
            own(json!({ "subscribe": ["a*"] })),
            &grants("in \"subscribe\": bad pattern: a* (a * may only stand for a whole segment)"),
        ),
        bad(
            "a bad pattern to publish",
            own(json!({ "publish": ["a..b"] })),
            &grants("in \"publish\": bad pattern: a..b (a segment between dots is empty)"),
        ),
        bad(
            "a name in a pattern of its own",
            own(json!({ "auto": ["{sub}"] })),
            &grants("in \"auto\": bad pattern: {sub} ('{' is not one of A-Z a-z 0-9 . _ - : / @)"),
        ),
        bad(
            "an interval of text",
            own(json!({ "interval_ms_min": "1" })),
            &grants("\"interval_ms_min\" is bad: milliseconds, 0 to 3600000"),
        ),
        bad(
            "no connection",
            own(json!({ "connections": 0 })),
            &grants("\"connections\" is bad: a whole number, 1 or more"),
        ),
        row("a topic", "/ws?topics=lse.X", Some(json!({})), Refused::Grant, "lse.X is not granted"),
        row("the first", "/ws?topics=fx.A,fx.*,*.A,*", Some(json!({})), Refused::Grant, "*.A is not granted"),
        row(
            "one connection more",
            "/ws",
            Some(own(json!({ "connections": 1 }))),
            Refused::Subject,
            "the subject of the token has 1 connections already",
        ),
    ]
}

fn claims(differs: &Value) -> Value {
    let mut claims = json!({
        "sub": "alice", "jti": "7", "exp": NOW_S + 600, "iss": "id", "aud": "us",
        "fanwire": { "subscribe": ["fx.*"] },
    });
    let members = differs.as_object().expect("what differs are members");
    members.iter().for_each(|(name, value)| claims[name] = value.clone());
    claims
}

/// Fields of requests live as long as the test.
fn bearer(token: &str) -> (&'static str, &'static str) {
    ("Authorization", format!("Bearer {token}").leak())
}

/// Its clients show a token with the request, of which much is wanted.
fn strict(change: impl FnOnce(&mut Config)) -> World {
    let world = world(|config| {
        config.access.tokens.rules = Rules {
            is_open: false,
            from: vec![Place::Authorization],
            issuer: vec!["id".into()],
            audience: vec!["us".into()],
            ..Rules::default()
        }
        .into();
        change(config);
    });
    let now_us = world.now.wall_us;
    assert_eq!(now_us / 1_000_000, NOW_S);
    for revoked in [Revoked::Jti("gone".into()), Revoked::Sub("mallory".into())] {
        world.shared.tokens.revocations.revoke(revoked, now_us + 60_000_000, now_us).unwrap();
    }
    world
}

/// A client with a connection that counts.
fn connect_counted(world: &mut World) -> usize {
    let peer = world.dial();
    let op =
        AskedOp::Auth { pass: Pass { sub: Some("alice".into()), exp_s: NOW_S + 600, ..Pass::default() } };
    world.peers[peer].model.asked.push_back(Asked { id: None, op });
    let claims = claims(&json!({ "fanwire": { "connections": 1 } }));
    world.handshake_with(peer, "/ws", false, &[bearer(&token(&claims, false))]);
    world.settle();
    assert!(world.peers[peer].open);
    peer
}

/// As much of a reason as a close frame has room for.
fn shortened(reason: &str) -> String {
    reason.chars().take(123).collect()
}

/// The fields of an HTTP answer that tell what to show.
fn challenge(world: &World, peer: usize) -> Option<String> {
    let head = String::from_utf8_lossy(&world.peers[peer].http).into_owned();
    head.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: ").map(str::to_owned))
}

#[test]
fn what_a_request_shows_and_asks_for_is_refused_in_each_form() {
    for Row { what, target, shown, refused, reason } in rows() {
        for (form, fields, is_closed) in forms() {
            for (wire, is_late) in WIRES.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
                let case = format!("{what}: {form:?}, {fields:?}, {wire:?}, late {is_late}");
                let mut world = strict(|config| config.server.refusing = form);
                let others = u64::from(refused == Refused::Subject);
                if refused == Refused::Subject {
                    connect_counted(&mut world);
                }
                world.fields = fields.clone();
                world.fields.extend(shown.as_ref().map(|differs| bearer(&token(&claims(differs), is_late))));
                let peer = dial(&mut world, wire, target);
                assert_eq!(world.believer.finish(), is_late && shown.is_some(), "{case}");
                world.settle();
                let (status, code) = match refused {
                    Refused::Token => (401, 4401),
                    Refused::Grant => (403, 4403),
                    _ => (429, 4429),
                };
                let retry_after_s = (refused == Refused::Subject).then_some(5);
                let expected = match is_closed {
                    true => Outcome::Close(code, shortened(&reason)),
                    false => Outcome::Http(status, reason.clone(), retry_after_s),
                };
                assert_eq!(outcome(&world, peer), expected, "{case}");
                if !is_closed {
                    let asked = match (refused, &shown) {
                        (Refused::Token, None) => Some("Bearer".to_owned()),
                        (Refused::Token, Some(_)) => Some("Bearer error=\"invalid_token\"".to_owned()),
                        _ => None,
                    };
                    assert_eq!(challenge(&world, peer), asked, "{case}");
                }
                let stats = world.shard.stats();
                assert_eq!(stats.refused_by[refused as usize], 1, "{case}");
                assert_eq!((stats.accepted, stats.connections), (others, others), "{case}");
                world.advance(2 * S);
                assert!(world.peers[peer].slot_freed, "{case}");
                // Nothing is left of it.
                let stats = world.shard.stats();
                let held = (stats.grants, world.shared.tokens.subjects() as u64, stats.connections);
                assert_eq!(held, (others, others, others), "{case}");
                assert_eq!(world.shared.tokens.checks(), 0, "{case}");
            }
        }
    }
}

#[test]
fn a_bad_url_and_a_wrong_code_are_told_by_http_in_each_form() {
    for (form, fields, _) in forms() {
        for wire in WIRES {
            let csrf = Csrf { cookie: None, param: "csrf".into() };
            let mut world = strict(|config| {
                config.server.refusing = form;
                let from = vec![Place::Authorization, Place::Cookie("s".into())];
                let rules = &*config.access.tokens.rules;
                config.access.tokens.rules = Rules { from, csrf: Some(csrf.clone()), ..rules.clone() }.into();
            });
            let good = token(&claims(&json!({})), false);
            world.fields = [&*fields, &[bearer(&good)]].concat();
            let peer = dial(&mut world, wire, "/ws?topics=fx..a");
            let Outcome::Http(400, reason, None) = outcome(&world, peer) else {
                panic!("{form:?}, {wire:?}")
            };
            assert!(reason.contains("fx..a"), "{reason}");
            world.fields = [&*fields, &[("Cookie", format!("s={good}").leak())]].concat();
            for target in ["/ws", "/ws?csrf=code-of-another"] {
                let peer = dial(&mut world, wire, target);
                let reason = "csrf in the URL is not the code of the cookie".to_owned();
                assert_eq!(outcome(&world, peer), Outcome::Http(403, reason, None), "{form:?}, {wire:?}");
            }
            assert_eq!(world.shard.stats().refused_by[Refused::Code as usize], 2);
        }
    }
}

#[test]
fn who_may_be_refused_for_several_reasons_hears_of_the_first() {
    const EVIL: (&str, &str) = ("Origin", "https://evil.example");
    let expired = bearer(&token(&claims(&json!({ "exp": NOW_S - 60 })), false));
    let good =
        bearer(&token(&claims(&json!({ "fanwire": { "subscribe": ["fx.*"], "connections": 1 } })), false));
    let mut world = strict(|config| {
        config.server.refusing = Refusing::Http;
        config.limits.idle = 3600 * S;
        config.limits.handshakes_per_ip = Rate { count: 2, per: 60 * S };
    });
    connect_counted(&mut world);
    let ask = |world: &mut World, host: &str, target: &str, fields: &[(&'static str, &'static str)]| {
        (world.host, world.fields) = (host.to_owned(), fields.to_vec());
        let peer = dial(world, Wire::Plain, target);
        outcome(world, peer).status()
    };
    // The host, the path, the origin.
    assert_eq!(ask(&mut world, "evil.example", "/other", &[EVIL, expired]), 403);
    assert_eq!(ask(&mut world, "localhost", "/other", &[EVIL, expired]), 404);
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=fx..a", &[EVIL, expired]), 403);
    let stats = world.shard.stats();
    assert_eq!([Refused::Host, Refused::Origin].map(|rule| stats.refused_by[rule as usize]), [1, 1]);
    // What the URL asks for comes before the token, and takes one of the two handshakes.
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=fx..a", &[PAGE, expired]), 400);
    // Limits come before both.
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=fx..a", &[PAGE, expired]), 429);
    world.advance(60 * S);
    // The token, its subject's connections, its grants.
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=lse.X", &[PAGE, expired]), 401);
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=lse.X", &[PAGE, good]), 429);
    let stats = world.shard.stats();
    let counted = [Refused::AddressHandshakes, Refused::Token, Refused::Subject];
    assert_eq!(counted.map(|rule| stats.refused_by[rule as usize]), [1, 1, 1]);
    world.reset(0);
    world.advance(60 * S);
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=lse.X", &[PAGE, good]), 403);
    // A drain that began while the token was verified comes before what it grants.
    let late = bearer(&token(&claims(&json!({})), true));
    (world.host, world.fields) = ("localhost".to_owned(), vec![late]);
    let peer = dial(&mut world, Wire::Plain, "/ws?topics=lse.X");
    world.shared.start_draining();
    assert!(world.believer.finish());
    world.settle();
    assert_eq!(outcome(&world, peer).status(), 503);
    assert_eq!(ask(&mut world, "localhost", "/ws?topics=lse.X", &[PAGE, expired]), 503);
    assert_eq!(ask(&mut world, "localhost", "/ws", &[EVIL]), 403);
}

#[test]
fn without_a_token_what_the_anonymous_table_grants_is_all() {
    for (form, fields, is_closed) in forms() {
        for wire in WIRES {
            let mut world = strict(|config| {
                config.server.refusing = form;
                let anonymous = Granted {
                    subscribe: vec![engine::access::grant::Grant::parse("public.*").unwrap()],
                    ..Granted::default()
                };
                let rules = &*config.access.tokens.rules;
                config.access.tokens.rules = Rules { anonymous: Some(anonymous), ..rules.clone() }.into();
            });
            world.fields = fields.clone();
            let refused = dial(&mut world, wire, "/ws?topics=public.a,fx.EUR");
            let reason = "fx.EUR is not granted".to_owned();
            let expected =
                if is_closed { Outcome::Close(4403, reason) } else { Outcome::Http(403, reason, None) };
            assert_eq!(outcome(&world, refused), expected, "{form:?}, {fields:?}, {wire:?}");
            // A bad token is not as good as none.
            world.fields.push(bearer("forged"));
            let forged = dial(&mut world, wire, "/ws");
            let status = if is_closed { 4401 } else { 401 };
            assert_eq!(outcome(&world, forged).status(), status, "{form:?}, {fields:?}, {wire:?}");
            world.fields = fields.clone();
            let open = dial(&mut world, wire, "/ws");
            assert_eq!(outcome(&world, open), Outcome::Open);
        }
    }
}
