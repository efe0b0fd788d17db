//! A shard takes over other settings between two turns, and drops nobody for it.

use std::time::Duration;

use super::{
    Shard,
    client::{Client, Standing},
    writer::WriteRules,
};
use crate::{
    client::{ClientLimits, State},
    clock::Now,
    settings::{Limits, Reloaded},
};

/// Clients are looked at again within so long, each at a moment of its own, which another reload does not put off.
const SPREAD_US: u64 = 1_000_000;

impl Shard {
    pub(super) fn reload(&mut self, settings: &Reloaded, now: Now) {
        let Reloaded { fanout, limits, compression, overload, hosts, origins, refusing, rules, .. } =
            settings;
        let fragment_bytes = self.limits.fragment_bytes;
        self.limits = ClientLimits { fragment_bytes, ..ClientLimits::new(limits, compression) };
        (self.subscriptions_max, self.patterns_max) = (limits.subscriptions, limits.patterns);
        self.pinned_bytes = limits.pinned_bytes;
        self.fanout_config = fanout.clone();
        self.compression = compression.clone();
        (self.hosts, self.origins, self.refusing) = (hosts.clone(), origins.clone(), *refusing);
        self.proxies = settings.proxies.clone();
        (self.topics, self.raw_paths) = (settings.topics.clone(), settings.raw_paths.clone());
        self.fanout.reload(settings, now);
        self.guard.writes = WriteRules::new(limits);
        self.builds.set_rate(limits.build_bytes_per_ip);
        self.weights.set_rate(limits.topics_looked_at_per_s);
        self.statuses.set_bytes_max(limits.status_bytes);
        self.relief.set(self.application, overload);
        self.apply_relief();
        self.reload_counts(limits);
        self.guard.connections_per_sub = limits.connections_per_sub;
        self.reload_rules(rules);
        self.reload_ages(limits.connection_age, now);
        self.look_at_all_clients(now);
    }

    /// What there was no limit for before is counted from now on.
    fn reload_counts(&mut self, limits: &Limits) {
        let uncounted = |client: &&mut Client| client.standing == Standing::Uncounted;
        for client in self.clients.iter_mut().flatten().filter(uncounted) {
            client.standing = Standing::admitted(self.shared.count(client.address));
        }
        if self.shares.set_limits(limits) {
            self.count_shares();
        }
    }

    /// With another age every connection begins anew.
    fn reload_ages(&mut self, age: Duration, now: Now) {
        if self.ages.set(age) {
            for (slot, client) in self.clients.iter().enumerate() {
                if client.as_ref().is_some_and(|client| client.connection.state() == State::Open) {
                    self.ages.open(slot as u32, now);
                }
            }
        }
    }

    fn count_shares(&mut self) {
        for client in self.clients.iter().flatten() {
            for sub in &client.subs {
                self.shares.take(client.address, self.share_of(sub.class));
            }
        }
    }

    /// A deadline may be nearer than it was when it was entered.
    fn look_at_all_clients(&mut self, now: Now) {
        if self.drain.is_some() {
            // Each has its moment to leave.
            return;
        }
        let clients = self.clients.len().max(1) as u64;
        for slot in 0..self.clients.len() {
            if self.clients[slot].is_some() {
                let phase_us = slot as u64 * SPREAD_US / clients;
                let ahead_us = (SPREAD_US + phase_us - now.mono_us % SPREAD_US) % SPREAD_US;
                self.wheel.set(slot as u32, now.mono_us + ahead_us);
            }
        }
    }
}
