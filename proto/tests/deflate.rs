//! RFC 7692: permessage-deflate.
#![forbid(unsafe_code)]
mod support;

use proto::{
    Conn, Error, Event, HandshakeError, Limits,
    deflate::{Agreement, Deflated, Deflater, InflateLimits, Inflater, WINDOW_BITS},
    encode::{Header, Opcode, header},
    handshake,
};
use support::*;

const INFLATE: InflateLimits = InflateLimits { message_bytes: 64 << 10, ratio: 200 };
/// 7.2.3.1: "Hello" in one compressed block.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn deflating_server() -> Conn {
    let mut conn = Conn::server();
    conn.upgraded(Some(agreement("permessage-deflate; client_no_context_takeover")));
    assert!(conn.deflates());
    conn
}

/// As a server agrees to these offers.
fn agreement(offers: &str) -> Agreement {
    let mut request = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {}\r\nSec-WebSocket-Extensions: {offers}\r\n\r\n",
        sent_key()
    )
    .into_bytes();
    let mut conn = Conn::server();
    let Some(Event::Request(request)) = conn.receive(&mut request, &LIMITS).event else { panic!() };
    request.upgrade().unwrap().deflate(15, true).unwrap()
}

fn inflate(bytes: &[u8]) -> Result<String, Error> {
    let mut inflater = Inflater::new();
    match inflater.inflate(&Deflated { is_text: true, bytes, context_bits: None }, INFLATE)? {
        Event::Text(text) => Ok(text.to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (what, bytes) in [
        ("7.2.3.1, one block", &HELLO[..]),
        ("7.2.3.3, a block that is not compressed", &[0, 5, 0, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0]),
        ("7.2.3.4, a block that says it is the last", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        ("7.2.3.5, two blocks", &[0xf2, 0x48, 0x05, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]),
    ] {
        assert_eq!(inflate(bytes).as_deref(), Ok("Hello"), "{what}");
    }
    assert_eq!(inflate(&[0x00]).as_deref(), Ok(""), "7.2.3.6, an empty message");
    // 7.2.3.2 refers to the message before: that was agreed not to happen.
    assert_eq!(inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(Error::RefersBack));
}

#[test]
fn what_is_compressed_is_read_again_with_every_window_and_level() {
    let text: String = (0..3000).map(|i| format!(r#"{{"bid":{},"ask":{}}}"#, i * 37 % 1009, i)).collect();
    for bits in WINDOW_BITS {
        for level in [0, 1, 6, 9] {
            let mut deflater = Deflater::new(level, bits);
            let first = deflater.deflate(text.as_bytes()).map(<[u8]>::to_vec);
            assert_eq!(first.is_some(), level > 0, "level {level}, 2^{bits}");
            // Nothing of a message before it is left.
            assert!(deflater.deflate("€ ".repeat(50).as_bytes()).is_some() || level == 0);
            assert_eq!(deflater.deflate(text.as_bytes()), first.as_deref(), "level {level}, 2^{bits}");
            if let Some(bytes) = first {
                let limits = InflateLimits { message_bytes: text.len(), ratio: 1000 };
                let mut inflater = Inflater::new();
                let read =
                    inflater.inflate(&Deflated { is_text: true, bytes: &bytes, context_bits: None }, limits);
                assert!(matches!(read, Ok(Event::Text(read)) if read == text), "level {level}, 2^{bits}");
            }
        }
    }
}

#[test]
fn what_does_not_get_smaller_is_not_compressed() {
    let mut deflater = Deflater::new(6, 15);
    let mut rng = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..5000).map(|_| rng.u8(..)).collect();
    assert_eq!(deflater.deflate(&noise), None);
    for short in ["", "a", "ab", r#"{"op":"pong"}"#] {
        assert_eq!(deflater.deflate(short.as_bytes()), None, "{short}");
    }
    assert!(deflater.deflate(&[b'a'; 100]).is_some_and(|deflated| deflated.len() < 8));
}

#[test]
fn noise_of_any_length_is_found_incompressible_at_any_level() {
    let mut rng = fastrand::Rng::with_seed(2);
    for level in 1..=9 {
        let mut deflater = Deflater::new(level, 15);
        for bytes in (0..200).chain([1000, 8192, 16_384, 65_536, 131_072]) {
            // Not quite noise: what is nearly as long as before fills the room for it to the last byte.
            let noise: Vec<u8> = (0..bytes).map(|at| if at % 64 < 9 { b'x' } else { rng.u8(..) }).collect();
            let pure: Vec<u8> = (0..bytes).map(|_| rng.u8(..)).collect();
            assert_eq!(deflater.deflate(&pure), None, "level {level}, {bytes} bytes");
            if let Some(deflated) = deflater.deflate(&noise) {
                assert!(deflated.len() < bytes);
            }
        }
    }
}

#[test]
fn a_bomb_is_not_swallowed() {
    let zeros = |bytes: usize| Deflater::new(9, 15).deflate(&vec![0; bytes]).unwrap().to_vec();
    let limits = InflateLimits { message_bytes: 1 << 20, ratio: 100 };
    let mut inflater = Inflater::new();
    let bomb = zeros(500_000);
    let bytes = bomb.len() as u64;
    assert!(bytes < 600);
    let message = Deflated { is_text: false, bytes: &bomb, context_bits: None };
    assert_eq!(inflater.inflate(&message, limits).unwrap_err(), Error::Bomb { bytes, ratio: 100 });
    let long = zeros(2 << 20);
    let message = Deflated { is_text: false, bytes: &long, context_bits: None };
    let error = inflater.inflate(&message, InflateLimits { ratio: 100_000, ..limits }).unwrap_err();
    assert_eq!(error, Error::MessageTooBig { bytes: (1 << 20) + 1, limit: 1 << 20 });
    assert_eq!((error.close_code(), Error::Bomb { bytes: 1, ratio: 1 }.close_code()), (1009, 1009));
    // The most that is allowed, and what is short whatever its ratio.
    let exact = zeros(1 << 20);
    let message = Deflated { is_text: false, bytes: &exact, context_bits: None };
    let limits = InflateLimits { ratio: 100_000, ..limits };
    assert!(matches!(inflater.inflate(&message, limits), Ok(Event::Binary(b)) if b.len() == 1 << 20));
    let short = zeros(4096);
    let message = Deflated { is_text: false, bytes: &short, context_bits: None };
    let limits = InflateLimits { ratio: 2, ..limits };
    assert!(matches!(inflater.inflate(&message, limits), Ok(Event::Binary(b)) if b.len() == 4096));
}

#[test]
fn what_is_not_deflate_or_not_text_has_its_own_error() {
    for bytes in [&[0xff, 0xff][..], &[0x07], &HELLO[..4], &[0x00, 5, 0, 0, 0, b'x'], &[]] {
        let error = inflate(bytes);
        // Nothing at all is the tail of nothing: an empty message.
        let expected = if bytes.is_empty() { Ok(String::new()) } else { Err(Error::NotDeflate) };
        assert_eq!(error, expected, "{bytes:x?}");
    }
    assert_eq!(Error::NotDeflate.close_code(), 1007);
    let not_text = Deflater::new(6, 15).deflate(&[0xff; 100]).unwrap().to_vec();
    assert_eq!(inflate(&not_text), Err(Error::NotUtf8));
}

#[test]
fn a_compressed_message_comes_whole_or_in_fragments_or_byte_by_byte() {
    let whole = fragment(0xc1, &HELLO);
    let expected = [Seen::Deflated(true, HELLO.to_vec())];
    assert_eq!(feed(&mut deflating_server(), &whole, &LIMITS), expected);
    // 7.2.3.1: RSV1 in the first fragment only. A ping may come in between.
    let parts =
        [fragment(0x41, &HELLO[..3]), masked(Opcode::Ping, b"p"), fragment(0x80, &HELLO[3..])].concat();
    let expected = [Seen::Ping(b"p".to_vec()), expected[0].clone()];
    let mut conn = deflating_server();
    assert_eq!(feed(&mut conn, &parts, &LIMITS), expected);
    assert_eq!(conn.buffered(), 0);
    let by_bytes: Vec<Seen> = parts.iter().flat_map(|byte| feed(&mut conn, &[*byte], &LIMITS)).collect();
    assert_eq!(by_bytes, expected);
    // The next one may be plain, or binary.
    let others = [fragment(0x81, b"plain"), fragment(0xc2, &HELLO)].concat();
    assert_eq!(feed(&mut conn, &others, &LIMITS), [text("plain"), Seen::Deflated(false, HELLO.to_vec())]);
}

#[test]
fn reserved_bits_where_nobody_agreed_are_refused() {
    for first in [0xc1, 0xc2, 0xc9, 0xc8] {
        assert_eq!(server_fails_at(&fragment(first, b""), &LIMITS), Some((0, Error::ReservedBits(0b100))));
    }
    for (first, bits) in [
        (0xe1, 0b110),
        (0xa1, 0b010),
        (0x91, 0b001),
        (0xc9, 0b100),
        (0xc8, 0b100),
        (0xca, 0b100),
        (0xc0, 0b100),
    ] {
        let seen = feed(&mut deflating_server(), &fragment(first, b""), &LIMITS);
        assert_eq!(seen, [Seen::Fail(Error::ReservedBits(bits))], "{first:x}");
    }
    // On a continuation.
    let parts = [fragment(0x41, &HELLO[..3]), fragment(0xc0, &HELLO[3..])].concat();
    assert_eq!(feed(&mut deflating_server(), &parts, &LIMITS), [Seen::Fail(Error::ReservedBits(0b100))]);
}

#[test]
fn the_compressed_length_is_limited_before_it_is_held() {
    let limits = Limits { message_bytes: 100, ..LIMITS };
    let mut conn = deflating_server();
    let seen = feed(&mut conn, &fragment(0xc1, &[0; 101]), &limits);
    assert_eq!(seen, [Seen::Fail(Error::MessageTooBig { bytes: 101, limit: 100 })]);
}

#[test]
fn both_roles_agree_and_understand_each_other() {
    let mut request = Vec::new();
    handshake::request(&mut request, "h", "/", NONCE, &[], true);
    let mut server = Conn::server();
    let mut answer = Vec::new();
    let received = server.receive(&mut request, &LIMITS);
    let Some(Event::Request(request)) = received.event else { panic!() };
    let upgrade = request.upgrade().unwrap();
    let agreed = upgrade.deflate(15, true).unwrap();
    handshake::accept(&mut answer, upgrade.key(), None, Some(&agreed));
    server.upgraded(Some(agreed));
    let mut client = Conn::client(NONCE).offering_deflate();
    assert_eq!(feed(&mut client, &answer, &LIMITS), [Seen::Response(None)]);
    assert!(client.deflates());
    let mut deflater = Deflater::new(1, agreed.server_window_bits);
    let payload = deflater.deflate(b"hello hello hello hello hello").unwrap();
    let head: Header = header(Opcode::Text, true, payload.len()).deflated();
    let mut frame = [&*head, payload].concat();
    let limits = LIMITS;
    let Some(Event::Deflated(message)) = client.receive(&mut frame, &limits).event else { panic!() };
    let mut inflater = Inflater::new();
    let text = inflater.inflate(&message, INFLATE);
    assert!(matches!(text, Ok(Event::Text("hello hello hello hello hello"))), "{text:?}");
}

#[test]
fn a_client_that_offered_takes_a_refusal_and_no_other_terms() {
    let answered = |extension: Option<&str>| {
        let mut answer = Vec::new();
        handshake::accept(&mut answer, &sent_key(), None, None);
        let mut answer = String::from_utf8(answer).unwrap();
        if let Some(extension) = extension {
            answer =
                answer.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {extension}\r\n\r\n"));
        }
        let mut conn = Conn::client(NONCE).offering_deflate();
        let seen = feed(&mut conn, answer.as_bytes(), &LIMITS).remove(0);
        (seen, conn.deflates())
    };
    assert_eq!(answered(None), (Seen::Response(None), false));
    // One decompressor for all connections cannot take context takeover.
    for wrong in ["permessage-deflate", "x", "permessage-deflate; server_no_context_takeover; y=1"] {
        let error = HandshakeError::Extension(wrong.to_owned());
        assert_eq!(answered(Some(wrong)), (Seen::HandshakeFailed(error), false));
    }
}

#[test]
fn very_many_last_blocks_are_one_message() {
    let mut bytes = [3, 0].repeat(32_000);
    bytes.extend_from_slice(&HELLO);
    assert_eq!(inflate(&bytes).as_deref(), Ok("Hello"));
}

/// A sender that goes on with its context, as most browsers do.
struct Sender(flate2::Compress);

impl Sender {
    fn new(window_bits: u8) -> Sender {
        Sender(flate2::Compress::new_with_window_bits(flate2::Compression::new(6), false, window_bits))
    }

    fn say(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * message.len() + 100);
        self.0.compress_vec(message, &mut out, flate2::FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }
}

/// Text that repeats itself, now and then from long ago.
fn quote(n: usize) -> String {
    format!(r#"{{"op":"subscribe","id":{n},"topics":["venue.{}.ticker"]}}"#, n * 7919 % 97)
}

#[test]
fn messages_that_refer_back_are_read_with_what_was_said_compressed_before() {
    for bits in WINDOW_BITS {
        let (mut sender, mut inflater) = (Sender::new(bits), Inflater::new());
        let (mut dictionary, mut said) = (Vec::new(), Vec::new());
        for n in 0..2000 {
            let message = quote(n).repeat(if n % 100 == 7 { 20 } else { 1 });
            let bytes = sender.say(message.as_bytes());
            let deflated = Deflated { is_text: true, bytes: &bytes, context_bits: Some(bits) };
            let limits = InflateLimits { ratio: 1100, ..INFLATE };
            let inflated = inflater.inflate_after(&dictionary, &deflated, limits).unwrap();
            assert!(
                matches!(inflated.message, Event::Text(text) if text == message),
                "2^{bits}, message {n}"
            );
            said.extend_from_slice(message.as_bytes());
            assert_eq!(
                inflated.window,
                &said[said.len().saturating_sub(1 << bits)..],
                "2^{bits}, message {n}"
            );
            dictionary = inflated.window.to_vec();
            // The same decompressor serves others in between.
            assert_eq!(hello(&mut inflater), "Hello");
        }
    }
}

fn hello(inflater: &mut Inflater) -> String {
    match inflater.inflate(&Deflated { is_text: true, bytes: &HELLO, context_bits: None }, INFLATE) {
        Ok(Event::Text(text)) => text.to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_the_rfc_that_refers_back_is_read() {
    // 7.2.3.2: the same message twice, the second time in five bytes.
    let mut inflater = Inflater::new();
    let deflated = |bytes| Deflated { is_text: true, bytes, context_bits: Some(15) };
    let first = inflater.inflate_after(&[], &deflated(&HELLO), INFLATE).unwrap().window.to_vec();
    let again = inflater.inflate_after(&first, &deflated(&[0xf2, 0x00, 0x11, 0x00, 0x00]), INFLATE).unwrap();
    assert!(matches!(again.message, Event::Text("Hello")));
    assert_eq!(again.window, b"HelloHello");
}

#[test]
fn who_ends_each_message_with_a_last_block_may_refer_back_too() {
    let mut inflater = Inflater::new();
    let deflated = |bytes| Deflated { is_text: true, bytes, context_bits: Some(15) };
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let window = inflater.inflate_after(&[], &deflated(&last), INFLATE).unwrap().window.to_vec();
    assert_eq!(window, b"Hello");
    let again = inflater.inflate_after(&window, &deflated(&[0xf2, 0x00, 0x11, 0x00, 0x00]), INFLATE).unwrap();
    assert!(matches!(again.message, Event::Text("Hello")));
}

#[test]
fn a_message_that_refers_back_against_the_agreement_is_told_so() {
    let mut sender = Sender::new(15);
    sender.say(quote(1).as_bytes());
    let second = sender.say(quote(1).as_bytes());
    let read = |context_bits| {
        let deflated = Deflated { is_text: true, bytes: &second, context_bits };
        Inflater::new().inflate_after(&[], &deflated, INFLATE).map(|inflated| inflated.window.len())
    };
    assert_eq!(read(None), Err(Error::RefersBack));
    for bytes in [100, 1000, 3000, 10_000, 30_000] {
        let mut rng = fastrand::Rng::with_seed(3);
        let text: String = (0..bytes).map(|_| rng.alphanumeric()).collect();
        let mut sender = Sender::new(15);
        sender.say(text.as_bytes());
        assert_eq!(inflate(&sender.say(text.as_bytes())), Err(Error::RefersBack), "{bytes}");
    }
    // It never said what it refers back to.
    assert_eq!(read(Some(15)), Err(Error::NotDeflate));
    assert_eq!(Error::RefersBack.close_code(), 1007);
    assert!(Error::RefersBack.to_string().len() <= 123, "it has to fit a close frame");
}

#[test]
fn a_window_is_kept_only_where_messages_may_refer_back() {
    let mut inflater = Inflater::new();
    for (context_bits, kept) in [(None, 0), (Some(9), 512), (Some(12), 3000), (Some(15), 3000)] {
        let bytes = Deflater::new(6, 9).deflate(&[b'a'; 3000]).unwrap().to_vec();
        let deflated = Deflated { is_text: true, bytes: &bytes, context_bits };
        let limits = InflateLimits { ratio: 1100, ..INFLATE };
        assert_eq!(inflater.inflate_after(&[], &deflated, limits).unwrap().window.len(), kept);
    }
}

#[test]
fn saying_the_same_again_is_no_bomb() {
    let text: String = (0..1000).map(|n| quote(n * n)).collect();
    let text = &text[..8000];
    let mut sender = Sender::new(15);
    let limits = InflateLimits { message_bytes: 64 << 10, ratio: 10 };
    let mut inflater = Inflater::new();
    let mut dictionary = Vec::new();
    for n in 0..3 {
        let bytes = sender.say(text.as_bytes());
        assert!(n == 0 || bytes.len() * 10 < text.len(), "{} bytes", bytes.len());
        let deflated = Deflated { is_text: true, bytes: &bytes, context_bits: Some(15) };
        let inflated = inflater.inflate_after(&dictionary, &deflated, limits).unwrap();
        assert!(matches!(inflated.message, Event::Text(again) if again == text), "message {n}");
        dictionary = inflated.window.to_vec();
    }
    // Again and again in one message is.
    let bytes = sender.say(text.repeat(7).as_bytes());
    let deflated = Deflated { is_text: true, bytes: &bytes, context_bits: Some(15) };
    let error = inflater.inflate_after(&dictionary, &deflated, limits).unwrap_err();
    assert!(matches!(error, Error::Bomb { .. }), "{error}");
}

#[test]
fn what_is_referred_back_to_does_not_count_as_message() {
    let dictionary = vec![b'x'; 32 << 10];
    let mut sender = Sender::new(15);
    sender.0.set_dictionary(&dictionary).unwrap();
    let bytes = sender.say(&[b'x'; 100]);
    let deflated = Deflated { is_text: true, bytes: &bytes, context_bits: Some(15) };
    let limits = InflateLimits { message_bytes: 100, ratio: 1 };
    let mut inflater = Inflater::new();
    assert!(inflater.inflate_after(&dictionary, &deflated, limits).is_ok());
    let limits = InflateLimits { message_bytes: 99, ratio: 1 };
    let error = inflater.inflate_after(&dictionary, &deflated, limits).unwrap_err();
    assert_eq!(error, Error::MessageTooBig { bytes: 100, limit: 99 });
}

#[test]
fn a_message_says_what_its_sender_agreed_to() {
    for (offers, bits) in [
        ("permessage-deflate", Some(15)),
        ("permessage-deflate; client_max_window_bits=10", Some(10)),
        ("permessage-deflate; client_no_context_takeover", None),
    ] {
        let parts = [fragment(0x41, &HELLO[..3]), fragment(0x80, &HELLO[3..])].concat();
        for mut input in [fragment(0xc1, &HELLO), parts] {
            let mut conn = Conn::server();
            conn.upgraded(Some(agreement(offers)));
            let mut at = 0;
            let context_bits = loop {
                let received = conn.receive(&mut input[at..], &LIMITS);
                at += received.used;
                match received.event {
                    Some(Event::Deflated(message)) => break message.context_bits,
                    None => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(context_bits, bits, "{offers}");
        }
    }
}
