//! Server-sent events and lines of NDJSON: the same messages over an HTTP answer that goes on.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{
    access::{
        grant::Grant,
        rules::{Granted, Place, Rules},
    },
    http::origin::Origins,
    protocol::{
        encoding::Encoding,
        status::{Change, Status, TopicState},
    },
    settings::Refusing,
    shard::inbox::Message,
    topic::pattern::Pattern,
};
use net::sim::PeerEnd;
use serde_json::{Value, json};

use support::{
    EPOCH, World, config,
    streams::{Said, next},
    tokens::Pass,
};

const SSE: Encoding = Encoding::Sse { ids: true };

fn world() -> World {
    World::new(config(), 64, 1)
}

fn get(world: &mut World, target: &str) -> usize {
    world.ask_for_stream("GET", target, &[])
}

/// What came so far, all of it whole.
fn said(world: &World, peer: usize, encoding: Encoding) -> Vec<Said> {
    let answer = world.answer(peer);
    let mut rest = answer.body;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&rest));
    let all: Vec<Said> = std::iter::from_fn(|| next(encoding, &mut rest)).collect();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    all
}

fn events(world: &World, peer: usize) -> Vec<Said> {
    said(world, peer, SSE)
}

fn names(events: &[Said]) -> Vec<&str> {
    events.iter().map(|event| &*event.name).collect()
}

fn data(event: &Said) -> Value {
    serde_json::from_str(&event.data).unwrap_or_else(|e| panic!("{e}: {event:?}"))
}

/// What a request is refused with; checks what all refusals have in common.
fn refused(world: &mut World, method: &str, target: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
    let peer = world.ask_for_stream(method, target, fields);
    let answer = world.answer(peer);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["code"], answer.status);
    assert!(answer.has("connection: close") && answer.has("content-type: application/json"));
    assert_eq!(world.end(peer), PeerEnd::Ended, "half-closed after the answer");
    (answer.status, answer.head, body["reason"].as_str().unwrap().to_owned())
}

fn with_tokens(change: impl FnOnce(&mut Rules)) -> World {
    let mut config = config();
    let mut rules = Rules { is_open: false, ..Rules::default() };
    change(&mut rules);
    config.access.tokens.rules = rules.into();
    World::new(config, 64, 1)
}

fn pass(world: &World, subscribe: &[&str], auto: &[&str]) -> Pass {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
    Pass {
        sub: Some("a".to_owned()),
        jti: "a".to_owned(),
        exp_s: world.now.wall_us / 1_000_000 + 600,
        subscribe: texts(subscribe),
        auto: texts(auto),
        ..Pass::default()
    }
}

fn bearer(pass: &Pass) -> String {
    format!("Bearer {}", pass.token(false))
}

#[test]
fn a_client_gets_the_messages_of_a_websocket_as_events() {
    let mut world = world();
    world.publish("a.b", "{\"bid\":\r\n 1}");
    let peer = get(&mut world, "/sse?topics=a.*&interval_ms=100");
    let answer = world.answer(peer);
    for field in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert!(answer.has(field), "{field}: {}", answer.head);
    }
    for absent in ["content-length", "transfer-encoding", "access-control", "vary"] {
        assert!(!answer.head.contains(absent), "{absent}: {}", answer.head);
    }
    let first = events(&world, peer);
    assert_eq!(names(&first), ["subscribed", "snapshot"]);
    assert_eq!(first[0].id, None);
    assert_eq!(first[1].id, Some(format!("{EPOCH}:{}", data(&first[1])["version"])));
    assert_eq!(data(&first[1])["updates"][0]["data"]["bid"], 1);
    world.publish("a.b", "2");
    world.publish("a.c", "3");
    world.advance(Duration::from_millis(200));
    let all = events(&world, peer);
    assert_eq!(names(&all), ["subscribed", "snapshot", "batch"]);
    let batch = data(&all[2]);
    assert_eq!(batch["updates"].as_array().unwrap().len(), 2);
    assert_eq!(all[2].id, Some(format!("{EPOCH}:{}", batch["version"])));
}

#[test]
fn lines_are_the_same_messages_one_a_line() {
    let mut world = world();
    world.publish("a", "{\n}");
    let peer = get(&mut world, "/stream?topics=a&interval_ms=0");
    let answer = world.answer(peer);
    assert!(answer.has("content-type: application/x-ndjson") && answer.has("cache-control: no-store"));
    world.publish("a", "2");
    let all = said(&world, peer, Encoding::Ndjson);
    let ops: Vec<Value> = all.iter().map(|said| data(said)["op"].clone()).collect();
    assert_eq!(ops, ["subscribed", "snapshot", "batch"]);
    world.drain();
    world.advance(world.config.server.drain);
    let all = said(&world, peer, Encoding::Ndjson);
    assert_eq!(data(&all[3])["op"], "notice");
    assert_eq!(
        all.last().unwrap().data,
        r#"{"op":"close","code":1001,"reason":"the gateway is shutting down"}"#
    );
    assert_eq!(world.end(peer), PeerEnd::Ended);
}

#[test]
fn only_a_whole_batch_or_snapshot_has_an_id() {
    let mut config = config();
    config.fanout.frame_bytes_max = 1024;
    let mut world = World::new(config, 64, 1);
    for topic in 0..40 {
        world.publish(&format!("a.t{topic}"), &format!("{:?}", "x".repeat(100)));
    }
    let peer = get(&mut world, "/sse?topics=a.*");
    let parts = events(&world, peer).split_off(1);
    assert!(parts.len() > 4, "{parts:?}");
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        assert_eq!((data(part)["more"] == true, part.id.is_some()), (!is_last, is_last), "{part:?}");
    }
}

#[test]
fn who_comes_back_says_by_its_last_id_where_it_was() {
    let mut world = world();
    world.publish("a", "1");
    let first = get(&mut world, "/sse?topics=a");
    let id = events(&world, first).pop().unwrap().id.unwrap();
    world.publish("a", "2");
    let since = "8f0c2a77d1e94b02:0";
    for (fields, answered) in [
        (&[("Last-Event-ID", &*id)][..], "batch"),
        (&[("Last-Event-ID", "no id of ours")], "snapshot"),
        (&[("Last-Event-ID", "00000000000000ff:1")], "snapshot"),
        (&[], "snapshot"),
    ] {
        let peer = world.ask_for_stream("GET", "/sse?topics=a", fields);
        let all = events(&world, peer);
        assert_eq!(names(&all), ["subscribed", answered], "{fields:?}");
        assert_eq!(data(&all[1])["updates"][0]["data"], 2);
    }
    // It goes before `since`, which counts where it is none of ours.
    let target = format!("/sse?topics=a&since={since}");
    for (last, from) in [(&*id, 1), ("no id of ours", 0)] {
        let peer = world.ask_for_stream("GET", &target, &[("Last-Event-ID", last)]);
        assert_eq!(data(&events(&world, peer)[1])["from"], from, "{last}");
    }
}

#[test]
fn what_is_granted_as_auto_has_no_ids_which_would_be_ahead_of_what_was_asked_for() {
    let mut world = with_tokens(|_| {});
    let pass = pass(&world, &["a.*"], &["own.*"]);
    let fields = [("Authorization", &*bearer(&pass))];
    let peer = world.ask_for_stream("GET", "/sse?topics=a.*&interval_ms=1000", &fields);
    world.publish("own.x", "1");
    world.publish("a.x", "1");
    world.advance(Duration::from_millis(1100));
    let all = events(&world, peer);
    assert_eq!(names(&all)[..5], ["authorized", "subscribed", "snapshot", "subscribed", "snapshot"]);
    let (auto, own) = (data(&all[1])["class"].clone(), data(&all[3])["class"].clone());
    assert_eq!((&data(&all[1])["sub"], &data(&all[3])["sub"]), (&json!("auto"), &json!("")));
    let frames = || all.iter().filter(|event| matches!(&*event.name, "snapshot" | "batch"));
    assert!(frames().any(|frame| data(frame)["class"] == auto && frame.name == "batch"));
    for frame in frames() {
        assert_eq!(frame.id.is_some(), data(frame)["class"] == own, "{frame:?}");
    }
    // What is granted so is enough.
    let peer = world.ask_for_stream("GET", "/sse", &fields);
    assert_eq!(names(&events(&world, peer)), ["authorized", "subscribed", "snapshot"]);
}

#[test]
fn states_and_notices_are_events_and_after_a_draining_one_a_browser_knows_when_to_come_back() {
    let mut world = world();
    world.publish("a", "1");
    let peer = get(&mut world, "/sse?topics=a");
    let status = Status {
        topics: [Pattern::parse("a").unwrap()].into(),
        state: TopicState::Stale,
        since_us: 1,
        reason: "gone".into(),
    };
    assert!(world.inbox.push(Message::Status(Change::whole(1, status).into())).is_ok());
    world.settle();
    assert_eq!(names(&events(&world, peer)), ["subscribed", "snapshot", "status"]);
    world.drain();
    world.advance(world.config.server.drain);
    let all = events(&world, peer);
    let at = all.iter().position(|event| event.name == "notice").unwrap();
    let after_ms = data(&all[at])["reconnect_after_ms"].as_u64();
    assert_eq!((all[at + 1].retry, after_ms.is_some()), (after_ms, true));
    let close = all.last().unwrap();
    assert_eq!(close.name, "close");
    assert_eq!(close.data, r#"{"op":"close","code":1001,"reason":"the gateway is shutting down"}"#);
}

#[test]
fn a_comment_comes_where_nothing_came_for_15_s() {
    let mut config = config();
    config.fanout.heartbeat = Duration::from_secs(600);
    let mut world = World::new(config, 64, 1);
    let (sse, lines) = (get(&mut world, "/sse?topics=a"), get(&mut world, "/stream?topics=a"));
    let comments = |world: &World| events(world, sse).iter().map(|event| event.comments).sum::<usize>();
    world.advance(Duration::from_secs(14));
    assert_eq!(comments(&world), 0);
    world.advance(Duration::from_secs(12));
    assert_eq!(comments(&world), 1);
    world.advance(Duration::from_secs(100));
    assert!((6..=8).contains(&comments(&world)), "{}", comments(&world));
    assert_eq!(said(&world, lines, Encoding::Ndjson).len(), 2);
}

#[test]
fn who_takes_nothing_for_pong_is_reset_and_who_is_slow_is_not() {
    let mut config = config();
    config.limits.pong = Duration::from_secs(2);
    config.limits.stall = Duration::from_secs(60);
    config.fanout.heartbeat = Duration::from_secs(1);
    let mut world = World::new(config, 64, 1);
    let (gone, slow, idle) = (
        get(&mut world, "/sse?topics=a"),
        get(&mut world, "/sse?topics=a"),
        get(&mut world, "/stream?topics=a"),
    );
    for peer in [gone, slow] {
        world.stall(peer, usize::MAX);
    }
    world.publish("a", "1");
    for _ in 0..10 {
        world.advance(Duration::from_millis(500));
        world.read(slow, 10);
    }
    assert_eq!(world.end(gone), PeerEnd::Reset);
    assert_eq!((world.end(slow), world.end(idle)), (PeerEnd::Open, PeerEnd::Open));
    assert_eq!(world.shard.stats().connections, 2);
}

#[test]
fn a_request_that_leads_to_nothing_is_refused_by_http_alone() {
    for refusing in Refusing::ALL {
        let mut config = config();
        config.server.refusing = refusing;
        let mut world = World::new(config, 64, 1);
        let origin = [("Origin", "http://localhost")];
        for (target, status) in [
            ("/sse", 400),
            ("/stream", 400),
            ("/sse?topics=", 400),
            ("/sse?topics=a..b", 400),
            ("/sse?topics=%zz", 400),
            ("/sse?topics=a&interval_ms=x", 400),
            ("/stream?topics=a&since=1", 400),
            ("/sse?since=8f0c2a77d1e94b02:1", 400),
            ("/sse/?topics=a", 404),
            ("/streams?topics=a", 404),
        ] {
            let (found, _, reason) = refused(&mut world, "GET", target, &origin);
            assert_eq!((found, reason.is_empty()), (status, false), "{target}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            let (status, head, _) = refused(&mut world, method, "/sse?topics=a", &[]);
            assert!(status == 405 && head.contains("\r\nallow: get, head, options"), "{method}: {head}");
        }
        let (status, head, _) =
            refused(&mut world, "GET", "/sse?topics=a", &[("Origin", "http://evil.example")]);
        assert!(status == 403 && !head.contains("access-control"), "{head}");
        world.shared.start_draining();
        assert_eq!(refused(&mut world, "GET", "/sse?topics=a", &origin).0, 503);
    }
}

#[test]
fn a_crowded_address_and_a_rate_are_told_with_when_to_come_back() {
    let mut config = config();
    config.limits.connections_per_ip = 1;
    let mut world = World::new(config, 64, 1);
    get(&mut world, "/sse?topics=a");
    let (status, head, _) = refused(&mut world, "GET", "/stream?topics=a", &[]);
    assert!(status == 429 && head.contains("\r\nretry-after: "), "{head}");
}

#[test]
fn a_token_is_needed_at_once_and_covers_what_the_url_names() {
    let mut world = with_tokens(|rules| {
        rules.from = vec![
            Place::Authorization,
            Place::Op,
            Place::Query("jwt".to_owned()),
            Place::Cookie("s".to_owned()),
        ];
    });
    let good = pass(&world, &["a.*"], &[]);
    let origin = ("Origin", "http://localhost");
    let allowed = |head: &str| {
        [
            "access-control-allow-origin: http://localhost",
            "vary: origin",
            "access-control-allow-credentials: true",
        ]
        .iter()
        .all(|field| head.lines().any(|line| line == *field))
    };
    let (status, head, _) = refused(&mut world, "GET", "/sse?topics=a.b", &[origin]);
    assert!(status == 401 && head.contains("\r\nwww-authenticate: bearer\r\n") && allowed(&head), "{head}");
    let (status, head, reason) =
        refused(&mut world, "GET", "/sse?topics=a.b", &[origin, ("Authorization", "Bearer x")]);
    assert!(status == 401 && head.contains("invalid_token") && allowed(&head), "{reason}: {head}");
    let shown = bearer(&good);
    let (status, head, reason) =
        refused(&mut world, "GET", "/sse?topics=a.b,b", &[origin, ("Authorization", &shown)]);
    assert_eq!((status, &*reason), (403, "b is not granted"));
    assert!(allowed(&head), "{head}");
    let (status, _, _) = refused(&mut world, "GET", "/stream", &[("Authorization", &shown)]);
    assert_eq!(status, 400, "no topics, and nothing is granted as auto");
    let target = format!("/stream?topics=a.b&jwt={}", good.token(true));
    let late = world.ask_for_stream("GET", &target, &[]);
    while world.believer.finish() {}
    world.settle();
    assert_eq!(data(&said(&world, late, Encoding::Ndjson)[0])["op"], "authorized");
    let cookie = format!("s={}", good.token(false));
    let peer = world.ask_for_stream("GET", "/sse?topics=a.b", &[origin, ("Cookie", &cookie)]);
    assert!(allowed(&world.answer(peer).head));
    assert_eq!(names(&events(&world, peer)), ["authorized", "subscribed", "snapshot"]);
    world.advance(Duration::from_secs(600));
    let all = events(&world, peer);
    let notice = all.iter().find(|event| event.name == "notice").unwrap();
    assert_eq!(data(notice)["code"], "token_expiring");
    world.advance(Duration::from_secs(40));
    assert_eq!(data(events(&world, peer).last().unwrap())["code"], 4005);
}

#[test]
fn a_browser_asks_first_whether_a_page_of_another_origin_may() {
    let mut config = config();
    config.access.origins = Origins::parse(&["https://app.example.com", "none"]).unwrap();
    let mut world = World::new(config, 64, 1);
    let page = ("Origin", "https://app.example.com");
    for target in ["/sse?topics=a", "/stream"] {
        let peer = world.ask_for_stream("OPTIONS", target, &[page, ("Access-Control-Request-Method", "GET")]);
        let answer = world.answer(peer);
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        for field in [
            "access-control-allow-origin: https://app.example.com",
            "access-control-allow-headers: authorization, last-event-id",
            "access-control-allow-methods: get, head",
            "vary: origin",
        ] {
            assert!(answer.has(field), "{field}: {}", answer.head);
        }
        for absent in ["credentials", "content-length"] {
            assert!(!answer.head.contains(absent), "{}", answer.head);
        }
    }
    let peer = world.ask_for_stream("OPTIONS", "/sse", &[]);
    let answer = world.answer(peer);
    assert!(answer.status == 204 && answer.has("allow: get, head, options"), "{}", answer.head);
    assert_eq!(refused(&mut world, "OPTIONS", "/sse", &[("Origin", "https://evil.example")]).0, 403);
    let peer = world.ask_for_stream("GET", "/sse?topics=a", &[page]);
    let answer = world.answer(peer);
    assert!(answer.has("access-control-allow-origin: https://app.example.com") && answer.has("vary: origin"));
    let (status, head, _) = refused(&mut world, "GET", "/sse?topics=a..b", &[page]);
    assert!(status == 400 && head.contains("\r\nvary: origin"), "{head}");
}

#[test]
fn head_is_answered_as_get_without_the_stream_and_http_1_0_is_served() {
    let mut world = with_tokens(|_| {});
    let pass = pass(&world, &["a"], &[]);
    let shown = bearer(&pass);
    let peer = world.ask_for_stream("HEAD", "/sse?topics=a", &[("Authorization", &shown)]);
    let answer = world.answer(peer);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert!(answer.has("content-type: text/event-stream"));
    assert_eq!(world.end(peer), PeerEnd::Ended);
    for (target, status) in [("/sse?topics=b", 403), ("/sse", 400)] {
        let peer = world.ask_for_stream("HEAD", target, &[("Authorization", &shown)]);
        let answer = world.answer(peer);
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{target}");
    }
    assert_eq!(world.shard.stats().accepted, 0);
    let peer = world.dial();
    let request = format!("GET /sse?topics=a HTTP/1.0\r\nHost: localhost\r\nAuthorization: {shown}\r\n\r\n");
    world.send_raw(peer, request.as_bytes());
    world.settle();
    assert_eq!(names(&events(&world, peer)), ["authorized", "subscribed", "snapshot"]);
}

#[test]
fn a_listener_of_loopback_answers_to_its_own_names_also_behind_a_proxy() {
    let mut world = world();
    world.host = "app.example.com".to_owned();
    // A page could write this field, where it asks for no WebSocket.
    let (status, _, reason) = refused(&mut world, "GET", "/sse?topics=a", &[("X-Forwarded-For", "10.0.0.1")]);
    assert!(status == 403 && reason.contains("[access] hosts"), "{reason}");
}

#[test]
fn what_follows_the_request_is_passed_over_and_the_end_of_the_client_ends_it() {
    let mut world = world();
    let peer = get(&mut world, "/sse?topics=a&interval_ms=0");
    world.send_raw(peer, b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n\x81\x80");
    world.publish("a", "1");
    assert_eq!(names(&events(&world, peer)), ["subscribed", "snapshot", "batch"]);
    world.half_close(peer, false);
    world.settle();
    assert_ne!(world.end(peer), PeerEnd::Open);
    let flooding = get(&mut world, "/sse?topics=a");
    for _ in 0..2000 {
        world.send_raw(flooding, &[b'x'; 1000]);
        world.settle();
    }
    assert_ne!(world.end(flooding), PeerEnd::Open, "it says more than is passed over");
}

#[test]
fn clients_of_one_kind_share_frames_and_each_kind_is_counted() {
    let mut world = world();
    let peers =
        ["/sse", "/sse", "/stream", "/stream"].map(|path| get(&mut world, &format!("{path}?topics=a")));
    world.connect();
    let before = world.shard.stats().fanout.frames_built;
    world.publish("a", "1");
    world.advance(Duration::from_millis(300));
    let stats = world.shard.stats();
    assert_eq!(stats.fanout.frames_built - before, 2);
    assert_eq!((stats.clients_by, stats.accepted_by), ([1, 2, 2, 0], [1, 2, 2, 0]));
    assert_eq!(events(&world, peers[0]), events(&world, peers[1]));
}

#[test]
fn what_is_taken_away_is_told_and_the_token_that_is_needed_now_closes() {
    let mut world = with_tokens(|rules| {
        let grants = vec![Grant::parse("a.*").unwrap(), Grant::parse("b").unwrap()];
        rules.anonymous = Some(Granted { subscribe: grants, ..Granted::default() });
    });
    let peer = get(&mut world, "/sse?topics=a.b,b");
    let rules = |grants: Option<Vec<Grant>>| Rules {
        is_open: false,
        anonymous: grants.map(|subscribe| Granted { subscribe, ..Granted::default() }),
        ..Rules::default()
    };
    world.config.access.tokens.rules = rules(Some(vec![Grant::parse("b").unwrap()])).into();
    world.reload();
    world.advance(Duration::from_secs(3));
    let all = events(&world, peer);
    let lost = all.iter().find(|event| event.name == "unsubscribed").unwrap();
    assert_eq!(data(lost)["topics"], json!(["a.b"]));
    world.config.access.tokens.rules = rules(None).into();
    world.reload();
    world.advance(Duration::from_secs(3));
    assert_eq!(data(events(&world, peer).last().unwrap())["code"], 4401);
}
