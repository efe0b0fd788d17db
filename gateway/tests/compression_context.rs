//! Clients whose compressed messages refer back to earlier ones, as browsers' do: they are understood, and what
//! that takes is bounded, for all and for each address.
#![forbid(unsafe_code)]

mod support;

use std::net::SocketAddr;

use engine::{
    client::CloseReason,
    http::proxies::{Forwarded, Proxies},
};
use proto::encode::Opcode;

use support::{World, config, deflate_on, proxies, subscriber::AskedOp};

/// With so many bytes for all, and for each address.
fn world(dictionaries: usize, dictionaries_per_ip: usize) -> World {
    world_behind(None, false, dictionaries, dictionaries_per_ip)
}

/// The same where proxies say whose a request, or a connection, is.
fn world_behind(
    forwarded: Option<Forwarded>,
    proxy_protocol: bool,
    dictionaries: usize,
    dictionaries_per_ip: usize,
) -> World {
    let mut config = config();
    config.server.proxies = Proxies { trusted: proxies::trusted(), forwarded };
    config.server.proxy_protocol = proxy_protocol;
    config.limits.messages_per_s = 100_000;
    config.compression.dictionaries = dictionaries;
    config.compression.dictionaries_per_ip = dictionaries_per_ip;
    World::new(config, 64, 1)
}

/// An open client that goes on with its context.
fn join(world: &mut World, ip: [u8; 4]) -> usize {
    world.keep_context = true;
    let peer = world.dial_from(SocketAddr::from((ip, 1)));
    world.speak(peer, "/ws", true, engine::protocol::encoding::Encoding::Json);
    world.settle();
    assert!(world.peers[peer].open);
    peer
}

/// What the handshake's answer says of extensions.
fn extensions(world: &World, peer: usize) -> Option<String> {
    let http = String::from_utf8_lossy(&world.peers[peer].http).into_owned();
    let line = http.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    line.map(str::to_owned)
}

/// A message that does not get smaller, so that it takes as much as it is long.
fn say(world: &mut World, peer: usize, bytes: usize) {
    let noise: String = (0..bytes).map(|_| fastrand::alphanumeric()).collect();
    world.ask(
        peer,
        AskedOp::Subscribe { sub: String::new(), topics: vec![noise], interval_ms: None, since: None },
    );
    world.settle();
}

/// Has the peers say something in turn until so many bytes are held; gives how many are.
fn fill(world: &mut World, peers: &[usize], bytes: u64) -> u64 {
    for peer in peers.iter().cycle() {
        if world.shard.stats().client.dictionary_bytes >= bytes {
            break;
        }
        say(world, *peer, 10);
    }
    world.shard.stats().client.dictionary_bytes
}

#[test]
fn a_client_that_goes_on_with_its_context_is_understood() {
    let mut world = world(64 << 20, 0);
    let peer = join(&mut world, [192, 0, 2, 1]);
    assert_eq!(extensions(&world, peer).as_deref(), Some("permessage-deflate; server_no_context_takeover"));
    // Far more than a window, in which every fifth message is not compressed and so no part of it.
    for n in 0..900 {
        let topic = format!("venue.{}.{}", n % 13, "x".repeat(100 + n % 100));
        world.subscribe(peer, "", &[&*topic, &format!("{topic}.*")], Some(100));
        world.unsubscribe(peer, "", None);
    }
    assert_eq!(world.peers[peer].frames("subscribed").len(), 900);
    let stats = world.shard.stats();
    assert_eq!((stats.client.inflated, world.peers[peer].close.as_ref()), (1440, None));
    assert!(
        (32 << 10..=(32 << 10) + 64).contains(&stats.client.dictionary_bytes),
        "{}",
        stats.client.dictionary_bytes
    );
    world.reset(peer);
    world.settle();
    assert_eq!(world.shard.stats().client.dictionary_bytes, 0);
    assert_eq!((world.shared.dictionaries.bytes(), world.shared.dictionaries.addresses()), (0, 0));
}

#[test]
fn a_client_that_said_one_thing_takes_little_more_than_that() {
    let mut world = world(64 << 20, 32 << 20);
    let peer = join(&mut world, [192, 0, 2, 1]);
    world.subscribe(peer, "", &["coinbase.ticker.BTC-USD"], Some(100));
    let held = world.shard.stats().client.dictionary_bytes as usize;
    assert!(held > 0);
    // 100,000 of them, all behind one proxy, are far from nine tenths of the default.
    let defaults = config().compression;
    assert_eq!((defaults.dictionaries, defaults.dictionaries_per_ip), (64 << 20, 32 << 20));
    assert!(100_000 * held < (32 << 20) / 10 * 9, "{held} bytes");
}

#[test]
fn a_client_that_asked_for_no_context_takes_nothing() {
    let mut world = world(64 << 20, 0);
    let peer = world.dial_deflating("/ws");
    world.settle();
    for n in 0..4 {
        world.subscribe(peer, "", &[&*format!("topic.{}", n.to_string().repeat(40))], None);
    }
    let stats = world.shard.stats();
    assert_eq!((stats.client.inflated, stats.client.dictionary_bytes), (2, 0));
}

#[test]
fn a_client_that_asked_for_no_context_and_goes_on_with_it_is_told_so() {
    let mut world = world(64 << 20, 0);
    let peer = world.dial_deflating("/ws");
    world.settle();
    assert!(extensions(&world, peer).unwrap().contains("client_no_context_takeover"));
    let mut context = flate2::Compress::new(flate2::Compression::best(), false);
    for _ in 0..2 {
        let message = deflate_on(&mut context, br#"{"op":"ping","comment":"something that repeats"}"#);
        world.peers[peer].model.asked.push_back(support::subscriber::Asked { id: None, op: AskedOp::Ping });
        world.send_deflated(peer, Opcode::Text, &message);
        world.settle();
    }
    let (code, reason) = world.peers[peer].close.clone().expect("the second one cannot be read");
    assert!(code == 1007 && reason.contains("client_no_context_takeover was agreed"), "{code} {reason}");
    assert_eq!(world.peers[peer].frames("pong").len(), 1);
    assert_eq!(world.shard.stats().ended[CloseReason::NotDeflate as usize], 1);
}

#[test]
fn at_nine_tenths_who_would_need_room_is_not_compressed_and_beyond_is_closed() {
    let mut world = world(3000, 0);
    let first = join(&mut world, [192, 0, 2, 1]);
    let second = join(&mut world, [192, 0, 2, 2]);
    let held = fill(&mut world, &[first, second], 2700);
    assert!((2700..=3000).contains(&held), "{held} bytes are held");
    // A new one that did not ask for no context is not compressed, and one that did is.
    let late = join(&mut world, [192, 0, 2, 3]);
    assert_eq!(extensions(&world, late), None);
    say(&mut world, late, 120);
    assert_eq!(world.peers[late].frames("subscribed").len(), 1);
    world.keep_context = false;
    let modest = world.dial_deflating("/ws");
    world.settle();
    assert!(extensions(&world, modest).is_some());
    assert_eq!(world.shard.stats().compression_declined, 1);
    // The next message that finds no room.
    while world.peers[first].close.is_none() {
        say(&mut world, first, 120);
    }
    let (code, reason) = world.peers[first].close.clone().unwrap();
    assert!(code == 1013 && reason.contains("[compression] dictionaries"), "{code} {reason}");
    let stats = world.shard.stats();
    assert_eq!(stats.ended[CloseReason::Dictionaries as usize], 1);
    // Its room is free at once, and others are untouched.
    assert!(stats.client.dictionary_bytes < held / 2 + 200, "{}", stats.client.dictionary_bytes);
    say(&mut world, second, 120);
    assert_eq!(world.peers[second].close, None);
    let again = join(&mut world, [192, 0, 2, 3]);
    assert!(extensions(&world, again).is_some());
}

#[test]
fn an_address_takes_no_more_than_its_share_whoever_is_between() {
    let all = Forwarded::ALL.map(Some).into_iter().chain([None]);
    for (forwarded, proxy_protocol) in all.flat_map(|forwarded| [(forwarded, false), (forwarded, true)]) {
        let mut world = world_behind(forwarded, proxy_protocol, 10_000, 1000);
        let crowd = [join(&mut world, [192, 0, 2, 1]), join(&mut world, [192, 0, 2, 1])];
        let held = fill(&mut world, &crowd, 900);
        assert!((900..=1000).contains(&held), "{held} bytes are held");
        let more = join(&mut world, [192, 0, 2, 1]);
        assert_eq!(extensions(&world, more), None);
        let other = join(&mut world, [192, 0, 2, 2]);
        assert!(extensions(&world, other).is_some());
        while world.peers[crowd[0]].close.is_none() {
            say(&mut world, crowd[0], 100);
        }
        let (code, reason) = world.peers[crowd[0]].close.clone().unwrap();
        assert!(code == 1013 && reason.contains("dictionaries_per_ip"), "{code} {reason}");
        for _ in 0..3 {
            say(&mut world, other, 100);
        }
        assert_eq!(world.peers[other].close, None);
    }
}

#[test]
fn without_any_room_only_who_asks_for_no_context_is_compressed() {
    let mut world = world(0, 0);
    let peer = join(&mut world, [192, 0, 2, 1]);
    assert_eq!(extensions(&world, peer), None);
    world.keep_context = false;
    let modest = world.dial_deflating("/ws");
    world.settle();
    assert!(extensions(&world, modest).is_some());
}
