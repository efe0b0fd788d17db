//! Every refusal before the upgrade is an HTTP answer with a one-line JSON body, then the end.
#![forbid(unsafe_code)]

mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use engine::http::host::Host;
use net::sim::PeerEnd;
use serde_json::Value;

use support::{World, config};

const UPGRADE: &str = "Host: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn world() -> World {
    World::new(config(), 64, 1)
}

struct Answer {
    status: u16,
    head: String,
    reason: String,
}

/// What a raw request is refused with; checks what all refusals have in common.
fn refused(world: &mut World, request: &str) -> Answer {
    let peer = world.dial();
    world.send_raw(peer, request.as_bytes());
    refusal_of(world, peer)
}

fn refusal_of(world: &mut World, peer: usize) -> Answer {
    world.settle();
    let (status, head, body) = http(world, peer);
    let body_value: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {head}\n{body}"));
    assert_eq!(body.trim_end().lines().count(), 1, "one line: {body}");
    assert_eq!(body_value["code"], status, "{head}");
    let lower = head.to_lowercase();
    assert!(
        lower.contains("connection: close") && lower.contains("content-type: application/json"),
        "{head}"
    );
    assert!(lower.contains(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(world.end(peer), PeerEnd::Ended, "half-closed after the answer");
    world.advance(Duration::from_millis(1100));
    assert!(world.peers[peer].slot_freed, "the slot is free after a second");
    Answer { status, head: lower, reason: body_value["reason"].as_str().unwrap().to_owned() }
}

fn http(world: &World, peer: usize) -> (u16, String, String) {
    let answer = String::from_utf8(world.peers[peer].http.clone()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

#[test]
fn what_is_malformed_or_no_upgrade_gets_400() {
    for request in [
        "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /ws\r\n\r\n",
        "GET /ws HTTP/1.1\r\nno colon\r\n\r\n",
        &format!("GET /ws?topics=a&since=x HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Version: 13\r\n\r\n"),
    ] {
        let answer = refused(&mut world(), request);
        assert_eq!(answer.status, 400, "{request}");
        assert!(!answer.reason.is_empty());
    }
}

#[test]
fn another_path_gets_404_whatever_the_method_and_the_body() {
    for request in [
        "GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /ws/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
        "POST /other HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(refused(&mut world(), request).status, 404, "{request}");
    }
}

#[test]
fn another_method_gets_405_also_with_a_body() {
    for request in [
        "POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
        "DELETE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let answer = refused(&mut world(), request);
        assert_eq!(answer.status, 405, "{request}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
}

#[test]
fn no_or_another_websocket_version_gets_426_and_the_one_spoken() {
    for version in ["", "Sec-WebSocket-Version: 12\r\n", "Sec-WebSocket-Version: 14\r\n"] {
        let answer = refused(&mut world(), &format!("GET /ws HTTP/1.1\r\n{UPGRADE}{version}\r\n"));
        assert_eq!(answer.status, 426, "{version}");
        assert!(answer.head.contains("sec-websocket-version: 13"), "{}", answer.head);
    }
}

#[test]
fn an_address_over_its_limit_gets_429_and_when_to_come_back() {
    let mut config = config();
    config.limits.connections_per_ip = 2;
    let mut world = World::new(config, 64, 1);
    let first = world.connect();
    world.connect();
    let over = world.dial_to("/ws");
    let answer = refusal_of(&mut world, over);
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    let elsewhere = world.dial_from(SocketAddr::from(([127, 0, 0, 9], 1)));
    world.handshake(elsewhere, "/ws", false);
    world.settle();
    assert!(world.peers[elsewhere].open);
    world.reset(first);
    world.settle();
    world.connect();
}

#[test]
fn an_ipv6_peer_counts_by_its_64_and_a_mapped_one_as_ipv4() {
    let mut config = config();
    config.limits.connections_per_ip = 2;
    let mut world = World::new(config, 64, 1);
    let mut status_of = |ip: &str| {
        let peer = world.dial_from(SocketAddr::new(ip.parse().unwrap(), 1));
        world.handshake(peer, "/ws", false);
        world.settle();
        if world.peers[peer].open { 101 } else { http(&world, peer).0 }
    };
    let of_one_line = ["2001:db8:0:7::1", "2001:db8:0:7:1:2:3:4", "2001:db8:0:7:ffff::"].map(&mut status_of);
    assert_eq!(of_one_line, [101, 101, 429]);
    assert_eq!(status_of("2001:db8:0:8::1"), 101);
    let of_one_host = ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1"].map(&mut status_of);
    assert_eq!(of_one_host, [101, 101, 429]);
    assert_eq!(status_of("::ffff:192.0.2.2"), 101);
}

/// With 16 of 64 slots kept for those who are only refused, and 4 connections for each address.
fn crowded() -> World {
    let mut config = config();
    config.limits.connections_per_ip = 4;
    World::new(config, 64, 1)
}

const CROWD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

#[test]
fn who_is_only_refused_and_says_nothing_is_gone_after_a_second() {
    let mut world = crowded();
    let let_in: Vec<usize> = (0..4).map(|_| world.dial_from(CROWD)).collect();
    world.settle();
    let silent: Vec<usize> = (0..4).map(|_| world.dial_from(CROWD)).collect();
    world.advance(Duration::from_millis(900));
    assert_eq!(world.shard.stats().sockets_refused, 4);
    assert!(silent.iter().all(|peer| !world.peers[*peer].slot_freed));
    world.advance(Duration::from_millis(200));
    let stats = world.shard.stats();
    assert_eq!((stats.sockets, stats.sockets_refused, stats.slots_free), (4, 0, 60));
    // Those who were let in have the time that everybody has.
    assert!(silent.iter().all(|peer| world.peers[*peer].slot_freed));
    assert!(let_in.iter().all(|peer| !world.peers[*peer].slot_freed));
}

#[test]
fn who_is_refused_and_does_not_take_the_answer_is_gone_after_a_second_more() {
    let mut world = crowded();
    for _ in 0..4 {
        world.dial_from(CROWD);
    }
    world.settle();
    let over = world.dial_from(CROWD);
    world.stall(over, 10);
    world.advance(Duration::from_millis(900));
    world.handshake(over, "/ws", false);
    world.advance(Duration::from_millis(900));
    assert!(!world.peers[over].slot_freed);
    world.advance(Duration::from_millis(200));
    assert!(world.peers[over].slot_freed);
    assert_eq!(world.end(over), PeerEnd::Reset);
}

#[test]
fn who_speaks_no_tls_where_it_is_spoken_hears_why_and_is_gone_after_a_second() {
    let mut world = world();
    let stray = world.dial_tls(None, "/ws", false, engine::protocol::encoding::Encoding::Json);
    world.settle();
    assert_eq!(http(&world, stray).0, 400);
    world.advance(Duration::from_millis(900));
    assert!(!world.peers[stray].slot_freed, "its answer would be lost to a reset");
    world.advance(Duration::from_millis(200));
    assert!(world.peers[stray].slot_freed);
    assert_eq!(world.end(stray), PeerEnd::Ended);
}

#[test]
fn a_flood_that_is_only_refused_keeps_nobody_out() {
    let mut world = crowded();
    for round in 0..40 {
        // Nobody of them says anything.
        let flood: Vec<usize> =
            (0..if round == 0 { 30 } else { 10 }).map(|_| world.dial_from(CROWD)).collect();
        world.settle();
        let stats = world.shard.stats();
        // A little more than half of the reserve, and never more.
        assert_eq!(stats.sockets_refused, 9, "round {round}");
        assert_eq!(stats.slots_free, 64 - 4 - 9 - u64::from(round), "round {round}");
        if round == 0 {
            let told = flood.iter().filter(|peer| world.end(**peer) == PeerEnd::Reset).count();
            assert_eq!((told, stats.refused_reset), (17, 17));
        }
        let other = world.dial_from(SocketAddr::from(([198, 51, 100, round], 1)));
        world.handshake(other, "/ws", false);
        world.settle();
        assert!(world.peers[other].open, "round {round}");
    }
    // Who wants to hear why still does, once the others' second is over.
    world.advance(Duration::from_millis(1100));
    let over = [(); 4].map(|()| world.dial_from(CROWD)).map(|peer| {
        world.handshake(peer, "/ws", false);
        world.settle();
        http(&world, peer).0
    });
    assert_eq!(over, [429; 4]);
}

#[test]
fn a_head_over_16_kib_gets_431() {
    let field = format!("X-Long: {}\r\n", "x".repeat(1000));
    let request = format!("GET /ws HTTP/1.1\r\n{}{UPGRADE}\r\n", field.repeat(17));
    assert_eq!(refused(&mut world(), &request).status, 431);
    let request = format!("GET /ws HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    assert_eq!(refused(&mut world(), &request).status, 431);
}

#[test]
fn one_connection_over_the_limit_gets_503_and_finds_room_when_another_leaves() {
    let mut config = config();
    config.limits.connections = Some(3);
    let mut world = World::new(config, 64, 1);
    let peers = [world.connect(), world.connect(), world.connect()];
    let over = world.dial_to("/ws");
    assert_eq!(refusal_of(&mut world, over).status, 503);
    world.reset(peers[1]);
    world.settle();
    world.connect();
}

#[test]
fn a_full_table_still_answers_503() {
    // A quarter of so small a table is kept for those that are only refused.
    let mut world = World::new(config(), 8, 1);
    for _ in 0..6 {
        world.connect();
    }
    let over = [world.dial_to("/ws"), world.dial_to("/ws")];
    world.settle();
    for peer in over {
        assert_eq!(http(&world, peer).0, 503);
    }
}

#[test]
fn while_draining_handshakes_get_503_and_healthz_says_so() {
    let mut world = world();
    let health = world.dial();
    world.send_raw(health, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.settle();
    assert_eq!(http(&world, health).0, 200);
    world.shared.start_draining();
    let late = world.dial_to("/ws");
    assert_eq!(refusal_of(&mut world, late).status, 503);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            refused(&mut world, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).reason,
            "draining"
        );
    }
    let live = world.dial();
    world.send_raw(live, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.settle();
    assert_eq!(http(&world, live).0, 200, "a shard that drains lives");
}

#[test]
fn while_sources_are_waited_for_a_gateway_lives_and_takes_clients_but_is_not_ready() {
    let mut world = world();
    world.shared.set_warming(true);
    let asked = ["/livez", "/healthz", "/readyz"].map(|path| {
        let peer = world.dial();
        world.send_raw(peer, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        world.settle();
        http(&world, peer).0
    });
    assert_eq!(asked, [200, 503, 503]);
    world.shared.set_warming(false);
    let peer = world.dial();
    world.send_raw(peer, b"HEAD /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.settle();
    assert_eq!(http(&world, peer).0, 200);
}

#[test]
fn the_data_listener_tells_that_a_shard_is_silent_or_the_gateway_behind_and_serves_clients_all_the_same() {
    let mut world = world();
    let mut asked = |set: fn(&World)| {
        set(&world);
        ["/livez", "/healthz", "/readyz"].map(|path| {
            let peer = world.dial();
            world.send_raw(peer, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
            world.settle();
            let (status, _, body) = http(&world, peer);
            (status, body)
        })
    };
    let statuses = |answers: &[(u16, String)]| answers.iter().map(|(status, _)| *status).collect::<Vec<_>>();
    let silent = asked(|world| world.shared.set_silent(true));
    assert_eq!(statuses(&silent), [503, 200, 200]);
    assert!(silent[0].1.contains("some shards do not answer"), "{silent:?}");
    let away = asked(|world| {
        world.shared.set_silent(false);
        world.shared.set_upstream_away(true);
    });
    assert_eq!(statuses(&away), [200, 503, 503]);
    assert!(away[1].1.contains("behind: the gateway that this one is chained to is away"), "{away:?}");
    let overloaded = asked(|world| {
        world.shared.set_upstream_away(false);
        world.shared.set_overloaded(true);
    });
    assert_eq!(statuses(&overloaded), [200, 503, 503]);
    let well = asked(|world| world.shared.set_overloaded(false));
    assert_eq!(statuses(&well), [200; 3]);
}

#[test]
fn the_root_leads_people_of_this_machine_to_the_page_and_nobody_else() {
    let root = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n");
    let world = |data: [u8; 4]| {
        let mut config = config();
        config.server.data = Some((data, 9001).into());
        config.server.admin = Some(SocketAddr::from(([127, 0, 0, 1], 9002)));
        config.access.hosts = vec![Host::parse("ops.example").unwrap()];
        World::new(config, 64, 1)
    };
    for near in ["localhost", "LOCALHOST.:9001", "127.0.0.1:9001", "[::1]", "a.localhost"] {
        for data in [[127, 0, 0, 1], [0, 0, 0, 0]] {
            let mut world = world(data);
            let peer = world.dial();
            world.send_raw(peer, root(&format!("Host: {near}\r\n")).as_bytes());
            world.settle();
            let (status, head, _) = http(&world, peer);
            assert_eq!(status, 307, "{near}");
            assert!(head.contains("Location: http://127.0.0.1:9002/"), "{head}");
        }
    }
    // Who asked for whom, on a listener of loopback and on one that the world may reach.
    for (headers, on_loopback, elsewhere) in [
        ("Host: evil.example\r\n", 403, 404),
        ("Host: localhost.evil.example\r\n", 403, 404),
        ("", 403, 404),
        ("Host: localhost\r\nHost: localhost\r\n", 403, 404),
        ("Host: evil.example\r\nX-Forwarded-For: 203.0.113.7\r\n", 403, 404),
        ("Host: OPS.example:443\r\n", 404, 404),
        ("Host: localhost\r\nX-Forwarded-For: 203.0.113.7\r\n", 404, 404),
        ("Host: localhost\r\nx-forwarded-port: 443\r\n", 404, 404),
        ("Host: localhost\r\nX-FORWARDED-Anything-At-All:\r\n", 404, 404),
        ("Host: localhost\r\nX-Real-IP: 203.0.113.7\r\n", 404, 404),
        ("Host: localhost\r\nforwarded: for=203.0.113.7\r\n", 404, 404),
        ("Host: localhost\r\nVia: 1.1 front\r\n", 404, 404),
    ] {
        assert_eq!(refused(&mut world([127, 0, 0, 1]), &root(headers)).status, on_loopback, "{headers}");
        assert_eq!(refused(&mut world([0, 0, 0, 0]), &root(headers)).status, elsewhere, "{headers}");
    }
    let mut world = world([0, 0, 0, 0]);
    let far = world.dial_from(SocketAddr::from(([192, 0, 2, 1], 1)));
    world.send_raw(far, root("Host: localhost\r\n").as_bytes());
    assert_eq!(refusal_of(&mut world, far).status, 404);
}

#[test]
fn the_subprotocol_is_chosen_only_where_it_was_offered() {
    for (offered, chosen) in [
        ("", false),
        ("Sec-WebSocket-Protocol: other, fanwire.json.v1\r\n", true),
        ("Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: fanwire.json.v1\r\n", true),
        ("Sec-WebSocket-Protocol: other\r\n", false),
    ] {
        let mut world = world();
        let peer = world.dial();
        let request = format!("GET /ws HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Version: 13\r\n{offered}\r\n");
        world.peers[peer].reading = false;
        world.send_raw(peer, request.as_bytes());
        world.settle();
        let answer = String::from_utf8(world.net.inner().peer_read(world.peers[peer].conn, 4096)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert_eq!(answer.contains("Sec-WebSocket-Protocol: fanwire.json.v1\r\n"), chosen, "{answer}");
    }
}
