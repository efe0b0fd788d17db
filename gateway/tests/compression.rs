//! permessage-deflate: a class's frame is compressed once, and who does not want that gets it as it is.
#![forbid(unsafe_code)]

mod support;

use engine::{client::CloseReason, shard::shared::Shared};
use gateway::config::Config;
use proto::{
    deflate::{Deflater, OFFER},
    encode::Opcode,
};

use support::{World, subscriber::AskedOp};

/// Quotes repeat themselves as these do.
fn quotes(n: usize) -> String {
    let quotes: Vec<String> =
        (0..n).map(|i| format!(r#"{{"bid":{}.25,"ask":{}.50,"venue":"x"}}"#, i * 7, i * 7 + 1)).collect();
    format!("[{}]", quotes.join(","))
}

fn world() -> World {
    World::new(config(), 64, 1)
}

fn config() -> Config {
    support::config()
}

/// An open client that offered, or not.
fn join(world: &mut World, deflate: bool, target: &str) -> usize {
    let peer = if deflate { world.dial_deflating(target) } else { world.dial_to(target) };
    world.settle();
    assert!(world.peers[peer].open);
    peer
}

fn answer(world: &World, peer: usize) -> String {
    String::from_utf8_lossy(&world.peers[peer].http).into_owned()
}

fn open_with(world: &mut World, target: &str, headers: &str) -> String {
    let peer = world.dial();
    world.peers[peer].reading = false;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n\r\n"
    );
    world.send_raw(peer, request.as_bytes());
    for _ in 0..10 {
        world.turn(1024);
    }
    String::from_utf8_lossy(&world.net.inner().peer_read(world.peers[peer].conn, usize::MAX)).into_owned()
}

#[test]
fn frames_are_compressed_once_for_all_who_get_them() {
    let mut world = world();
    let deflating: Vec<usize> = (0..5).map(|_| join(&mut world, true, "/ws")).collect();
    let plain: Vec<usize> = (0..3).map(|_| join(&mut world, false, "/ws")).collect();
    assert!(answer(&world, 0).contains(&format!("Sec-WebSocket-Extensions: {OFFER}\r\n")));
    assert!(!answer(&world, plain[0]).contains("Extensions"));
    for peer in 0..8 {
        world.subscribe(peer, "", &["q"], Some(100));
    }
    for round in 1..=4 {
        world.publish("q", &quotes(20 + round));
        world.advance(std::time::Duration::from_millis(100));
    }
    let stats = world.shard.stats();
    assert_eq!((stats.classes, stats.compress.compressed), (2, 4), "{:?}", stats.compress);
    assert!(stats.compress.bytes_after * 3 < stats.compress.bytes_before, "{:?}", stats.compress);
    let batches = world.peers[plain[0]].frames("batch");
    assert_eq!(batches.len(), 4);
    for peer in deflating {
        assert_eq!(world.peers[peer].deflated, 4);
        let theirs = world.peers[peer].frames("batch");
        assert!(theirs.iter().zip(&batches).all(|(a, b)| a["updates"] == b["updates"]));
        assert!(world.peers[peer].bytes * 2 < world.peers[plain[0]].bytes);
    }
}

#[test]
fn what_is_short_or_does_not_get_smaller_goes_as_it_is() {
    let mut world = world();
    let peer = join(&mut world, true, "/ws");
    world.subscribe(peer, "", &["*"], Some(0));
    world.publish("a", "1");
    assert_eq!((world.peers[peer].deflated, world.shard.stats().compress.compressed), (0, 0));
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(40).collect();
    world.publish("a", &format!("\"{}\"", noise.repeat(20)));
    assert_eq!(world.peers[peer].deflated, 1);
    assert_eq!(world.peers[peer].frames("batch").len(), 2);
}

#[test]
fn who_does_not_want_it_or_gets_it_wrong_is_sent_frames_as_they_are() {
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let mut world = world();
    assert!(open_with(&mut world, "/ws", OFFER).contains("permessage-deflate"));
    for target in ["/ws?compress=0", "/ws?topics=a&compress=0"] {
        let answer = open_with(&mut world, target, OFFER);
        assert!(answer.starts_with("HTTP/1.1 101") && !answer.contains("Extensions"), "{answer}");
    }
    let safari = format!("User-Agent: Mozilla/5.0 (Macintosh) Version/15.2 Safari/605.1.15\r\n{OFFER}");
    assert!(!open_with(&mut world, "/ws", &safari).contains("Extensions"));
    let newer = format!("User-Agent: Mozilla/5.0 (Macintosh) Version/15.4 Safari/605.1.15\r\n{OFFER}");
    assert!(open_with(&mut world, "/ws", &newer).contains("Extensions"));
    let mut config = config();
    config.compression.enabled = false;
    let mut world = World::new(config, 64, 1);
    assert!(!open_with(&mut world, "/ws", OFFER).contains("Extensions"));
}

#[test]
fn no_flag_is_answered_that_was_not_offered() {
    let mut world = world();
    // Netty's client, browsers, and one that asks for all.
    for (offers, answer) in [
        ("permessage-deflate, deflate-frame, x-webkit-deflate-frame", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        (OFFER, OFFER),
    ] {
        let answered = open_with(&mut world, "/ws", &format!("Sec-WebSocket-Extensions: {offers}"));
        let line = format!("Sec-WebSocket-Extensions: {answer}\r\n");
        assert!(answered.contains(&line), "{offers}: {answered}");
    }
}

#[test]
fn every_window_that_is_asked_for_is_a_class_of_its_own() {
    let mut world = world();
    for bits in 9..=15 {
        let offer = format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}");
        let answer = open_with(&mut world, "/ws?topics=q", &offer);
        assert!(answer.contains(&format!("server_max_window_bits={bits}")), "{answer}");
    }
    let eight = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8";
    let answer = open_with(&mut world, "/ws?topics=q", eight);
    assert!(answer.starts_with("HTTP/1.1 101") && !answer.contains("Extensions"), "{answer}");
    world.publish("q", &quotes(50));
    world.advance(std::time::Duration::from_millis(200));
    let stats = world.shard.stats();
    assert_eq!((stats.classes, stats.compress.compressed), (8, 7));
}

#[test]
fn a_client_may_compress_what_it_says() {
    let mut world = world();
    let peer = join(&mut world, true, "/ws");
    for n in 0..4 {
        world.subscribe(peer, "", &[&*format!("topic.{}", n.to_string().repeat(40))], None);
    }
    assert_eq!(world.peers[peer].frames("subscribed").len(), 4);
    assert_eq!(world.shard.stats().client.inflated, 2, "every second one is compressed");
}

#[test]
fn bombs_and_garbage_close_only_who_sent_them() {
    let mut world = world();
    let other = join(&mut world, true, "/ws");
    world.subscribe(other, "", &["a"], Some(0));
    let mut close = |payload: &[u8], opcode, deflate| {
        let peer = join(&mut world, deflate, "/ws");
        world.send_deflated(peer, opcode, payload);
        world.settle();
        let shared: &Shared = &world.shared;
        assert!(shared.connections() >= 1);
        world.peers[peer].close.clone().expect("it was closed")
    };
    let deflated = |bytes: &[u8]| Deflater::new(9, 15).deflate(bytes).unwrap().to_vec();
    let bomb = deflated(&vec![b' '; 60_000]);
    let (code, reason) = close(&bomb, Opcode::Text, true);
    assert_eq!(code, 1009);
    assert!(reason.contains("more than 100 times as long"), "{reason}");
    let long: Vec<u8> =
        (0..300_000u32).flat_map(|i| [b'a' + (u64::from(i).pow(2) % 23) as u8, b'b']).collect();
    let (code, reason) = close(&deflated(&long), Opcode::Text, true);
    assert!(code == 1009 && reason.contains("limit is 65536"), "{code} {reason}");
    assert_eq!(close(&[0xff, 0xff, 0xff], Opcode::Text, true).0, 1007);
    assert_eq!(close(&deflated(&[0xff; 100]), Opcode::Text, true).0, 1007);
    assert_eq!(close(&deflated(&[b'x'; 100]), Opcode::Binary, true).0, 1003);
    assert_eq!(close(&deflated(&[b'x'; 100]), Opcode::Text, false).0, 1002, "it was not agreed");
    let ended = world.shard.stats().ended;
    let counts = [
        CloseReason::Bomb,
        CloseReason::TooBig,
        CloseReason::NotDeflate,
        CloseReason::InvalidUtf8,
        CloseReason::UnsupportedData,
    ];
    assert_eq!(counts.map(|reason| ended[reason as usize]), [1; 5]);
    world.publish("a", "1");
    assert_eq!(world.peers[other].frames("batch").len(), 1);
}

#[test]
fn who_is_caught_up_in_a_crowd_gets_frames_as_they_are() {
    const CLIENTS: usize = 20;
    let snapshots = |catch_up_bytes| {
        let mut config = config();
        config.compression.catch_up_bytes = catch_up_bytes;
        let mut world = World::new(config, 64, 1);
        for client in 0..CLIENTS {
            world.publish(&format!("q.{client}"), &quotes(20));
        }
        let joined: Vec<usize> = (0..CLIENTS).map(|_| join(&mut world, true, "/ws")).collect();
        // At one moment, and no two for the same.
        for client in joined {
            let topics = vec![format!("q.{client}")];
            let op = AskedOp::Subscribe { sub: String::new(), topics, interval_ms: None, since: None };
            world.ask(client, op);
        }
        world.settle();
        let snapshots: usize = world.peers.iter().map(|peer| peer.frames("snapshot").len()).sum();
        assert_eq!(snapshots, CLIENTS);
        let deflated: usize = world.peers.iter().map(|peer| peer.deflated).sum();
        let passed_over = world.shard.stats().compress.passed_over as usize;
        assert_eq!(deflated + passed_over, CLIENTS);
        // Who asks for the same when there is room again gets it compressed.
        let before = world.shard.stats().compress.passed_over;
        for client in 0..CLIENTS {
            let again = join(&mut world, true, "/ws");
            world.subscribe(again, "", &[&format!("q.{client}")], None);
            assert_eq!(world.peers[again].deflated, 1);
        }
        assert_eq!(world.shard.stats().compress.passed_over, before);
        // A class's own frame is compressed all the same, and so is what comes when there is room again.
        for client in 0..CLIENTS {
            world.publish(&format!("q.{client}"), &quotes(21));
        }
        world.advance(std::time::Duration::from_secs(1));
        let batches: usize = world.peers.iter().map(|peer| peer.deflated).sum();
        // Twenty snapshots, and a batch for each of forty.
        assert_eq!(batches - deflated, 3 * CLIENTS);
        let late = join(&mut world, true, "/ws");
        world.subscribe(late, "", &["q.*"], None);
        assert_eq!(world.peers[late].deflated, 1);
        passed_over
    };
    assert_eq!(snapshots(256 << 10), 0);
    // Three of them and a bit.
    assert_eq!(snapshots(3000), CLIENTS - 4);
}
