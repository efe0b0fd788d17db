//! The command line as it is written, before it is checked.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use super::duration;

/// Loads a Fanwire gateway (or any WebSocket server) and checks every promise it can see.
///
/// `loadgen search` finds the capacity at which an expectation still holds, `loadgen compare` the
/// ratios of two reports, `loadgen scenarios` lists named loads, `loadgen schema` describes the report.
///
/// Exit codes: 0 done, 1 run-time failure, 2 bad usage, 3 an --expect does not hold.
#[derive(Debug, Clone, Parser)]
#[command(name = "loadgen", version)]
pub struct Flags {
    /// Where to connect, for example ws://127.0.0.1:9001/ws
    #[arg(long)]
    pub url: Option<String>,
    /// A load by its name (see loadgen scenarios), or a TOML file whose keys are these flags. What
    /// stands on the command line holds before what stands there
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// How many connections to hold, for example 9000
    #[arg(long, default_value_t = 1)]
    pub connections: u32,
    /// Patterns to subscribe, comma separated: --topics 'tick.*,host.cpu'. {00..99} stands for each
    /// number: 'tick.S{0000..1999}'. Repeated for mixed interests: connections take the lists round robin
    #[arg(long, value_name = "P1,P2")]
    pub topics: Vec<String>,
    /// What a connection takes of --topics: all of it (one); one of K equal shares (classes:K); its own
    /// K at random (random:K); its own K, the first ones more often, as in Zipf's law (zipf:K). Each
    /// such list is a class of the gateway: [limits] classes bounds them
    #[arg(long, value_name = "KIND", default_value = "one")]
    pub interests: String,
    /// Of all that is random: interests, back-off, who leaves. Without it one is drawn and reported
    #[arg(long)]
    pub seed: Option<u64>,
    /// How long to measure once all connections are established: 30s, 500ms, 2m, 1h
    #[arg(long, default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// Spreads the connects evenly over this time; without it they go as fast as they can
    #[arg(long, value_parser = duration::parse)]
    pub ramp: Option<Duration>,
    /// Spreads the connects evenly at so many a second, in place of --ramp
    #[arg(long, value_name = "PER_S", conflicts_with = "ramp")]
    pub rate: Option<f64>,
    /// A first connect that comes to nothing is tried so many times again, after a back-off from
    /// 100 ms to 10 s with full jitter
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    pub retry: u32,
    /// Connections that the server cuts come back with `since`, after the same back-off or what the
    /// server asked for
    #[arg(long)]
    pub reconnect: bool,
    /// Interval to ask for; without it the server's own holds
    #[arg(long)]
    pub interval_ms: Option<u32>,
    /// Offer permessage-deflate (without context takeover). What compressed messages held is counted as
    /// bytes.payload, what came over the wire as bytes.wire
    #[arg(long)]
    pub deflate: bool,
    /// Speak fanwire.msgpack.v1 in place of fanwire.json.v1. bytes.payload is what was packed
    #[arg(long)]
    pub msgpack: bool,
    /// For wss://: trust what this PEM file signs, in place of what the host trusts
    #[arg(long, value_name = "FILE.pem")]
    pub ca: Option<PathBuf>,
    /// For wss://: take any certificate
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// For wss://: connections take up a TLS session of an earlier one, as browsers do that come back;
    /// without it each makes a full handshake
    #[arg(long)]
    pub tls_resume: bool,
    /// The admin listener, for --publish, the check of final values and the server's own metrics:
    /// http://127.0.0.1:9002
    #[arg(long)]
    pub admin: Option<String>,
    /// So many percent of the connections read slowly; their latencies are reported apart
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub slow: f64,
    /// How fast slow readers read
    #[arg(long, value_name = "BYTES", default_value_t = 16_000)]
    pub slow_bytes_per_s: u64,
    /// So many percent stop reading, until the end or for --stall-for
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub stall: f64,
    /// How long those stop; then they read on
    #[arg(long, value_parser = duration::parse)]
    pub stall_for: Option<Duration>,
    /// Slow and stalled readers begin to be so one after the other over this time of the window,
    /// not all as it begins
    #[arg(long, value_parser = duration::parse)]
    pub stagger: Option<Duration>,
    /// So many connections a second leave and are replaced by new ones
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub churn: f64,
    /// So many connections a second are cut and come back with `since`; nothing may be lost
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub since_reconnects: f64,
    /// Publishes so many atomic groups a second over loadgen.g<N>.<M> through --admin, subscribes
    /// to them and checks that no group is ever seen torn
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    pub publish: f64,
    /// Connections that the groups are published over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub publishers: u32,
    /// Sends so many WebSocket pings a second, over all connections in turn, and waits for the pongs
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub pings: f64,
    /// So many more connections, in percent, that misbehave from the window's begin to the run's end
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub hostile: f64,
    /// How: half-open, slow-handshake, garbage, oversized, in equal shares of those that are named
    #[arg(long, value_name = "K1,K2", default_value = "half-open,slow-handshake,garbage,oversized")]
    pub hostile_kinds: String,
    /// Topics in mode "stream", comma separated: a step above 1 + gap is a loss there
    #[arg(long, value_name = "P1,P2")]
    pub stream: Vec<String>,
    /// Writes the JSON report to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Writes the report with its plots as one HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Writes percentile distributions for HdrHistogram plotters: FILE of visible, and arrival and
    /// handshake beside it
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Must hold in the report, else exit code 3: 'visible.p99<250ms', 'updates.lost==0'. Repeatable
    #[arg(long, value_name = "EXPR")]
    pub expect: Vec<String>,
    /// Any other server: sends this text after the handshake in place of the subscribe message;
    /// {now_us} in it stands for µs since the epoch. Repeatable
    #[arg(long, value_name = "TEXT")]
    pub send: Vec<String>,
    /// Every connection repeats what --send says so often, for servers that answer: 100ms, 1s.
    /// {now_us} is then the time at which it was due
    #[arg(long, value_parser = duration::parse)]
    pub send_every: Option<Duration>,
    /// Any other server: where a message carries its send time. json:PATH (a number since the
    /// epoch in s, ms, us or ns; what stands before the first { or [ is skipped), bin8:mono (first
    /// 8 bytes, little-endian ns of CLOCK_MONOTONIC), none
    #[arg(long)]
    pub stamp: Option<String>,
    /// Threads, each with a ring of its own; default: one per allowed CPU, more where the limit on
    /// open files demands it
    #[arg(long)]
    pub threads: Option<usize>,
    /// Source addresses, comma separated; default: 127.0.x.y with 1,000 connections each for a
    /// loopback target, else the system's choice
    #[arg(long, value_name = "IP1,IP2", alias = "source-ips")]
    pub source_ip: Vec<String>,
    /// Whether to estimate how far the server's clock is from ours and correct by it: auto does so
    /// where the server is on another host
    #[arg(long, value_enum, default_value_t = ClockOffset::Auto)]
    pub clock_offset: ClockOffset,
    /// The server's process, for server.*; default: whoever listens on the port, where it runs on this host
    #[arg(long)]
    pub server_pid: Option<u32>,
}

/// `--clock-offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ClockOffset {
    Auto,
    Off,
    /// Also on this host.
    Probe,
}
