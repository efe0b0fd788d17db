//! Settings of what decides: sections of the configuration, each key declared once.

mod key;
mod value;

use std::{sync::Arc, time::Duration};

use crate::{
    access::rules::Rules,
    http::{host::Host, origin::Origins, proxies::Proxies, raw_path::RawPath},
    keys,
    topic::policy::Policies,
    unit::Rate,
};
pub use key::{Group, Key, Keys, Kind, fmt_fields};
use proto::deflate::WINDOW_BITS;
pub use value::{Field, Value};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Messages that may wait in a shard's inbox, where nothing else is said.
pub const INBOX_MESSAGES: u64 = 4096;
/// Tokens that are verified off the shards at once, where nothing else is said.
pub const TOKEN_CHECKS: u64 = 1024;
/// Through these a program's own objects are changed.
const PROTOTYPE_KEYS: [&str; 3] = ["__proto__", "constructor", "prototype"];
/// Safari's versions whose permessage-deflate is broken (uWebSockets passes over the same).
const SAFARI_15: [&str; 4] = ["Version/15.0 ", "Version/15.1 ", "Version/15.2 ", "Version/15.3 "];

/// What a shard gets when it starts.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    pub fanout: &'a Fanout,
    pub limits: &'a Limits,
    pub compression: &'a Compression,
    pub overload: &'a Overload,
    /// How many there are.
    pub shards: usize,
    /// Whether only this machine reaches each listener: `data`, and `tls` where it is.
    pub loopbacks: [bool; 2],
    /// The admin listener speaks TLS.
    pub admin_tls: bool,
    /// `[access] hosts`.
    pub hosts: &'a [Host],
    /// `[access] origins`.
    pub origins: &'a Origins,
    /// `[server] refuse`.
    pub refusing: Refusing,
    pub proxies: &'a Proxies,
    /// What `[access]` says of tokens.
    pub rules: &'a Arc<Rules>,
    /// `[[topic]]`.
    pub topics: &'a Policies,
    /// `[[raw]]`.
    pub raw_paths: &'a [RawPath],
    /// Counts and positions come from another gateway.
    pub is_chained: bool,
}

/// How a refusal of a WebSocket is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusing {
    /// Who sends an `Origin`, as browsers do, gets 101 and a close frame; everybody else an HTTP answer.
    #[default]
    Auto,
    Http,
    Close,
}

impl Refusing {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Http, Self::Close];

    /// As a configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http => "http",
            Self::Close => "close",
        }
    }
}

/// What a shard takes over while it runs. Keys that need a restart are as they were.
#[derive(Debug, Clone)]
pub struct Reloaded {
    pub fanout: Fanout,
    pub limits: Limits,
    pub compression: Compression,
    pub overload: Overload,
    pub hosts: Vec<Host>,
    pub origins: Origins,
    pub proxies: Proxies,
    pub refusing: Refusing,
    pub rules: Arc<Rules>,
    pub topics: Policies,
    pub raw_paths: Vec<RawPath>,
}

impl From<&Settings<'_>> for Reloaded {
    fn from(settings: &Settings<'_>) -> Self {
        Self {
            fanout: settings.fanout.clone(),
            limits: settings.limits.clone(),
            compression: settings.compression.clone(),
            overload: settings.overload.clone(),
            hosts: settings.hosts.to_vec(),
            origins: settings.origins.clone(),
            proxies: settings.proxies.clone(),
            refusing: settings.refusing,
            rules: settings.rules.clone(),
            topics: settings.topics.clone(),
            raw_paths: settings.raw_paths.to_vec(),
        }
    }
}

keys! {
    /// When frames go out, and how long they get.
    pub struct Fanout in "fanout" {
        /// Milliseconds from frame to frame of a subscription that names no interval. 0: each update goes out at once.
        interval: Duration = count(100, 0..=HOUR) as "interval_ms", reloaded;
        /// The shortest interval of a subscription, in milliseconds. A shorter one is raised to it.
        interval_min: Duration = count(0, 0..=HOUR) as "interval_ms_min", reloaded;
        /// Intervals in milliseconds, rising. A subscription gets the next higher one of them, or the last, so that
        /// more clients share frames. Empty: any interval.
        interval_menu: Vec<Duration> = counts(&[]) as "interval_ms_menu", reloaded;
        /// Milliseconds between moments at which frames of subscriptions with an interval go out, so that many frames
        /// share a system call. Intervals are rounded up to whole steps of it.
        flush_grid: Duration = count(1, 1..=10) as "flush_grid_ms";
        /// A subscription gets a batch before its interval has passed, as soon as so many updates were taken in since the
        /// last one, conflated ones included. One that two of its patterns match counts once. 0: only at its interval.
        flush_updates: u64 = count(0, 0..=1_000_000_000);
        /// Bytes of a batch or a snapshot. A longer one comes in parts.
        frame_bytes_max: usize = size(256 * KIB, KIB..=64 * MIB);
        /// Bytes of snapshots, catch-up frames and batches that a shard builds in one turn. The rest waits for
        /// the next turn. MessagePack counts four times, what is compressed counts eight times.
        build_bytes: usize = size(MIB, KIB..=GIB), reloaded;
        /// A subscription that was sent nothing for so long gets an empty batch.
        heartbeat: Duration = duration(5 * SECOND, 100..=HOUR), reloaded;
        /// A pattern that nobody subscribes to any more is kept for so long, where 256 topics or more were looked at
        /// for it: whoever comes back to it costs next to nothing. 0s: not at all.
        pattern_keep: Duration = duration(5 * SECOND, 0..=HOUR), reloaded;
    }
}

keys! {
    /// What clients, publishers and topics may take.
    pub struct Limits in "limits" {
        /// Clients of the process, over all shards, at least 1. Default: 100000, or what the shards' tables hold where
        /// that is less.
        connections: Option<usize> = count_found(0..=u64::MAX), example("100000");
        /// Clients of one address (of IPv6: of one /64). One more is refused with 429. 0: no limit.
        connections_per_ip: usize = count(0, 0..=10_000_000), reloaded;
        /// WebSocket handshakes of the process, over all shards. One more is refused with 429. Written as so many in so
        /// long, of which as many may come at once: "100/s", "100/1m". A plain number is per second. 0: no limit.
        handshakes: Rate = rate(Rate::NONE), reloaded;
        /// The same of one address (of IPv6: of one /64).
        handshakes_per_ip: Rate = rate(Rate::NONE), reloaded;
        /// Addresses that the gateway remembers for `handshakes_per_ip`, about 40 B each. One more passes uncounted.
        handshake_addresses: usize = count(262_144, 64..=100_000_000), reloaded;
        /// A connection that is open for about so long, a quarter more or less, is told so and closed with 1001: its
        /// client comes back, to wherever a load balancer sends it. 0s: it may stay.
        connection_age: Duration = duration(0, 0..=30 * 24 * HOUR), reloaded;
        /// Clients whose tokens are of one subject, over all shards. One more is refused with 429. A token may say fewer.
        /// 0: no limit.
        connections_per_sub: usize = count(0, 0..=10_000_000), reloaded;
        /// Bytes of a client's message. A longer one closes the connection with 1009.
        message_bytes: usize = size(64 * KIB, 128..=64 * MIB), reloaded;
        /// Data messages a second of a client, twice as many at once. More close the connection with 4429.
        messages_per_s: u32 = count(100, 1..=1_000_000), reloaded;
        /// Topics a second that are looked at for the patterns of a client that nobody held lately, twice as many at
        /// once. Then its next such op waits. A million take about a tenth of a core. 0: no limit.
        topics_looked_at_per_s: usize = count(1_000_000, 0..=1_000_000_000), reloaded;
        /// Pings and pongs a second of a client, twice as many at once. More close the connection with 4429.
        control_per_s: u32 = count(20, 1..=1_000_000), reloaded;
        // A class carries the slot of its subscription, of which the contract has eight.
        /// Subscriptions of a connection.
        subscriptions: usize = count(8, 1..=8), reloaded;
        /// Patterns of a connection.
        patterns: usize = count(1_000, 1..=100_000), reloaded;
        /// Topics that exist at once. One more is refused.
        topics: usize = count(200_000, 1..=10_000_000);
        /// Bytes of a body of `POST /publish`, also of what gzip makes of it. A longer one is refused with 413.
        publish_bytes: usize = size(16 * MIB, KIB..=GIB), reloaded;
        /// A client that takes nothing of a pending frame for so long is reset.
        stall: Duration = duration(30 * SECOND, 100..=HOUR), reloaded;
        /// Bytes of frames, over all shards, that clients have not taken yet. What does not fit waits to be built, and
        /// meanwhile the clients that are furthest behind are reset.
        pinned_bytes: usize = size(64 * MIB, KIB..=64 * GIB), reloaded;
        /// From accept to a whole request head. On the admin listener also for each later head.
        handshake: Duration = duration(5 * SECOND, 100..=HOUR), reloaded;
        /// A connection that has no subscription for so long is closed with 4000.
        idle: Duration = duration(60 * SECOND, 100..=24 * HOUR), reloaded;
        /// A connection that has a subscription and sends no byte for so long is closed with 4000; a pong is one. 0s:
        /// it may be silent.
        idle_subscribed: Duration = duration(0, 0..=24 * HOUR), reloaded;
        /// A client that is silent for so long is pinged.
        ping: Duration = duration(30 * SECOND, 100..=HOUR), reloaded;
        /// A client that does not answer a ping for so long is closed with 4001. At most `ping`.
        pong: Duration = duration(10 * SECOND, 100..=HOUR), reloaded;
        /// Removed topics that the gateway remembers. A client that was away for longer gets a snapshot.
        tombstones: usize = count(10_000, 0..=10_000_000);
        /// Updates that wait for a shard. At an eighth of it publishers wait, at this bound live sources conflate.
        inbox_updates: usize = count(65_536, 1..=16_000_000);
        /// Bytes of updates that wait for a shard. At an eighth of it publishers wait, at this bound live sources conflate.
        inbox_bytes: usize = size(64 * MIB, KIB..=64 * GIB);
        /// Batches and other messages that wait for a shard. At an eighth of it publishers wait, at seven eighths live
        /// sources conflate.
        inbox_messages: usize = count(INBOX_MESSAGES, 64..=1_000_000);
        /// Bytes of the `data` of one update. A longer one is refused, wherever it comes from. At most `publish_bytes`
        /// and `topics_bytes`.
        value_bytes: usize = size(MIB, 16..=GIB), reloaded;
        /// Bytes of all topics. An update that adds to them beyond it is refused. A topic counts as 512 B, its name and
        /// its value, a table as 256 B more and 40 B for each of its keys. Each shard takes 300 to 600 B more for a
        /// topic, and has tables once more. Default: 512MiB, or 1 KiB for each of `topics` where that is more.
        topics_bytes: usize = size(512 * MIB, KIB..=1024 * GIB), reloaded;
        /// Keys that go by themselves (`[[topic]]` `bound` and `key_expiry`), over all topics, and for each key that is
        /// bound every connection that wrote it, about 0.4 KiB each. An update that would make more is refused.
        timed_keys: usize = count(500_000, 0..=100_000_000), reloaded;
        /// Keys of bound topics that one connection has written. More are refused.
        timed_keys_per_connection: usize = count(1_000, 1..=1_000_000), reloaded;
        /// Bytes of a shard's older updates of streams and deleted keys, which are kept for clients that are behind.
        /// Beyond it topics give theirs back in turn. Each counts as its bytes and its place. All shards share the
        /// bytes of updates.
        history_bytes: usize = size(GIB, KIB..=1024 * GIB), reloaded;
        /// Different subscriptions of a shard, at least `subscriptions`. Each has a cursor and shares its frames.
        classes: usize = count(100_000, 1..=10_000_000);
        /// Different patterns of a shard, over all its clients, at least `patterns`.
        shard_patterns: usize = count(1_000_000, 1..=100_000_000);
        /// Topics that a shard's patterns select, each as often as one does, about 40 B each. A subscription that would make
        /// more is refused; a topic that is born is listed all the same. Default: 10000000, or 8 for each of `topics` where
        /// that is more.
        pattern_topics: usize = count(10_000_000, 1..=10_000_000_000), reloaded;
        /// Bytes of a shard for patterns that nobody subscribes to any more (`[fanout] pattern_keep`), 24 for each of
        /// their topics. The one that was released first makes room.
        kept_pattern_bytes: usize = size(16 * MIB, 0..=64 * GIB), reloaded;
        /// Patterns of a shard that the clients of one address (of IPv6: of one /64) hold, each as often as they
        /// hold it. More are refused. 0: no limit.
        patterns_per_ip: usize = count(0, 0..=100_000_000), reloaded;
        /// Subscriptions of a shard that the clients of one address (of IPv6: of one /64) hold. More are refused.
        /// 0: no limit.
        classes_per_ip: usize = count(0, 0..=100_000_000), reloaded;
        /// Connections of the admin listener. The one that is idle longest makes room for a new one. Where all are busy
        /// 128 more may ask /healthz, /readyz or /metrics once, and a publisher takes the place of the address that
        /// holds the most.
        admin_connections: usize = count(256, 1..=65_536), reloaded;
        /// Bodies over 64 KiB that are held at once, each of up to `publish_bytes`. An address that holds none may have
        /// one more. Others wait unread.
        admin_publishes: usize = count(32, 1..=65_536), reloaded;
        /// For the whole body of a publish, then 408; for it to find room in the inboxes, then 503; and for a reader to
        /// take something of an answer, then a reset.
        admin_body: Duration = duration(60 * SECOND, 100..=HOUR), reloaded;
        /// An admin connection that sends no request for so long is closed.
        admin_idle: Duration = duration(30 * SECOND, 100..=HOUR), reloaded;
        /// Bytes a second, over 5 s, that a body or an answer of the admin listener moves at least. A slower body is
        /// answered with 408, a slower reader is reset. 0: no least rate.
        admin_bytes_per_s: usize = size(16 * KIB, 0..=GIB), reloaded;
        /// Bytes of answers over 64 KiB that readers of the admin listener hold, one copy for all that have the same.
        /// More are refused with 503.
        admin_answer_bytes: usize = size(64 * MIB, KIB..=64 * GIB), reloaded;
        /// Updates and changed keys of an array of `POST /publish`, which is one step for every client. A whole table
        /// (`data`, `reset`) counts with its keys and those that it replaces. A longer array is refused with 413.
        atomic_updates: usize = count(10_000, 1..=10_000_000), reloaded;
        /// TLS handshakes that a shard answers before it looks at its clients again, 0.2 ms each with ECDSA P-256. RSA
        /// takes several times as long, so write 1 or 2 with it.
        handshakes_per_turn: usize = count(8, 1..=10_000), reloaded;
        /// Encrypted bytes of a shard that the kernel has not taken. Beyond it records are 1 KiB.
        sealed_bytes: usize = size(64 * MIB, 16 * KIB..=64 * GIB), reloaded;
        /// States of topics and sources that are not live and that clients hear of. One more is only counted.
        statuses: usize = count(1_000, 1..=1_000_000);
        /// Bytes of the patterns and reasons of those. What would go beyond it is only counted; a dead source is told
        /// without its reason.
        status_bytes: usize = size(16 * MIB, KIB..=GIB), reloaded;
        /// Tokens whose signature is verified off the shards at once, as those with a public key are. Others wait, within
        /// `handshake`.
        token_checks: usize = count(TOKEN_CHECKS, 1..=65_536), reloaded;
        /// Tokens with a public key that were verified and are remembered, so that they are not verified again.
        token_cache: usize = count(10_000, 0..=10_000_000), reloaded;
        /// Tokens and subjects that are revoked at once. One more is refused with 507.
        revocations: usize = count(10_000, 0..=10_000_000), reloaded;
        /// Publishes of a client, as so many in so long: "20/s". One more is answered with 4429. 0: no limit.
        publishes: Rate = rate(Rate::NONE), reloaded;
        /// Publishes of clients that are not numbered yet, over all shards. One more is answered with 4008.
        writes: usize = count(4_096, 1..=1_000_000), reloaded;
        /// Bytes of those.
        write_bytes: usize = size(16 * MIB, KIB..=GIB), reloaded;
        /// Keys that no object that a client writes may have, since programs in JavaScript trip over them.
        keys_refused: Vec<String> = texts(&PROTOTYPE_KEYS, "write a list of texts, like [\"__proto__\"]"), reloaded;
        /// A publish that names itself by `once` is answered as before when it comes again within so long.
        once_for: Duration = duration(120 * SECOND, 0..=24 * HOUR), reloaded;
        /// Such names that the gateway remembers, about 500 B each. A publish with one more is answered with 4008.
        once_names: usize = count(100_000, 0..=10_000_000), reloaded;
        /// Bytes a second that a shard builds for the clients of one address (of IPv6: of one /64), four times as many
        /// at once. Then they wait, others do not. 0: no limit, as where all clients come through a proxy.
        build_bytes_per_ip: usize = size(0, 0..=64 * GIB), reloaded;
    }
}

keys! {
    /// What a shard leaves out while it cannot keep up: more than a fourth of its frames come later than their interval,
    /// all the time. What clients hold stays exact.
    pub struct Overload in "overload" {
        /// How far it goes. 0: nowhere. 1: it lengthens intervals, which clients that are served late lose nothing by.
        /// 2: it also sends frames uncompressed, which takes bandwidth. 3: it also refuses new clients with 503.
        rungs: u8 = count(1, 0..=3), reloaded;
        /// A shard that is behind for so long goes one step up: intervals twice, four and eight times as long, then the
        /// next rung.
        after: Duration = duration(5 * SECOND, 100..=HOUR), reloaded;
        /// A shard that keeps up for so long goes one step down. If that is too early, it waits twice as long
        /// before the next time, up to sixteen times.
        calm: Duration = duration(10 * SECOND, 100..=HOUR), reloaded;
        /// No interval is lengthened beyond so many milliseconds. Longer ones stay as they are.
        interval_max: Duration = count(1_000, 1..=HOUR) as "interval_ms_max", reloaded;
        /// A shard with something to do for so many percent of its time is behind too, though its frames are on time.
        /// 0: only late frames count.
        busy_percent: u8 = count(0, 0..=100), reloaded;
    }
}

keys! {
    /// permessage-deflate on the data listener. A frame is compressed once for all who get it.
    pub struct Compression in "compression" {
        /// The gateway takes the offers of clients. One that comes with `?compress=0` gets frames as they are.
        enabled: bool = flag(true), reloaded;
        /// From 1 (fast) to 9 (small).
        level: u8 = count(1, 1..=9), reloaded;
        /// The largest window, as a power of two of bytes. A client that asks for a smaller one gets it.
        window_bits: u8 = count(15, *WINDOW_BITS.start() as u64..=*WINDOW_BITS.end() as u64), reloaded;
        /// Shorter payloads go out as they are, and so do those that do not get smaller.
        bytes_min: usize = size(256, 1..=GIB), reloaded;
        /// Bytes of snapshots and catch-up frames, which few get, that a shard compresses in one turn. More go out as
        /// they are.
        catch_up_bytes: usize = size(256 * KIB, 1..=GIB), reloaded;
        /// Bytes that a client's message may become for each of its bytes, beside what it may refer back to. One that
        /// becomes longer, and longer than 4 KiB, closes the connection with 1009.
        inflate_ratio: usize = count(100, 1..=100_000), reloaded;
        /// Bytes of the process for the last 32 KiB of each client that its next compressed message may refer back to,
        /// unless it offered `client_no_context_takeover`. At nine tenths such clients get no compression, beyond it
        /// they are closed with 1013.
        dictionaries: usize = size(64 * MIB, 0..=64 * GIB), reloaded;
        /// The same of the clients of one address (of IPv6: of one /64). 0: no limit. Default: half of `dictionaries`.
        dictionaries_per_ip: usize = size(32 * MIB, 0..=64 * GIB), reloaded;
        /// A client whose `User-Agent` holds one of these gets frames as they are. By default these are versions of
        /// Safari that get compression wrong.
        user_agents_off: Vec<String> = texts(&SAFARI_15, "write a list of texts, like [\"a\", \"b\"]"), reloaded;
    }
}
