//! Everything of Fanwire that decides: what an update becomes, who gets which frame, and when.
//!
//! Bytes and events come in, bytes and commands go out, time is an argument: the test `layers` of the crate
//! `gateway` holds this crate to names of the standard library that do no IO. (An inbox wakes its shard by the waker of
//! `net`, which is the one system call made from here.) What waits is the crate `gateway`, what touches sockets `net`. The
//! [`sequencer`] numbers updates in one place; one bounded [`shard::inbox`] per shard leads from it to the
//! [`shard`]s, which own the clients.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod access;
pub mod address;
pub mod client;
pub mod clock;
pub mod fanout;
pub mod http;
pub mod invariant;
pub mod json;
pub mod minutely;
pub mod protocol;
pub mod sequencer;
pub mod settings;
pub mod shard;
mod striped;
pub mod topic;
pub mod unit;
pub mod update;
mod wheel;
