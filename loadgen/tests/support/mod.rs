//! A small server of Fanwire's protocol, on threads, that can break its promises.
#![allow(dead_code, reason = "each test uses its own part")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proto::{
    Conn, Event, Limits,
    encode::{Opcode, frame},
    handshake,
};
use serde_json::Value;

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
const TICK: Duration = Duration::from_millis(20);
/// The batch of a connection that is tampered with.
const TAMPERED: u64 = 30;

/// Which promise is broken, to every connection unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A batch is left out.
    Skip,
    /// A batch is sent twice.
    Repeat,
    /// From some batch on the first connection is sent heartbeats only.
    Withhold,
    /// The members of an atomic group come in two batches.
    Tear,
    /// Every upgrade is answered with 503.
    Refuse,
    /// Not Fanwire's protocol: messages that carry only their send time.
    Stamped,
}

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

/// Runs loadgen against `addr` for a second; gives its output and the last line's JSON.
pub fn loadgen(addr: SocketAddr, flags: &[&str]) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "--url",
            &format!("ws://{addr}/ws"),
            "--connections",
            "6",
            "--duration",
            "1s",
            "--threads",
            "2",
        ])
        .args(flags)
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let report = stdout.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    (output, report)
}

fn serve(mut stream: TcpStream, fault: Fault, index: usize, begin: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut conn = Conn::server();
    let mut out = Vec::new();
    upgrade(&mut stream, &mut conn, &mut out, fault)?;
    stream.write_all(&std::mem::take(&mut out))?;
    if fault == Fault::Refuse {
        return Ok(());
    }
    await_subscribe(&mut stream, &mut conn)?;
    stream.set_read_timeout(Some(Duration::from_micros(1)))?;
    let mut position = version(begin);
    if fault != Fault::Stamped {
        text(&mut out, &subscribed(position));
        text(&mut out, &snapshot(position));
    }
    for number in 0.. {
        stream.write_all(&std::mem::take(&mut out))?;
        std::thread::sleep(TICK);
        if answer(&mut stream, &mut conn)? {
            return Ok(());
        }
        let next = version(begin);
        if next == position {
            continue;
        }
        let tampered = number == TAMPERED;
        match fault {
            Fault::Stamped => text(&mut out, &format!(r#"{{"data":{{"ts":{}}}}}"#, now_us() / 1000)),
            Fault::Skip if tampered => {}
            Fault::Withhold if number > TAMPERED && index == 0 => text(&mut out, &heartbeat(position, next)),
            Fault::Tear if tampered => {
                text(&mut out, &batch(position, next, &[0]));
                text(&mut out, &batch(next, next, &[1]));
            }
            _ => {
                text(&mut out, &batch(position, next, &[0, 1]));
                if fault == Fault::Repeat && tampered {
                    text(&mut out, &batch(position, next, &[0, 1]));
                }
            }
        }
        position = next;
    }
    Ok(())
}

fn upgrade(stream: &mut TcpStream, conn: &mut Conn, out: &mut Vec<u8>, fault: Fault) -> io::Result<()> {
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
            if fault == Fault::Refuse {
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

fn await_subscribe(stream: &mut TcpStream, conn: &mut Conn) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let bytes = read(stream, &mut buffer)?;
        match conn.receive(&mut buffer[..bytes], &LIMITS).event {
            Some(Event::Text(_)) => return Ok(()),
            Some(Event::Fail(_)) => return Err(io::ErrorKind::InvalidData.into()),
            _ => {}
        }
    }
}

/// Answers pings and a close frame, if any have come. `true`: the close has.
fn answer(stream: &mut TcpStream, conn: &mut Conn) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let bytes = match stream.read(&mut buffer) {
        Ok(0) => return Ok(true),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut at, mut out, mut closed) = (0, Vec::new(), false);
    while at < bytes && !closed {
        let received = conn.receive(&mut buffer[at..bytes], &LIMITS);
        at += received.used;
        match received.event {
            Some(Event::Ping(payload)) => frame(&mut out, Opcode::Pong, payload),
            Some(Event::Close(close)) => {
                proto::encode::close(&mut out, close.map_or(1000, |close| close.code), "");
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

fn text(out: &mut Vec<u8>, text: &str) {
    frame(out, Opcode::Text, text.as_bytes());
}

/// One feed for all: a new version each tick.
fn version(begin: Instant) -> u64 {
    (begin.elapsed().as_micros() / TICK.as_micros()) as u64 + 1
}

fn subscribed(version: u64) -> String {
    format!(
        r#"{{"op":"subscribed","id":1,"sub":"","class":7,"topics":["*"],"interval_ms":20,"epoch":"00000000000000aa","version":{version}}}"#
    )
}

fn snapshot(version: u64) -> String {
    let updates = [0, 1].map(|member| update(member, version)).join(",");
    format!(r#"{{"op":"snapshot","class":7,"ts":{},"version":{version},"updates":[{updates}]}}"#, now_us())
}

fn batch(from: u64, version: u64, members: &[u64]) -> String {
    let updates: Vec<String> = members.iter().map(|member| update(*member, version)).collect();
    let (updates, now) = (updates.join(","), now_us());
    format!(
        r#"{{"op":"batch","class":7,"ts":{now},"from":{from},"version":{version},"oldest":{},"updates":[{updates}]}}"#,
        now - 5000
    )
}

fn heartbeat(from: u64, version: u64) -> String {
    format!(r#"{{"op":"batch","class":7,"ts":{},"from":{from},"version":{version},"updates":[]}}"#, now_us())
}

fn update(member: u64, v: u64) -> String {
    format!(r#"{{"topic":"loadgen.g0.{member}","v":{v},"ts":{},"data":{{"g":{v}}}}}"#, now_us())
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}
