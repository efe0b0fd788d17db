//! A server of any other protocol: a closure for each connection.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use proto::{
    Conn, Event, Limits,
    encode::{self, Opcode, frame},
    handshake,
};

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
/// No load lasts so long.
const SILENCE: Duration = Duration::from_secs(20);

/// The server's end of one connection.
pub struct Peer {
    /// The opening request.
    pub head: String,
    stream: TcpStream,
    conn: Conn,
    heard: VecDeque<String>,
}

/// Starts a server that has `choose` pick a subprotocol of those offered, then runs `talk`.
pub fn other_server(
    choose: fn(&[&str]) -> Option<String>,
    talk: impl Fn(&mut Peer) -> io::Result<()> + Send + Clone + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let talk = talk.clone();
            // A client that leaves ends its thread with an error.
            std::thread::spawn(move || talk(&mut Peer::accept(stream?, choose)?));
        }
        Ok::<_, io::Error>(())
    });
    addr
}

impl Peer {
    fn accept(mut stream: TcpStream, choose: fn(&[&str]) -> Option<String>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let (mut conn, mut out, mut head) = (Conn::server(), Vec::new(), String::new());
        let mut buffer = [0; 4096];
        loop {
            let bytes = stream.read(&mut buffer)?;
            head.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
            match conn.receive(&mut buffer[..bytes], &LIMITS).event {
                Some(Event::Request(request)) => {
                    let upgrade = request.upgrade().map_err(|refusal| io::Error::other(refusal.reason))?;
                    let offered: Vec<&str> = upgrade.protocols().collect();
                    handshake::accept(&mut out, upgrade.key(), choose(&offered).as_deref(), None);
                    conn.upgraded(None);
                    stream.write_all(&out)?;
                    return Ok(Self { head, stream, conn, heard: VecDeque::new() });
                }
                None if bytes > 0 => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Where it was connected to.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let mut out = Vec::new();
        frame(&mut out, Opcode::Text, text.as_bytes());
        self.stream.write_all(&out)
    }

    /// Ends the connection with a close frame.
    pub fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        let mut out = Vec::new();
        encode::close(&mut out, code, reason);
        self.stream.write_all(&out)?;
        self.hear().map(drop)
    }

    /// The next text; an error once the client has closed.
    pub fn hear(&mut self) -> io::Result<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(text) = self.heard.pop_front() {
                return Ok(text);
            }
            let bytes = self.stream.read(&mut buffer)?;
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (mut at, mut out) = (0, Vec::new());
            while at < bytes {
                let received = self.conn.receive(&mut buffer[at..bytes], &LIMITS);
                at += received.used;
                match received.event {
                    Some(Event::Text(text)) => self.heard.push_back(text.to_owned()),
                    Some(Event::Binary(bytes)) => {
                        self.heard.push_back(String::from_utf8_lossy(bytes).into_owned())
                    }
                    Some(Event::Ping(payload)) => frame(&mut out, Opcode::Pong, payload),
                    Some(Event::Close(_)) => {
                        encode::close(&mut out, 1000, "");
                        self.stream.write_all(&out)?;
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    _ => {}
                }
            }
            self.stream.write_all(&out)?;
        }
    }
}
