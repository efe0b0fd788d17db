//! A client or class that the shard cannot serve now stands in line. The shard calls it when its turn has come.

use net::{ConnId, Sockets};

use super::{Shard, builds::Builds};
use crate::{
    address::Address,
    clock::Now,
    fanout::{
        ClassId,
        line::{Lane, Waiter},
    },
};

/// How often it is looked whether there is room again.
const ROOM_US: u64 = 10_000;
/// The log says that frames wait once in so long.
const TELL_US: u64 = 60_000_000;
/// A class with more members is nobody's own.
const PRIVATE_MEMBERS_MAX: usize = 8;

/// Why something could not be built at once; index into [`crate::shard::stats::Stats::build_waits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Why {
    Budget,
    Long,
    Room,
    Address,
}

impl Shard {
    /// Whether a short frame may be built for an address now; `None`: for many.
    pub(super) fn may_build(&self, payer: Option<Address>, now: Now) -> bool {
        let rests = payer.is_some_and(|payer| self.builds.addresses.rests(payer, now.mono_us).is_some());
        self.builds.granted || self.fanout.budget.is_left() && !rests
    }

    /// Charges what was built since `before`.
    pub(super) fn charge(&mut self, payer: Option<Address>, before: u64, now: Now) {
        if let Some(payer) = payer {
            self.builds.addresses.charge(payer, self.fanout.budget.spent() - before, now.mono_us);
        }
    }

    pub(super) fn payer_of(&mut self, slot: u32) -> Option<Address> {
        Some(self.at(slot).address)
    }

    /// The address that a class is for, if it is for one only.
    pub(super) fn payer_of_class(&self, id: ClassId) -> Option<Address> {
        let members = &self.fanout.classes.get(id).members;
        if members.len() > PRIVATE_MEMBERS_MAX {
            return None;
        }
        let mut addresses = members.iter().filter_map(|slot| self.clients[*slot as usize].as_ref());
        let first = addresses.next()?.address;
        addresses.all(|client| client.address == first).then_some(first)
    }

    /// The client stands in a line until its turn comes, for good reason.
    pub(super) fn wait(&mut self, slot: u32, lane: Lane, now: Now) {
        let payer = self.payer_of(slot);
        self.note_wait(lane, payer, now);
        let client = self.at(slot);
        if client.pending().is_some_and(|pending| pending.places[lane as usize].is_some()) {
            return;
        }
        let conn = client.id;
        let was_called = client.pend(|pending| std::mem::take(&mut pending.called));
        let in_front = was_called || self.builds.granted;
        let place = self.builds.enter(lane, Waiter::Client(conn), payer, in_front);
        self.at(slot).pend(|pending| pending.places[lane as usize] = Some(place));
    }

    /// A class stands in a line: it was due at `due_us`.
    pub(super) fn wait_class(&mut self, id: ClassId, lane: Lane, due_us: u64, now: Now) {
        let payer = self.payer_of_class(id);
        self.note_wait(lane, payer, now);
        let number = self.fanout.classes.get(id).number;
        let in_front = self.builds.granted;
        let place = self.builds.enter(lane, Waiter::Class(id, number, due_us), payer, in_front);
        self.fanout.classes.get_mut(id).waits = Some(place);
    }

    /// An address that has used up its share is counted when its turn comes.
    fn note_wait(&mut self, lane: Lane, payer: Option<Address>, now: Now) {
        let why = match lane {
            Lane::Long if self.builds.wants_room() => Why::Room,
            Lane::Long => Why::Long,
            Lane::Short if self.fanout.budget.is_left() => return,
            Lane::Short => Why::Budget,
        };
        self.note(why, 1, payer, now);
    }

    fn note(&mut self, why: Why, times: u64, payer: Option<Address>, now: Now) {
        self.stats.build_waits[why as usize] += times;
        let told = self.builds.told_us.is_some_and(|told_us| now.mono_us < told_us + TELL_US);
        if told || why == Why::Long || times == 0 {
            return;
        }
        self.builds.told_us = Some(now.mono_us);
        let clients: usize = self.builds.lines.iter().map(|line| line.clients).sum();
        let classes: usize = self.builds.lines.iter().map(|line| line.classes).sum();
        let pinned_bytes = self.fanout.pinned.of_all();
        match why {
            Why::Budget | Why::Long => tracing::info!(
                clients,
                classes,
                "more is to be built than [fanout] build_bytes of a turn; the rest waits its turn"
            ),
            Why::Room => tracing::warn!(
                clients,
                classes,
                pinned_bytes,
                "frames wait for room in [limits] pinned_bytes, which slow clients hold; raise it if they may"
            ),
            Why::Address => tracing::warn!(
                clients,
                classes,
                address = payer.map(tracing::field::display),
                "an address has used up [limits] build_bytes_per_ip and waits; raise it if it is a proxy of yours"
            ),
        }
    }

    /// Serves those that wait for the budget, while half of it lasts.
    pub(super) fn serve_short(&mut self, net: &mut impl Sockets, now: Now) {
        self.leave_ended_classes();
        for _ in 0..self.builds.lines[Lane::Short as usize].len() {
            if !self.fanout.budget.is_half_left() || !self.serve_next(Lane::Short, net, now) {
                return;
            }
        }
    }

    /// Goes on with long frames: at least one part a turn.
    pub(super) fn serve_long(&mut self, net: &mut impl Sockets, now: Now) {
        self.go_on(net, now);
        if self.builds.running.is_empty() && self.builds.lines[Lane::Long as usize].is_empty() {
            // Nobody is left who asked before it was begun.
            self.fanout.drop_kept();
        }
    }

    fn go_on(&mut self, net: &mut impl Sockets, now: Now) {
        let mut turns = self.builds.lines[Lane::Long as usize].len();
        let spent = self.fanout.budget.spent();
        while self.fanout.budget.is_left() || self.fanout.budget.spent() == spent {
            if let Some(running) = self.builds.running.pop_front() {
                self.run_build(running, net, now);
                continue;
            }
            if self.builds.need_bytes.is_some_and(|bytes| !self.fanout.fits(bytes)) {
                self.builds.room_us = now.mono_us + ROOM_US;
                return;
            }
            (self.builds.need_bytes, self.builds.need_place) = (None, None);
            self.builds.granted = true;
            let served = turns > 0 && self.serve_next(Lane::Long, net, now);
            self.builds.granted = false;
            if !served {
                return;
            }
            turns -= 1;
        }
    }

    fn leave_ended_classes(&mut self) {
        while let Some(place) = self.fanout.classes.take_left() {
            self.builds.leave(place);
        }
    }

    /// `false`: nobody is next.
    fn serve_next(&mut self, lane: Lane, net: &mut impl Sockets, now: Now) -> bool {
        let Builds { lines, addresses, .. } = &mut self.builds;
        let (mut resting, mut payer) = (0, None);
        let popped = lines[lane as usize].pop(now.mono_us, |address| {
            let rests = addresses.rests(address, now.mono_us)?;
            (resting, payer) = (resting + 1, Some(address));
            Some(rests)
        });
        self.note(Why::Address, resting, payer, now);
        let Some((_, waiter)) = popped else { return false };
        match waiter {
            Waiter::Client(conn) => self.call(conn, lane, net, now),
            Waiter::Class(id, number, due_us) if self.fanout.classes.is(id, number) => {
                self.fanout.classes.get_mut(id).waits = None;
                self.serve_class(id, due_us, now);
            }
            Waiter::Class(..) => {}
        }
        true
    }

    /// A client's turn has come.
    fn call(&mut self, conn: ConnId, lane: Lane, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        client.subs.iter_mut().for_each(|sub| sub.waits = false);
        if client.pending().is_none() {
            return;
        }
        // Where it is busy, it takes its turn when it is no longer.
        let is_free = client.connection.is_free();
        client.pend(|pending| {
            pending.places[lane as usize] = None;
            (pending.op_waits, pending.called) = (false, pending.called || !is_free);
        });
        if is_free || self.is_due_to_leave(conn.slot, now) {
            self.advance_or_leave(conn.slot, net, now);
        }
    }

    fn serve_class(&mut self, id: ClassId, due_us: u64, now: Now) {
        if self.fanout.classes.get(id).busy {
            // A heartbeat is on its way to its members.
            let lane = if self.builds.granted { Lane::Long } else { Lane::Short };
            return self.wait_class(id, lane, due_us, now);
        }
        let (payer, before) = (self.payer_of_class(id), self.fanout.budget.spent());
        let flushed = self.fanout.flush_changes(id, due_us, self.builds.granted, now);
        self.charge(payer, before, now);
        self.take_flushed(id, flushed, now);
    }
}
