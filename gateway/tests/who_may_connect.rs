//! Whom the data listener refuses, and how: by host, by origin, by limits, by tokens and grants; as an HTTP status and
//! as a close frame; on plain, on TLS and with MessagePack.
#![forbid(unsafe_code)]

#[path = "who_may_connect/showing.rs"]
mod showing;
mod support;

use std::{net::SocketAddr, time::Duration};

use engine::{
    client::Refused,
    http::{host::Host, origin::Origins},
    protocol::encoding::Encoding,
    settings::Refusing,
    unit::Rate,
};
use gateway::config::Config;
use serde_json::Value;
use support::{
    World, config,
    wires::{WIRES, Wire},
};

const S: Duration = Duration::from_secs(1);

/// What a request came to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Open,
    /// Status, reason, seconds of `Retry-After`.
    Http(u16, String, Option<u64>),
    /// Code and reason behind a 101.
    Close(u16, String),
}

impl Outcome {
    fn status(&self) -> u16 {
        match self {
            Self::Open => 101,
            Self::Http(status, ..) => *status,
            Self::Close(code, _) => *code,
        }
    }
}

fn dial(world: &mut World, wire: Wire, target: &str) -> usize {
    let peer = world.dial_by(wire, target);
    world.settle();
    peer
}

fn ask(world: &mut World, wire: Wire, target: &str) -> Outcome {
    let peer = dial(world, wire, target);
    outcome(world, peer)
}

fn outcome(world: &World, peer: usize) -> Outcome {
    let peer = &world.peers[peer];
    if let Some((code, reason)) = &peer.close {
        assert!(peer.open, "a close frame follows a 101");
        return Outcome::Close(*code, reason.clone());
    }
    if peer.open {
        return Outcome::Open;
    }
    let answer = String::from_utf8(peer.http.clone()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    let retry = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    Outcome::Http(status, body["reason"].as_str().unwrap().to_owned(), retry.map(|s| s.parse().unwrap()))
}

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut config = config();
    change(&mut config);
    World::new(config, 64, 1)
}

const PAGE: (&str, &str) = ("Origin", "http://localhost:3000");

/// `[server] refuse`, what a program or a page says beside it, and whether a refusal is a close frame.
type Form = (Refusing, Vec<(&'static str, &'static str)>, bool);

fn forms() -> [Form; 6] {
    [
        (Refusing::Auto, vec![], false),
        (Refusing::Auto, vec![PAGE], true),
        (Refusing::Http, vec![], false),
        (Refusing::Http, vec![PAGE], false),
        (Refusing::Close, vec![], true),
        (Refusing::Close, vec![PAGE], true),
    ]
}

/// A world in which one client more is refused by a rule.
fn refusing(rule: Refused, form: Refusing) -> World {
    let mut world = world(|config| {
        config.server.refusing = form;
        match rule {
            Refused::Full => config.limits.connections = Some(1),
            Refused::Address => config.limits.connections_per_ip = 1,
            Refused::Handshakes => config.limits.handshakes = Rate { count: 1, per: 10 * S },
            Refused::AddressHandshakes => config.limits.handshakes_per_ip = Rate { count: 1, per: 60 * S },
            Refused::Draining => {}
            other => panic!("{other:?} is made in another way"),
        }
    });
    world.connect();
    if rule == Refused::Draining {
        world.shared.start_draining();
    }
    world
}

#[test]
fn each_limit_is_told_by_a_status_or_by_a_close_frame() {
    for (rule, status, code, retry_after_s) in [
        (Refused::Full, 503, 1013, None),
        (Refused::Draining, 503, 1013, None),
        (Refused::Address, 429, 4429, Some(5)),
        (Refused::Handshakes, 429, 4429, Some(10)),
        (Refused::AddressHandshakes, 429, 4429, Some(60)),
    ] {
        for (form, fields, is_closed) in forms() {
            for wire in WIRES {
                let mut world = refusing(rule, form);
                world.fields = fields.clone();
                let expected = match is_closed {
                    true => Outcome::Close(code, rule.text().to_owned()),
                    false => Outcome::Http(status, rule.text().to_owned(), retry_after_s),
                };
                let peer = dial(&mut world, wire, "/ws?topics=a");
                assert_eq!(outcome(&world, peer), expected, "{rule:?}, {form:?}, {fields:?}, {wire:?}");
                let stats = world.shard.stats();
                assert_eq!(stats.refused_by[rule as usize], 1, "{rule:?}");
                assert_eq!((stats.accepted, stats.connections), (1, 1), "a refusal is no connection");
                world.advance(2 * S);
                assert!(world.peers[peer].slot_freed, "{rule:?}, {form:?}, {fields:?}, {wire:?}");
            }
        }
    }
}

#[test]
fn a_close_frame_answers_only_a_valid_upgrade_and_only_these_refusals() {
    let mut world = refusing(Refused::Address, Refusing::Close);
    let upgrade = |key: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
    };
    for request in [
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n".to_owned(),
        upgrade("short"),
        upgrade("dGhlIHNhbXBsZSBub25jZQ==").replace("GET", "HEAD"),
        upgrade("dGhlIHNhbXBsZSBub25jZQ==").replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let peer = world.dial();
        world.send_raw(peer, request.as_bytes());
        world.settle();
        let answer = String::from_utf8_lossy(&world.peers[peer].http);
        assert!(answer.starts_with("HTTP/1.1 429 ") || answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
    let mut other = self::world(|config| config.server.refusing = Refusing::Close);
    assert_eq!(ask(&mut other, Wire::Plain, "/ws?topics=a..b").status(), 400);
    assert_eq!(ask(&mut other, Wire::Plain, "/other").status(), 404);
}

#[test]
fn what_a_page_offers_is_answered_also_where_it_is_refused() {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let mut world = refusing(Refused::Full, Refusing::Auto);
        world.fields = vec![PAGE];
        let peer = world.dial_as("/ws", true, encoding);
        world.settle();
        let head = String::from_utf8_lossy(&world.peers[peer].http).into_owned();
        let chosen = format!("Sec-WebSocket-Protocol: {}\r\n", encoding.subprotocol().unwrap());
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(&chosen), "{head}");
        assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
        assert_eq!(world.peers[peer].close_code(), Some(1013));
    }
}

#[test]
fn a_foreign_page_always_gets_403_and_counts_against_nothing() {
    for form in Refusing::ALL {
        for wire in WIRES {
            let mut world = world(|config| {
                config.server.refusing = form;
                config.limits.handshakes = Rate { count: 1, per: 60 * S };
                config.limits.handshakes_per_ip = Rate { count: 1, per: 60 * S };
            });
            world.fields = vec![("Origin", "https://evil.example:8443")];
            for draining in [false, true] {
                if draining {
                    world.shared.start_draining();
                }
                let Outcome::Http(403, reason, None) = ask(&mut world, wire, "/ws?topics=a") else {
                    panic!("{form:?}, {wire:?}")
                };
                for named in ["https://evil.example:8443", "localhost", "[access] origins"] {
                    assert!(reason.contains(named), "{named}: {reason}");
                }
            }
            assert_eq!(world.shard.stats().refused_by[Refused::Origin as usize], 2);
            let mut world = self::world(|config| {
                config.server.refusing = form;
                config.limits.handshakes = Rate { count: 1, per: 60 * S };
            });
            world.fields = vec![("Origin", "https://evil.example")];
            ask(&mut world, wire, "/ws");
            world.fields = vec![PAGE];
            assert_eq!(ask(&mut world, wire, "/ws"), Outcome::Open);
        }
    }
}

#[test]
fn origins_are_those_of_the_configuration() {
    let page = |origin: &'static str| vec![("Origin", origin)];
    let app = "https://app.example.com";
    for (origins, host, fields, allowed) in [
        (&["same-host", "none"][..], "localhost", vec![], true),
        (&["same-host", "none"], "127.0.0.1:9001", page("http://localhost:9002"), true),
        (&["same-host", "none"], "localhost", page("null"), false),
        (&["same-host", "none"], "localhost", page(app), false),
        (&["same-host"], "localhost", vec![], false),
        (&["any"], "localhost", page("null"), true),
        (&["any"], "localhost", vec![], false),
        (&["none"], "localhost", page("http://localhost"), false),
        (&[app], "localhost", page(app), true),
        (&[app], "localhost", page("https://app.example.com:8443"), false),
        (&[app], "localhost", vec![], false),
        (&["https://*.example.com"], "localhost", page("https://a.b.example.com"), true),
        (&["https://*.example.com"], "localhost", page("https://example.com"), false),
        (&["same-host", "none"], "localhost", vec![PAGE, ("Origin", "http://localhost")], false),
    ] {
        for wire in WIRES {
            let mut world = world(|config| config.access.origins = Origins::parse(origins).unwrap());
            (world.host, world.fields) = (host.to_owned(), fields.clone());
            let expected = if allowed { 101 } else { 403 };
            let asked = ask(&mut world, wire, "/ws");
            assert_eq!(asked.status(), expected, "{origins:?}: {fields:?} at {host}, {wire:?}: {asked:?}");
        }
    }
    // Probes and programs are no pages.
    let mut world = world(|config| config.access.origins = Origins::parse(&[app]).unwrap());
    for path in ["/healthz", "/readyz", "/livez"] {
        let peer = world.dial();
        world.send_raw(peer, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        world.settle();
        assert!(world.peers[peer].http.starts_with(b"HTTP/1.1 200 "), "{path}");
    }
}

#[test]
fn the_host_that_is_compared_is_the_one_asked_for() {
    let origin = ("Origin", "https://app.example.com");
    for (host, fields, allowed) in [
        ("app.example.com", vec![origin], true),
        ("app.example.com:9001", vec![origin], true),
        ("APP.example.com.", vec![origin], true),
        ("example.com", vec![origin], false),
        ("10.0.0.1", vec![origin], false),
        // Nobody here is trusted to say for whom he asks.
        ("10.0.0.1", vec![origin, ("X-Forwarded-Host", "app.example.com")], false),
        ("10.0.0.1", vec![origin, ("Forwarded", "host=app.example.com")], false),
    ] {
        let mut world = world(|config| config.server.data = Some(([0, 0, 0, 0], 9001).into()));
        (world.host, world.fields) = (host.to_owned(), fields.clone());
        let asked = ask(&mut world, Wire::Plain, "/ws");
        assert_eq!(asked.status() == 101, allowed, "{host}, {fields:?}: {asked:?}");
    }
}

#[test]
fn a_listener_on_loopback_answers_only_to_its_own_names() {
    let proxied = |name: &'static str| vec![(name, "203.0.113.7")];
    for (host, target, fields, on_loopback, elsewhere) in [
        ("localhost", "/ws", vec![], 101, 101),
        ("127.0.0.9:80", "/ws", vec![], 101, 101),
        ("[::1]:9001", "/ws", vec![], 101, 101),
        ("a.localhost", "/ws", vec![], 101, 101),
        ("OPS.example:443", "/ws", vec![], 101, 101),
        ("evil.example", "/ws", vec![], 403, 101),
        ("evil.example", "/ws", vec![("Origin", "http://evil.example")], 403, 101),
        ("localhost.evil.example", "/ws", vec![], 403, 101),
        ("evil.example", "/other", vec![], 403, 404),
        ("evil.example", "/ws", proxied("Forwarded"), 101, 101),
        ("evil.example", "/ws", proxied("x-forwarded-for"), 101, 101),
        ("evil.example", "/ws", proxied("X-Real-IP"), 101, 101),
        ("evil.example", "/ws", proxied("Via"), 101, 101),
        ("evil.example", "/other", proxied("Via"), 404, 404),
        ("evil.example", "/ws", proxied("X-Forwarded-Host"), 403, 101),
        ("evil.example", "/ws", proxied("X-Via"), 403, 101),
    ] {
        for (data, expected) in [([127, 0, 0, 1], on_loopback), ([0, 0, 0, 0], elsewhere)] {
            for wire in WIRES {
                let mut world = world(|config| {
                    config.server.data = Some((data, 9001).into());
                    config.server.tls = Some(gateway::config::Tls {
                        address: SocketAddr::from((data, 9443)),
                        certificates: Vec::new(),
                        client_ca: None,
                    });
                    config.access.hosts = vec![Host::parse("ops.example").unwrap()];
                });
                (world.host, world.fields) = (host.to_owned(), fields.clone());
                let asked = ask(&mut world, wire, target);
                assert_eq!(
                    asked.status(),
                    expected,
                    "{host} {target} {fields:?} {data:?} {wire:?}: {asked:?}"
                );
                if let Outcome::Http(403, reason, _) = &asked {
                    assert!(reason.contains(host) && reason.contains("[access] hosts"), "{reason}");
                    assert_eq!(world.shard.stats().refused_by[Refused::Host as usize], 1);
                }
            }
        }
    }
    // What is no upgrade passes by no field of a proxy.
    for path in ["/healthz", "/livez", "/"] {
        let mut world = world(|_| ());
        let peer = world.dial();
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nVia: 1.1 front\r\n\r\n");
        world.send_raw(peer, request.as_bytes());
        world.settle();
        assert!(world.peers[peer].http.starts_with(b"HTTP/1.1 403 "), "{path}");
    }
}

#[test]
fn rates_of_handshakes_let_so_many_through_and_as_many_again() {
    let mut world = world(|config| {
        config.limits.handshakes_per_ip = Rate { count: 3, per: 30 * S };
        config.limits.handshakes = Rate { count: 5, per: 5 * S };
    });
    let from = |world: &mut World, ip: &str| {
        world.address = SocketAddr::new(ip.parse().unwrap(), 1);
        ask(world, Wire::Plain, "/ws").status()
    };
    assert_eq!([(); 5].map(|()| from(&mut world, "192.0.2.1")), [101, 101, 101, 429, 429]);
    // Of one line of IPv6, and in what the others left.
    assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|ip| from(&mut world, ip)), [101, 101, 429]);
    assert_eq!(from(&mut world, "192.0.2.9"), 429);
    world.advance(S);
    assert_eq!([from(&mut world, "192.0.2.9"), from(&mut world, "192.0.2.8")], [101, 429]);
    world.advance(9 * S);
    assert_eq!([(); 2].map(|()| from(&mut world, "192.0.2.1")), [101, 429]);
    let stats = world.shard.stats();
    let counted =
        [Refused::Handshakes, Refused::AddressHandshakes].map(|rule| stats.refused_by[rule as usize]);
    assert_eq!(counted, [3, 3]);
    assert!(world.shared.handshakes.addresses() >= 2);
    // Probes are no handshakes.
    let mut world = self::world(|config| config.limits.handshakes_per_ip = Rate { count: 1, per: 60 * S });
    for _ in 0..5 {
        let probe = world.dial();
        world.send_raw(probe, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.settle();
        assert!(world.peers[probe].http.starts_with(b"HTTP/1.1 200 "));
    }
    assert_eq!([(); 2].map(|()| ask(&mut world, Wire::Plain, "/ws").status()), [101, 429]);
}
