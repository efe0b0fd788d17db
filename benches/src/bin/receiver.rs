//! Very many WebSocket clients on one thread that count the frames they get: the other end of a
//! fan-out benchmark, the same for every server.
//!
//! First line on stdout when all are connected: `connected N`. With `--seconds` it then waits for
//! `--warmup`, counts for that long, prints one JSON object with its own CPU time (`user_s`,
//! `system_s`) and ends; without, it holds the connections until it is killed.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use benches::{cpu::CpuTime, poll::Poll};
use clap::Parser;
use proto::{Conn, Event, Limits, encode, handshake};

#[derive(Parser)]
struct Args {
    /// HOST:PORT of the server, on loopback.
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, default_value = "/ws")]
    target: String,
    #[arg(long)]
    connections: usize,
    /// A text frame to send after the handshake.
    #[arg(long)]
    subscribe: Option<String>,
    /// A file with a line for each connection, which shows it as `Authorization: Bearer`.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Seconds between the last connection and the counting.
    #[arg(long, default_value_t = 3.0)]
    warmup: f64,
    /// Seconds to count for.
    #[arg(long)]
    seconds: Option<f64>,
    /// Adds the CPU time that the process with this id spent while frames were counted.
    #[arg(long)]
    server_pid: Option<u32>,
}

/// Connections from one source address: well below the ephemeral ports there are.
const PER_SOURCE: usize = 1000;
/// Handshakes under way at a time.
const CONNECTING: usize = 128;
const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 20 };
const NONCE: [u8; 16] = *b"fanwire receiver";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

struct Client {
    stream: TcpStream,
    conn: Conn,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    open: usize,
    frames: u64,
    payload_bytes: u64,
    ended: u64,
}

impl Counts {
    fn frame(&mut self, payload_bytes: usize) {
        self.frames += 1;
        self.payload_bytes += payload_bytes as u64;
    }
}

struct Receiver {
    args: Args,
    poll: Poll,
    clients: Vec<Option<Client>>,
    /// By connection; empty without `--token-file`.
    tokens: Vec<String>,
    counts: Counts,
    input: Vec<u8>,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let poll = Poll::new()?;
    let tokens = args.token_file.as_ref().map(fs::read_to_string).transpose()?.unwrap_or_default();
    let tokens: Vec<String> = tokens.lines().map(|token| format!("Bearer {token}")).collect();
    if args.token_file.is_some() && tokens.len() < args.connections {
        return Err(io::Error::other(format!(
            "{} tokens for {} connections",
            tokens.len(),
            args.connections
        )));
    }
    let mut receiver = Receiver {
        clients: Vec::with_capacity(args.connections),
        tokens,
        args,
        poll,
        counts: Counts::default(),
        input: vec![0; 64 << 10],
    };
    receiver.connect_all()?;
    println!("connected {}", receiver.counts.open);
    let Some(seconds) = receiver.args.seconds else {
        loop {
            receiver.turn(Duration::from_secs(1))?;
        }
    };
    receiver.run_for(Duration::from_secs_f64(receiver.args.warmup))?;
    let (before, cpu_before) = (receiver.counts, receiver.cpu()?);
    let began = Instant::now();
    receiver.run_for(Duration::from_secs_f64(seconds))?;
    let cpu = receiver.cpu()?.since(cpu_before);
    report(began.elapsed(), before, receiver.counts, cpu);
    Ok(())
}

/// CPU time of the two ends.
struct Cpu {
    server: Option<CpuTime>,
    own: CpuTime,
}

impl Cpu {
    fn since(self, earlier: Cpu) -> Cpu {
        let server = self.server.zip(earlier.server).map(|(after, before)| after.since(before));
        Cpu { server, own: self.own.since(earlier.own) }
    }
}

fn report(window: Duration, before: Counts, after: Counts, cpu: Cpu) {
    let frames = after.frames - before.frames;
    let payload_bytes = after.payload_bytes - before.payload_bytes;
    let server = cpu.server.map_or(String::new(), |cpu| {
        format!(",\"server_user_s\":{:.3},\"server_system_s\":{:.3}", cpu.user_s, cpu.system_s)
    });
    println!(
        "{{\"seconds\":{:.3},\"open\":{},\"ended\":{},\"frames\":{frames},\"payload_bytes\":{payload_bytes},\
         \"user_s\":{:.3},\"system_s\":{:.3}{server}}}",
        window.as_secs_f64(),
        after.open,
        after.ended,
        cpu.own.user_s,
        cpu.own.system_s,
    );
}

impl Receiver {
    fn connect_all(&mut self) -> io::Result<()> {
        let (wanted, mut progress, mut established) = (self.args.connections, Instant::now(), 0);
        while self.counts.open < wanted {
            while self.clients.len() < wanted && self.clients.len() - self.counts.open < CONNECTING {
                let client = self.connect(self.clients.len())?;
                self.poll.add(&client.stream, self.clients.len() as u64)?;
                self.clients.push(Some(client));
            }
            self.turn(Duration::from_millis(100))?;
            if self.counts.ended > 0 {
                return Err(io::Error::other(format!(
                    "the server ended {} of {} connections while they were made",
                    self.counts.ended,
                    self.clients.len()
                )));
            }
            if self.counts.open > established {
                (progress, established) = (Instant::now(), self.counts.open);
            } else if progress.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other(format!("{established} of {wanted} connected, none for 10 s")));
            }
        }
        Ok(())
    }

    fn connect(&self, index: usize) -> io::Result<Client> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        let source = index / PER_SOURCE;
        let source = Ipv4Addr::new(127, 0, (source / 250) as u8 + 1, (source % 250) as u8 + 1);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&self.args.address.into())?;
        let mut stream = TcpStream::from(socket);
        let mut request = Vec::new();
        let (host, target) = (self.args.address.to_string(), &self.args.target);
        let token = self.tokens.get(index).map(|token| ("Authorization", &**token));
        handshake::request_with(&mut request, &host, target, NONCE, &[], false, token.as_slice());
        stream.write_all(&request)?;
        stream.set_nonblocking(true)?;
        Ok(Client { stream, conn: Conn::client(NONCE) })
    }

    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while let left = end.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            self.turn(left)?;
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        for index in self.poll.wait(timeout)? {
            let slot = &mut self.clients[index as usize];
            let Some(client) = slot else { continue };
            let open_before = self.counts.open;
            match client.receive(&mut self.input, &self.args.subscribe, &mut self.counts) {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    *slot = None;
                    self.counts.ended += 1;
                    self.counts.open = open_before.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self) -> io::Result<Cpu> {
        let server = self.args.server_pid.map(CpuTime::of).transpose()?;
        Ok(Cpu { server, own: CpuTime::of(std::process::id())? })
    }
}

impl Client {
    /// Takes one read; false when the connection ended.
    fn receive(
        &mut self,
        input: &mut [u8],
        subscribe: &Option<String>,
        counts: &mut Counts,
    ) -> io::Result<bool> {
        let received = match self.stream.read(input) {
            Ok(0) => return Ok(false),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let mut at = 0;
        let mut answer = Vec::new();
        while at < received {
            let step = self.conn.receive(&mut input[at..received], &LIMITS);
            at += step.used;
            match step.event {
                None => {}
                Some(Event::Text(text)) => counts.frame(text.len()),
                Some(Event::Binary(bytes)) => counts.frame(bytes.len()),
                Some(Event::Response(_)) => {
                    counts.open += 1;
                    if let Some(text) = subscribe {
                        encode::masked_frame(&mut answer, encode::Opcode::Text, text.as_bytes(), MASK);
                    }
                }
                Some(Event::Ping(payload)) => {
                    encode::masked_frame(&mut answer, encode::Opcode::Pong, payload, MASK)
                }
                Some(Event::Pong(_)) => {}
                Some(_) => return Ok(false),
            }
        }
        self.stream.write_all(&answer)?;
        Ok(true)
    }
}
