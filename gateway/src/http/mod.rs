//! The admin listener (PROTOCOL.md, "The admin listener"): its connections, their requests, and what each is answered.

pub mod admin;
mod answers;
mod body;
mod config;
pub mod counters;
mod drain;
pub mod gate;
mod keys;
pub mod listener;
mod object;
mod paced;
pub mod page;
mod places;
mod probes;
mod publish;
mod reload;
mod reply;
mod revoke;
mod routes;
mod sources;
mod status;
mod token;
mod topics;
