//! All that a run brought.

use crate::{
    host::Sight,
    judge::{settle::Settled, values::Compared},
    measure::tally::Tally,
    report::figures::Moment,
    server::{clock::Offset, publish::Published},
};

/// What a report is made of.
#[derive(Debug, Default)]
pub struct Results {
    pub url: String,
    /// Seconds since the Unix epoch.
    pub began_at: u64,
    pub interrupted: bool,
    pub seed: u64,
    pub requested: u64,
    /// permessage-deflate was offered.
    pub deflate: bool,
    pub tally: Tally,
    /// From the start to the last established connection.
    pub setup_seconds: f64,
    /// Length of the measured window.
    pub window_seconds: f64,
    /// The server speaks Fanwire's protocol, so that its promises were judged.
    pub judged: bool,
    pub settled: Settled,
    pub compared: Compared,
    /// Why the final values were not compared with the gateway's.
    pub unanswered: Option<String>,
    /// Tables were not compared: they had more keys than are held.
    pub tables_overrun: bool,
    pub published: Option<Published>,
    /// Both ends of the window.
    pub begin: Sight,
    pub end: Sight,
    pub server_rss_bytes_max: Option<u64>,
    pub clock: Option<Offset>,
    pub moments: Vec<Moment>,
    pub threads: usize,
    /// Of our own memory what no file backs, as the window began.
    pub anonymous_bytes: Option<u64>,
}
