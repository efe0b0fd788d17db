//! Fanwire: updates come in, the newest values go out to very many WebSocket clients.
//!
//! Two planes (see the README's picture). The *control plane* ([`control`]) runs on one tokio thread:
//! it takes updates in, numbers them in one place and answers HTTP. The *data plane* ([`shard`]) runs
//! one pinned glommio executor per shard, each with its own io_uring; it owns the clients.
//! Between them lies one bounded [`inbox`] per shard.
#![forbid(unsafe_code)]

pub mod address;
pub mod changes;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
mod decimal;
pub mod depth;
pub mod dictionaries;
pub mod fanout;
pub mod host;
pub mod inbox;
mod json;
pub mod logs;
pub mod names;
pub mod planted;
pub mod protocol;
mod query;
pub mod run;
pub mod shard;
pub mod shared;
pub mod stats;
pub mod status;
pub mod system;
pub mod table;
pub mod tls;
pub mod topic;
pub mod update;
pub mod whole;
pub mod wire;
