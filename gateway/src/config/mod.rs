//! Checked configuration: what the rest of the program runs on.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// A whole, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub fanout: Fanout,
    pub limits: Limits,
    pub sources: Vec<Source>,
}

#[derive(Debug, Clone)]
pub struct Server {
    pub data: SocketAddr,
    /// `None`: no admin listener.
    pub admin: Option<SocketAddr>,
    pub shards: usize,
    /// CPUs to pin shards to, round robin. Never empty.
    pub cpus: Vec<usize>,
    pub drain: Duration,
}

#[derive(Debug, Clone)]
pub struct Fanout {
    pub interval: Duration,
    pub interval_min: Duration,
    /// Rising; empty: any interval.
    pub interval_menu: Vec<Duration>,
    pub frame_bytes_max: usize,
    pub heartbeat: Duration,
}

#[derive(Debug, Clone)]
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
    /// Classes of a shard (`classes`, default 100000).
    pub classes: usize,
    /// Request head (`head_bytes`, fixed by the contract at 16 KiB; not a key).
    pub head_bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Replay { path: PathBuf, speed: f64, repeat: bool },
    Synthetic { symbols: usize, updates_per_s: f64, seed: u64 },
    Host { interval: Duration },
}
