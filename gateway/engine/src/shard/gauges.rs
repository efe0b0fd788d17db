//! What a shard counts, copied for whoever scrapes.

use super::{Shard, stats::Stats};
use crate::protocol::encoding::KINDS;

impl Shard {
    /// A copy of the counters, gauges as of now.
    pub fn stats(&self) -> Stats {
        Stats {
            sockets: self.taken as u64 + self.stats.proxy.waiting,
            slots_free: (self.slots - self.taken) as u64 - self.stats.proxy.waiting,
            sockets_refused: self.refusing() as u64,
            connections: self.clients_open as u64,
            clients_by: self.clients_by(),
            classes: self.fanout.classes.len() as u64,
            patterns: self.fanout.patterns_len() as u64,
            patterns_kept: self.fanout.patterns_kept().len() as u64,
            patterns_found: self.fanout.patterns_kept().found,
            patterns_evicted: self.fanout.patterns_kept().evicted,
            topics_looked_at: self.fanout.topics_looked_at(),
            subscriptions: self.clients.iter().flatten().map(|client| client.subs.len() as u64).sum(),
            held_bytes: self.clients.iter().flatten().map(|client| client.connection.held_bytes()).sum(),
            addresses: self.shares.len() as u64,
            grants: self.guard.grants.count() as u64,
            checks_waiting: self.guard.unchecked.len() as u64,
            keys: self.fanout.keys_len() as u64,
            history_bytes: self.fanout.history_bytes() as u64,
            fanout: self.fanout.counters.clone(),
            compress: self.fanout.compress.counters.clone(),
            pinned_bytes: self.fanout.pinned.bytes() as u64,
            build_clients: self.builds.lines.iter().map(|line| line.clients as u64).sum(),
            build_classes: self.builds.lines.iter().map(|line| line.classes as u64).sum(),
            built_bytes: self.fanout.budget.built(),
            inbox_depth: self.inbox.depth() as u64,
            inbox_messages: self.inbox.messages() as u64,
            inbox_bytes: self.inbox.bytes() as u64,
            version: self.fanout.position(),
            overload_rung: self.relief.overload.rung().into(),
            ..self.stats.clone()
        }
    }

    fn clients_by(&self) -> [u64; KINDS.len()] {
        let mut by = [0; KINDS.len()];
        let open = self.clients.iter().flatten().filter(|client| client.connection.is_open());
        open.for_each(|client| by[client.connection.wire().encoding.kind()] += 1);
        by
    }
}
