//! The updates that servers are compared on: the same made-up ticker as the gateway's synthetic source, written as
//! it falls due. A random one of `--topics` changes each 1/`--rate` s, so some change twice before others do once.
//!
//! Each update bears the moment at which it fell due, µs since the Unix epoch. An application that reads it later,
//! or publishes it later, is late by as much.
//!
//! - `lines`, to stdout: `STAMP TOPIC DATA`.
//! - `nats HOST:PORT`: published to a subject named like the topic.
//! - `post HOST:PORT`: published by `POST /publish/TOPIC`, on one connection, without waiting for each answer.
#![forbid(unsafe_code)]

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use fastrand::Rng;

#[derive(Parser)]
struct Args {
    /// lines, nats or post.
    form: Form,
    /// Where to, on loopback; of `lines` it is stdout.
    address: Option<SocketAddr>,
    #[arg(long, default_value_t = 1000)]
    topics: usize,
    /// Updates a second of all topics together.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Pads `{"ts":…,"topic":…,"data":…}` to so many bytes. Default: quotes, which make about 120.
    #[arg(long)]
    bytes: Option<usize>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Form {
    Lines,
    Nats,
    Post,
}

const TICK: Duration = Duration::from_millis(1);
/// What `{"n":…,"text":""}` and the members around it take, once `n` has its usual digits.
const PADDED_BYTES: usize = 74;

fn main() -> io::Result<()> {
    match run(&Args::parse()) {
        // Whoever took the updates has ended.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Ok(())
        }
        ended => ended,
    }
}

fn run(args: &Args) -> io::Result<()> {
    let mut out = Out::new(args.form, args.address)?;
    let mut ticker = Ticker::new(args);
    let (start, start_us) = (Instant::now(), now_us());
    // Every topic has a value before the first changes.
    for topic in 0..args.topics {
        ticker.write(args.form, topic, start_us, &mut out.text);
    }
    out.flush()?;
    for made in 1u64.. {
        let due = Duration::from_secs_f64(made as f64 / args.rate);
        if due > start.elapsed() {
            out.flush()?;
            std::thread::sleep(TICK.max(due.saturating_sub(start.elapsed())));
        }
        let topic = ticker.random.usize(0..args.topics);
        ticker.write(args.form, topic, start_us + due.as_micros() as u64, &mut out.text);
    }
    Ok(())
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

struct Ticker {
    random: Rng,
    symbols: Vec<Symbol>,
    padding: Option<String>,
    data: String,
}

struct Symbol {
    /// In hundredths.
    price: i64,
    n: u64,
}

impl Ticker {
    fn new(args: &Args) -> Self {
        let mut random = Rng::with_seed(args.seed);
        let symbols = (0..args.topics).map(|_| Symbol { price: random.i64(1_000..50_000), n: 0 });
        let symbols = symbols.collect();
        let padding = args.bytes.map(|bytes| "x".repeat(bytes.saturating_sub(PADDED_BYTES)));
        Self { random, symbols, padding, data: String::new() }
    }

    /// Appends the next update of a topic.
    fn write(&mut self, form: Form, topic: usize, due_us: u64, out: &mut String) {
        self.step(topic);
        let data = &self.data;
        let message = format!(r#"{{"ts":{due_us},"topic":"tick.S{topic:04}","data":{data}}}"#);
        let length = message.len();
        let written = match form {
            Form::Lines => writeln!(out, "{due_us} tick.S{topic:04} {data}"),
            Form::Nats => write!(out, "PUB tick.S{topic:04} {length}\r\n{message}\r\n"),
            Form::Post => write!(
                out,
                "POST /publish/tick.S{topic:04} HTTP/1.1\r\nHost: feed\r\nContent-Type: text/plain\r\n\
                 Content-Length: {length}\r\n\r\n{message}"
            ),
        };
        written.expect("writing to memory does not fail");
    }

    fn step(&mut self, topic: usize) {
        let Self { random, symbols, padding, data } = self;
        let Symbol { price, n } = &mut symbols[topic];
        *n += 1;
        data.clear();
        let written = if let Some(padding) = padding {
            write!(data, r#"{{"n":{:6},"text":"{padding}"}}"#, *n)
        } else {
            *price = (*price + random.i64(-5..=5)).max(100);
            let half_spread = random.i64(1..=3);
            let last = *price + random.i64(-half_spread..=half_spread);
            let size = random.u32(1..=50) * 100;
            let [bid, ask, last] =
                [*price - half_spread, *price + half_spread, last].map(|price| price as f64 / 100.0);
            write!(data, r#"{{"bid":{bid:.2},"ask":{ask:.2},"last":{last:.2},"size":{size},"n":{n}}}"#)
        };
        written.expect("writing to memory does not fail");
    }
}

struct Out {
    text: String,
    to: Option<TcpStream>,
}

impl Out {
    fn new(form: Form, address: Option<SocketAddr>) -> io::Result<Self> {
        let mut text = String::new();
        let to = match form {
            Form::Lines => None,
            Form::Nats | Form::Post => {
                let address =
                    address.ok_or_else(|| io::Error::other("write HOST:PORT behind nats and post"))?;
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                // What the server answers is thrown away as it comes.
                let mut answers = stream.try_clone()?;
                std::thread::spawn(move || {
                    let mut answer = [0; 64 << 10];
                    while answers.read(&mut answer).is_ok_and(|length| length > 0) {}
                });
                if matches!(form, Form::Nats) {
                    text.push_str("CONNECT {\"verbose\":false}\r\n");
                }
                Some(stream)
            }
        };
        Ok(Self { text, to })
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            Some(stream) => stream.write_all(self.text.as_bytes())?,
            None => {
                io::stdout().lock().write_all(self.text.as_bytes()).and_then(|()| io::stdout().flush())?
            }
        }
        self.text.clear();
        Ok(())
    }
}
