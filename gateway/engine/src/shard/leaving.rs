//! Draining: every client gets its notice, its last updates and its close at its own moment. So does one that has
//! reached its age.

use net::Sockets;

use super::{Shard, ages::Ages, builds::Work, client::Sub, drain::Drain};
use crate::{
    client::{CloseReason, DRAIN_CHECK_US, State},
    clock::Now,
    fanout::line::Lane,
};

/// Clients told in one slice.
const SLICE: usize = 256;

impl Shard {
    pub(super) fn start_drain(&mut self, drain_us: u64, now: Now) {
        let slots = self.clients.len();
        self.drain.get_or_insert(Drain { start_us: now.mono_us, drain_us, told: 0, slots, hurried: false });
    }

    /// Tells some more clients; shortly before the deadline hurries those that are going, and there resets all that are
    /// left.
    pub(super) fn run_drain(&mut self, net: &mut impl Sockets, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let (first, hurries) = (drain.told, !drain.hurried && now.mono_us >= drain.hurry_us());
        let end = drain.slots.min(first + SLICE);
        (drain.told, drain.hurried) = (end, drain.hurried || hurries);
        let drain = *drain;
        for slot in first as u32..end as u32 {
            self.tell(slot, drain, net, now);
        }
        if hurries {
            self.clients.iter_mut().flatten().for_each(|client| client.connection.pass());
        }
        if now.mono_us >= drain.deadline_us() && self.taken > 0 {
            self.reset_all(net);
        }
    }

    fn tell(&mut self, slot: u32, drain: Drain, net: &mut impl Sockets, now: Now) {
        let Some(client) = &mut self.clients[slot as usize] else { return };
        match client.connection.state() {
            State::Open => {
                self.tell_draining(slot, drain.reconnect_after_ms(slot));
                // Its token may end before.
                let due_us = drain.leave_us(slot).min(self.access_due_us(slot, now));
                self.wheel.set(slot, due_us);
                self.advance(slot, net, now);
            }
            State::Connecting => self.set_timer(slot, now),
            State::Closing | State::Closed => {}
        }
    }

    /// A client has reached its age: it leaves, behind what it is being sent. Gives when to look again.
    pub(super) fn age(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Option<u64> {
        self.tell_draining(slot, Ages::reconnect_after_ms(slot));
        self.at(slot).is_leaving = true;
        self.check_leave(slot, net, now)
    }

    /// Whether a client's moment to leave has come.
    pub(super) fn is_due_to_leave(&mut self, slot: u32, now: Now) -> bool {
        let drain = self.drain.as_ref();
        let is_due = drain.is_some_and(|drain| drain.leave_us(slot) <= now.mono_us);
        let client = self.at(slot);
        (is_due || client.is_leaving) && client.connection.is_open()
    }

    /// After what a client waited for has come: it leaves if its moment has.
    pub(super) fn advance_or_leave(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        if !self.is_due_to_leave(slot, now) {
            self.advance(slot, net, now);
        } else if let Some(next_us) = self.check_leave(slot, net, now) {
            self.wheel.set(slot, next_us);
        }
    }

    /// The last flush and 1001, behind what is being sent. Who is in the midst of a message gets only 1001, after the
    /// fragment that is on its way. Gives when to look again.
    pub(super) fn check_leave(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Option<u64> {
        let reason = if self.drain.is_some() { CloseReason::Draining } else { CloseReason::Age };
        let client = self.at(slot);
        if !client.is_leaving && client.connection.is_midway() {
            self.close(slot, reason, now);
            self.advance(slot, net, now);
            return None;
        }
        client.is_leaving = true;
        self.take_whole_inbox(now);
        for sub in 0..self.at(slot).subs.len() {
            let (class, pos) = (self.at(slot).subs[sub].class, self.at(slot).subs[sub].pos);
            let sub_slot = self.at(slot).subs[sub].slot;
            if self.close_if_lapsed(slot, sub_slot, now) {
                break;
            }
            if !self.fanout.owes(class, pos) {
                continue;
            }
            if !self.flush_last(slot, sub, now) {
                // What is queued already may go before.
                self.advance(slot, net, now);
                return Some(now.mono_us + DRAIN_CHECK_US);
            }
        }
        let ended = self.at(slot).connection.close_last(reason, now);
        self.ended(slot, ended, now);
        self.advance(slot, net, now);
        None
    }

    /// `false`: it waits for its turn to be built.
    fn flush_last(&mut self, slot: u32, sub: usize, now: Now) -> bool {
        let Sub { waits, building, .. } = self.at(slot).subs[sub];
        if waits || building {
            return false;
        }
        let (payer, before, position) =
            (self.payer_of(slot), self.fanout.budget.spent(), self.fanout.position());
        let made = match self.may_build(payer, now) {
            true => self.catch_up(slot, sub, position, now),
            false => Err(Lane::Short),
        };
        self.charge(payer, before, now);
        match made {
            Ok(Work::Made(frame)) => {
                let bytes = self.count_out(frame);
                self.at(slot).connection.queue(bytes);
                return true;
            }
            Ok(Work::Long(long)) => self.begin_owed(slot, sub, long),
            Err(lane) => {
                self.at(slot).subs[sub].waits = true;
                self.wait(slot, lane, now);
            }
        }
        false
    }

    /// The next moment at which a drain needs the shard.
    pub(super) fn drain_next_us(&self) -> Option<u64> {
        self.drain.as_ref().filter(|drain| !drain.hurried || self.taken > 0).map(Drain::next_us)
    }
}
