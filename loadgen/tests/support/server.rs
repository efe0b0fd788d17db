//! The server: a thread a connection.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use proto::{
    Conn, Event, Limits,
    encode::{self, Opcode, frame},
    handshake,
};

use super::{
    fault::Fault,
    messages::{batch, batch_of, batch_with, heartbeat, now_us, snapshot, subscribed, update, update_of},
};

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
const TICK: Duration = Duration::from_millis(20);
/// The batch of a connection that is tampered with.
const TAMPERED: u64 = 30;
/// When a restarting server ends all connections.
const RESTART: Duration = Duration::from_millis(700);
const REFUSED_FIRST: usize = 4;

/// Starts a server that lives as long as the test's process.
pub fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let begin = Instant::now();
    std::thread::spawn(move || {
        let connections = AtomicUsize::new(0);
        for stream in listener.incoming() {
            let index = connections.fetch_add(1, Relaxed);
            // A client that leaves ends its thread with an error.
            std::thread::spawn(move || serve(stream.unwrap(), fault, index, begin));
        }
    });
    addr
}

/// They need two versions to play with.
const HELD_BACK: [Fault; 3] = [Fault::Conflate, Fault::Reorder, Fault::Tear];

/// What a connection says next.
enum Say {
    Text(String),
    Frame(Opcode, Vec<u8>),
    Close(u16, &'static str),
    End,
    Reset,
}

fn serve(mut stream: TcpStream, fault: Fault, index: usize, begin: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut conn = Conn::server();
    let mut out = Vec::new();
    let refuse = fault == Fault::Refuse || fault == Fault::RefuseFirst && index < REFUSED_FIRST;
    upgrade(&mut stream, &mut conn, &mut out, refuse)?;
    stream.write_all(&std::mem::take(&mut out))?;
    if refuse {
        return Ok(());
    }
    let since = await_subscribe(&mut stream, &mut conn)?;
    stream.set_read_timeout(Some(Duration::from_micros(1)))?;
    let life = u64::from(fault == Fault::Restart && begin.elapsed() >= RESTART);
    let mut next = version(begin);
    let mut position = next;
    if fault != Fault::Stamped {
        greet(&mut out, fault, since, 0xaa + life, position);
    }
    for number in 0.. {
        stream.write_all(&std::mem::take(&mut out))?;
        std::thread::sleep(TICK);
        if answer(&mut stream, &mut conn)? {
            return Ok(());
        }
        next += 1;
        if fault == Fault::Restart && life == 0 && begin.elapsed() >= RESTART {
            return Ok(());
        }
        let says = if fault == Fault::Stamped {
            vec![Say::Text(format!(r#"{{"data":{{"ts":{}}}}}"#, now_us() / 1000))]
        } else {
            says(fault, index, number, position, next)
        };
        for say in says {
            match say {
                Say::Text(text) => frame(&mut out, Opcode::Text, text.as_bytes()),
                Say::Frame(opcode, payload) => frame(&mut out, opcode, &payload),
                Say::End => return Ok(()),
                Say::Reset => return socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
                Say::Close(code, reason) => {
                    encode::close(&mut out, code, reason);
                    stream.write_all(&out)?;
                    std::thread::sleep(TICK);
                    return Ok(());
                }
            }
        }
        // What is held back for the next batch has not been sent.
        if number != TAMPERED || !HELD_BACK.contains(&fault) {
            position = next;
        }
    }
    Ok(())
}

fn greet(out: &mut Vec<u8>, fault: Fault, since: Option<u64>, epoch: u64, position: u64) {
    let mut text = |text: &str| frame(out, Opcode::Text, text.as_bytes());
    match (fault, since) {
        (Fault::Resume | Fault::ResumeElsewhere, Some(since)) => {
            text(&subscribed(epoch, since));
            let from = since - u64::from(fault == Fault::ResumeElsewhere);
            text(&batch(from, position));
        }
        _ => {
            text(&subscribed(epoch, position));
            text(&snapshot(position));
        }
    }
}

/// What takes a connection from `position` to `next`, or should.
fn says(fault: Fault, index: usize, number: u64, position: u64, next: u64) -> Vec<Say> {
    let right = || Say::Text(batch(position, next));
    let with = |oldest: String, ts: u64| {
        let updates = [0, 1].map(|member| update_of(&format!("loadgen.g0.{member}"), next, ts, next));
        Say::Text(batch_with(position, next, &oldest, &updates))
    };
    let minute_ahead = now_us() + 60_000_000;
    match (fault, number) {
        (Fault::Withhold, TAMPERED..) if index == 0 => vec![Say::Text(heartbeat(position, next))],
        (Fault::Future, _) => vec![with(format!(r#""oldest":{minute_ahead},"#), minute_ahead)],
        (_, ..TAMPERED) => vec![right()],
        (held_back, TAMPERED) if HELD_BACK.contains(&held_back) => Vec::new(),
        (Fault::Reorder, n) if n == TAMPERED + 1 => {
            vec![Say::Text(batch(next - 1, next)), Say::Text(batch(position, next - 1))]
        }
        (Fault::Tear, n) if n == TAMPERED + 1 => vec![
            Say::Text(batch_of(position, next - 1, &[update(0, next - 1)])),
            Say::Text(batch_of(next - 1, next, &[update(0, next), update(1, next)])),
        ],
        (_, n) if n > TAMPERED => vec![right()],
        (Fault::Skip, _) => Vec::new(),
        (Fault::Repeat, _) => vec![right(), right()],
        (Fault::BeginAbove, _) => vec![Say::Text(batch(position + 1, next))],
        (Fault::Stale, _) => {
            vec![Say::Text(batch_of(position, next, &[0, 1].map(|member| update(member, position - 1))))]
        }
        (Fault::OtherValue, _) if index == 0 => {
            let others =
                [0, 1].map(|member| update_of(&format!("loadgen.g0.{member}"), next, now_us(), next + 9));
            vec![Say::Text(batch_of(position, next, &others))]
        }
        (Fault::OtherClass, _) => {
            vec![Say::Text(batch(position, next).replace(r#""class":7"#, r#""class":8"#)), right()]
        }
        (Fault::OtherTopic, _) => {
            let other = update_of("other.topic", 1, now_us(), 0);
            vec![Say::Text(batch_of(position, next, &[update(0, next), update(1, next), other]))]
        }
        (Fault::LateOldest, _) => vec![with(format!(r#""oldest":{},"#, now_us()), now_us() - 9000)],
        (Fault::NoOldest, _) => vec![with(String::new(), now_us())],
        (Fault::NotJson, _) => vec![Say::Text("{oops".into()), right()],
        (Fault::NotUtf8, _) => vec![Say::Frame(Opcode::Text, b"\xc3\x28".to_vec()), right()],
        (Fault::Binary, _) => vec![Say::Frame(Opcode::Binary, b"abc".to_vec()), right()],
        (Fault::Close, _) => vec![right(), Say::Close(1011, "tired")],
        (Fault::Bar, _) => vec![right(), Say::Close(4501, "no")],
        (Fault::Drain, _) => {
            let notice = r#"{"op":"notice","code":"draining","reconnect_after_ms":200}"#;
            vec![right(), Say::Text(notice.into()), Say::Close(1001, "")]
        }
        (Fault::End, _) => vec![Say::End],
        (Fault::Reset, _) => vec![Say::Reset],
        _ => vec![right()],
    }
}

fn upgrade(stream: &mut TcpStream, conn: &mut Conn, out: &mut Vec<u8>, refuse: bool) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let bytes = read(stream, &mut buffer)?;
        let event = conn.receive(&mut buffer[..bytes], &LIMITS).event;
        if let Some(Event::BadRequest(refusal)) = &event {
            handshake::refuse(out, refusal.status, &refusal.reason, &[]);
            stream.write_all(out)?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Some(Event::Request(request)) = event {
            let upgrade = request.upgrade().map_err(|refusal| io::Error::other(refusal.reason))?;
            if refuse {
                handshake::refuse(out, 503, "full", &[]);
                return Ok(());
            }
            handshake::accept(out, upgrade.key(), upgrade.protocols().next());
            break;
        }
    }
    conn.upgraded();
    Ok(())
}

/// The version of its `since`, if it has one.
fn await_subscribe(stream: &mut TcpStream, conn: &mut Conn) -> io::Result<Option<u64>> {
    let mut buffer = [0; 4096];
    loop {
        let bytes = read(stream, &mut buffer)?;
        match conn.receive(&mut buffer[..bytes], &LIMITS).event {
            Some(Event::Text(text)) => {
                // Other protocols may say anything.
                let subscribe: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                let since = subscribe["since"].as_str().and_then(|since| since.split_once(':'));
                return Ok(since.and_then(|(_, version)| version.parse().ok()));
            }
            Some(Event::Fail(_)) => return Err(io::ErrorKind::InvalidData.into()),
            _ => {}
        }
    }
}

/// Answers pings and a close frame, where they have come. `true`: a close frame has, or the end.
fn answer(stream: &mut TcpStream, conn: &mut Conn) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let bytes = match stream.read(&mut buffer) {
        Ok(0) => return Ok(true),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut at, mut out, mut closed) = (0, Vec::new(), false);
    while at < bytes {
        let received = conn.receive(&mut buffer[at..bytes], &LIMITS);
        at += received.used;
        match received.event {
            Some(Event::Ping(payload)) => frame(&mut out, Opcode::Pong, payload),
            Some(Event::Close(close)) => {
                encode::close(&mut out, close.map_or(1000, |close| close.code), "");
                closed = true;
            }
            _ => {}
        }
    }
    stream.write_all(&out)?;
    Ok(closed)
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        bytes => Ok(bytes),
    }
}

/// Where the feed is when a connection comes; it goes on by one version each time round, a little
/// slower than this.
fn version(begin: Instant) -> u64 {
    (begin.elapsed().as_micros() / TICK.as_micros()) as u64 + 1
}
