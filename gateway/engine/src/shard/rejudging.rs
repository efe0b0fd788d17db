//! Other rules hold for live connections after a reload: each is judged by them at a moment of its own.

use std::{collections::HashMap, sync::Arc};

use net::Sockets;

use super::{Application, Shard, access::Access};
use crate::{
    access::rules::Rules,
    client::{CloseReason, close},
    clock::Now,
};

impl Shard {
    /// The timers of all connections lead to [`Shard::rejudge`] from here.
    pub(super) fn reload_rules(&mut self, rules: &Arc<Rules>) {
        if self.guard.rules == *rules {
            return;
        }
        let before = std::mem::replace(&mut self.guard.rules, rules.clone());
        self.guard.reloads += 1;
        let mut carried = HashMap::new();
        for client in self.clients.iter_mut().flatten() {
            if let Some(Access::Holds(holder)) = client.access.as_deref_mut() {
                let roles = holder.roles;
                holder.roles = *carried.entry(roles).or_insert_with(|| before.carried(roles, rules));
            }
        }
        self.guard.unjudged = vec![true; self.clients.len()];
    }

    /// Judges a connection, once after each reload of the rules.
    pub(super) fn rejudge(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        let is_due = self.guard.unjudged.get_mut(slot as usize).is_some_and(std::mem::take);
        if !is_due || self.application != Application::Broadcast || !self.at(slot).connection.is_open() {
            return;
        }
        let needs_token = self.guard.rules.wants_token();
        if self.at(slot).waits_for_token() {
            if !needs_token
                && let Some(Access::Waits(waits)) = self.at(slot).access.take().map(|access| *access)
            {
                self.let_in(slot, waits.subscribe, now);
            }
        } else if needs_token && self.at(slot).access.is_none() {
            let text = close::TOKEN_NEEDED;
            let ended = self.at(slot).connection.close_saying(CloseReason::Unauthorized, text, now);
            self.ended(slot, ended, now);
        } else {
            self.at(slot).pend(|pending| pending.is_judged = true);
        }
        self.advance(slot, net, now);
    }
}
