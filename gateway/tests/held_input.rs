//! What a client says while it takes nothing is held within bounds, however it says it, and nothing is lost.
#![forbid(unsafe_code)]

mod contract;
mod wss;

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use contract::{Gateway, Socket};
use proto::{
    deflate::Deflater,
    encode::{Opcode, masked_frame},
};
use wss::{Files, client, metric, subscribe};

/// Of one client, and of one that speaks TLS: a record more.
const HELD_BYTES_MAX: u64 = 4096;
const HELD_BYTES_MAX_TLS: u64 = HELD_BYTES_MAX + (16 << 10);
const LIMITS: &str = "[limits]\nmessages_per_s = 1000000\ncontrol_per_s = 1000000\n";
const KEY: [u8; 4] = [1, 2, 3, 4];

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    masked_frame(&mut frame, opcode, payload, KEY);
    frame
}

fn op(n: usize) -> String {
    format!(r#"{{"op":"ping","id":{n},"comment":"this is not, this is not, this is not looked at"}}"#)
}

/// Whole messages as they go over the wire, one way each.
fn ways() -> Vec<Vec<u8>> {
    let whole = |n| frame(Opcode::Text, op(n).as_bytes());
    let fragments = |n| {
        let (text, mut parts) = (op(n), Vec::new());
        let (first, rest) = text.split_at(7);
        let mut begin = frame(Opcode::Text, first.as_bytes());
        begin[0] &= !0x80;
        let mut end = frame(Opcode::Text, rest.as_bytes());
        end[0] = 0x80;
        parts.extend([begin, end].concat());
        parts
    };
    let compressed = |n| {
        let mut deflater = Deflater::new(1, 15);
        let mut frame = frame(Opcode::Text, deflater.deflate(op(n).as_bytes()).expect("it gets smaller"));
        frame[0] |= 0x40;
        frame
    };
    let control = |_| frame(Opcode::Ping, &[b'x'; 100]);
    let all = |way: &dyn Fn(usize) -> Vec<u8>| (0..4000).flat_map(way).collect();
    vec![all(&whole), all(&fragments), all(&compressed), all(&control)]
}

/// The most that is held until it no longer grows.
fn held_at_most(gateway: &Gateway) -> u64 {
    let (mut most, end) = (0, Instant::now() + Duration::from_secs(1));
    while Instant::now() < end {
        most = most.max(metric(gateway, "fanwire_held_bytes "));
        thread::sleep(Duration::from_millis(20));
    }
    most
}

/// Publishes until every client has a frame that it does not take.
fn stall(gateway: &Gateway, clients: u64) {
    let big = format!("\"{}\"", "x".repeat(900_000));
    let busy = || metric(gateway, "fanwire_skipped_busy_total ");
    let (begin, end) = (busy(), Instant::now() + Duration::from_secs(20));
    while busy() < begin + 4 * clients {
        assert!(Instant::now() < end, "some still take what they are sent");
        gateway.publish("big", &big);
    }
}

#[test]
fn what_busy_clients_say_is_bounded_on_every_path() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), &format!("[fanout]\ninterval_ms = 0\n{LIMITS}"));
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let deflating = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
    let ways = ways();
    let mut plain: Vec<Socket> = ["", "", deflating, ""]
        .map(|headers| Socket::with(contract::dial(&gateway.data), "/ws?topics=big", headers).unwrap())
        .into();
    let mut sealed: Vec<_> =
        (0..2).map(|_| subscribe(&gateway.tls, &config, "localhost", "/ws?topics=big")).collect();
    plain.iter_mut().for_each(|socket| drop(socket.until("subscribed")));
    sealed.iter_mut().for_each(|socket| drop(socket.until("subscribed")));
    stall(&gateway, (plain.len() + sealed.len()) as u64);
    let mut most = 0;
    for (socket, way) in plain.iter_mut().zip(&ways) {
        most += HELD_BYTES_MAX;
        let mut stream = socket.stream().try_clone().unwrap();
        let way = way.clone();
        // Until the gateway takes no more, and then as it does.
        thread::spawn(move || drop(stream.write_all(&way)));
        let held = held_at_most(&gateway);
        assert!(0 < held && held <= most, "{held} bytes are held, {most} may be");
    }
    for (socket, way) in sealed.iter_mut().zip(&ways) {
        most += HELD_BYTES_MAX_TLS;
        let stream = socket.stream();
        stream.sock.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        // It may not be taken as a whole.
        let _ = stream.write_all(way);
        let held = held_at_most(&gateway);
        assert!(held <= most, "{held} bytes are held, {most} may be");
    }
    assert!(metric(&gateway, "fanwire_receive_pauses_total ") >= 6);
    // Who reads again has lost nothing.
    for n in 0..4000 {
        assert_eq!(plain[0].until("pong")["id"], n);
    }
}

#[test]
fn what_is_said_while_a_position_is_waited_for_is_bounded() {
    // Its upstream was never heard of, so a subscription waits.
    let source = "[[source]]\nkind = \"fanwire\"\nurl = \"ws://127.0.0.1:1/ws\"\n";
    let gateway = Gateway::start("", &format!("{LIMITS}{source}"));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=a").unwrap();
    let mut stream = socket.stream().try_clone().unwrap();
    let way = ways().swap_remove(0);
    thread::spawn(move || drop(stream.write_all(&way)));
    let held = held_at_most(&gateway);
    assert!(0 < held && held <= HELD_BYTES_MAX, "{held} bytes are held");
    for n in 0..4000 {
        assert_eq!(socket.until("pong")["id"], n);
    }
}
