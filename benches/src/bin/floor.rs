//! The floor under every fan-out: one thread, epoll, one `send()` per client and nothing else.
//!
//! It answers WebSocket handshakes, so that a gateway's clients fit it, ignores what clients say,
//! and sends the same prepared text frame to all of them at a fixed rate.
#![forbid(unsafe_code)]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use benches::poll::Poll;
use clap::Parser;
use proto::{Conn, Event, Limits, encode, handshake};
use rustix::{
    io::Errno,
    net::{SendFlags, send},
};

#[derive(Parser)]
struct Args {
    /// Port on 127.0.0.1; 0: any free one, printed on the first line.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Sending starts when this many clients are connected.
    #[arg(long)]
    connections: usize,
    /// Frames a second to each client.
    #[arg(long, default_value_t = 8.0)]
    rate: f64,
    /// Payload of a frame.
    #[arg(long, default_value_t = 240)]
    bytes: usize,
}

/// Where the listener stands in the poll set, which counts clients from 0.
const LISTENER: u64 = u64::MAX;
const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };

struct Client {
    stream: TcpStream,
    /// Until the handshake is answered.
    handshake: Option<Conn>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    open: usize,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let listener = listen(args.port)?;
    println!("listening data={}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let mut floor = Floor { poll, listener, clients: Vec::new(), open: 0 };
    while floor.open < args.connections {
        floor.turn(Duration::from_secs(1))?;
    }

    let mut frame = Vec::new();
    encode::frame(&mut frame, encode::Opcode::Text, &vec![b'x'; args.bytes]);
    let period = Duration::from_secs_f64(1.0 / args.rate);
    let mut due = Instant::now();
    loop {
        let cut = floor.broadcast(&frame);
        if cut > 0 {
            eprintln!("{cut} clients did not take a whole frame and were cut off: the receiver is too slow");
        }
        due += period;
        if due < Instant::now() {
            eprintln!("a round took {:?} longer than its {period:?}", due.elapsed());
            due = Instant::now();
        }
        while let wait = due.saturating_duration_since(Instant::now())
            && !wait.is_zero()
        {
            floor.turn(wait)?;
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Inherited by every accepted socket.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

impl Floor {
    /// Takes what the poll set has: newcomers, handshakes, and input that is thrown away.
    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let ready: Vec<u64> = self.poll.wait(timeout)?.collect();
        for index in ready {
            if index == LISTENER {
                self.accept()?;
            } else if !self.receive(index as usize) {
                self.remove(index as usize);
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    self.poll.add(&stream, self.clients.len() as u64)?;
                    self.clients.push(Some(Client { stream, handshake: Some(Conn::server()) }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// False when the client is gone or said what no WebSocket client says first.
    fn receive(&mut self, index: usize) -> bool {
        let Some(client) = &mut self.clients[index] else { return true };
        let mut input = [0; 4096];
        let received = match client.stream.read(&mut input) {
            Ok(0) => return false,
            Ok(received) => received,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        let Some(conn) = &mut client.handshake else { return true };
        match conn.receive(&mut input[..received], &LIMITS).event {
            None => true,
            Some(Event::Request(request)) => {
                let Ok(upgrade) = request.upgrade() else { return false };
                let mut answer = Vec::new();
                handshake::accept(&mut answer, upgrade.key(), None, None);
                client.handshake = None;
                self.open += 1;
                client.stream.write_all(&answer).is_ok()
            }
            Some(_) => false,
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(client) = self.clients[index].take() {
            self.open -= usize::from(client.handshake.is_none());
        }
    }

    /// One `send()` per client; how many clients did not take the whole frame.
    fn broadcast(&mut self, frame: &[u8]) -> usize {
        let mut cut = 0;
        for index in 0..self.clients.len() {
            let Some(Client { stream, handshake: None }) = &self.clients[index] else { continue };
            match send(stream, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) if sent == frame.len() => {}
                Ok(_) | Err(Errno::AGAIN) => {
                    cut += 1;
                    self.remove(index);
                }
                Err(_) => self.remove(index),
            }
        }
        cut
    }
}
