//! The command line, checked once.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::{
    judge::topic,
    report::expect::Expect,
    server::{
        admin::Admin,
        tls::Tls,
        url::{Resolution, Url},
    },
};

pub use flags::{ClockOffset, Flags, Wanted};
pub use interests::{InterestKind, Popularity};
use interests::{names, patterns};
use opening::Opening;
use raws::Raws;
pub use scenario::parse_with_scenario;
use template::Templates;

mod duration;
mod flags;
mod interests;
pub mod opening;
pub mod raws;
pub mod scenario;
pub mod template;
mod tokens;

/// What the run is to do.
#[derive(Debug)]
pub struct Args {
    pub url: Url,
    pub opening: Opening,
    pub connections: u32,
    /// Lists of patterns, taken round robin; a single one to choose from where everyone has topics
    /// of their own; empty in raw mode.
    pub groups: Vec<Vec<String>>,
    pub interests: InterestKind,
    pub seed: u64,
    pub duration: Duration,
    /// From the last connection to the window.
    pub warm_up: Duration,
    pub ramp: Duration,
    /// Times that a first connect is tried again.
    pub retry: u32,
    pub reconnect: bool,
    pub interval_ms: Option<u32>,
    /// Offer permessage-deflate.
    pub deflate: bool,
    /// Speak MessagePack.
    pub msgpack: bool,
    /// Server-sent events in place of WebSockets.
    pub sse: bool,
    /// Of a `wss` URL.
    pub tls: Option<Tls>,
    pub admin: Option<Admin>,
    /// Percent of the connections.
    pub slow: f64,
    pub slow_bytes_per_s: u64,
    pub stall: f64,
    /// `None`: until the end.
    pub stall_for: Option<Duration>,
    /// Time of the window over which slow and stalled readers begin to be so; `None`: all as it begins.
    pub stagger: Option<Duration>,
    pub churn_per_s: f64,
    pub since_per_s: f64,
    pub publish_per_s: f64,
    pub publishers: u32,
    pub pings_per_s: f64,
    /// Connections beside `connections`.
    pub hostile: u32,
    pub hostile_kinds: Vec<Hostile>,
    pub stream: Vec<String>,
    pub report: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub hgrm: Option<PathBuf>,
    pub expect: Vec<Expect>,
    /// Present: the server does not speak Fanwire's protocol.
    pub raw: Option<Raws>,
    /// What is to move the bytes.
    pub io: Wanted,
    pub threads: Option<usize>,
    pub source_ips: Vec<IpAddr>,
    pub server_pid: Option<u32>,
    pub clock_offset: ClockOffset,
}

/// How a hostile connection misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hostile {
    /// Connects and says nothing.
    HalfOpen,
    /// Sends its request a byte at a time.
    SlowHandshake,
    /// Sends random bytes, before or after the handshake.
    Garbage,
    /// Announces a message far beyond any limit.
    Oversized,
}

impl Hostile {
    pub const ALL: [Self; 4] = [Self::HalfOpen, Self::SlowHandshake, Self::Garbage, Self::Oversized];

    /// As on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open",
            Self::SlowHandshake => "slow-handshake",
            Self::Garbage => "garbage",
            Self::Oversized => "oversized",
        }
    }
}

impl Args {
    /// Checks what a command line and its scenario say.
    pub fn check(raw: Flags) -> Result<Self, String> {
        let url =
            raw.url.as_deref().ok_or("--url is missing: write for example --url ws://127.0.0.1:9001/ws")?;
        ranges(&raw)?;
        let resolutions =
            raw.resolve.iter().map(|text| Resolution::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let url = Url::resolved(url, "ws", &resolutions)?;
        let admin = Admin::of(raw.admin.as_deref(), raw.admin_key.as_deref(), &resolutions)?;
        let names = |known: &Resolution| {
            known.names(&url) || admin.as_ref().is_some_and(|admin| known.names(&admin.url))
        };
        if let Some((text, _)) = raw.resolve.iter().zip(&resolutions).find(|(_, known)| !names(known)) {
            return Err(format!("--resolve {text}: neither --url nor --admin names that host and port"));
        }
        let mut templates = Templates::default();
        let opening = Opening::of(&raw, &url, raws::are_given(&raw), &mut templates)?;
        let raws = raws::of(&raw, &opening, &mut templates)?;
        let interests = InterestKind::parse(&raw.interests)?;
        Ok(Self {
            tls: tls(&raw, &url)?,
            url,
            opening,
            connections: raw.connections,
            groups: groups(&raw, raws.is_some(), interests)?,
            interests,
            seed: raw.seed.unwrap_or_else(|| fastrand::u64(..)),
            duration: raw.duration,
            warm_up: raw.warm_up,
            ramp: ramp(&raw)?,
            retry: raw.retry,
            reconnect: raw.reconnect,
            interval_ms: raw.interval_ms,
            deflate: raw.deflate,
            msgpack: raw.msgpack,
            sse: raw.sse,
            admin,
            slow: raw.slow,
            slow_bytes_per_s: raw.slow_bytes_per_s,
            stall: raw.stall,
            stall_for: raw.stall_for,
            stagger: raw.stagger,
            churn_per_s: raw.churn,
            since_per_s: raw.since_reconnects,
            publish_per_s: raw.publish,
            publishers: raw.publishers,
            pings_per_s: raw.pings,
            hostile: (f64::from(raw.connections) * raw.hostile / 100.0).ceil() as u32,
            hostile_kinds: list(&raw.hostile_kinds, hostile_kind)?,
            stream: raw.stream.iter().map(|list| patterns(list)).collect::<Result<Vec<_>, _>>()?.concat(),
            report: raw.report,
            html: raw.html,
            hgrm: raw.hgrm,
            expect: raw.expect.iter().map(|text| Expect::parse(text)).collect::<Result<_, _>>()?,
            raw: raws,
            io: raw.io,
            threads: raw.threads,
            source_ips: raw
                .source_ip
                .iter()
                .map(|ips| list(ips, source_ip))
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
            server_pid: raw.server_pid,
            clock_offset: raw.clock_offset,
        })
    }
}

/// Figures that are out of their range, or contradict each other.
fn ranges(raw: &Flags) -> Result<(), String> {
    at_least_one("--connections", raw.connections as usize)?;
    at_least_one("--threads", raw.threads.unwrap_or(1))?;
    at_least_one("--publishers", raw.publishers as usize)?;
    at_most("--threads", raw.threads.unwrap_or(1))?;
    at_most("--publishers", raw.publishers as usize)?;
    at_least_one("--slow-bytes-per-s", raw.slow_bytes_per_s as usize)?;
    for (flag, value) in [("--slow", raw.slow), ("--stall", raw.stall), ("--hostile", raw.hostile)] {
        percent(flag, value)?;
    }
    if raw.slow + raw.stall > 100.0 {
        let (slow, stall) = (raw.slow, raw.stall);
        return Err(format!("--slow {slow} and --stall {stall} are more than all connections"));
    }
    if raw.duration.is_zero() || raw.duration > DURATION_MAX {
        return Err(format!("--duration {:?}: write more than 0 and at most 1000h", raw.duration));
    }
    if raw.warm_up > DURATION_MAX {
        return Err(format!("--warm-up {:?}: write at most 1000h", raw.warm_up));
    }
    let websocket_only = [
        ("--msgpack", raw.msgpack),
        ("--deflate", raw.deflate),
        ("--pings", raw.pings > 0.0),
        ("--subprotocol", !raw.subprotocol.is_empty()),
    ];
    if let Some((flag, _)) = websocket_only.iter().find(|(_, given)| raw.sse && *given) {
        return Err(format!("{flag} is of WebSockets; leave it out, or --sse"));
    }
    if raw.stall == 0.0 && raw.stall_for.is_some() {
        return Err("--stall-for needs the --stall PERCENT that it ends".into());
    }
    for (flag, rate) in [
        ("--churn", raw.churn),
        ("--since-reconnects", raw.since_reconnects),
        ("--publish", raw.publish),
        ("--pings", raw.pings),
    ] {
        if !(0.0..=1_000_000.0).contains(&rate) {
            return Err(format!("{flag} {rate}: write a rate a second from 0 to 1000000"));
        }
    }
    Ok(())
}

/// How a `wss` URL is spoken to.
fn tls(raw: &Flags, url: &Url) -> Result<Option<Tls>, String> {
    if url.is_tls {
        if raw.hostile > 0.0 {
            return Err("--hostile goes with ws:// only".into());
        }
        let identity = raw.cert.as_deref().zip(raw.key.as_deref());
        return Tls::new(url, raw.ca.as_deref(), raw.insecure, raw.tls_resume, identity).map(Some);
    }
    let given = [
        ("--ca", raw.ca.is_some()),
        ("--insecure", raw.insecure),
        ("--tls-resume", raw.tls_resume),
        ("--cert", raw.cert.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(format!("{flag} goes with a wss:// URL")),
        None => Ok(None),
    }
}

/// The lists of patterns that connections subscribe to.
fn groups(raw: &Flags, other_protocol: bool, interests: InterestKind) -> Result<Vec<Vec<String>>, String> {
    let read = if other_protocol { names } else { patterns };
    let lists = raw.topics.iter().map(|list| read(list)).collect::<Result<Vec<_>, _>>()?;
    if other_protocol && lists.is_empty() {
        return Ok(Vec::new());
    }
    if lists.is_empty() {
        return Err("--topics is missing: write for example --topics 'tick.*'".into());
    }
    if !other_protocol {
        interests.chooses(&lists)?;
    }
    let mut groups = interests.groups(lists)?;
    if groups.len() > usize::from(u16::MAX) {
        return Err(format!("{} lists of topics are more than 65535", groups.len()));
    }
    if raw.publish > 0.0 {
        if raw.admin.is_none() {
            return Err("--publish needs --admin http://HOST:PORT to publish through".into());
        }
        if matches!(interests, InterestKind::Own { .. }) {
            return Err("--publish goes with --interests one or classes:K, whose lists get loadgen.*".into());
        }
        for group in &mut groups {
            if !topic::matches_any(group, "loadgen.g0.0") {
                group.push("loadgen.*".into());
            }
        }
    }
    Ok(groups)
}

fn ramp(raw: &Flags) -> Result<Duration, String> {
    match (raw.ramp, raw.rate) {
        (Some(ramp), _) => Ok(ramp),
        (None, None) => Ok(Duration::ZERO),
        (None, Some(rate)) => Some(rate)
            .filter(|rate| rate.is_finite() && *rate > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(f64::from(raw.connections) / rate).ok())
            .ok_or_else(|| format!("--rate {rate}: write connects a second, more than 0")),
    }
}

const DURATION_MAX: Duration = Duration::from_secs(1000 * 3600);
/// The entries of a comma-separated list.
fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(|entry| parse(entry.trim())).collect()
}

fn source_ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("--source-ip {text}: not an IP address"))
}

fn hostile_kind(text: &str) -> Result<Hostile, String> {
    let names = Hostile::ALL.map(Hostile::name).join(", ");
    let known = Hostile::ALL.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| format!("--hostile-kinds {text}: write some of {names}"))
}

fn percent(flag: &str, value: f64) -> Result<(), String> {
    if (0.0..=100.0).contains(&value) { Ok(()) } else { Err(format!("{flag} {value}: write 0 to 100")) }
}

/// Each is a thread with a ring or a connection of its own: far more than there are CPUs only hinder
/// each other, and thousands bring the machine to a halt.
const THREADS_MAX: usize = 256;

fn at_most(flag: &str, value: usize) -> Result<(), String> {
    if value <= THREADS_MAX { Ok(()) } else { Err(format!("{flag} {value}: write at most {THREADS_MAX}")) }
}

fn at_least_one(flag: &str, value: usize) -> Result<(), String> {
    if value > 0 { Ok(()) } else { Err(format!("{flag} 0: write 1 or more")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[&str]) -> Result<Args, String> {
        let base = ["loadgen", "--url", "ws://127.0.0.1:9001/ws"];
        let words: Vec<String> = base.iter().chain(flags).map(|word| (*word).to_owned()).collect();
        Args::check(parse_with_scenario::<Flags>(&words).unwrap())
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
            (&[][..], "--topics"),
            (&["--topics", "a", "--hostile-kinds", "rude"], "half-open"),
            (&["--topics", "a", "--stall-for", "1s"], "--stall PERCENT"),
            (&["--topics", "a", "--source-ip", "127.0.0"], "--source-ip"),
            (&["--topics", "a", "--threads", "257"], "at most 256"),
            (&["--topics", "a", "--rate", "1e-300"], "--rate"),
            (&["--topics", "a", "--rate", "inf"], "--rate"),
            (&["--topics", "a", "--duration", "0s"], "--duration"),
            (&["--topics", "a", "--publishers", "257"], "at most 256"),
            (
                &[
                    "--topics",
                    "a{0..9}",
                    "--interests",
                    "random:3",
                    "--publish",
                    "1",
                    "--admin",
                    "http://127.0.0.1:1",
                ],
                "--publish",
            ),
            (&["--topics", "a..b"], "a..b"),
            (&["--topics", "a", "--publish", "5"], "--admin"),
            (&["--topics", "a", "--slow", "60", "--stall", "60"], "--slow"),
            (&["--topics", "a", "--connections", "0"], "--connections"),
            (&["--topics", "a", "--expect", "nonsense<1"], "nonsense"),
            (&["--topics", "a", "--insecure"], "wss://"),
            (&["--topics", "a", "--cert", "a", "--key", "b"], "wss://"),
            (&["--topics", "a", "--resolve", "127.0.0.1:9002:127.0.0.2"], "neither --url"),
            (&["--topics", "a", "--resolve", "127.0.0.1:9001"], "HOST:PORT:ADDRESS"),
        ] {
            let refusal = check(flags).expect_err(named);
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
