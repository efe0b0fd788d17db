//! HTTP on both listeners of the real binary (PROTOCOL.md, "Connecting" and "The admin listener").
#![forbid(unsafe_code)]

mod contract;

use std::{thread, time::Duration};

use contract::{ADMIN_KEY, Answer, Gateway, Socket, UPGRADE, dial, http};

#[test]
fn the_data_listener_refuses_in_one_line_of_json() {
    let gateway = Gateway::start("", "[limits]\npatterns = 2");
    let old = UPGRADE.replace("Version: 13", "Version: 8");
    let long = format!("{UPGRADE}X: {}\r\n", "x".repeat(17_000));
    for (method, path, headers, status) in [
        ("GET", "/ws", "", 400),
        ("GET", "/ws?topics=a..b", UPGRADE, 400),
        ("GET", "/ws?topics=a,b,c", UPGRADE, 400),
        ("GET", "/ws?topics=a&interval_ms=soon", UPGRADE, 400),
        ("GET", "/ws?topics=a&since=8F0C2A77D1E94B02:1", UPGRADE, 400),
        ("GET", "/ws?since=8f0c2a77d1e94b02:1", UPGRADE, 400),
        ("GET", "/nothing", "", 404),
        ("OPTIONS", "/nothing", "", 404),
        ("DELETE", "/publish", "", 404),
        ("OPTIONS", "/ws", "", 405),
        ("POST", "/healthz", "", 405),
        ("PUT", "/", "", 405),
        ("GET", "/ws", &old, 426),
        ("GET", "/ws", &long, 431),
    ] {
        let answer = http(&gateway.data, method, path, headers, "");
        answer.assert_refusal(status, &format!("{method} {path}"));
        assert_eq!(answer.head.contains("sec-websocket-version: 13"), status == 426, "{answer:?}");
        assert_eq!(answer.head.contains("\r\nallow: get, head"), status == 405, "{answer:?}");
    }
}

#[test]
fn a_target_with_scheme_and_host_means_its_path() {
    let gateway = Gateway::start("", "");
    assert_eq!(http(&gateway.data, "GET", "http://x/healthz", "", "").status, 200);
    assert!(Socket::connect(&gateway.data, "http://x/ws?topics=a").is_ok());
}

#[test]
fn the_admin_listener_knows_its_paths_before_its_methods() {
    let gateway = Gateway::start("", "");
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("OPTIONS", "/nothing", 404),
        ("POST", "/nothing", 404),
        ("GET", "/topics/", 404),
        ("GET", "/topics/none", 404),
        ("DELETE", "/topics/none", 404),
        ("GET", "/publish", 405),
        ("OPTIONS", "/publish", 405),
        ("POST", "/topics", 405),
        ("PUT", "/topics/a", 405),
        ("GET", "/topics?limit=-1", 400),
    ] {
        http(&gateway.admin, method, path, "", "").assert_refusal(status, &format!("{method} {path}"));
    }
    let answer = http(&gateway.admin, "GET", "/topics?limit=99999999999999999999999", "", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
}

#[test]
fn head_is_answered_like_get_without_the_body_on_every_route() {
    let gateway = Gateway::start("", "");
    gateway.publish("a", "1");
    let (data, admin) = (&gateway.data, &gateway.admin);
    let old = UPGRADE.replace("Version: 13", "Version: 8");
    let (many, long) = ("X: y\r\n".repeat(70), format!("X: {}\r\n", "y".repeat(17_000)));
    for (address, path, headers, status) in [
        (data, "/ws", &*many, 431),
        (data, "/healthz", &*long, 431),
        (data, "/healthz", "X\r\n", 400),
        (data, "/healthz", "", 200),
        (data, "/", "", 307),
        (data, "/ws", "", 400),
        (data, "/ws?topics=a..b", UPGRADE, 400),
        (data, "/ws", &*old, 426),
        (data, "/nothing", "", 404),
        (admin, "/", "", 200),
        (admin, "/healthz", "", 200),
        (admin, "/readyz", "", 200),
        (admin, "/topics", "", 200),
        (admin, "/topics?limit=x", "", 400),
        (admin, "/topics/a", "", 200),
        (admin, "/topics/none", "", 404),
        (admin, "/status", "", 200),
        (admin, "/publish", "", 405),
        (admin, "/nothing", "", 404),
        (admin, "/healthz", "Host: evil.example\r\nConnection: close\r\n", 403),
    ] {
        let [get, head] = ["GET", "HEAD"].map(|method| http(address, method, path, headers, ""));
        let what = format!("{path}: {get:?} {head:?}");
        assert_eq!((get.status, head.status, head.body.as_str()), (status, status, ""), "{what}");
        let fields = |answer: &Answer| -> Vec<String> {
            answer.head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect()
        };
        assert_eq!(fields(&get), fields(&head), "{what}");
        assert!(get.head.contains(&format!("\r\ncontent-length: {}", get.body.len())), "{what}");
    }
    // Its length is another one from moment to moment.
    let metrics = http(admin, "HEAD", "/metrics", "", "");
    assert_eq!((metrics.status, metrics.body.as_str()), (200, ""));
    let upgrade = http(data, "HEAD", "/ws", UPGRADE, "");
    assert_eq!((upgrade.status, upgrade.body.as_str()), (405, ""), "only GET upgrades");
    assert!(upgrade.head.ends_with("\r\nallow: get"), "{upgrade:?}");
}

#[test]
fn parameters_of_others_do_not_matter_and_known_ones_count_decoded() {
    let gateway = Gateway::start("", "");
    gateway.publish("a.b", "1");
    for query in ["topics=a.b&discount=100%", "t=%u2603&topics=a.b&name=Jos%E9", "%zz&%74opics=%61.b"] {
        let mut socket = Socket::connect(&gateway.data, &format!("/ws?{query}")).expect(query);
        assert_eq!(socket.until("subscribed")["topics"][0], "a.b", "{query}");
    }
    assert_eq!(Socket::connect(&gateway.data, "/ws?topics=%zz").err(), Some(400));
    for query in ["_=100%&prefix=a%2E", "%70refix=a.&x=%E9", "limit=%31"] {
        let answer = http(&gateway.admin, "GET", &format!("/topics?{query}"), "", "");
        assert!(answer.status == 200 && answer.body.contains("a.b"), "{query}: {answer:?}");
    }
    for query in ["prefix=%zz", "limit=%E9", "limit=%78"] {
        let answer = http(&gateway.admin, "GET", &format!("/topics?{query}"), "", "");
        answer.assert_refusal(400, query);
    }
    let offer = format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n");
    for (query, compressed) in
        [("", true), ("?compress=%31", true), ("?compress=0", false), ("?%63ompress=%30", false)]
    {
        let head = contract::upgrade(&gateway.data, &format!("/ws{query}"), &offer);
        assert_eq!(head.contains("permessage-deflate"), compressed, "{query}: {head}");
    }
}

#[test]
fn the_connections_of_the_process_are_limited_exactly_over_all_shards() {
    let gateway = Gateway::start("shards = 3", "[limits]\nconnections = 5");
    let mut open: Vec<Socket> = (0..5)
        .map(|i| Socket::connect(&gateway.data, "/ws").unwrap_or_else(|s| panic!("{i}: {s}")))
        .collect();
    for _ in 0..12 {
        assert_eq!(Socket::connect(&gateway.data, "/ws").err(), Some(503));
    }
    open.pop();
    open.push(retry(&gateway));
    assert_eq!(Socket::connect(&gateway.data, "/ws").err(), Some(503));
    let answer = http(&gateway.data, "GET", "/ws", UPGRADE, "");
    answer.assert_refusal(503, "full");
}

#[test]
fn connections_that_are_being_refused_take_no_room_from_others() {
    let gateway = Gateway::start("shards = 1", "[limits]\nconnections = 8\nhandshake = \"60s\"");
    let mut open: Vec<Socket> = (0..8).map(|_| Socket::connect(&gateway.data, "/ws").ok().unwrap()).collect();
    // A quarter of 264 slots is kept for these, who wait to be refused.
    let _waiting: Vec<_> = (0..30).map(|_| dial(&gateway.data)).collect();
    assert_eq!(Socket::connect(&gateway.data, "/ws").err(), Some(503));
    // Most of these are reset, since half of the slots for such are taken.
    let _crowd: Vec<_> = (0..400).map(|_| dial(&gateway.data)).collect();
    // Whoever comes later is accepted later, so none of them is let in now.
    assert!(Socket::connect(&gateway.data, "/ws").is_err());
    open.truncate(4);
    for _ in 0..4 {
        open.push(retry(&gateway));
    }
    // Within seconds, though `handshake` is a minute.
    while Socket::connect(&gateway.data, "/ws").err() != Some(503) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Connects as soon as the gateway has noticed that somebody left.
fn retry(gateway: &Gateway) -> Socket {
    for _ in 0..100 {
        match Socket::connect(&gateway.data, "/ws") {
            Ok(socket) => return socket,
            Err(status) => assert!([0, 503].contains(&status), "{status}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("there was room, but nobody was let in for 2 s");
}

#[test]
fn a_body_that_nobody_asked_for_does_not_cost_the_answer() {
    let gateway = Gateway::start("", "");
    let body = "x".repeat(700_000);
    http(&gateway.data, "POST", "/ws", "", &body).assert_refusal(405, "POST with a body");
    http(&gateway.data, "POST", "/nothing", "", &body).assert_refusal(404, "POST with a body");
}

#[test]
fn the_root_leads_a_loopback_peer_to_an_admin_listener_it_can_reach() {
    let gateway = Gateway::start_config(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"0.0.0.0:0\"\nshards = 1\n{ADMIN_KEY}"
    ));
    let answer = http(&gateway.data, "GET", "/", "", "");
    let port = gateway.admin.rsplit(':').next().unwrap();
    assert_eq!(answer.status, 307);
    assert!(answer.head.contains(&format!("location: http://127.0.0.1:{port}/")), "{answer:?}");
}
