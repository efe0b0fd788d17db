//! RFC 6455, 5.6 and 8.1: text is UTF-8, and what is not fails at the byte that proves it.
#![forbid(unsafe_code)]
mod support;

use proto::{Error, encode::Opcode};
use support::*;

const VALID: &[&str] = &[
    "κόσμε",
    "\0",
    "\u{7f}\u{80}\u{7ff}\u{800}",
    "\u{d7ff}\u{e000}\u{fffd}\u{ffff}",
    "\u{10000}\u{10ffff}",
    "a€𝄞é",
];

/// Bytes, and the index of the first that no valid text could have there.
const INVALID: &[(&[u8], usize)] = &[
    (b"\x80", 0),
    (b"a\xff", 1),
    (b"\xc0\xaf", 0),
    (b"\xc1", 0),
    (b"\xe0\x80\x80", 1),
    (b"\xe2\x82\x28", 2),
    (b"\xed\xa0\x80", 1),
    (b"\xf0\x80", 1),
    (b"\xf0\x9f\x92\x28", 3),
    (b"\xf4\x90\x80\x80", 1),
    (b"\xf5", 0),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65", 12),
];

#[test]
fn valid_text_passes_however_it_is_cut() {
    for valid in VALID {
        assert_eq!(server_sees(&masked(Opcode::Text, valid.as_bytes())), [text(valid)]);
        for cut in 0..=valid.len() {
            let (left, right) = valid.as_bytes().split_at(cut);
            let bytes = [fragment(0x01, left), fragment(0x80, right)].concat();
            assert_eq!(server_sees(&bytes), [text(valid)], "cut at {cut}");
        }
    }
}

#[test]
fn invalid_text_fails_at_its_first_byte() {
    for &(invalid, at) in INVALID {
        for padding in [0, 1, 63, 64, 200] {
            let payload = [&vec![b'x'; padding], invalid, b"tail"].concat();
            assert_eq!(server_sees(&masked(Opcode::Text, &payload)), [Seen::Fail(Error::NotUtf8)]);
            let frame = masked(Opcode::Text, &payload);
            let header = frame.len() - payload.len();
            let expected = Some((header + padding + at, Error::NotUtf8));
            assert_eq!(server_fails_at(&frame, &LIMITS), expected, "{invalid:x?} after {padding}");
        }
    }
}

#[test]
fn invalid_text_fails_in_the_fragment_that_has_it() {
    for &(invalid, at) in INVALID {
        for cut in 0..=invalid.len() {
            let (left, right) = invalid.split_at(cut);
            let first = fragment(0x01, left);
            let seen = server_sees(&first);
            assert_eq!(seen == [Seen::Fail(Error::NotUtf8)], at < cut, "{invalid:x?} cut at {cut}: {seen:?}");
            let both = [first, fragment(0x00, right)].concat();
            assert_eq!(server_sees(&both), [Seen::Fail(Error::NotUtf8)], "{invalid:x?} cut at {cut}");
        }
    }
}

#[test]
fn a_message_must_not_end_within_a_character() {
    for end in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x92", b"ok\xf4\x8f\xbf"] {
        assert_eq!(server_sees(&masked(Opcode::Text, end)), [Seen::Fail(Error::NotUtf8)], "whole {end:x?}");
        let fragments = [fragment(0x01, end), fragment(0x80, b"")].concat();
        assert_eq!(server_sees(&fragments), [Seen::Fail(Error::NotUtf8)], "fragments {end:x?}");
    }
    assert_eq!(Error::NotUtf8.close_code(), 1007);
}

#[test]
fn binary_may_be_anything() {
    for &(bytes, _) in INVALID {
        assert_eq!(server_sees(&masked(Opcode::Binary, bytes)), [Seen::Binary(bytes.into())]);
    }
}

#[test]
fn incremental_check_agrees_with_the_standard_library() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut random = fastrand::Rng::with_seed(seed);
    let alphabet = [b'a', 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xe2, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f];
    for round in 0..20_000 {
        let payload: Vec<u8> = if round % 2 == 0 {
            (0..random.usize(0..10)).map(|_| alphabet[random.usize(0..alphabet.len())]).collect()
        } else {
            (0..random.usize(0..40)).flat_map(|_| random.char(..).to_string().into_bytes()).collect()
        };
        let expected = std::str::from_utf8(&payload).ok();
        let mut fragments = Vec::new();
        let mut rest = &payload[..];
        let mut first = 0x01;
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(random.usize(1..=rest.len()));
            fragments.extend(fragment(first, piece));
            (first, rest) = (0, later);
        }
        fragments.extend(fragment(first | 0x80, b""));
        let expected = [expected.map_or(Seen::Fail(Error::NotUtf8), text)];
        assert_eq!(server_sees(&fragments), expected, "round {round}: {payload:x?}");
    }
}
