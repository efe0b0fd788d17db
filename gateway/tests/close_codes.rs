//! Each close code, when it comes, and what follows it on the wire.
#![forbid(unsafe_code)]

mod support;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use engine::{
    client::{
        ERRORS_MAX, ERRORS_WINDOW_US,
        close::{Begun, TABLE},
    },
    protocol::encoding::Encoding,
    shard::stats::Stats,
};
use gateway::config::Config;
use net::{metric::Values, sim::PeerEnd};
use proto::encode::Opcode;
use support::{World, config, subscriber::AskedOp};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut config = config();
    change(&mut config);
    World::new(config, 64, 1)
}

/// The close code after these bytes.
fn code_after(bytes: &[u8]) -> Option<u16> {
    let mut world = world(|config| config.limits.message_bytes = 1000);
    let peer = world.connect();
    world.send_raw(peer, bytes);
    world.settle();
    world.peers[peer].close_code()
}

#[test]
fn framing_that_breaks_the_rfc_closes_1002() {
    let cases: [(&str, &[u8]); 9] = [
        ("an unmasked frame", &[0x81, 0x00]),
        ("a reserved bit", &[0xc1, 0x80, 0, 0, 0, 0]),
        ("a reserved opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a 16-bit length that fits 7 bits", &[0x81, 0xfe, 0, 5]),
        ("a 64-bit length that fits 16 bits", &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ("a continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0]),
        ("a ping over 125 bytes", &[0x89, 0xfe, 0, 126]),
        ("a fragmented ping", &[0x09, 0x80, 0, 0, 0, 0]),
        ("a close frame of one byte", &[0x88, 0x81, 0, 0, 0, 0, 3]),
    ];
    for (what, bytes) in cases {
        assert_eq!(code_after(bytes), Some(1002), "{what}");
    }
}

#[test]
fn a_binary_frame_closes_1003() {
    assert_eq!(code_after(&[0x82, 0x81, 0, 0, 0, 0, b'x']), Some(1003));
}

#[test]
fn text_that_is_not_utf8_closes_1007_with_the_first_bytes_that_prove_it() {
    // 100 bytes are announced, as a first fragment; one came.
    assert_eq!(code_after(&[0x01, 0x80 | 100, 0, 0, 0, 0, 0xff]), Some(1007));
    assert_eq!(code_after(&[0x01, 0x80 | 100, 0, 0, 0, 0, b'a']), None);
}

#[test]
fn a_message_over_the_limit_closes_1009_before_it_has_come() {
    assert_eq!(code_after(&[0x81, 0xfe, 0x03, 0xe9]), Some(1009));
    assert_eq!(code_after(&[0x81, 0xfe, 0x03, 0xe8]), None);
}

/// A close frame of a client, with a mask of zeros.
fn close_frame(code: u16) -> [u8; 8] {
    let [high, low] = code.to_be_bytes();
    [0x88, 0x82, 0, 0, 0, 0, high, low]
}

#[test]
fn a_clients_close_is_answered_with_its_code_and_without_one_by_1000() {
    for code in [1000..=1003, 1007..=1014, 3000..=3001, 4998..=4999].into_iter().flatten() {
        assert_eq!(code_after(&close_frame(code)), Some(code));
    }
    assert_eq!(code_after(&[0x88, 0x80, 0, 0, 0, 0]), Some(1000));
}

#[test]
fn a_clients_close_with_a_code_that_may_not_be_on_the_wire_is_answered_with_1002() {
    for code in [0..=1, 999..=999, 1004..=1006, 1015..=1016, 2999..=2999, 5000..=5000].into_iter().flatten() {
        assert_eq!(code_after(&close_frame(code)), Some(1002), "{code}");
    }
}

#[test]
fn a_code_of_the_table_may_come_from_a_client_unless_nobody_begins_a_close_with_it() {
    for row in &TABLE {
        let Some(code) = row.code else { continue };
        let answer = if row.begun == Begun::NotOnWire { 1002 } else { code };
        assert_eq!(code_after(&close_frame(code)), Some(answer), "{row:?}");
    }
}

#[test]
fn a_connection_without_subscription_is_closed_4000_after_idle() {
    let mut world = world(|config| config.limits.idle = 20 * S);
    let (idle, busy, left) = (world.connect(), world.connect(), world.connect());
    world.subscribe(busy, "", &["a"], None);
    world.subscribe(left, "", &["a"], None);
    world.advance(10 * S);
    world.unsubscribe(left, "", None);
    world.advance(9_900 * MS);
    assert_eq!(world.peers[idle].close_code(), None);
    world.advance(200 * MS);
    assert_eq!(world.peers[idle].close_code(), Some(4000));
    world.advance(9_500 * MS);
    assert_eq!(world.peers[left].close_code(), None);
    world.advance(S);
    assert_eq!((world.peers[left].close_code(), world.peers[busy].close_code()), (Some(4000), None));
}

fn silent_world() -> (World, usize) {
    let mut world = world(|config| {
        config.limits.ping = 30 * S;
        config.limits.pong = 10 * S;
        config.limits.stall = 200 * S;
        config.fanout.heartbeat = 500 * S;
        config.fanout.interval = Duration::ZERO;
    });
    let peer = world.connect();
    world.subscribe(peer, "", &["t"], None);
    (world, peer)
}

#[test]
fn a_client_that_answers_no_ping_is_closed_4001() {
    let (mut world, peer) = silent_world();
    world.peers[peer].answers_pings = false;
    world.advance(39 * S);
    assert_eq!((world.peers[peer].pings, world.peers[peer].close_code()), (1, None));
    // That the kernel delivered the ping is a sign of life too, for one `pong` more.
    world.advance(12 * S);
    assert_eq!(world.peers[peer].close_code(), Some(4001));
}

#[test]
fn a_client_that_answers_pings_stays() {
    let (mut world, peer) = silent_world();
    world.advance(300 * S);
    assert_eq!(world.peers[peer].close_code(), None);
    assert!((9..=10).contains(&world.peers[peer].pings), "{}", world.peers[peer].pings);
}

#[test]
fn any_byte_from_the_client_counts_as_an_answer() {
    let (mut world, peer) = silent_world();
    world.peers[peer].answers_pings = false;
    for _ in 0..10 {
        world.advance(35 * S);
        world.ask(peer, AskedOp::Ping);
    }
    assert_eq!(world.peers[peer].close_code(), None);
}

#[test]
fn a_send_queue_that_shrinks_counts_as_an_answer_and_one_that_stands_does_not() {
    let (mut world, peer) = silent_world();
    world.stall(peer, 1 << 20);
    world.publish("t", &format!("\"{}\"", "x".repeat(50_000)));
    for _ in 0..60 {
        world.advance(5 * S);
        world.read(peer, 100);
    }
    assert_eq!(world.end(peer), PeerEnd::Open);
    world.advance(60 * S);
    world.resume(peer);
    world.settle();
    assert_eq!(world.peers[peer].close_code(), Some(4001));
}

#[test]
fn messages_over_the_rate_close_4429() {
    let mut world = world(|config| config.limits.messages_per_s = 100);
    let (much, enough) = (world.connect(), world.connect());
    for _ in 0..250 {
        world.ask(much, AskedOp::Ping);
    }
    for _ in 0..200 {
        world.ask(enough, AskedOp::Ping);
    }
    world.settle();
    assert_eq!(world.peers[much].close_code(), Some(4429));
    assert_eq!(world.peers[much].frames("pong").len(), 200, "a burst of twice the rate is answered");
    assert_eq!((world.peers[enough].close_code(), world.peers[enough].frames("pong").len()), (None, 200));
}

#[test]
fn control_frames_over_their_own_rate_close_4429() {
    let mut world = world(|config| config.limits.control_per_s = 20);
    let (much, enough) = (world.connect(), world.connect());
    for _ in 0..41 {
        world.send_frame(much, Opcode::Ping, b"");
    }
    for _ in 0..40 {
        world.send_frame(enough, Opcode::Pong, b"");
    }
    world.settle();
    assert_eq!((world.peers[much].close_code(), world.peers[enough].close_code()), (Some(4429), None));
}

#[test]
fn more_than_twenty_malformed_messages_in_ten_seconds_close_4506() {
    let mut world = world(|_| ());
    let (quick, slow) = (world.connect(), world.connect());
    for n in 1..=21 {
        assert_eq!(world.peers[quick].close_code(), None, "before error {n}");
        world.send_bad(quick, if n % 2 == 0 { "nonsense" } else { r#"{"op":"frobnicate"}"# });
        world.settle();
    }
    assert_eq!(world.peers[quick].close_code(), Some(4506));
    assert_eq!(world.peers[quick].frames("error").len(), 21, "each was answered");
    for _ in 0..60 {
        world.send_bad(slow, "nonsense");
        world.advance(501 * MS);
    }
    assert_eq!(world.peers[slow].close_code(), None);
}

/// A connection that was just closed 1003.
fn closed() -> (World, usize) {
    let mut world = world(|_| ());
    let peer = world.connect();
    world.send_frame(peer, Opcode::Binary, b"x");
    world.settle();
    assert_eq!(world.peers[peer].close_code(), Some(1003));
    (world, peer)
}

#[test]
fn after_a_close_frame_the_gateway_half_closes_and_waits_a_second_for_the_peer() {
    let (mut world, peer) = closed();
    assert_eq!((world.end(peer), world.peers[peer].slot_freed), (PeerEnd::Ended, false));
    world.advance(950 * MS);
    assert!(!world.peers[peer].slot_freed);
    world.advance(100 * MS);
    assert!(world.peers[peer].slot_freed);
}

#[test]
fn a_peer_that_ends_its_side_too_frees_the_slot_at_once() {
    let (mut world, peer) = closed();
    world.net.inner().peer_close(world.peers[peer].conn);
    world.settle();
    assert_eq!((world.end(peer), world.peers[peer].slot_freed), (PeerEnd::Ended, true));
}

#[test]
fn after_a_close_frame_at_most_a_mebibyte_is_discarded() {
    let (mut world, peer) = closed();
    world.send_raw(peer, &vec![0; (1 << 20) - 1000]);
    world.settle();
    assert!(!world.peers[peer].slot_freed);
    world.send_raw(peer, &[0; 2000]);
    world.settle();
    assert!(world.peers[peer].slot_freed);
}

#[test]
fn a_handshake_that_does_not_end_is_cut() {
    let mut world = world(|config| config.limits.handshake = 5 * S);
    let peer = world.dial();
    world.send_raw(peer, b"GET /ws HTTP/1.1\r\n");
    world.advance(4_900 * MS);
    assert!(!world.peers[peer].slot_freed);
    world.advance(200 * MS);
    assert!(world.peers[peer].slot_freed);
}

/// The rows of PROTOCOL.md's table of close codes: each a code and its cells by the names of their columns.
fn documented() -> Vec<(u16, HashMap<&'static str, &'static str>)> {
    let document = include_str!("../PROTOCOL.md");
    let (_, section) = document.split_once("\n## Close codes\n").expect("a section about close codes");
    let section = section.split("\n## ").next().unwrap_or(section);
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
    let mut lines = section.lines().filter(|line| line.starts_with('|'));
    let columns: Vec<&str> = cells(lines.next().expect("a table")).collect();
    let rows =
        lines.skip(1).map(|line| -> HashMap<_, _> { columns.iter().copied().zip(cells(line)).collect() });
    rows.map(|row| (row["code"].trim_matches('`').parse().expect("a code"), row)).collect()
}

#[test]
fn the_contract_lists_every_close_code_as_the_table_has_it() {
    let documented = documented();
    let mut named: Vec<u16> = documented.iter().map(|(code, _)| *code).collect();
    let mut known: Vec<u16> = TABLE.iter().filter_map(|row| row.code).collect();
    named.sort_unstable();
    known.sort_unstable();
    known.dedup();
    assert_eq!(named, known);
    for (code, row) in documented {
        let who = row["who begins a close with it"];
        for known in TABLE.iter().filter(|known| known.code == Some(code)) {
            let begun = match known.begun {
                Begun::ByGateway => "gateway",
                Begun::ByBoth => "gateway, clients",
                Begun::ByClients => "clients",
                Begun::ByServers => "other servers",
                Begun::NotOnWire => "nobody",
            };
            assert_eq!(who, begun, "{code}: {known:?}");
            assert_eq!(row["reconnecting helps"] != "no", known.reconnect, "{code}: {known:?}");
        }
        let rows = TABLE.iter().filter(|known| known.code == Some(code));
        let known: BTreeSet<&str> = rows.flat_map(|known| known.texts.iter().copied()).collect();
        assert_eq!(quoted(row["reason text"]), known, "{code}");
    }
}

/// Texts in quotes, without examples of those that are made for the case.
fn quoted(cell: &'static str) -> BTreeSet<&'static str> {
    let parts: Vec<&str> = cell.split('"').collect();
    let pairs = parts.chunks_exact(2);
    pairs.filter(|pair| !pair[0].ends_with("such as ")).map(|pair| pair[1]).collect()
}

#[test]
fn the_contract_says_how_many_malformed_messages_are_too_many_and_which_frames_an_encoding_has() {
    let documented: HashMap<_, _> = documented().into_iter().collect();
    let when = format!("more than {ERRORS_MAX} malformed messages in {} s", ERRORS_WINDOW_US / 1_000_000);
    assert_eq!(documented[&4506]["when"], when);
    for (kind, encoding) in [("binary", Encoding::Json), ("text", Encoding::Msgpack)] {
        let text = format!("{kind} frames are not part of {}", encoding.subprotocol().unwrap());
        assert!(quoted(documented[&1003]["reason text"]).contains(text.as_str()), "{text}");
    }
}

#[test]
fn the_metrics_count_every_reason_by_its_label() {
    let ended = Stats::METRICS.iter().find(|metric| metric.name == "fanwire_ended").expect("it is counted");
    let Values::By("reason", of) = ended.values else { panic!("{ended:?}") };
    let stats = Stats::default();
    let counted: Vec<String> = of(&stats).into_iter().map(|(label, _)| label.into_owned()).collect();
    let labels: Vec<&str> = TABLE.iter().filter(|row| row.reason.is_some()).map(|row| row.label).collect();
    assert_eq!(counted, labels);
}
