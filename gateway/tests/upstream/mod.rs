//! A WebSocket server on threads, as an exchange might be, that does what a test tells it.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use proto::{
    Conn, Event, Limits,
    encode::{Opcode, close, frame, header},
    handshake,
};

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
const WAIT: Duration = Duration::from_secs(10);

/// Serves for as long as the test's process lives. `script` gets each connection with its number,
/// from 0; when it returns the connection is cut.
pub fn start(script: impl Fn(usize, Peer) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let script = std::sync::Arc::new(script);
    thread::spawn(move || {
        let connections = AtomicUsize::new(0);
        for stream in listener.incoming() {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            let script = script.clone();
            // A gateway that leaves ends the script with an error.
            thread::spawn(move || script(number, Peer::new(stream.unwrap())));
        }
    });
    addr
}

/// What the gateway said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// The server's end of one connection.
pub struct Peer {
    pub stream: TcpStream,
    conn: Conn,
    input: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, conn: Conn::server(), input: Vec::new() }
    }

    /// Answers the handshake with 101; gives the request's target.
    pub fn accept(&mut self) -> io::Result<String> {
        self.answer(None)
    }

    /// Answers the handshake with another status.
    pub fn refuse(&mut self, status: u16) -> io::Result<String> {
        self.answer(Some((status, &[])))
    }

    /// The same with header fields.
    pub fn refuse_with(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<String> {
        self.answer(Some((status, headers)))
    }

    fn answer(&mut self, status: Option<(u16, &[(&str, &str)])>) -> io::Result<String> {
        let mut out = Vec::new();
        let target = loop {
            let mut bytes = self.read()?;
            if let Some(Event::Request(request)) = self.conn.receive(&mut bytes, &LIMITS).event {
                let upgrade = request.upgrade().map_err(|refusal| io::Error::other(refusal.reason))?;
                match status {
                    Some((status, headers)) => handshake::refuse(&mut out, status, "not today", headers),
                    None => handshake::accept(&mut out, upgrade.key(), None, None),
                }
                break request.target().to_owned();
            }
        };
        self.stream.write_all(&out)?;
        if status.is_none() {
            self.conn.upgraded(None);
        }
        Ok(target)
    }

    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.send(Opcode::Text, text.as_bytes())
    }

    pub fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        frame(&mut out, opcode, payload);
        self.stream.write_all(&out)
    }

    /// A frame of a message in several.
    pub fn fragment(&mut self, opcode: Opcode, last: bool, payload: &str) -> io::Result<()> {
        self.stream.write_all(&header(opcode, last, payload.len()))?;
        self.stream.write_all(payload.as_bytes())
    }

    pub fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        let mut out = Vec::new();
        close(&mut out, code, reason);
        self.stream.write_all(&out)
    }

    /// The next thing the gateway says; an error when it has gone.
    pub fn hear(&mut self) -> io::Result<Said> {
        loop {
            let mut input = std::mem::take(&mut self.input);
            let received = self.conn.receive(&mut input, &LIMITS);
            let said = match received.event {
                Some(Event::Text(text)) => Some(Said::Text(text.to_owned())),
                Some(Event::Ping(payload)) => Some(Said::Ping(payload.to_vec())),
                Some(Event::Pong(payload)) => Some(Said::Pong(payload.to_vec())),
                Some(Event::Close(close)) => Some(Said::Close(close.map(|close| close.code))),
                Some(other) => return Err(io::Error::other(format!("{other:?}"))),
                None => None,
            };
            let used = received.used;
            self.input = input.split_off(used);
            if let Some(said) = said {
                return Ok(said);
            }
            if self.input.is_empty() {
                self.input = self.read()?;
            }
        }
    }

    /// Until the gateway has gone.
    pub fn wait(&mut self) -> io::Result<()> {
        loop {
            self.hear()?;
        }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => Ok(buffer[..bytes].to_vec()),
        }
    }
}
