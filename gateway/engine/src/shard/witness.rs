//! Somebody who keeps a record of who connects and who is refused.

use std::fmt::Debug;

use crate::{address::Address, client::Refused, clock::Now};

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is a client from now on.
    Connected,
    /// With which status, or none where it was reset without an answer; by which rule, where there is one.
    Refused { status: Option<u16>, by: Option<Refused> },
}

/// Called from shards: never waits.
pub trait Witness: Debug + Send + Sync {
    fn saw(&self, address: Address, seen: Seen, now: Now);
}
