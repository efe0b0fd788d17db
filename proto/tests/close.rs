//! RFC 6455, 5.5.1 and 7: closing.
#![forbid(unsafe_code)]
mod support;

use proto::{Conn, Error, State, encode::Opcode};
use support::*;

#[test]
fn codes_that_may_be_sent_are_taken_and_no_others() {
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if valid { close(code, "x") } else { Seen::Fail(Error::CloseCode(code)) };
        assert_eq!(server_sees(&masked_close(code, b"x")), [expected]);
    }
    assert_eq!(Error::CloseCode(1005).close_code(), 1002);
}

#[test]
fn payload_is_nothing_or_a_code_with_a_reason() {
    assert_eq!(server_sees(&masked(Opcode::Close, b"")), [Seen::Close(None)]);
    assert_eq!(server_sees(&masked(Opcode::Close, b"\x03")), [Seen::Fail(Error::CloseTooShort)]);
    let longest = "é".repeat(61) + "!";
    assert_eq!(server_sees(&masked_close(1000, longest.as_bytes())), [close(1000, &longest)]);
    assert_eq!(server_sees(&masked_close(1000, b"a\xce")), [Seen::Fail(Error::NotUtf8)]);
}

#[test]
fn the_peer_closes_first() {
    let mut conn = open_server();
    let bytes = [masked_close(1001, b"bye"), masked(Opcode::Text, b"late"), vec![0xff; 10]].concat();
    assert_eq!(feed(&mut conn, &bytes, &LIMITS), [close(1001, "bye")]);
    assert_eq!(conn.state(), State::Closing);
    conn.close_sent();
    assert_eq!(conn.state(), State::Closed);
    assert_eq!(feed(&mut conn, b"anything", &LIMITS), []);
}

#[test]
fn after_our_close_only_the_peers_counts() {
    for mut conn in [open_server(), {
        // In the middle of a cut frame of a fragmented message.
        let mut conn = open_server();
        let begun = [fragment(0x01, b"half"), fragment(0x80, b"late!")].concat();
        assert_eq!(feed(&mut conn, &begun[..begun.len() - 5], &LIMITS), []);
        conn.close_sent();
        assert_eq!(feed(&mut conn, &begun[begun.len() - 5..], &LIMITS), []);
        conn
    }] {
        conn.close_sent();
        assert_eq!((conn.state(), conn.buffered()), (State::Closing, 0));
        let ignored = [
            masked(Opcode::Text, b"\xff not even text"),
            masked(Opcode::Ping, b"?"),
            fragment(0x02, b"a"),
            fragment(0x80, b"b"),
        ];
        assert_eq!(feed(&mut conn, &ignored.concat(), &LIMITS), []);
        let half = masked(Opcode::Binary, &[7; 1000]);
        assert_eq!(feed(&mut conn, &half[..500], &LIMITS), []);
        assert!(conn.buffered() < 300, "{} bytes held of what is ignored", conn.buffered());
        assert_eq!(feed(&mut conn, &half[500..], &LIMITS), []);
        assert_eq!(conn.buffered(), 0);
        assert_eq!(feed(&mut conn, &masked_close(1000, b""), &LIMITS), [close(1000, "")]);
        assert_eq!(conn.state(), State::Closed);
    }
}

#[test]
fn a_failure_waits_for_our_close_frame() {
    let mut conn = open_server();
    let bytes = [fragment(0x83, b""), masked_close(1000, b"")].concat();
    assert_eq!(feed(&mut conn, &bytes, &LIMITS), [Seen::Fail(Error::ReservedOpcode(3))]);
    assert_eq!((conn.state(), conn.buffered()), (State::Closing, 0));
    conn.close_sent();
    assert_eq!(conn.state(), State::Closed);
    // After our close it ends the connection.
    let mut conn = open_server();
    conn.close_sent();
    assert_eq!(feed(&mut conn, &fragment(0x83, b""), &LIMITS), [Seen::Fail(Error::ReservedOpcode(3))]);
    assert_eq!(conn.state(), State::Closed);
}

#[test]
fn clients_close_in_the_same_way() {
    let mut conn = open_client();
    let mut bytes = Vec::new();
    proto::encode::close(&mut bytes, 1001, "going");
    assert_eq!(feed(&mut conn, &bytes, &LIMITS), [close(1001, "going")]);
    assert_eq!(conn.state(), State::Closing);
    let mut answer = Vec::new();
    proto::encode::masked_close(&mut answer, 1001, "", KEY);
    conn.close_sent();
    assert_eq!(conn.state(), State::Closed);
    assert_eq!(server_sees(&answer), [close(1001, "")]);
}

#[test]
fn states_follow_the_handshake() {
    let mut conn = Conn::server();
    assert_eq!(conn.state(), State::Connecting);
    conn.upgraded(None);
    conn.upgraded(None);
    assert_eq!(conn.state(), State::Open);
}
