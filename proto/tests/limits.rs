//! What a peer can make us hold, and sizes that a hundred thousand connections are multiplied with.
#![forbid(unsafe_code)]
mod support;

use proto::{Conn, Error, Event, Limits, encode::Opcode};
use support::*;

const SMALL: Limits = Limits { message_bytes: 1000, ..LIMITS };

fn too_big(bytes: u64) -> Error {
    Error::MessageTooBig { bytes, limit: 1000 }
}

/// A masked header that announces any length in the long form.
fn announced(first: u8, bytes: u64) -> Vec<u8> {
    [&[first, 0xff][..], &bytes.to_be_bytes(), &KEY].concat()
}

#[test]
fn sizes() {
    assert!(size_of::<Conn>() <= 24, "Conn {}", size_of::<Conn>());
    assert!(size_of::<Error>() <= 16, "Error {}", size_of::<Error>());
    assert!(size_of::<Event>() <= 72, "Event {}", size_of::<Event>());
}

#[test]
fn a_message_may_be_as_long_as_the_limit() {
    let payload = vec![b'x'; 1000];
    let whole = masked(Opcode::Binary, &payload);
    assert_eq!(feed(&mut open_server(), &whole, &SMALL), [Seen::Binary(payload.clone())]);
    let fragments = [fragment(0x02, &payload[..400]), fragment(0x80, &payload[400..])].concat();
    assert_eq!(feed(&mut open_server(), &fragments, &SMALL), [Seen::Binary(payload)]);
}

#[test]
fn empty_fragments_count_so_that_they_end() {
    let first = fragment(0x01, b"");
    let thousand = [first.clone(), fragment(0x00, b"").repeat(999), fragment(0x80, b"")].concat();
    assert_eq!(feed(&mut open_server(), &thousand, &SMALL), [Seen::Text(String::new())]);
    let endless = [first, fragment(0x00, b"").repeat(2000)].concat();
    assert_eq!(feed(&mut open_server(), &endless, &SMALL), [Seen::Fail(too_big(1001))]);
}

#[test]
fn a_longer_frame_fails_with_its_length() {
    let frame = masked(Opcode::Binary, &[0; 1001]);
    assert_eq!(server_fails_at(&frame, &SMALL), Some((3, too_big(1001))));
    assert_eq!(server_fails_at(&announced(0x81, 1 << 62), &SMALL), Some((9, too_big(1 << 62))));
    assert_eq!(too_big(1001).close_code(), 1009);
}

#[test]
fn fragments_count_together() {
    let first = fragment(0x01, &[b'x'; 600]);
    let bytes = [first.clone(), fragment(0x00, &[b'y'; 401])].concat();
    assert_eq!(server_fails_at(&bytes, &SMALL), Some((first.len() + 3, too_big(1001))));
    let bytes = [first.clone(), announced(0x80, u64::MAX >> 1)].concat();
    let expected = too_big((u64::MAX >> 1) + 600);
    assert_eq!(server_fails_at(&bytes, &SMALL), Some((first.len() + 9, expected)));
}

#[test]
fn a_carried_character_counts_too() {
    let first = fragment(0x01, &[&[b'x'; 998][..], b"\xe2\x82"].concat());
    let bytes = [first, fragment(0x80, b"\xac")].concat();
    assert_eq!(feed(&mut open_server(), &bytes, &SMALL), [Seen::Fail(too_big(1001))]);
}

#[test]
fn control_frames_have_their_own_limit() {
    let tiny = Limits { message_bytes: 10, ..LIMITS };
    let payload = vec![1; 125];
    assert_eq!(feed(&mut open_server(), &masked(Opcode::Ping, &payload), &tiny), [Seen::Ping(payload)]);
}

#[test]
fn lengths_must_be_in_their_shortest_form() {
    for length in [0, 1, 125] {
        let bytes = [0x82, 0xfe, 0, length];
        assert_eq!(server_fails_at(&bytes, &LIMITS), Some((3, Error::LengthNotMinimal(length.into()))));
    }
    for length in [0, 125, 126, 0xffff] {
        let expected = Some((9, Error::LengthNotMinimal(length)));
        assert_eq!(server_fails_at(&announced(0x82, length), &LIMITS), expected);
    }
    assert_eq!(server_fails_at(&announced(0x82, 1 << 63), &LIMITS), Some((2, Error::LengthTopBit)));
}

#[test]
fn memory_follows_what_came_and_stays_under_the_limit() {
    let limits = Limits { message_bytes: 1 << 20, ..LIMITS };
    for first in [0x81, 0x82] {
        let mut conn = open_server();
        feed(&mut conn, &announced(first, 1 << 20), &limits);
        let fixed = conn.buffered();
        assert!(fixed < 300, "{fixed} bytes held for a header");
        let mut came = 0;
        while came < (1 << 20) - 100 {
            feed(
                &mut conn,
                &[b'x' ^ KEY[0], b'x' ^ KEY[1], b'x' ^ KEY[2], b'x' ^ KEY[3]].repeat(25),
                &limits,
            );
            came += 100;
            let held = conn.buffered() - fixed;
            assert!((came..=(2 * came).min(1 << 20)).contains(&held), "{held} held after {came}");
        }
    }
}

#[test]
fn memory_is_given_back() {
    let mut conn = open_server();
    let bytes = [fragment(0x01, &[b'x'; 5000]), fragment(0x80, b"y")].concat();
    assert_eq!(feed(&mut conn, &bytes[..3000], &LIMITS), []);
    assert!(conn.buffered() > 2000);
    assert_eq!(feed(&mut conn, &bytes[3000..], &LIMITS).len(), 1);
    assert_eq!(conn.buffered(), 0);

    let head = request_head(|_| ());
    let mut conn = Conn::server();
    feed(&mut conn, &head[..50], &LIMITS);
    assert!(conn.buffered() >= 50);
    feed(&mut conn, &head[50..], &LIMITS);
    assert_eq!(conn.buffered(), 0);
}

#[test]
fn whole_frames_are_not_copied() {
    let mut bytes = masked(Opcode::Text, b"in place");
    let place = bytes[6..].as_ptr();
    let mut conn = open_server();
    let Some(Event::Text(text)) = conn.receive(&mut bytes, &LIMITS).event else { panic!() };
    assert_eq!((text, text.as_ptr()), ("in place", place));
    assert_eq!(conn.buffered(), 0);
}
