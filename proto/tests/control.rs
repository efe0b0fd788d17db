//! RFC 6455, 5.2 and 5.5: control frames, and bits and opcodes nobody agreed on.
#![forbid(unsafe_code)]
mod support;

use proto::{Error, encode::Opcode};
use support::*;

#[test]
fn pings_and_pongs_carry_up_to_125_bytes() {
    for bytes in [0, 1, 125] {
        let payload = vec![b'p'; bytes];
        assert_eq!(server_sees(&masked(Opcode::Ping, &payload)), [Seen::Ping(payload.clone())]);
        assert_eq!(server_sees(&masked(Opcode::Pong, &payload)), [Seen::Pong(payload)]);
    }
}

#[test]
fn longer_ones_fail_at_the_length() {
    for (opcode, length) in [(8, 126), (9, 126), (10, 127)] {
        let bytes = [0x80 | opcode, 0x80 | length];
        assert_eq!(server_fails_at(&bytes, &LIMITS), Some((1, Error::ControlTooLong(opcode))));
    }
}

#[test]
fn they_are_never_fragmented() {
    for opcode in [8, 9, 10] {
        assert_eq!(server_fails_at(&[opcode], &LIMITS), Some((0, Error::FragmentedControl(opcode))));
    }
}

#[test]
fn reserved_bits_and_opcodes_fail_at_once() {
    for bits in 1..8 {
        let first = 0x81 | bits << 4;
        assert_eq!(server_fails_at(&[first], &LIMITS), Some((0, Error::ReservedBits(bits))));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(server_fails_at(&[0x80 | opcode], &LIMITS), Some((0, Error::ReservedOpcode(opcode))));
        assert_eq!(server_fails_at(&[opcode], &LIMITS), Some((0, Error::ReservedOpcode(opcode))));
    }
    assert_eq!(Error::ReservedBits(1).close_code(), 1002);
}

#[test]
fn what_came_before_a_failure_is_delivered() {
    let bytes = [masked(Opcode::Text, b"a"), masked(Opcode::Ping, b"b"), vec![0xff; 4]].concat();
    let expected = [text("a"), Seen::Ping(b"b".into()), Seen::Fail(Error::ReservedBits(7))];
    assert_eq!(server_sees(&bytes), expected);
}
