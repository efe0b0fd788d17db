//! Timers of connections fire, and what they want is done.

use net::{ConnId, Sockets};

use super::{Shard, access::Access};
use crate::{
    client::{CloseReason, Due, Terms, close},
    clock::Now,
    protocol::reply,
};

impl Shard {
    pub(super) fn run_deadlines(&mut self, net: &mut impl Sockets, now: Now) {
        while let Some(slot) = self.wheel.pop(now.mono_us) {
            if self.clients[slot as usize].is_some()
                && let Some(next_us) = self.run_due(slot, net, now)
            {
                self.wheel.set(slot, next_us);
            }
        }
    }

    /// Does what is due and says when to look again; `None`: the connection is going.
    fn run_due(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Option<u64> {
        self.rejudge(slot, net, now);
        self.run_access(slot, net, now);
        let again_us = self.run_connection(slot, net, now)?;
        Some(again_us.min(self.access_due_us(slot, now)))
    }

    /// When a client's token is next to be looked at. µs, monotonic.
    pub(super) fn access_due_us(&self, slot: u32, now: Now) -> u64 {
        self.clients[slot as usize]
            .as_ref()
            .map_or(u64::MAX, |client| client.access_due_us(&self.guard.rules, now))
    }

    /// Tells a client that its token expires; closes the connection of one that has expired, or that never came.
    fn run_access(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        let leeway_us = self.guard.rules.leeway_us;
        let client = self.at(slot);
        match client.access.as_deref_mut().filter(|_| client.connection.is_open()) {
            Some(Access::Waits(waits)) if now.mono_us >= waits.until_us => {
                let ended = client.connection.close_saying(CloseReason::Unauthorized, close::NO_TOKEN, now);
                self.ended(slot, ended, now);
            }
            Some(Access::Holds(holder)) if now.wall_us >= holder.ends_us(leeway_us) => {
                self.close(slot, CloseReason::TokenExpired, now);
            }
            Some(Access::Holds(holder)) if now.wall_us >= holder.due_us(leeway_us) => {
                holder.is_told = true;
                let notice = reply::token_expiring(holder.exp_us);
                self.reply(slot, &notice);
            }
            _ => return,
        }
        self.advance(slot, net, now);
    }

    fn run_connection(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Option<u64> {
        let (client, terms) = self.with_terms(slot);
        match client.connection.due(terms, now) {
            Due::Nothing { again_us } => Some(again_us),
            Due::Never => None,
            Due::HangUp(reason) => {
                self.hang_up(slot, reason, net);
                None
            }
            Due::Close(reason) => {
                self.close(slot, reason, now);
                self.advance(slot, net, now);
                None
            }
            Due::Send { bytes, again_us } => {
                net.send(client.id, bytes);
                Some(again_us)
            }
            Due::QueryUnsent { again_us } => {
                net.query_unsent(client.id);
                Some(again_us)
            }
            Due::Age => self.age(slot, net, now),
            Due::Leave => self.check_leave(slot, net, now),
        }
    }

    /// A connection has come to another state: its timer is set to what is due first in it.
    pub(super) fn set_timer(&mut self, slot: u32, now: Now) {
        let (client, terms) = self.with_terms(slot);
        let due_us = client.connection.first_due_us(terms, now);
        let due_us = due_us.min(self.access_due_us(slot, now));
        self.wheel.set(slot, due_us);
    }

    fn with_terms(&mut self, slot: u32) -> (&mut super::client::Client, Terms<'_>) {
        let client = self.clients[slot as usize].as_mut().expect("a live connection's slot is taken");
        let terms = Terms {
            limits: &self.limits,
            is_refused: client.refused.is_some(),
            is_subscribed: !client.subs.is_empty(),
            aged_us: self.ages.leave_us(slot),
            drain: self.drain.as_ref().map(|drain| drain.leaving(slot)).or(client.leaving()),
        };
        (client, terms)
    }

    /// Answer to a query of a socket's send queue.
    pub(super) fn on_unsent(&mut self, conn: ConnId, bytes: u32, net: &mut impl Sockets, now: Now) {
        let limits = &self.limits;
        let client = self.clients.get_mut(conn.slot as usize).and_then(Option::as_mut);
        let Some(client) = client.filter(|client| client.id == conn) else { return };
        match client.connection.unsent(bytes, limits, now) {
            None => {}
            Some(reason) if reason.resets() => self.hang_up(conn.slot, reason, net),
            Some(reason) => {
                self.close(conn.slot, reason, now);
                self.advance(conn.slot, net, now);
            }
        }
    }
}
