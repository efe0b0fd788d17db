//! Behind proxies limits count for the addresses that those tell: by the PROXY protocol, by a header of the request,
//! by both.
#![forbid(unsafe_code)]

mod support;

use std::{net::SocketAddr, time::Duration};

use engine::http::proxies::Forwarded;
use gateway::config::Config;
use net::sim::PeerEnd;
use support::{World, config, tls::Clients};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw==\r\n";
const PROXY: &str = "10.0.0.1";

fn proxies(proxy_protocol: bool, forwarded: Option<Forwarded>) -> Config {
    let mut config = config();
    config.server.proxy_protocol = proxy_protocol;
    config.server.proxies.forwarded = forwarded;
    config.server.proxies.trusted.0 = vec!["10.0.0.0/8".parse().unwrap()];
    config.limits.connections_per_ip = 1;
    config
}

fn socket(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 40_000)
}

/// Whoever connects from `ip` and says that.
fn say(world: &mut World, ip: &str, bytes: &str) -> usize {
    let peer = world.dial_beneath(socket(ip), b"", 0);
    world.send_raw(peer, bytes.as_bytes());
    world.settle();
    peer
}

/// The status of what was answered; 0: nothing was.
fn status(world: &World, peer: usize) -> u16 {
    let answer = String::from_utf8_lossy(&world.peers[peer].http);
    answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

fn asked(world: &mut World, ip: &str, fields: &str) -> u16 {
    let peer = say(world, ip, &format!("{UPGRADE}{fields}\r\n"));
    status(world, peer)
}

#[test]
fn a_page_is_compared_with_the_host_that_its_user_asked_the_proxy_for() {
    let origin = "Origin: https://app.example.com\r\n";
    for (fields, from_proxy, from_others) in [
        ("", 403, 403),
        ("X-Forwarded-Host: app.example.com\r\n", 101, 403),
        ("X-Forwarded-Host: app.example.com:8443, inner.example\r\n", 101, 403),
        ("X-Forwarded-Host: evil.example\r\n", 403, 403),
        ("X-Forwarded-Host: no host\r\n", 403, 403),
        ("Forwarded: for=192.0.2.1;host=app.example.com;proto=https\r\n", 101, 403),
        (
            "Forwarded: for=192.0.2.1;Host=\"app.example.com:443\", for=10.0.0.9;host=inner.example\r\n",
            101,
            403,
        ),
        ("Forwarded: for=192.0.2.1\r\n", 403, 403),
    ] {
        for (ip, expected) in [(PROXY, from_proxy), ("192.0.2.9", from_others)] {
            let mut config = proxies(false, None);
            config.server.data = Some(socket("0.0.0.0"));
            let mut world = World::new(config, 64, 1);
            assert_eq!(asked(&mut world, ip, &format!("{origin}{fields}")), expected, "{ip}: {fields}");
        }
    }
    // On loopback a listener answers to the names in `Host`, whatever a proxy says beside it.
    let mut world = World::new(proxies(false, None), 64, 1);
    for (host, expected) in [("127.0.0.1:9001", 200), ("app.example.com", 403)] {
        let request =
            format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: app.example.com\r\n\r\n");
        let peer = say(&mut world, PROXY, &request);
        assert_eq!(status(&world, peer), expected, "{host}");
    }
}

#[test]
fn limits_count_for_the_address_that_a_header_of_the_request_tells() {
    for (forwarded, fields) in [
        (Forwarded::XForwardedFor, ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2:7"]),
        (Forwarded::Forwarded, ["Forwarded: for=192.0.2.1", "Forwarded: for=\"192.0.2.2:7\""]),
    ] {
        let mut world = World::new(proxies(false, Some(forwarded)), 64, 1);
        let [first, second] = fields.map(|field| format!("{field}\r\n"));
        assert_eq!(asked(&mut world, PROXY, &first), 101);
        let over = say(&mut world, PROXY, &format!("{UPGRADE}{first}\r\n"));
        assert_eq!(status(&world, over), 429);
        assert_eq!(asked(&mut world, PROXY, &second), 101);
        // A proxy that tells nobody asks for itself, and so does who is no proxy, whatever it says.
        assert_eq!(asked(&mut world, PROXY, ""), 101);
        assert_eq!(asked(&mut world, PROXY, ""), 429);
        assert_eq!(asked(&mut world, "192.0.2.3", &first), 101);
        assert_eq!(asked(&mut world, "192.0.2.3", &first), 429);
        // Who was refused takes nobody's place, and who goes gives it back.
        world.advance(Duration::from_secs(2));
        assert_eq!(world.shared.connections(), 4);
        world.reset(0);
        world.settle();
        assert_eq!(asked(&mut world, PROXY, &first), 101);
        assert_eq!(asked(&mut world, PROXY, &first), 429);
    }
}

#[test]
fn a_field_that_no_setting_names_is_passed_over() {
    for (forwarded, field) in [
        (None, "X-Forwarded-For: 192.0.2.1\r\n"),
        (None, "Forwarded: for=192.0.2.1\r\n"),
        (Some(Forwarded::Forwarded), "X-Forwarded-For: 192.0.2.1\r\n"),
        (Some(Forwarded::XForwardedFor), "Forwarded: for=192.0.2.1\r\n"),
    ] {
        let mut world = World::new(proxies(false, forwarded), 64, 1);
        assert_eq!(asked(&mut world, PROXY, field), 101);
        assert_eq!(asked(&mut world, PROXY, field), 429, "{forwarded:?}");
    }
}

#[test]
fn other_shares_are_counted_for_the_address_that_was_told() {
    let mut config = proxies(false, Some(Forwarded::XForwardedFor));
    config.limits.connections_per_ip = 0;
    config.limits.patterns_per_ip = 1_000;
    config.limits.patterns = 1_000;
    let mut world = World::new(config, 64, 1);
    let subscribe = |world: &mut World, client: &str, patterns: usize| {
        let peer = say(world, PROXY, &format!("{UPGRADE}X-Forwarded-For: {client}\r\n\r\n"));
        let topics: Vec<String> = (0..patterns).map(|n| format!("{client}.{n}")).collect();
        world.subscribe(peer, "", &topics.iter().map(String::as_str).collect::<Vec<_>>(), None);
        (world.peers[peer].frames("subscribed").len(), world.peers[peer].frames("error").len())
    };
    assert_eq!(subscribe(&mut world, "192.0.2.1", 900), (1, 0));
    assert_eq!(subscribe(&mut world, "192.0.2.2", 900), (1, 0));
    assert_eq!(subscribe(&mut world, "192.0.2.1", 50), (1, 0));
}

#[test]
fn limits_count_for_the_address_that_a_proxy_header_tells_also_before_tls() {
    let mut world = World::new(proxies(true, None), 64, 1);
    let header = |ip: &str| format!("PROXY TCP4 {ip} 10.0.0.9 4711 80\r\n");
    let by = |world: &mut World, ip: &str| {
        let peer = world.dial_beneath(socket(PROXY), header(ip).as_bytes(), 0);
        world.send_raw(peer, format!("{UPGRADE}\r\n").as_bytes());
        world.settle();
        status(world, peer)
    };
    assert_eq!((by(&mut world, "192.0.2.1"), by(&mut world, "192.0.2.1")), (101, 429));
    assert_eq!(by(&mut world, "192.0.2.2"), 101);
    let over_tls = |world: &mut World, ip: &str| {
        let tls = Clients::without_tickets().connect(support::tls::Version::Tls13);
        let peer = world.dial_beneath(socket(PROXY), header(ip).as_bytes(), support::tls::LISTENER);
        world.peers[peer].tls = Some(tls);
        world.send_raw(peer, format!("{UPGRADE}\r\n").as_bytes());
        world.settle();
        status(world, peer)
    };
    assert_eq!((over_tls(&mut world, "192.0.2.3"), over_tls(&mut world, "192.0.2.2")), (101, 429));
    // The proxy asks for itself.
    let unknown = world.dial_beneath(socket(PROXY), b"PROXY UNKNOWN\r\n", 0);
    world.send_raw(unknown, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.settle();
    assert_eq!(status(&world, unknown), 200);
}

#[test]
fn a_header_of_the_request_is_believed_only_of_a_proxy_that_the_one_before_it_names() {
    let mut world = World::new(proxies(true, Some(Forwarded::XForwardedFor)), 64, 1);
    let asked = |world: &mut World, told: &str, field: &str| {
        let header = format!("PROXY TCP4 {told} 10.0.0.9 4711 80\r\n");
        let peer = world.dial_beneath(socket(PROXY), header.as_bytes(), 0);
        world.send_raw(peer, format!("{UPGRADE}{field}\r\n\r\n").as_bytes());
        world.settle();
        status(world, peer)
    };
    let field = "X-Forwarded-For: 192.0.2.1, 10.0.0.7";
    assert_eq!((asked(&mut world, "10.0.0.2", field), asked(&mut world, "10.0.0.3", field)), (101, 429));
    assert_eq!((asked(&mut world, "192.0.2.9", field), asked(&mut world, "192.0.2.9", field)), (101, 429));
}

#[test]
fn the_time_for_a_handshake_counts_from_the_accept() {
    let mut config = proxies(true, None);
    config.limits.handshake = Duration::from_secs(2);
    let mut world = World::new(config, 64, 1);
    let silent = world.dial_beneath(socket(PROXY), b"", 0);
    let slow = world.dial_beneath(socket(PROXY), b"PROXY ", 0);
    world.advance(Duration::from_millis(1500));
    world.send_wire(slow, b"UNKNOWN\r\nGET /ws HT");
    world.advance(Duration::from_millis(400));
    assert_eq!([silent, slow].map(|peer| world.end(peer)), [PeerEnd::Open; 2]);
    let stats = world.shard.stats();
    assert_eq!((stats.sockets, stats.proxy.waiting, stats.slots_free), (2, 1, 62));
    world.advance(Duration::from_millis(110));
    assert_eq!([silent, slow].map(|peer| world.peers[peer].slot_freed), [true; 2]);
    assert_eq!([silent, slow].map(|peer| world.peers[peer].bytes), [0; 2]);
}
