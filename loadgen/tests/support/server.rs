//! The server: a thread a connection.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use proto::{
    Conn, Event, Limits,
    deflate::Deflater,
    encode::{self, Opcode, frame},
    handshake, msgpack,
};

use super::{
    fault::Fault,
    messages::{batch, heartbeat, now_us, snapshot, subscribed},
    say::{HELD_BACK, Say, TAMPERED, says},
    tables,
};

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
const TICK: Duration = Duration::from_millis(20);
/// When a restarting server ends all connections, and how long it answers none.
const RESTART: Duration = Duration::from_millis(700);
const DOWN: Duration = Duration::from_millis(300);
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

fn serve(mut stream: TcpStream, fault: Fault, index: usize, begin: Instant) -> io::Result<()> {
    if fault == Fault::Restart && (RESTART..RESTART + DOWN).contains(&begin.elapsed()) {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    let mut conn = Conn::server();
    let mut out = Vec::new();
    let refuse = fault == Fault::Refuse || fault == Fault::RefuseFirst && index < REFUSED_FIRST;
    let mut wire = upgrade(&mut stream, &mut conn, &mut out, refuse)?;
    stream.write_all(&std::mem::take(&mut out))?;
    if refuse {
        return Ok(());
    }
    let since = await_subscribe(&mut stream, &mut conn)?;
    stream.set_read_timeout(Some(Duration::from_micros(1)))?;
    if fault == Fault::ResumeLater {
        // There must be something to leave out.
        std::thread::sleep(2 * TICK);
    }
    let life = u64::from(fault == Fault::Restart && begin.elapsed() >= RESTART);
    let mut next = version(begin);
    let mut position = next;
    if fault != Fault::Stamped {
        greet(&mut wire, &mut out, fault, since, 0xaa + life, position);
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
                Say::Text(text) => wire.say(&mut out, &text),
                Say::Deflated(payload) => {
                    out.extend_from_slice(&encode::header(Opcode::Text, true, payload.len()).deflated());
                    out.extend_from_slice(&payload);
                }
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

fn greet(wire: &mut Wire, out: &mut Vec<u8>, fault: Fault, since: Option<u64>, epoch: u64, position: u64) {
    if fault.has_tables() {
        wire.say(out, &subscribed(epoch, position));
        return wire.say(out, &tables::snapshot(fault, position));
    }
    let resume = |from| if from < position { batch(from, position) } else { heartbeat(from, position) };
    let (said, answer) = match (fault, since) {
        (Fault::Resume, Some(since)) => (since, resume(since)),
        (Fault::ResumeElsewhere, Some(since)) => (since, resume(since - 1)),
        (Fault::ResumeLater, Some(since)) => (since, resume(since + 1)),
        (Fault::SnapshotElsewhere, _) => (position - 1, snapshot(position)),
        (Fault::BatchFirst, _) => (position - 1, batch(position - 1, position)),
        _ => (position, snapshot(position)),
    };
    wire.say(out, &subscribed(epoch, said));
    wire.say(out, &answer);
}

/// How messages go to a client.
#[derive(Default)]
struct Wire {
    deflater: Option<Deflater>,
    msgpack: bool,
}

impl Wire {
    fn say(&mut self, out: &mut Vec<u8>, text: &str) {
        let (mut payload, mut opcode) = (text.as_bytes().to_vec(), Opcode::Text);
        if self.msgpack {
            (payload, opcode) = (Vec::new(), Opcode::Binary);
            msgpack::from_json(text.as_bytes(), &mut payload).unwrap();
        }
        match self.deflater.as_mut().and_then(|deflater| deflater.deflate(&payload)) {
            Some(deflated) => {
                out.extend_from_slice(&encode::header(opcode, true, deflated.len()).deflated());
                out.extend_from_slice(deflated);
            }
            None => frame(out, opcode, &payload),
        }
    }
}

/// Takes every upgrade, and permessage-deflate and MessagePack where they are offered.
fn upgrade(stream: &mut TcpStream, conn: &mut Conn, out: &mut Vec<u8>, refuse: bool) -> io::Result<Wire> {
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
                return Ok(Wire::default());
            }
            let deflate = upgrade.deflate(15, true);
            handshake::accept(out, upgrade.key(), upgrade.protocols().next(), deflate.as_ref());
            let msgpack = upgrade.protocols().next() == Some("fanwire.msgpack.v1");
            conn.upgraded(deflate);
            return Ok(Wire { deflater: deflate.map(|_| Deflater::new(1, 15)), msgpack });
        }
    }
}

/// The version of its `since`, if it has one.
fn await_subscribe(stream: &mut TcpStream, conn: &mut Conn) -> io::Result<Option<u64>> {
    let mut buffer = [0; 4096];
    loop {
        let bytes = read(stream, &mut buffer)?;
        match conn.receive(&mut buffer[..bytes], &LIMITS).event {
            Some(event @ (Event::Text(_) | Event::Binary(_))) => {
                let mut text = Vec::new();
                match event {
                    Event::Binary(packed) => msgpack::to_json(packed, &mut text).unwrap(),
                    Event::Text(said) => text.extend_from_slice(said.as_bytes()),
                    _ => {}
                }
                // Other protocols may say anything.
                let subscribe: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
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
