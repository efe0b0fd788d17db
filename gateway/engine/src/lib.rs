//! Everything of Fanwire that decides: what an update becomes, who gets which frame, and when.
//!
//! Bytes and events come in, bytes and commands go out, time is an argument; only the [`sequencer`] still
//! reads a [`clock`] itself. What waits is the crate
//! `gateway`, what touches sockets the crate `net`. The [`sequencer`] numbers updates in one place; one
//! bounded [`inbox`] per shard leads from it to the [`shard`]s, which own the clients.
#![forbid(unsafe_code)]

pub mod address;
pub mod changes;
pub mod client;
pub mod clock;
pub mod decimal;
pub mod depth;
pub mod dictionaries;
pub mod fanout;
pub mod host;
pub mod inbox;
pub mod json;
pub mod planted;
pub mod pointer;
pub mod policy;
pub mod protocol;
pub mod query;
pub mod sequencer;
pub mod settings;
pub mod shard;
pub mod shared;
pub mod stats;
pub mod status;
pub mod table;
pub mod topic;
pub mod unit;
pub mod update;
pub mod whole;
pub mod wire;
