//! The command line as it is written, before it is checked.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use super::duration;
use crate::server::token::Algorithm;

/// Loads a Fanwire gateway, or any WebSocket server, and checks every promise that a client can see.
///
/// Further commands: `loadgen search` finds the capacity at
/// which every --expect still holds, `loadgen compare` prints the ratios of two reports, `loadgen
/// scenarios` lists the named loads, `loadgen schema` prints the report's JSON schema.
///
/// Times are a number with its unit: 500ms, 30s, 2m, 1h. Exit codes: 0 done, 1 run-time failure, 2 bad
/// usage, 3 an --expect does not hold.
#[derive(Debug, Clone, Parser)]
#[command(name = "loadgen", version)]
pub struct Flags {
    /// The WebSocket endpoint to connect to, ws:// or wss://. Example: ws://127.0.0.1:9001/ws
    #[arg(long)]
    pub url: Option<String>,
    /// A named load (`loadgen scenarios` lists them) or a TOML file whose keys are these flags, with _
    /// for -. A flag on the command line replaces the key of the same name. Default: none
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// Number of connections to hold. Example: 9000
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: u32,
    /// Topics and patterns to subscribe to, comma separated. Example: 'tick.*,host.cpu'. A range in
    /// braces stands for each of its numbers, with as many digits as the first: 'tick.S{0000..1999}' is
    /// 2,000 topics. The flag may be repeated: connection 1 takes the first list, connection 2 the
    /// second, and so on round robin. Required, unless --send, --stamp, --ready or --reply is given; goes
    /// with them where {topics} or {topic} has room for it. There it is any texts, without commas
    #[arg(long, value_name = "P1,P2")]
    pub topics: Vec<String>,
    /// The part of --topics that one connection subscribes to. one: all of it. classes:K: one of K
    /// equal parts, in turn. random:K: K topics of its own, all equally likely. zipf:K: K topics of its
    /// own, the n-th topic in proportion to 1/n. Example: with --topics 'tick.S{0000..1999}', zipf:20
    /// gives every connection its own 20 of 2,000 topics. Each different list is a class in the
    /// gateway, whose number [limits] classes bounds
    #[arg(long, value_name = "KIND", default_value = "one")]
    pub interests: String,
    /// Seed of everything random: interests, back-off, which connections leave. Default: drawn at
    /// random; the report names it
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Length of the measured window, which begins once all connections are established. Examples: 30s,
    /// 500ms, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// Time between the last established connection and the window, in which the server gets over the
    /// connects. Example: 2s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    pub warm_up: Duration,
    /// Time over which the first connects are spread evenly. Example: 10s. Default: all connects start
    /// as fast as they can, 256 at once per thread
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub ramp: Option<Duration>,
    /// First connects a second, spread evenly, in place of --ramp. Example: 5000. Default: as for
    /// --ramp
    #[arg(long, value_name = "PER_S", conflicts_with = "ramp")]
    pub rate: Option<f64>,
    /// Number of times that a failed first connect is tried again. Before each, the connection waits a
    /// random time, up to 100 ms at first, then up to twice as long each time, at most 10 s
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    pub retry: u32,
    /// Connections that the server cuts come back and resume with `since`. They wait as long as the
    /// server's notice asks, else as for --retry. Default: they stay away
    #[arg(long)]
    pub reconnect: bool,
    /// Interval to ask the gateway for, in ms. Default: the gateway's own
    #[arg(long, value_name = "MS")]
    pub interval_ms: Option<u32>,
    /// Connections offer permessage-deflate, without context takeover. The report counts inflated
    /// messages in bytes.payload and received bytes in bytes.wire. Default: no compression
    #[arg(long)]
    pub deflate: bool,
    /// Connections speak fanwire.msgpack.v1; bytes.payload counts messages as they were packed.
    /// Default: fanwire.json.v1
    #[arg(long)]
    pub msgpack: bool,
    /// Connections get server-sent events: each asks --url, such as ws://HOST:PORT/sse, for its topics. Default:
    /// WebSockets
    #[arg(long)]
    pub sse: bool,
    /// Header field of every opening request, with room for {conn}, {env:NAME}, {line:FILE}, {now_us}
    /// and {topics} (see --send). May be repeated. Host replaces that of --url; the handshake's own
    /// fields cannot be set. Examples: 'X-Api-Key: {env:KEY}', 'Authorization: Bearer {line:tokens.txt}'
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Subprotocol to offer, with room for {conn}, {env:NAME} and {line:FILE}. May be repeated, in order
    /// of preference; where the server chooses none of them the connect has failed, as in a browser.
    /// Fanwire's own comes before them, unless the load is of another protocol. Example:
    /// graphql-transport-ws
    #[arg(long, value_name = "NAME")]
    pub subprotocol: Vec<String>,
    /// Origin of every opening request, as a browser's page has one, with the same room. Example:
    /// https://example.com. Default: none
    #[arg(long, value_name = "URL")]
    pub origin: Option<String>,
    /// Token that every connection shows as `Authorization: Bearer TOKEN`. Other users of a host can read
    /// command lines: a secret is better kept in --token-file. Default: none
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// File with a token a line; each connection shows the line with its number, counted round. Example:
    /// tokens.txt
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Key that the server knows. With it every connection makes a token of its own, which grants the
    /// connection's --topics, and renews it on the open connection once the server says that it expires. For
    /// HS256, HS384 and HS512 the file is the secret, without a newline at its end; for ES256 it is a
    /// private key as PEM
    #[arg(long, value_name = "FILE")]
    pub token_key: Option<PathBuf>,
    /// Algorithm of --token-key. Default: HS256
    #[arg(long, value_name = "ALG", value_enum)]
    pub token_alg: Option<Algorithm>,
    /// Time that a token of --token-key lives, 1s to 1000h. Example: 20s. Default: 1h
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub token_life: Option<Duration>,
    /// Claims that tokens of --token-key have beside, or in place of, their sub, jti, iat, exp and
    /// fanwire. Example: '{"iss":"https://id.example/","aud":"fanwire"}'
    #[arg(long, value_name = "JSON")]
    pub token_claims: Option<String>,
    /// Certificate authorities to trust for wss://, as a PEM file. Default: those that the host trusts
    #[arg(long, value_name = "FILE.pem")]
    pub ca: Option<PathBuf>,
    /// For wss://: any certificate is accepted, unverified. Default: certificates are verified
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// For wss://: later connections resume a TLS session of an earlier one, as a returning browser
    /// does. Default: every connection makes a full handshake
    #[arg(long)]
    pub tls_resume: bool,
    /// For wss://: the client's own certificate and what it was signed by, as a PEM file. Default: none
    #[arg(long, value_name = "FILE.pem", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of --cert, as a PEM file
    #[arg(long, value_name = "FILE.pem", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Address of a host and port, in place of what the system's resolver says. May be repeated.
    /// Connections take the addresses of a name in turn, and the next one where a connect fails. Example:
    /// example.com:443:10.0.0.7. Default: every address that the resolver has
    #[arg(long, value_name = "HOST:PORT:ADDRESS")]
    pub resolve: Vec<String>,
    /// The gateway's admin listener. --publish needs it; the check of final values and server.metrics
    /// use it. Example: http://127.0.0.1:9002. Default: none
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// Key of the admin listener, where it wants one: one that may "metrics" for server.metrics, "read" for
    /// the check of final values, "publish" for --publish, or "admin" for all of it. Default: the variable
    /// FANWIRE_ADMIN_KEY of the environment, which other users of the host cannot read
    #[arg(long, value_name = "KEY")]
    pub admin_key: Option<String>,
    /// Share of the connections that read slowly, in percent. The report has their latencies apart
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub slow: f64,
    /// Speed at which a slow connection reads, in bytes a second
    #[arg(long, value_name = "BYTES", default_value_t = 16_000)]
    pub slow_bytes_per_s: u64,
    /// Share of the connections that stop reading, in percent: until the window's end, or for
    /// --stall-for
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub stall: f64,
    /// Time after which a stalled connection reads on. Example: 10s. Default: the window's end
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub stall_for: Option<Duration>,
    /// Time over which slow and stalled connections begin to be so, one after the other. Example: 10s.
    /// Default: all of them as the window begins
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub stagger: Option<Duration>,
    /// Connections a second that leave for good; a new one replaces each
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub churn: f64,
    /// Connections a second that loadgen cuts and that come back with `since`; nothing may be lost
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub since_reconnects: f64,
    /// Atomic groups a second that loadgen publishes through --admin. A group is 4 topics,
    /// loadgen.g<N>.0 to .3, that get one number in one request. Connections subscribe to loadgen.*
    /// beside --topics; a connection that sees different numbers in a group counts it in updates.torn
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub publish: f64,
    /// Connections that --publish publishes over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub publishers: u32,
    /// WebSocket pings a second, over all connections in turn. A pong's latency counts from when its
    /// ping was due
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    pub pings: f64,
    /// Connections that misbehave, in percent of --connections and beside them, from the window's begin
    /// to the run's end. ws:// only. Example: 10 adds 100 to 1,000
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub hostile: f64,
    /// Ways to misbehave, comma separated, in equal shares. half-open: connects and says nothing.
    /// slow-handshake: one byte of the request a second. garbage: random bytes before or after the
    /// handshake. oversized: a frame that announces 1 GiB
    #[arg(long, value_name = "K1,K2", default_value = "half-open,slow-handshake,garbage,oversized")]
    pub hostile_kinds: String,
    /// Topics in mode "stream", comma separated patterns. There every update counts: a step of `v`
    /// above 1 + `gap` is lost, where elsewhere it is conflation. Example: 'trade.*'. Default: none
    #[arg(long, value_name = "P1,P2")]
    pub stream: Vec<String>,
    /// File for the report as JSON. Default: none; stdout's last line is the report without its series
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// File for the report with its plots as one HTML page. Default: none
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// File for the percentile distribution of visible_ms, as HdrHistogram plotters read it; those of
    /// arrival and handshake lie beside it. Example: run.hgrm, run.arrival.hgrm, run.handshake.hgrm.
    /// Default: none
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Condition on a figure of the report; where it does not hold the exit code is 3. May be repeated.
    /// FIGURE OP NUMBER[UNIT] with <, <=, >, >=, == or !=; the figure may lack its unit. Examples:
    /// 'visible.p99<250ms' (visible_ms.p99), 'updates.lost==0', 'server.rss<1GiB'
    #[arg(long, value_name = "EXPR")]
    pub expect: Vec<String>,
    /// For any other server: text to send after the handshake, in place of the subscribe message. In it
    /// {now_us} becomes the time, in µs since the Unix epoch; {conn} the connection's number from 0;
    /// {env:NAME} a variable of the environment; {line:FILE} that line of the file, counted round by
    /// {conn}; {topics} the JSON list of its --topics, as --interests chooses them. A text with {topic} is said
    /// once for each of them, a message each, with {place} as its number from 1; within a JSON string it is
    /// escaped. Backslashes are sent as they are: ends of lines are the shell's, as in bash, or a scenario's.
    /// Example: $'SUB {topic} {place}\r\n'. The path and query of --url and --header have room for the same,
    /// with {topics} as a list with commas, percent-encoded, and without {topic}. May be repeated
    #[arg(long, value_name = "TEXT")]
    pub send: Vec<String>,
    /// For any other server: the message that makes a connection established, in place of the handshake.
    /// TEXT: it contains the text. is:TEXT: it is the text. json:/POINTER or json:/POINTER=VALUE: its JSON
    /// has a value, or this one, at the JSON pointer; text before the first { or [ is skipped. Where none
    /// comes within 10 s of the connect, the connection counts as failed. Examples: json:/type=welcome,
    /// json:/3=phx_reply, $'PONG\r\n'. Default: the handshake does
    #[arg(long, value_name = "MATCH")]
    pub ready: Option<String>,
    /// For any other server: text to send whenever a message matches, as for --ready; it has the room of
    /// --send, and {match} for what matched (of JSON the value, a string without its quotes). May be
    /// repeated; every one that matches answers. Examples: $'PING=>PONG\r\n', 'is:2=>3',
    /// 'json:/ping=>{"pong":{match}}'
    #[arg(long, value_name = "MATCH=>TEXT")]
    pub reply: Vec<String>,
    /// Text that --send-every repeats in place of --send. May be repeated. Default: --send
    #[arg(long, value_name = "TEXT")]
    pub repeat: Vec<String>,
    /// Time between repetitions of --send on every connection, at least 1ms; {now_us} is then the time
    /// at which the text was due. Examples: 100ms, 1s. Default: --send is sent once
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub send_every: Option<Duration>,
    /// For any other server: where a message carries its send time. json:PATH: a number since the Unix
    /// epoch in s, ms, us or ns (its size tells which); text before the first { or [ is skipped.
    /// Example: json:data.0.ts. key:NAME: the number behind the first "NAME": anywhere; the rest is not
    /// read, which costs less. bin8:mono: the first 8 bytes, little-endian ns of CLOCK_MONOTONIC. none:
    /// nowhere. Default: none
    #[arg(long)]
    pub stamp: Option<String>,
    /// By which calls of the kernel loadgen moves bytes. With epoll the limit on open files bounds all
    /// connections together, with io_uring those of each thread
    #[arg(long, value_enum, default_value_t = Wanted::Auto)]
    pub io: Wanted,
    /// Threads, each with sockets of its own, 1 to 256. Default: one for each allowed CPU, with io_uring more
    /// where the limit on open files demands it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Local addresses to connect from, comma separated. Default: 127.0.x.y, 1,000 connections each,
    /// for a loopback target; else the system's choice
    #[arg(long, value_name = "IP1,IP2", alias = "source-ips")]
    pub source_ip: Vec<String>,
    /// Whether loadgen estimates the server's clock minus its own and corrects latencies by it
    #[arg(long, value_enum, default_value_t = ClockOffset::Auto)]
    pub clock_offset: ClockOffset,
    /// Process id of the server, for the figures server.*. Default: the process on this host that
    /// listens on the port of --url
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
}

/// `--io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// io_uring where it works, else epoll
    Auto,
    /// Linux 6.8, where it is not forbidden
    #[value(name = "io_uring")]
    IoUring,
    /// Everywhere
    Epoll,
}

/// `--clock-offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ClockOffset {
    /// Where the server is on another host, unless --send or --stamp is given
    Auto,
    /// Never
    Off,
    /// Always, also on this host
    Probe,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn examples_with_ends_of_lines_are_what_a_shell_makes_them_of() {
        for argument in super::Flags::command().get_arguments() {
            let help =
                argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
            for (at, _) in help.match_indices("\\r") {
                let quote = help[..at].rfind('\'').expect("an example in quotes");
                assert!(help[..quote].ends_with('$'), "--{}: {help}", argument.get_id());
            }
        }
    }
}
