//! Draining: every client is told, flushed and sent away at its own moment.

use net::Sockets;

use super::{Shard, build::Work, client::Sub};
use crate::{
    client::{CloseReason, DRAIN_CHECK_US, Leaving, State},
    clock::Now,
    fanout::line::Lane,
    protocol,
};

/// Clients told in one slice.
const SLICE: usize = 256;
/// Reconnections are spread over this long at least, beside the drain itself.
const RECONNECT_SPREAD_MS: u64 = 2_000;

#[derive(Debug)]
pub struct Drain {
    start_us: u64,
    drain_us: u64,
    /// Clients below this slot were told.
    told: usize,
    slots: usize,
}

impl Drain {
    /// Whether some clients were not told yet.
    pub fn telling(&self) -> bool {
        self.told < self.slots
    }

    /// A client's own moment: between a quarter and nine tenths of the drain.
    fn leave_us(&self, slot: u32) -> u64 {
        let part = u64::from(spread(slot) % 65);
        self.start_us + self.drain_us / 100 * (25 + part)
    }

    /// Of a client.
    pub fn leaving(&self, slot: u32) -> Leaving {
        Leaving { start_us: self.start_us, leave_us: self.leave_us(slot) }
    }

    fn deadline_us(&self) -> u64 {
        self.start_us + self.drain_us
    }

    fn reconnect_after_ms(&self, slot: u32) -> u64 {
        let spread_ms = RECONNECT_SPREAD_MS.max(self.drain_us / 1000);
        100 + u64::from(spread(slot.wrapping_add(1))) % spread_ms
    }
}

/// Scatters slots evenly (Knuth's multiplicative hash).
fn spread(slot: u32) -> u32 {
    slot.wrapping_mul(2_654_435_761) >> 8
}

impl Shard {
    pub(super) fn start_drain(&mut self, drain_us: u64, now: Now) {
        let slots = self.clients.len();
        self.drain.get_or_insert(Drain { start_us: now.mono_us, drain_us, told: 0, slots });
    }

    /// Tells some more clients; at the deadline resets whoever is left.
    pub(super) fn run_drain(&mut self, net: &mut impl Sockets, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        let (deadline_us, first) = (drain.deadline_us(), drain.told);
        let end = drain.slots.min(first + SLICE);
        drain.told = end;
        for slot in first..end {
            self.tell(slot as u32, net, now);
        }
        if now.mono_us >= deadline_us {
            self.reset_all(net);
        }
    }

    fn tell(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        let Some(drain) = &self.drain else { return };
        let (leave_us, reconnect_after_ms) = (drain.leave_us(slot), drain.reconnect_after_ms(slot));
        let Some(client) = &mut self.clients[slot as usize] else { return };
        match client.connection.state() {
            State::Open => {
                client.connection.reply(protocol::draining(reconnect_after_ms));
                self.stats.frames_out += 1;
                self.wheel.set(slot, leave_us);
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
