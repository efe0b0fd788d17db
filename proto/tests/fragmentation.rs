//! RFC 6455, 5.4: fragments.
#![forbid(unsafe_code)]
mod support;

use proto::{Error, State, encode::Opcode};
use support::*;

#[test]
fn fragments_are_one_message() {
    let bytes = [fragment(0x01, b"Hel"), fragment(0x00, b""), fragment(0x80, b"lo")].concat();
    assert_eq!(server_sees(&bytes), [text("Hello")]);
    let bytes = [fragment(0x02, &[1]), fragment(0x00, &[2]), fragment(0x80, &[])].concat();
    assert_eq!(server_sees(&bytes), [Seen::Binary(vec![1, 2])]);
}

#[test]
fn control_frames_come_in_between() {
    let bytes = [
        fragment(0x01, b"a"),
        masked(Opcode::Ping, b"1"),
        masked(Opcode::Pong, b"2"),
        fragment(0x80, b"b"),
        masked(Opcode::Text, b"next"),
    ];
    let expected = [Seen::Ping(b"1".into()), Seen::Pong(b"2".into()), text("ab"), text("next")];
    assert_eq!(server_sees(&bytes.concat()), expected);
}

#[test]
fn a_close_in_between_ends_it() {
    let mut conn = open_server();
    let bytes = [fragment(0x01, b"a"), masked_close(1000, b""), fragment(0x80, b"b")].concat();
    assert_eq!(feed(&mut conn, &bytes, &LIMITS), [close(1000, "")]);
    assert_eq!((conn.state(), conn.buffered()), (State::Closing, 0));
}

#[test]
fn order_is_checked_with_the_first_byte() {
    assert_eq!(server_fails_at(&fragment(0x80, b"x"), &LIMITS), Some((0, Error::UnexpectedContinuation)));
    assert_eq!(server_fails_at(&fragment(0x00, b"x"), &LIMITS), Some((0, Error::UnexpectedContinuation)));
    for opcode in [1, 2] {
        let begun = fragment(0x01, b"x");
        let bytes = [begun.clone(), fragment(0x80 | opcode, b"y")].concat();
        let expected = Some((begun.len(), Error::ExpectedContinuation(opcode)));
        assert_eq!(server_fails_at(&bytes, &LIMITS), expected);
    }
    let bytes = [fragment(0x01, b"a"), fragment(0x80, b"b"), fragment(0x80, b"c")].concat();
    assert_eq!(server_sees(&bytes), [text("ab"), Seen::Fail(Error::UnexpectedContinuation)]);
}

#[test]
fn an_empty_message_may_have_many_fragments() {
    let bytes = [fragment(0x01, b""), fragment(0x00, b""), fragment(0x80, b"")].concat();
    assert_eq!(server_sees(&bytes), [text("")]);
    assert_eq!(server_sees(&masked(Opcode::Binary, b"")), [Seen::Binary(vec![])]);
}
