//! However reads cut the stream, the events are the same.
#![forbid(unsafe_code)]
mod support;

use proto::{Conn, encode::Opcode};
use support::*;

fn server_cases() -> Vec<Vec<u8>> {
    let head = request_head(|lines| lines.push("Sec-WebSocket-Protocol: a, b".into()));
    let after_head = |frames: &[Vec<u8>]| [head.clone(), frames.concat()].concat();
    vec![
        head.clone(),
        [&b"\r\n\r\n"[..], &head].concat(),
        String::from_utf8(head.clone()).unwrap().replace("\r\n", "\n").into_bytes(),
        request_head(|lines| lines.truncate(2)),
        b"GET / HTTP/1.1\r\nbad\x01name: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00".to_vec(),
        after_head(&[masked(Opcode::Text, b"one"), masked(Opcode::Binary, &[9; 300])]),
        after_head(&[
            fragment(0x01, "gr\u{fc}n".as_bytes()),
            masked(Opcode::Ping, b"?"),
            fragment(0x80, b"!"),
        ]),
        after_head(&[fragment(0x01, b"\xf0\x9f"), fragment(0x00, b"\x92"), fragment(0x80, b"\xa9")]),
        after_head(&[masked(Opcode::Text, "€𝄞".repeat(30).as_bytes()), masked_close(1000, "ü".as_bytes())]),
        after_head(&[masked(Opcode::Text, b"ok\xed\xa0\x80 never")]),
        after_head(&[fragment(0x01, b"x"), fragment(0x81, b"y")]),
        after_head(&[masked(Opcode::Pong, b""), masked_close(1006, b"")]),
        after_head(&[masked(Opcode::Close, b""), masked(Opcode::Text, b"late")]),
        after_head(&[vec![0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0, 1, 2, 3, 4, 5]]),
        after_head(&[vec![0x82, 0xfe, 0, 5, 1, 2, 3, 4]]),
    ]
}

fn check(case: &[u8], conn: impl Fn() -> Conn) {
    let whole = feed(&mut conn(), case, &LIMITS);
    assert!(!whole.is_empty());
    for cut in 0..=case.len() {
        let mut conn = conn();
        let mut seen = feed(&mut conn, &case[..cut], &LIMITS);
        seen.extend(feed(&mut conn, &case[cut..], &LIMITS));
        assert_eq!(seen, whole, "cut at {cut}");
    }
    for piece in 1..=20 {
        let mut conn = conn();
        let seen: Vec<Seen> = case.chunks(piece).flat_map(|bytes| feed(&mut conn, bytes, &LIMITS)).collect();
        assert_eq!(seen, whole, "pieces of {piece}");
    }
}

#[test]
fn servers() {
    for case in server_cases() {
        check(&case, Conn::server);
    }
}

#[test]
fn clients() {
    let answer = |key: &str| {
        let mut answer = Vec::new();
        proto::handshake::accept(&mut answer, key, Some("p"), None);
        proto::encode::frame(&mut answer, Opcode::Text, "größer".as_bytes());
        proto::encode::frame(&mut answer, Opcode::Ping, b"ping");
        proto::encode::frame(&mut answer, Opcode::Binary, &[1; 70_000][..60_000]);
        proto::encode::close(&mut answer, 1001, "bye");
        answer
    };
    // The long frame has too many cuts for every one.
    let whole = answer(&sent_key());
    let expected = feed(&mut Conn::client(NONCE), &whole, &LIMITS);
    assert_eq!(expected.len(), 5);
    for cut in (0..300).chain(whole.len() - 50..whole.len()) {
        let mut conn = Conn::client(NONCE);
        let mut seen = feed(&mut conn, &whole[..cut], &LIMITS);
        seen.extend(feed(&mut conn, &whole[cut..], &LIMITS));
        assert_eq!(seen, expected, "cut at {cut}");
    }
    check(&answer("AAAAAAAAAAAAAAAAAAAAAA==")[..200], || Conn::client(NONCE));
    let mut refusal = Vec::new();
    proto::handshake::refuse(&mut refusal, 503, "full", &[]);
    check(&refusal, || Conn::client(NONCE));
    check(b"HTTP/1.1 200 OK\r\n\r\n", || Conn::client(NONCE));
    check(b"220 smtp.test ESMTP\r\n", || Conn::client(NONCE));
}
