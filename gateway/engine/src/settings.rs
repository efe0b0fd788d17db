//! Settings of what decides: sections of the configuration, checked.

use std::time::Duration;

use crate::http::host::Host;

/// What a shard is told when it starts.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    pub fanout: &'a Fanout,
    pub limits: &'a Limits,
    pub compression: &'a Compression,
    /// How many there are.
    pub shards: usize,
    /// Whether only this machine reaches each listener: `data`, and `tls` where it is.
    pub loopbacks: [bool; 2],
    /// The admin listener speaks TLS.
    pub admin_tls: bool,
    /// `[access] hosts`.
    pub hosts: &'a [Host],
    /// Counts and positions come from another gateway.
    pub is_chained: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fanout {
    pub interval: Duration,
    pub interval_min: Duration,
    /// Rising; empty: any interval.
    pub interval_menu: Vec<Duration>,
    pub frame_bytes_max: usize,
    /// Of frames, that a turn of a shard builds.
    pub build_bytes: usize,
    pub heartbeat: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Of the process, over all shards. `None`: 100,000 or what the shards' tables hold.
    pub connections: Option<usize>,
    /// 0: no limit.
    pub connections_per_ip: usize,
    pub message_bytes: usize,
    pub messages_per_s: u32,
    pub control_per_s: u32,
    pub subscriptions: usize,
    pub patterns: usize,
    pub topics: usize,
    pub publish_bytes: usize,
    pub stall: Duration,
    pub pinned_bytes: usize,
    pub handshake: Duration,
    pub idle: Duration,
    pub ping: Duration,
    pub pong: Duration,
    /// Tombstones of removed topics kept by the gateway (`tombstones`, default 10000).
    pub tombstones: usize,
    /// Updates that may wait in a shard's inbox (`inbox_updates`, default 65536).
    pub inbox_updates: usize,
    /// Bytes of updates that may wait in a shard's inbox (`inbox_bytes`, default 64 MiB).
    pub inbox_bytes: usize,
    /// Largest `data` of an update (`value_bytes`, default 1 MiB).
    pub value_bytes: usize,
    /// Bytes of all topics with their last values and tables (`topics_bytes`, default 512 MiB, or more where
    /// `topics` or `value_bytes` need it).
    pub topics_bytes: usize,
    /// Bytes of a shard's older updates and deleted keys (`history_bytes`, default 1 GiB).
    pub history_bytes: usize,
    /// Messages that may wait in a shard's inbox (`inbox_messages`, default 4096); batches are the most of them.
    pub inbox_messages: usize,
    /// Classes of a shard (`classes`, default 100000).
    pub classes: usize,
    /// Different patterns of a shard (`shard_patterns`, default 1000000).
    pub shard_patterns: usize,
    /// Patterns of a shard that the clients of one address hold, each as often as they do (`patterns_per_ip`).
    /// 0: no limit.
    pub patterns_per_ip: usize,
    /// Subscriptions of a shard that the clients of one address hold (`classes_per_ip`). 0: no limit.
    pub classes_per_ip: usize,
    /// Connections of the admin listener (`admin_connections`, default 256).
    pub admin_connections: usize,
    /// Publishes that are read or wait for room at once (`admin_publishes`, default 32).
    pub admin_publishes: usize,
    /// For a publisher to send its body, and a reader to take of its answer (`admin_body`, default 60 s).
    pub admin_body: Duration,
    /// Least rate of a body and of an answer on the admin listener (`admin_bytes_per_s`, default 16 KiB); 0: none.
    pub admin_bytes_per_s: usize,
    /// Bytes of long answers that readers of the admin listener hold (`admin_answer_bytes`, default 64 MiB).
    pub admin_answer_bytes: usize,
    /// Updates and keys of one atomic publish (`atomic_updates`, default 10000).
    pub atomic_updates: usize,
    /// From an answer to the next request on the admin listener (`admin_idle`, default 30 s).
    pub admin_idle: Duration,
    /// Handshake messages of TLS that a shard answers in a turn (`handshakes_per_turn`, default 8).
    pub handshakes_per_turn: usize,
    /// Sealed bytes of a shard that the kernel has not taken (`sealed_bytes`, default 64 MiB). Beyond, every
    /// client may have 1 KiB.
    pub sealed_bytes: usize,
    /// Statuses that are not live (`statuses`, default 1000).
    pub statuses: usize,
    /// Bytes of their patterns and reasons (`status_bytes`, default 16 MiB).
    pub status_bytes: usize,
    /// Bytes built for one address a second, by each shard; 0: no limit.
    pub build_bytes_per_ip: usize,
    /// Request head (`head_bytes`, fixed by the contract at 16 KiB; not a key).
    pub head_bytes: usize,
}

/// permessage-deflate on the data listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Compression {
    pub enabled: bool,
    /// 1 (fast) to 9 (small).
    pub level: u8,
    /// The largest window, as a power of two.
    pub window_bits: u8,
    /// Shorter payloads are sent as they are.
    pub bytes_min: usize,
    /// Payload of snapshots and catch-up frames, which few get, that a turn of a shard compresses; more of
    /// it goes as it is.
    pub catch_up_bytes: usize,
    /// Most bytes a client's message may become for each byte of it.
    pub inflate_ratio: usize,
    /// Bytes of the process for what clients' compressed messages may refer back to.
    pub dictionaries: usize,
    /// The same of one address. 0: no limit.
    pub dictionaries_per_ip: usize,
    /// Clients whose `User-Agent` holds one of these are sent frames as they are.
    pub user_agents_off: Vec<String>,
}
