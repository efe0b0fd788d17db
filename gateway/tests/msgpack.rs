//! `fanwire.msgpack.v1`: the same objects, packed.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use engine::protocol::encoding::Encoding;
use proto::{encode::Opcode, msgpack};

use support::World;

fn join(world: &mut World, encoding: Encoding) -> usize {
    let peer = world.dial_as("/ws", false, encoding);
    world.settle();
    assert!(world.peers[peer].open);
    peer
}

#[test]
fn what_is_said_is_the_same_in_both() {
    let mut world = World::new(support::config(), 64, 1);
    let (json, packed) = (join(&mut world, Encoding::Json), join(&mut world, Encoding::Msgpack));
    let head = String::from_utf8_lossy(&world.peers[packed].http).into_owned();
    assert!(head.contains("Sec-WebSocket-Protocol: fanwire.msgpack.v1\r\n"), "{head}");
    for peer in [json, packed] {
        world.subscribe(peer, "", &["*"], Some(0));
    }
    // Numbers beyond any type too.
    for data in [
        "1.50",
        "1e999",
        "-0",
        "12345678901234567890123",
        r#"{"a":[1,2.5,null,true],"b":{"c":"é€"}}"#,
        "[[[]]]",
        "{}",
    ] {
        world.publish("a", data);
    }
    let texts = |peer: usize| -> Vec<String> {
        let texts = world.peers[peer].texts.iter().filter(|text| text.starts_with(r#"{"op":"batch""#));
        texts.map(|text| text[text.find("\"updates\"").unwrap()..].to_owned()).collect()
    };
    assert_eq!(texts(json).len(), 7);
    assert_eq!(texts(json), texts(packed));
    assert_eq!(world.shard.stats().classes, 2);
}

#[test]
fn whatever_a_json_parser_takes_does_no_harm() {
    let mut world = World::new(support::config(), 64, 1);
    let packed = world.dial();
    // Not judged by the model, which knows of no such thing.
    world.peers[packed].reading = false;
    world.peers[packed].encoding = Encoding::Msgpack;
    world.handshake(packed, "/ws?topics=a", false);
    let json = join(&mut world, Encoding::Json);
    world.subscribe(json, "", &["a"], Some(0));
    world.publish("a", r#"{"half":"\ud83d","whole":"\ud83d\ude00"}"#);
    world.advance(Duration::from_millis(200));
    let bytes = world.net.inner().peer_read(world.peers[packed].conn, usize::MAX);
    assert!(bytes.windows(3).any(|three| three == "\u{fffd}".as_bytes()));
    let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    world.publish("a", &deep);
    world.advance(Duration::from_millis(200));
    let bytes = world.net.inner().peer_read(world.peers[packed].conn, usize::MAX);
    assert!(bytes.windows(64).any(|some| some.iter().all(|byte| *byte == 0x91)));
    assert!(world.peers[json].texts.iter().any(|text| text.contains(&deep)));
}

#[test]
fn parts_tables_and_streams_are_packed_too() {
    let mut config = support::config();
    config.fanout.frame_bytes_max = 1024;
    let mut world = World::new(config, 64, 1);
    let packed = join(&mut world, Encoding::Msgpack);
    world.subscribe(packed, "", &["*"], Some(0));
    for n in 0..50 {
        let item = world.item(&format!("t.{n}"), &format!("\"{}\"", "x".repeat(100)));
        world.publisher.publish(&[item], engine::sequencer::Grouping::Single);
    }
    world.settle();
    world.stall(packed, 0);
    world.subscribe(packed, "two", &["t.*"], Some(100));
    world.resume(packed);
    world.settle();
    assert!(world.peers[packed].model.parts > 0);
    // keyed.rs, stream.rs and the simulation judge tables and streams; the model reads both encodings.
}

#[test]
fn what_is_no_op_is_refused_as_in_json() {
    let mut world = World::new(support::config(), 64, 1);
    let packed = join(&mut world, Encoding::Msgpack);
    for bytes in [&b"\xc1"[..], b"", b"\x81\xa2op", b"\xc4\x01x", b"\x93\x01\x02\x03"] {
        world.peers[packed]
            .model
            .asked
            .push_back(support::subscriber::Asked { id: None, op: support::subscriber::AskedOp::Bad });
        world.send_frame(packed, Opcode::Binary, bytes);
        world.settle();
    }
    let errors = world.peers[packed].frames("error");
    assert_eq!(errors.len(), 5);
    assert!(errors[0]["reason"].as_str().unwrap().contains("MessagePack"), "{}", errors[0]);
    let mut op = Vec::new();
    msgpack::from_json(br#"{"op":"ping"}"#, &mut op).unwrap();
    world.peers[packed]
        .model
        .asked
        .push_back(support::subscriber::Asked { id: None, op: support::subscriber::AskedOp::Ping });
    world.send_frame(packed, Opcode::Binary, &op);
    world.settle();
    assert_eq!(world.peers[packed].frames("pong").len(), 1);
    world.send_frame(packed, Opcode::Text, br#"{"op":"ping"}"#);
    world.settle();
    let (code, reason) = world.peers[packed].close.clone().unwrap();
    assert_eq!((code, reason.as_str()), (1003, "text frames are not part of fanwire.msgpack.v1"));
}
