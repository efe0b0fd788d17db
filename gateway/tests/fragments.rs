//! A long message goes out in fragments, and a pong or a close passes between them (RFC 6455, section 5.4).
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::{client::CloseReason, protocol::encoding::Encoding};
use gateway::config::Config;
use proto::encode::Opcode;
use support::{World, config, subscriber::AskedOp};

const LONG_BYTES: usize = 1_000_000;
/// What the client's socket takes at once.
const WINDOW_BYTES: usize = 20_000;
const FRAGMENT_BYTES: usize = 16_000;

/// A value that does not get smaller than a few fragments when it is compressed.
fn long_value() -> String {
    let mut rng = fastrand::Rng::with_seed(7);
    let text: String = (0..LONG_BYTES).map(|_| rng.alphanumeric()).collect();
    format!("\"{text}\"")
}

/// A client that is being sent a long batch and has taken its first bytes.
fn sending(deflate: bool, encoding: Encoding) -> (World, usize) {
    sending_by(config(), deflate, encoding)
}

fn sending_by(config: Config, deflate: bool, encoding: Encoding) -> (World, usize) {
    let mut world = World::new(config, 8, 1);
    // What a client says is read in random parts, one between two fragments.
    world.set_fragment_bytes(FRAGMENT_BYTES);
    let peer = world.dial_as("/ws", deflate, encoding);
    world.settle();
    world.subscribe(peer, "", &["a"], Some(0));
    world.stall(peer, WINDOW_BYTES);
    world.publish("a", &long_value());
    world.read(peer, usize::MAX);
    assert_eq!(world.peers[peer].frames("batch").len(), 0);
    (world, peer)
}

/// The client takes a little more.
fn take(world: &mut World, peer: usize) {
    let conn = world.peers[peer].conn;
    world.net.inner().set_window(conn, WINDOW_BYTES);
    world.settle();
    world.read(peer, usize::MAX);
}

/// Takes more until the close frame comes, with nothing of the message after it: the model fails at any byte there.
fn close_between_fragments(world: &mut World, peer: usize) -> u16 {
    while world.peers[peer].close.is_none() {
        take(world, peer);
        assert_eq!(world.peers[peer].frames("batch").len(), 0, "the whole message came before the close");
    }
    assert!(world.peers[peer].bytes < LONG_BYTES / 2, "{} bytes", world.peers[peer].bytes);
    world.resume(peer);
    world.advance(Duration::from_secs(2));
    assert!(world.peers[peer].slot_freed);
    world.peers[peer].close_code().expect("it was closed")
}

fn check_value(world: &World, peer: usize) {
    let batch = world.peers[peer].frames("batch").pop().expect("the batch has come");
    assert_eq!(batch["updates"][0]["data"].to_string(), long_value());
}

#[test]
fn a_pong_passes_between_the_fragments_of_a_message() {
    let all = [false, true]
        .into_iter()
        .flat_map(|deflate| [Encoding::Json, Encoding::Msgpack].map(|e| (deflate, e)));
    for (deflate, encoding) in all {
        let (mut world, peer) = sending(deflate, encoding);
        for round in 1..=2 {
            world.send_frame(peer, Opcode::Ping, &[round]);
            while world.peers[peer].pongs.len() < round.into() {
                take(&mut world, peer);
            }
            // It may come in several reads, of which each waits for the end of a fragment.
            assert_eq!(world.peers[peer].frames("batch").len(), 0, "the message is not whole yet");
        }
        world.resume(peer);
        world.settle();
        check_value(&world, peer);
        assert_eq!(world.peers[peer].deflated > 0, deflate);
        assert_eq!(world.peers[peer].pongs, [[1], [2]]);
    }
}

#[test]
fn the_answer_to_an_op_waits_for_the_whole_message() {
    let (mut world, peer) = sending(false, Encoding::Json);
    world.ask(peer, AskedOp::Ping);
    world.send_frame(peer, Opcode::Ping, b"after it");
    world.resume(peer);
    world.settle();
    check_value(&world, peer);
    let ops: Vec<&str> = world.peers[peer].texts.iter().rev().take(2).map(|text| &text[..10]).collect();
    assert_eq!(ops, [r#"{"op":"pon"#, r#"{"op":"bat"#]);
    assert_eq!(world.peers[peer].pongs.len(), 1);
}

#[test]
fn a_close_passes_between_the_fragments_and_nothing_of_the_message_follows_it() {
    let (mut world, peer) = sending(false, Encoding::Json);
    let mut goodbye = Vec::new();
    proto::encode::masked_close(&mut goodbye, 1000, "", [1, 2, 3, 4]);
    world.send_raw(peer, &goodbye);
    world.resume(peer);
    world.settle();
    // The model fails at any byte after the close frame.
    assert_eq!(world.peers[peer].close_code(), Some(1000));
    assert!(world.peers[peer].bytes < LONG_BYTES / 2, "{} bytes", world.peers[peer].bytes);
    assert_eq!(world.peers[peer].frames("batch").len(), 0);
    world.advance(Duration::from_secs(2));
    assert!(world.peers[peer].slot_freed);
}

#[test]
fn a_long_message_of_a_client_that_breaks_the_protocol_is_cut_off_by_the_close() {
    let (mut world, peer) = sending(false, Encoding::Json);
    // No opcode.
    world.send_raw(peer, &[0x83, 0x80, 0, 0, 0, 0]);
    world.resume(peer);
    world.settle();
    assert_eq!(world.peers[peer].close_code(), CloseReason::ProtocolError.code());
    assert!(world.peers[peer].bytes < LONG_BYTES / 2);
}

#[test]
fn pings_behind_ops_are_answered_between_the_fragments() {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let (mut world, peer) = sending(false, encoding);
        for round in 1..=3 {
            world.ask(peer, AskedOp::Ping);
            world.ask(peer, AskedOp::Bad);
            world.send_frame(peer, Opcode::Ping, &[round]);
            while world.peers[peer].pongs.len() < round.into() {
                take(&mut world, peer);
                assert_eq!(world.peers[peer].frames("batch").len(), 0, "the pong waits for the message");
            }
        }
        assert_eq!(world.peers[peer].model.asked.len(), 6, "the answers wait");
        world.resume(peer);
        world.settle();
        check_value(&world, peer);
        assert_eq!(world.peers[peer].pongs, [[1], [2], [3]]);
        assert!(world.peers[peer].model.asked.is_empty());
    }
}

#[test]
fn what_is_answered_in_the_midst_of_a_message_is_bounded() {
    /// One more may be made by what was read last.
    const ANSWERS_BYTES_MAX: usize = 8 << 10;
    let mut config = config();
    config.limits.messages_per_s = 1_000_000;
    let (mut world, peer) = sending_by(config, false, Encoding::Json);
    for _ in 0..2000 {
        world.ask(peer, AskedOp::Ping);
    }
    world.send_frame(peer, Opcode::Ping, b"behind all");
    for _ in 0..20 {
        take(&mut world, peer);
    }
    let read = world.shard.stats().client.messages_in as usize - 1;
    let answer = r#"{"op":"pong","id":2000,"ts":1700000000000000}"#.len() + 2;
    let most = ANSWERS_BYTES_MAX / (answer - 3) + 1;
    assert!(20 < read && read <= most, "{read} ops were read, {most} may be");
    assert!(world.net.inner().is_paused(world.peers[peer].conn), "and TCP holds the client back");
    assert_eq!(world.peers[peer].pongs.len(), 0);
    world.resume(peer);
    world.settle();
    check_value(&world, peer);
    assert!(world.peers[peer].model.asked.is_empty(), "all are answered, in order");
    assert_eq!(world.peers[peer].pongs.len(), 1);
}

#[test]
fn a_client_that_says_nonsense_is_closed_between_the_fragments() {
    let (mut world, peer) = sending(false, Encoding::Json);
    for _ in 0..25 {
        world.send_bad(peer, "zz");
    }
    assert_eq!(close_between_fragments(&mut world, peer), 4506);
}

#[test]
fn a_break_behind_an_op_closes_between_the_fragments() {
    let breaks = [
        (4429, Opcode::Ping, &b""[..], 200),
        (1003, Opcode::Binary, b"x", 1),
        (1000, Opcode::Close, &[3, 0xe8], 1),
    ];
    for (code, opcode, payload, times) in breaks {
        let (mut world, peer) = sending(false, Encoding::Json);
        world.ask(peer, AskedOp::Ping);
        world.settle();
        take(&mut world, peer);
        for _ in 0..times {
            world.send_frame(peer, opcode, payload);
        }
        assert_eq!(close_between_fragments(&mut world, peer), code);
    }
}

#[test]
fn a_client_without_a_subscription_is_closed_between_the_fragments_when_it_idles() {
    let mut config = config();
    config.limits.idle = Duration::from_secs(5);
    let (mut world, peer) = sending_by(config, false, Encoding::Json);
    world.unsubscribe(peer, "", None);
    while world.peers[peer].close.is_none() {
        take(&mut world, peer);
        world.advance(Duration::from_secs(1));
        assert_eq!(world.peers[peer].frames("batch").len(), 0, "the whole message came before the close");
    }
    assert_eq!(close_between_fragments(&mut world, peer), 4000);
}
