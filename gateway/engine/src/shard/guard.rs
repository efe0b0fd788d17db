//! What a shard goes by where it lets clients in, and who waits for that.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use net::ConnId;

use super::{
    inbox::Revocation,
    writer::{WriteRules, Writer},
};
use crate::{
    access::{grants::SharedGrants, rules::Rules},
    settings::Settings,
};

/// How often it is looked whether there is a place for another check.
pub const AGAIN_US: u64 = 2_000;

pub(super) struct Guard {
    /// What `[access]` says of tokens.
    pub rules: Arc<Rules>,
    /// How often they were replaced.
    pub reloads: u64,
    /// `[limits] connections_per_sub`.
    pub connections_per_sub: usize,
    /// What is held against what clients write.
    pub writes: WriteRules,
    /// By slot: of connections that have written something.
    pub writers: HashMap<u32, Writer>,
    /// Of the tokens of clients.
    pub grants: SharedGrants,
    /// Connections whose token waits for a place among those being verified elsewhere.
    pub unchecked: VecDeque<ConnId>,
    /// When to try again. µs, monotonic.
    pub again_us: u64,
    /// By slot, of a reload of the rules: a connection is still to be judged by them.
    pub unjudged: Vec<bool>,
    /// Whose connections are to end.
    pub revoking: Vec<Revocation>,
}

impl Guard {
    pub fn new(settings: &Settings<'_>) -> Self {
        Self {
            rules: settings.rules.clone(),
            reloads: 0,
            connections_per_sub: settings.limits.connections_per_sub,
            writers: HashMap::new(),
            writes: WriteRules::new(settings.limits),
            grants: SharedGrants::default(),
            unchecked: VecDeque::new(),
            again_us: 0,
            unjudged: Vec::new(),
            revoking: Vec::new(),
        }
    }

    pub fn next_us(&self) -> Option<u64> {
        (!self.unchecked.is_empty()).then_some(self.again_us)
    }
}
