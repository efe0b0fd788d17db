//! Fanwire: updates come in, the newest values go out to very many WebSocket clients.
//!
//! Two planes (see the README's picture). The *control plane* ([`control`]) runs on one tokio thread:
//! it takes updates in, numbers them in one place and answers HTTP. The *data plane* ([`shard`]) runs
//! one pinned glommio executor per shard, each with its own io_uring; it owns the clients.
//! Between them lies one bounded [`inbox`] per shard.
#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod logs;
pub mod names;
pub mod pump;
pub mod run;
pub mod system;
pub mod tls;

pub use engine::{
    address, changes, client, clock, depth, dictionaries, fanout, host, inbox, planted, protocol, shard,
    shared, stats, status, table, topic, update, whole, wire,
};
use engine::{decimal, json, query};
