//! What the fuzz targets check. `cargo test -p proto --test fuzz_seeds` runs the same.

use proto::{
    Conn, Event, Limits, State,
    deflate::{Deflated, Deflater, InflateLimits, Inflater},
    handshake,
};

/// Small, so that inputs of a few hundred bytes reach them.
const LIMITS: Limits = Limits { head_bytes: 512, headers: 8, message_bytes: 300 };
const INFLATE: InflateLimits = InflateLimits { message_bytes: 20_000, ratio: 1100 };
const NONCE: [u8; 16] = *b"the sample nonce";

/// Byte 0: the size of reads and, in its top bits, the role and whether messages may be compressed. Byte 1: the event that we send our
/// close frame after. The rest: an open connection's input.
pub fn frames(data: &[u8]) {
    let [sizes, close_after, input @ ..] = data else { return };
    let deflate = sizes & 0x40 != 0;
    let open = || if sizes & 0x80 == 0 { open_server(deflate) } else { open_client(deflate) };
    compare(open, input, usize::from(sizes & 0x3f) + 1, usize::from(*close_after));
}

/// A compressed message. What it holds is bounded, and is the same when it is read again; what is
/// compressed is read again as it was.
pub fn inflate(data: &[u8]) {
    let mut inflater = Inflater::new();
    let mut read = |is_text: bool, bytes: &[u8]| match inflater
        .inflate(&Deflated { is_text, bytes, context_bits: None }, INFLATE)
    {
        Ok(Event::Text(text)) => Ok(text.as_bytes().to_vec()),
        Ok(Event::Binary(bytes)) => Ok(bytes.to_vec()),
        Ok(other) => panic!("{other:?} is no message"),
        Err(error) => Err(error),
    };
    let (binary, again, text) = (read(false, data), read(false, data), read(true, data));
    assert_eq!(binary, again);
    if let Ok(bytes) = binary {
        assert!(bytes.len() <= INFLATE.message_bytes);
        let is_utf8 = std::str::from_utf8(&bytes).is_ok();
        assert_eq!(text, if is_utf8 { Ok(bytes) } else { Err(proto::Error::NotUtf8) });
    }
    for bits in [9, 15] {
        let mut deflater = Deflater::new(1, bits);
        if let Some(deflated) = deflater.deflate(data) {
            assert_eq!(read(false, deflated).as_deref(), Ok(data));
        }
    }
}

/// Byte 0: the window as a power of two, and in its top bits how often the dictionary is repeated. Byte 1: its
/// length. Then the dictionary, and a compressed message that may refer back to it: it is read as behind a
/// block that holds the dictionary as it is, and so is the next one.
pub fn context(data: &[u8]) {
    let [bits, dictionary_bytes, rest @ ..] = data else { return };
    let (dictionary, bytes) = rest.split_at(rest.len().min(usize::from(*dictionary_bytes)));
    let (context_bits, times) = (9 + bits % 7, 1 << (bits >> 4).min(8));
    let mut dictionary = dictionary.repeat(times);
    dictionary.drain(..dictionary.len().saturating_sub(1 << context_bits));
    let deflated = Deflated { is_text: false, bytes, context_bits: Some(context_bits) };
    let mut inflater = Inflater::new();
    let limits = |message_bytes| InflateLimits { message_bytes, ratio: usize::MAX };
    let mut read = |dictionary: &[u8], deflated: &Deflated<'_>, message_bytes| {
        let inflated = inflater.inflate_after(dictionary, deflated, limits(message_bytes)).ok()?;
        let Event::Binary(message) = inflated.message else { panic!("it is no text") };
        Some((message.to_vec(), inflated.window.to_vec()))
    };
    let stored = stored(&dictionary);
    let whole = Deflated { bytes: &[&*stored, bytes].concat(), ..deflated };
    let after = read(&dictionary, &deflated, INFLATE.message_bytes);
    let behind = read(&[], &whole, INFLATE.message_bytes + dictionary.len());
    assert_eq!(after.is_some(), behind.is_some());
    let (Some((message, window)), Some((both, same_window))) = (after, behind) else { return };
    assert_eq!(both, [&*dictionary, &*message].concat());
    assert_eq!(window, same_window);
    assert!(both.ends_with(&window) && window.len() == both.len().min(1 << context_bits));
}

/// A block that is not compressed (RFC 1951, 3.2.4); nothing of no bytes.
fn stored(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let len = u16::try_from(bytes.len()).expect("at most 32 KiB").to_le_bytes();
    [&[0][..], &len, &len.map(|byte| !byte), bytes].concat()
}

/// Byte 0: as in [`frames`]. The rest: input from the first byte of the handshake on.
pub fn handshake(data: &[u8]) {
    let [sizes, input @ ..] = data else { return };
    let new = || if sizes & 0x80 == 0 { Conn::server() } else { Conn::client(NONCE) };
    compare(new, input, usize::from(sizes & 0x7f) + 1, usize::MAX);
}

/// Reads of any size must amount to the same events as one read of everything.
fn compare(new: impl Fn() -> Conn, input: &[u8], read_bytes: usize, close_after: usize) {
    let whole = Peer::new(new(), close_after).receive_all(input.chunks(input.len().max(1)));
    let cut = Peer::new(new(), close_after).receive_all(input.chunks(read_bytes));
    assert_eq!(whole, cut, "reads of {read_bytes} bytes");
}

/// What a connection did: its events in order, and how it ended.
struct Peer {
    conn: Conn,
    seen: Vec<String>,
    close_after: usize,
}

impl Peer {
    fn new(conn: Conn, close_after: usize) -> Peer {
        Peer { conn, seen: Vec::new(), close_after }
    }

    fn receive_all<'a>(mut self, reads: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, State) {
        for read in reads {
            self.receive(&mut read.to_vec());
        }
        (self.seen, self.conn.state())
    }

    fn receive(&mut self, read: &mut [u8]) {
        let end = read.len();
        let mut at = 0;
        loop {
            let received = self.conn.receive(&mut read[at..], &LIMITS);
            let used = received.used;
            assert!(used > 0 || at == end, "no progress");
            at += used;
            let Some(event) = received.event else {
                if at == end {
                    break;
                }
                continue;
            };
            let upgraded = check(&event);
            self.seen.push(shown(event));
            if upgraded {
                self.conn.upgraded(None);
            }
            if self.seen.len() == self.close_after {
                self.conn.close_sent();
            }
        }
        let held = self.conn.buffered();
        assert!(held <= 2 * LIMITS.head_bytes + 512, "{held} bytes held");
        assert!(held == 0 || matches!(self.conn.state(), State::Connecting | State::Open | State::Closing));
    }
}

/// What must hold for any event; whether it is an upgrade that was answered.
fn check(event: &Event<'_>) -> bool {
    match event {
        Event::Text(text) => {
            assert!(text.len() <= LIMITS.message_bytes);
            assert!(std::str::from_utf8(text.as_bytes()).is_ok());
        }
        Event::Deflated(message) => assert!(message.bytes.len() <= LIMITS.message_bytes),
        Event::Binary(bytes) => assert!(bytes.len() <= LIMITS.message_bytes),
        Event::Ping(payload) | Event::Pong(payload) => assert!(payload.len() <= 125),
        Event::Close(Some(close)) => assert!(close.code >= 1000 && close.reason.len() <= 123),
        Event::Request(request) => match request.upgrade() {
            Ok(upgrade) => {
                let mut out = Vec::new();
                handshake::accept(&mut out, upgrade.key(), upgrade.protocols().next(), None);
                assert!(out.ends_with(b"\r\n\r\n"));
                return true;
            }
            Err(refusal) => {
                let mut out = Vec::new();
                handshake::refuse(&mut out, refusal.status, &refusal.reason, &[]);
            }
        },
        _ => {}
    }
    false
}

/// For comparison. How much of a refusal's body is there depends on the reads.
fn shown(event: Event<'_>) -> String {
    match event {
        Event::Refused { status, reason, .. } => format!("Refused {status} {reason}"),
        event => format!("{event:?}"),
    }
}

fn open_server(deflate: bool) -> Conn {
    open_both(deflate).0
}

fn open_client(deflate: bool) -> Conn {
    open_both(deflate).1
}

/// Both ends of a connection.
fn open_both(deflate: bool) -> (Conn, Conn) {
    let mut request = Vec::new();
    handshake::request(&mut request, "h", "/", NONCE, &[], deflate);
    let mut server = Conn::server();
    let Some(Event::Request(request)) = server.receive(&mut request, &LIMITS).event else {
        panic!("our own request is not understood")
    };
    let mut answer = Vec::new();
    let upgrade = request.upgrade().expect("our own request");
    let agreed = upgrade.deflate(15, true);
    handshake::accept(&mut answer, upgrade.key(), None, agreed.as_ref());
    server.upgraded(agreed);
    let mut conn = if deflate { Conn::client(NONCE).offering_deflate() } else { Conn::client(NONCE) };
    conn.receive(&mut answer, &LIMITS);
    assert_eq!((conn.state(), conn.deflates()), (State::Open, deflate));
    (server, conn)
}
