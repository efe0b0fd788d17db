//! The command line, checked once.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Parser;

use crate::{judge::topic, report::expect::Expect, stamp::Stamp, url::Url};

/// Loads a Fanwire gateway (or any WebSocket server) and checks every promise it can see.
///
/// Exit codes: 0 done, 1 run-time failure, 2 bad usage, 3 an --expect does not hold.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
struct Raw {
    /// Where to connect, for example ws://127.0.0.1:9001/ws
    #[arg(long)]
    url: String,
    /// How many connections to hold, for example 9000
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Patterns to subscribe, comma separated: --topics 'tick.*,host.cpu'. Repeated for mixed
    /// interests: connections take the lists round robin
    #[arg(long, value_name = "P1,P2")]
    topics: Vec<String>,
    /// How long to measure once all connections are established: 30s, 500ms, 2m, 1h
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Spreads the connects evenly over this time; without it they go as fast as they can
    #[arg(long, value_parser = duration)]
    ramp: Option<Duration>,
    /// Spreads the connects evenly at so many a second, in place of --ramp
    #[arg(long, value_name = "PER_S", conflicts_with = "ramp")]
    rate: Option<f64>,
    /// A first connect that comes to nothing is tried so many times again, after a back-off from
    /// 100 ms to 10 s with full jitter
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retry: u32,
    /// Connections that the server cuts come back with `since`, after the same back-off or what the
    /// server asked for
    #[arg(long)]
    reconnect: bool,
    /// Interval to ask for; without it the server's own holds
    #[arg(long)]
    interval_ms: Option<u32>,
    /// The admin listener, for --publish and the check of final values: http://127.0.0.1:9002
    #[arg(long)]
    admin: Option<String>,
    /// So many percent of the connections read at 16 KB/s; their latencies are reported apart
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    slow: f64,
    /// So many percent stop reading once they are subscribed, until the end
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    stall: f64,
    /// So many connections a second leave and are replaced by new ones
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    churn: f64,
    /// So many connections a second are cut and come back with `since`; nothing may be lost
    #[arg(long, value_name = "PER_S", default_value_t = 0.0)]
    since_reconnects: f64,
    /// Publishes so many atomic groups a second over loadgen.g<N>.<M> through --admin, subscribes
    /// to them and checks that no group is ever seen torn
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    publish: f64,
    /// Topics in mode "stream", comma separated: a step above 1 + gap is a loss there
    #[arg(long, value_name = "P1,P2")]
    stream: Vec<String>,
    /// Writes the JSON report to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Not available yet
    #[arg(long, value_name = "FILE", hide = true)]
    html: Option<PathBuf>,
    /// Must hold in the report, else exit code 3: 'visible.p99<250ms', 'updates.lost==0'. Repeatable
    #[arg(long, value_name = "EXPR")]
    expect: Vec<String>,
    /// Any other server: sends this text after the handshake in place of the subscribe message;
    /// {now_us} in it stands for µs since the epoch. Repeatable
    #[arg(long, value_name = "TEXT")]
    send: Vec<String>,
    /// Every connection repeats what --send says so often, for servers that answer: 100ms, 1s.
    /// {now_us} is then the time at which it was due
    #[arg(long, value_parser = duration)]
    send_every: Option<Duration>,
    /// Any other server: where a message carries its send time. json:PATH (a number since the
    /// epoch in s, ms, us or ns; what stands before the first { or [ is skipped), bin8:mono (first
    /// 8 bytes, little-endian ns of CLOCK_MONOTONIC), none
    #[arg(long)]
    stamp: Option<String>,
    /// Threads, each with a ring of its own; default: one per allowed CPU, more where the limit on
    /// open files demands it
    #[arg(long)]
    threads: Option<usize>,
    /// Source addresses, comma separated; default: 127.0.x.y with 1,000 connections each for a
    /// loopback target, else the system's choice
    #[arg(long, value_name = "IP1,IP2")]
    source_ips: Vec<String>,
    /// The server's process, for server.*; default: whoever listens on the port, where it runs on this host
    #[arg(long)]
    server_pid: Option<u32>,
}

/// What the run is to do.
#[derive(Debug)]
pub struct Args {
    pub url: Url,
    pub connections: u32,
    /// Lists of patterns, taken round robin; empty in raw mode.
    pub groups: Vec<Vec<String>>,
    pub duration: Duration,
    pub ramp: Duration,
    /// Times that a first connect is tried again.
    pub retry: u32,
    pub reconnect: bool,
    pub interval_ms: Option<u32>,
    pub admin: Option<Url>,
    /// Percent of the connections.
    pub slow: f64,
    pub stall: f64,
    pub churn_per_s: f64,
    pub since_per_s: f64,
    pub publish_per_s: f64,
    pub stream: Vec<String>,
    pub report: Option<PathBuf>,
    pub expect: Vec<Expect>,
    /// Present: the server does not speak Fanwire's protocol.
    pub raw: Option<Raws>,
    pub threads: Option<usize>,
    pub source_ips: Vec<IpAddr>,
    pub server_pid: Option<u32>,
}

/// How to load a server that speaks another protocol.
#[derive(Debug, Clone)]
pub struct Raws {
    pub send: Vec<String>,
    /// µs between repetitions of `send`.
    pub send_every_us: Option<u64>,
    pub stamp: Stamp,
}

impl Args {
    /// The process's own command line. Ends the process with code 2 and a message where it is wrong.
    pub fn from_command_line() -> Self {
        let raw = Raw::parse();
        match Self::check(raw) {
            Ok(args) => args,
            Err(message) => {
                eprintln!("loadgen: {message}");
                std::process::exit(2);
            }
        }
    }

    fn check(raw: Raw) -> Result<Self, String> {
        if raw.html.is_some() {
            return Err("--html is not available in this version; use --report FILE.json".into());
        }
        at_least_one("--connections", raw.connections as usize)?;
        at_least_one("--threads", raw.threads.unwrap_or(1))?;
        percent("--slow", raw.slow)?;
        percent("--stall", raw.stall)?;
        if raw.slow + raw.stall > 100.0 {
            return Err(format!(
                "--slow {} and --stall {} are more than all connections",
                raw.slow, raw.stall
            ));
        }
        for (flag, rate) in
            [("--churn", raw.churn), ("--since-reconnects", raw.since_reconnects), ("--publish", raw.publish)]
        {
            if !(0.0..=100_000.0).contains(&rate) {
                return Err(format!("{flag} {rate}: write a rate a second from 0 to 100000"));
            }
        }
        let raws = raw_mode(&raw)?;
        let mut groups = raw.topics.iter().map(|list| patterns(list)).collect::<Result<Vec<_>, _>>()?;
        if raws.is_none() && groups.is_empty() {
            return Err("--topics is missing: write for example --topics 'tick.*'".into());
        }
        if raw.publish > 0.0 {
            if raw.admin.is_none() {
                return Err("--publish needs --admin http://HOST:PORT to publish through".into());
            }
            for group in &mut groups {
                if !topic::matches_any(group, "loadgen.g0.0") {
                    group.push("loadgen.*".into());
                }
            }
        }
        let ramp = match raw.rate {
            None => Duration::ZERO,
            Some(rate) if rate > 0.0 => Duration::from_secs_f64(f64::from(raw.connections) / rate),
            Some(rate) => return Err(format!("--rate {rate}: write connects a second, more than 0")),
        };
        let ip =
            |text: &str| text.trim().parse().map_err(|_| format!("--source-ips {text}: not an IP address"));
        Ok(Self {
            url: Url::parse(&raw.url, "ws")?,
            connections: raw.connections,
            groups,
            duration: raw.duration,
            ramp: raw.ramp.unwrap_or(ramp),
            retry: raw.retry,
            reconnect: raw.reconnect,
            interval_ms: raw.interval_ms,
            admin: raw.admin.as_deref().map(|admin| Url::parse(admin, "http")).transpose()?,
            slow: raw.slow,
            stall: raw.stall,
            churn_per_s: raw.churn,
            since_per_s: raw.since_reconnects,
            publish_per_s: raw.publish,
            stream: raw.stream.iter().map(|list| patterns(list)).collect::<Result<Vec<_>, _>>()?.concat(),
            report: raw.report,
            expect: raw.expect.iter().map(|text| Expect::parse(text)).collect::<Result<_, _>>()?,
            raw: raws,
            threads: raw.threads,
            source_ips: raw
                .source_ips
                .iter()
                .flat_map(|list| list.split(','))
                .map(ip)
                .collect::<Result<_, _>>()?,
            server_pid: raw.server_pid,
        })
    }
}

const SEND_EVERY_MIN: Duration = Duration::from_millis(1);

fn raw_mode(raw: &Raw) -> Result<Option<Raws>, String> {
    if raw.send.is_empty() && raw.send_every.is_some() {
        return Err("--send-every needs the --send TEXT that it repeats".into());
    }
    if raw.send_every.is_some_and(|every| every < SEND_EVERY_MIN) {
        return Err("--send-every: write 1ms or more".into());
    }
    if raw.send.is_empty() && raw.stamp.is_none() {
        return Ok(None);
    }
    let fanwire_only = [
        ("--topics", !raw.topics.is_empty()),
        ("--interval-ms", raw.interval_ms.is_some()),
        ("--publish", raw.publish > 0.0),
        ("--since-reconnects", raw.since_reconnects > 0.0),
        ("--stream", !raw.stream.is_empty()),
    ];
    if let Some((flag, _)) = fanwire_only.iter().find(|(_, given)| *given) {
        return Err(format!("{flag} does not go with --send and --stamp, which are for other protocols"));
    }
    let stamp = raw.stamp.as_deref().map_or(Ok(Stamp::None), Stamp::parse)?;
    let send_every_us = raw.send_every.map(|every| every.as_micros() as u64);
    Ok(Some(Raws { send: raw.send.clone(), send_every_us, stamp }))
}

fn patterns(list: &str) -> Result<Vec<String>, String> {
    list.split(',').map(|pattern| topic::check(pattern.trim()).map(|()| pattern.trim().to_owned())).collect()
}

fn percent(flag: &str, value: f64) -> Result<(), String> {
    if (0.0..=100.0).contains(&value) { Ok(()) } else { Err(format!("{flag} {value}: write 0 to 100")) }
}

fn at_least_one(flag: &str, value: usize) -> Result<(), String> {
    if value > 0 { Ok(()) } else { Err(format!("{flag} 0: write 1 or more")) }
}

/// `500ms`, `30s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?}: write a number with its unit, for example 30s, 500ms or 2m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?}: {number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| format!("{text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[&str]) -> Result<Args, String> {
        let base = ["loadgen", "--url", "ws://127.0.0.1:9001/ws"];
        Args::check(Raw::try_parse_from(base.iter().chain(flags)).unwrap())
    }

    #[test]
    fn repeated_topics_are_groups_of_their_own() {
        let args = check(&["--topics", "a.*,b", "--topics", "c"]).unwrap();
        assert_eq!(args.groups, [vec!["a.*".to_owned(), "b".into()], vec!["c".into()]]);
    }

    #[test]
    fn publishing_subscribes_to_the_groups_it_writes() {
        let args =
            check(&["--topics", "a", "--topics", "*", "--publish", "5", "--admin", "http://127.0.0.1:1"]);
        assert_eq!(args.unwrap().groups, [vec!["a".to_owned(), "loadgen.*".into()], vec!["*".into()]]);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_flag_named() {
        for (flags, named) in [
            (&["--topics", "a", "--html", "x.html"][..], "--html"),
            (&[], "--topics"),
            (&["--topics", "a..b"], "a..b"),
            (&["--topics", "a", "--publish", "5"], "--admin"),
            (&["--topics", "a", "--send", "x"], "--topics"),
            (&["--topics", "a", "--send-every", "1s"], "--send TEXT"),
            (&["--send", "x", "--send-every", "0s"], "--send-every"),
            (&["--topics", "a", "--slow", "60", "--stall", "60"], "--slow"),
            (&["--topics", "a", "--connections", "0"], "--connections"),
            (&["--topics", "a", "--expect", "nonsense<1"], "nonsense"),
        ] {
            let refusal = check(flags).expect_err(named);
            assert!(refusal.contains(named), "{refusal}");
        }
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("30").is_err() && duration("s").is_err());
    }
}
