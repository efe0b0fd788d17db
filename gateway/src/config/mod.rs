//! Checked configuration: what the rest of the program runs on.

pub mod access;
pub mod admin;
mod audit;
mod changes;
mod check;
mod compression;
mod deadline;
mod fanout;
mod grants;
mod limits;
mod load;
mod log;
mod memory;
mod raw;
mod reference;
mod render;
mod server;
mod sources;
mod state;
mod tls;
pub mod tokens;
mod topic;
mod writing;

use std::sync::Arc;

use engine::{
    http::raw_path::RawPath,
    settings::{Compression, Fanout, Limits, Overload, Settings},
    topic::policy::Policies,
};
use net::proxy::Rule;
use thiserror::Error;

use crate::{
    audit::AuditSettings,
    document::written::Written,
    intake::check::Checks,
    sockets::Sockets,
    source::{Source, freshness::Freshness},
    system::{Demand, Machine},
};
use access::Access;
use admin::AdminAccess;
pub use changes::{Change, changes, merged, reloadable};
pub use load::Origin;
pub use log::Log;
pub use memory::Part;
pub use reference::reference;
pub use server::{Server, Tls};
pub use state::StateSettings;

/// Clients of a process that names no limit, where the shards' tables hold as many.
const CONNECTIONS_DEFAULT: usize = 100_000;

/// A whole, checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: Server,
    pub fanout: Fanout,
    pub limits: Limits,
    pub compression: Compression,
    pub overload: Overload,
    pub access: Access,
    pub admin: AdminAccess,
    pub audit: AuditSettings,
    pub log: Log,
    pub sources: Vec<Source>,
    /// Of each source, in their order.
    pub freshness: Vec<Freshness>,
    pub topics: Policies,
    /// `[[raw]]`.
    pub raw_paths: Vec<RawPath>,
    /// What values of those are held against.
    pub checks: Arc<Checks>,
    pub state: StateSettings,
    /// Values that take something from the environment, as the file has them.
    pub written: Written,
}

/// Why a configuration was refused: each problem with its line and what to write instead.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct Refused(pub Vec<String>);

impl Config {
    /// Clients of the process, over all shards: `[limits] connections` or its default on this machine.
    pub fn connections_max(&self, machine: &Machine) -> usize {
        let io = machine.io(self.server.io);
        let default = || machine.clients_max(self.demand(), io).min(CONNECTIONS_DEFAULT);
        self.limits.connections.unwrap_or_else(default)
    }

    /// What it asks of the machine beside clients.
    pub fn demand(&self) -> Demand {
        demand(&self.server, &self.limits)
    }

    /// Those of each shard.
    pub fn sockets(&self, machine: &Machine) -> Sockets {
        Sockets::new(machine.io(self.server.io), self.connections_max(machine), machine.slots_max())
    }

    /// What the engine runs on.
    pub fn settings(&self) -> Settings<'_> {
        let mut loopbacks = [false; 2];
        for (at, address) in self.server.listeners().into_iter().flatten().enumerate() {
            loopbacks[at] = address.ip().to_canonical().is_loopback();
        }
        Settings {
            fanout: &self.fanout,
            limits: &self.limits,
            compression: &self.compression,
            overload: &self.overload,
            shards: self.server.shards,
            loopbacks,
            admin_tls: self.server.admin_tls,
            hosts: &self.access.hosts,
            origins: &self.access.origins,
            refusing: self.server.refusing,
            proxies: &self.server.proxies,
            rules: &self.access.tokens.rules,
            topics: &self.topics,
            raw_paths: &self.raw_paths,
            is_chained: self.is_chained(),
        }
    }

    /// How connections of the data listeners begin; `None`: with what clients say.
    pub fn proxy_rule(&self) -> Option<Rule> {
        self.server.proxy_protocol.then(|| Rule {
            trusted: self.server.proxies.trusted.clone(),
            patience_us: self.limits.handshake.as_micros() as u64,
        })
    }

    /// Whether counts and positions come from another gateway.
    pub fn is_chained(&self) -> bool {
        self.sources.iter().any(|source| source.upstream().is_some())
    }
}

fn demand(server: &Server, limits: &Limits) -> Demand {
    let admin_connections = server.admin.map(|_| limits.admin_connections);
    Demand { shards: server.shards, admin_connections }
}
