//! Fanwire: updates come in, the newest values go out to very many WebSocket clients.
//!
//! Two planes (DESIGN.md draws them). The *control plane* ([`control`]) runs on one tokio thread:
//! it takes updates in, the crate `engine` numbers them in one place, and it answers HTTP. The *data plane*
//! ([`executor`]) runs one pinned thread per shard, each with its own io_uring, or epoll; it owns the clients.
//! Between them lies one bounded inbox per shard.
#![forbid(unsafe_code)]

pub mod access;
pub mod admin_key;
pub mod audit;
pub mod clock;
pub mod config;
pub mod control;
pub mod document;
pub mod executor;
pub mod fetch;
pub mod fit;
pub mod health;
pub mod http;
pub mod intake;
pub mod key_file;
pub mod livez;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod reload;
pub mod reloader;
pub mod run;
pub mod sockets;
pub mod source;
pub mod state;
pub mod supervisor;
pub mod system;
pub mod tls;
