//! Draining: every client gets its notice, its last updates and its close at its own moment.

use net::Sockets;

use super::{Shard, builds::Work, client::Sub, drain::Drain};
use crate::{
    client::{CloseReason, DRAIN_CHECK_US, State},
    clock::Now,
    fanout::line::Lane,
    protocol::reply,
};

/// Clients told in one slice.
const SLICE: usize = 256;

impl Shard {
    pub(super) fn start_drain(&mut self, drain_us: u64, now: Now) {
        let slots = self.clients.len();
        self.drain.get_or_insert(Drain { start_us: now.mono_us, drain_us, told: 0, slots });
    }

    /// Tells some more clients; at the deadline resets all that are left.
    pub(super) fn run_drain(&mut self, net: &mut impl Sockets, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let (deadline_us, first) = (drain.deadline_us(), drain.told);
        let end = drain.slots.min(first + SLICE);
        drain.told = end;
        let drain = *drain;
        for slot in first as u32..end as u32 {
            self.tell(slot, drain, net, now);
        }
        if now.mono_us >= deadline_us {
            self.reset_all(net);
        }
    }

    fn tell(&mut self, slot: u32, drain: Drain, net: &mut impl Sockets, now: Now) {
        let Some(client) = &mut self.clients[slot as usize] else { return };
        match client.connection.state() {
            State::Open => {
                self.reply(slot, &reply::draining(drain.reconnect_after_ms(slot)));
                self.wheel.set(slot, drain.leave_us(slot));
                self.advance(slot, net, now);
            }
            State::Connecting => self.set_timer(slot, now),
            State::Closing | State::Closed => {}
        }
    }

    /// When an open client is to leave; `None`: nobody is.
    pub(super) fn leave_due_us(&self, slot: u32) -> Option<u64> {
        self.drain.as_ref().map(|drain| drain.leave_us(slot))
    }

    /// The last flush and 1001, when the client's moment has come and it is not busy.
    pub(super) fn check_leave(
        &mut self,
        slot: u32,
        at_us: u64,
        net: &mut impl Sockets,
        now: Now,
    ) -> Option<u64> {
        if now.mono_us < at_us {
            return Some(at_us);
        }
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
        self.close(slot, CloseReason::Draining, now);
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

    /// The latest moment at which a drain needs the shard.
    pub(super) fn drain_next_us(&self) -> Option<u64> {
        self.drain.as_ref().map(Drain::deadline_us)
    }
}
