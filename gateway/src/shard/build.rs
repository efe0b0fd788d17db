//! Frames within the budget of a turn: who cannot be served now stands in line, and long frames are built
//! one at a time, part by part.

use std::collections::VecDeque;

use bytes::Bytes;
use ring::{ConnId, Sockets};

use super::{Shard, addresses::Addresses, session::Joining};
use crate::{
    address::Address,
    client::{Asked, Phase},
    clock::Now,
    config,
    fanout::{
        ClassId, Due, Flushed, Frame, Long, Made,
        line::{Lane, Line, Place, Waiter},
    },
    planted::{Bug, planted},
};

/// How often it is looked whether there is room again.
const ROOM_US: u64 = 10_000;
/// That frames wait is told in the log once in so long.
const TELL_US: u64 = 60_000_000;
/// A class with more members is nobody's own.
const PRIVATE_MEMBERS_MAX: usize = 8;

/// A long frame, or one that was made together with one.
#[derive(Debug)]
pub(super) enum Work {
    Made(Frame),
    Long(Box<Long>),
}

#[derive(Debug)]
pub(super) enum Whose {
    Class(Due),
    /// What a subscription is owed, and the `unsubscribe` that is answered with it.
    Sub {
        conn: ConnId,
        sub_slot: u8,
        then: Option<Box<Asked>>,
    },
    /// The answer to a `subscribe`.
    Answer {
        conn: ConnId,
        asked: Box<Asked>,
        joining: Joining,
    },
}

#[derive(Debug)]
pub(super) struct Running {
    pub work: Work,
    pub whose: Whose,
}

/// Why something could not be built at once; index into [`crate::stats::Stats::build_waits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Why {
    Budget,
    Long,
    Room,
    Address,
}

#[derive(Debug)]
pub(super) struct Builds {
    pub lines: [Line; 2],
    /// What is being built, in order; all of it for the same client or class.
    pub running: VecDeque<Running>,
    addresses: Addresses,
    /// Who is served has its turn in the long line.
    granted: bool,
    /// What the first of the long line needs, for which there is no room.
    need_bytes: Option<usize>,
    /// When it is looked whether there is room by now. µs, monotonic.
    room_us: u64,
    told_us: Option<u64>,
}

impl Builds {
    pub fn new(limits: &config::Limits) -> Self {
        Self {
            lines: [Line::new(Lane::Short), Line::new(Lane::Long)],
            running: VecDeque::new(),
            addresses: Addresses::new(limits.build_bytes_per_ip),
            granted: false,
            need_bytes: None,
            room_us: 0,
            told_us: None,
        }
    }

    pub fn is_granted(&self) -> bool {
        self.granted
    }

    /// Whether what is built is counted by address.
    pub fn charges(&self) -> bool {
        self.addresses.is_on()
    }

    /// Whether someone waits for room among what is pinned.
    pub fn wants_room(&self) -> bool {
        self.need_bytes.is_some()
    }

    pub fn leave(&mut self, place: Place) {
        self.lines[place.lane as usize].remove(place);
    }
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
        Some(self.at(slot).address())
    }

    /// The address that a class is for, if it is for one only.
    pub(super) fn payer_of_class(&self, id: ClassId) -> Option<Address> {
        let members = &self.fanout.classes.get(id).members;
        if members.len() > PRIVATE_MEMBERS_MAX {
            return None;
        }
        let mut addresses = members.iter().filter_map(|slot| self.clients[*slot as usize].as_ref());
        let first = addresses.next()?.address();
        addresses.all(|client| client.address() == first).then_some(first)
    }

    /// The client stands in a line until its turn comes, for good reason.
    pub(super) fn wait(&mut self, slot: u32, lane: Lane, now: Now) {
        let payer = self.payer_of(slot);
        self.note_wait(lane, payer, now);
        let client = self.at(slot);
        let (conn, waiting) = (client.id, client.waiting());
        if waiting.places[lane as usize].is_some() {
            return;
        }
        let in_front = std::mem::take(&mut waiting.called) || self.builds.granted;
        let line = &mut self.builds.lines[lane as usize];
        let place = line.push(Waiter::Client(conn), payer, in_front);
        if planted(Bug::WaitForgotten) {
            line.remove(place);
        }
        self.at(slot).waiting().places[lane as usize] = Some(place);
    }

    /// A class stands in a line: it was due at `due_us`.
    pub(super) fn wait_class(&mut self, id: ClassId, lane: Lane, due_us: u64, now: Now) {
        let payer = self.payer_of_class(id);
        self.note_wait(lane, payer, now);
        let number = self.fanout.classes.get(id).number;
        let in_front = self.builds.granted;
        let line = &mut self.builds.lines[lane as usize];
        let place = line.push(Waiter::Class(id, number, due_us), payer, in_front);
        if planted(Bug::WaitForgotten) {
            line.remove(place);
        }
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

    /// Serves who waits for the budget, while it lasts.
    pub(super) fn serve_short(&mut self, net: &mut impl Sockets, now: Now) {
        self.leave_ended_classes();
        for _ in 0..self.builds.lines[Lane::Short as usize].len() {
            if !self.fanout.budget.is_left() || !self.serve_next(Lane::Short, net, now) {
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
            self.builds.need_bytes = None;
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
        let Some(waiting) = &mut client.waiting else { return };
        waiting.places[lane as usize] = None;
        waiting.op_waits = false;
        if client.phase != Phase::Open {
            return;
        }
        if !client.ready() {
            // It takes its turn when it is no longer busy.
            client.waiting().called = true;
            return;
        }
        client.tidy();
        match self.leave_due_us(conn.slot) {
            Some(at_us) if at_us <= now.mono_us => {
                if let Some(next_us) = self.check_leave(conn.slot, at_us, net, now) {
                    self.wheel.set(conn.slot, next_us);
                }
            }
            _ => self.advance(conn.slot, net, now),
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

    /// What came of looking at a class is begun, handed out, or waits.
    pub(super) fn take_flushed(&mut self, id: ClassId, flushed: Flushed, now: Now) {
        match flushed {
            Flushed::Nothing => {}
            Flushed::Flush(flush) => self.start_job(flush, now),
            Flushed::Long(due, long) => {
                self.fanout.classes.get_mut(id).busy = true;
                self.builds.running.push_back(Running { work: Work::Long(long), whose: Whose::Class(due) });
            }
            Flushed::Waits { lane, need_bytes, due_us } => {
                need_bytes.into_iter().for_each(|bytes| self.note_need(bytes));
                self.wait_class(id, lane, due_us, now);
            }
        }
    }

    /// Who has its turn in the long line found no room for so many bytes.
    pub(super) fn note_need(&mut self, bytes: usize) {
        if self.builds.granted {
            self.builds.need_bytes = Some(bytes);
        }
    }

    /// A frame for a client, or why it waits: in a line, or (`None`) for what is built for it.
    pub(super) fn made(&mut self, made: Made) -> Result<Work, Lane> {
        match made {
            Made::Frame(frame) => Ok(Work::Made(frame)),
            Made::Long(long) => Ok(Work::Long(long)),
            Made::TooLong => Err(Lane::Long),
            Made::NoRoom(bytes) => {
                self.note_need(bytes);
                Err(Lane::Long)
            }
        }
    }

    fn run_build(&mut self, running: Running, net: &mut impl Sockets, now: Now) {
        let Running { work, whose } = running;
        if !self.is_wanted(&whose) {
            if let Whose::Answer { joining, .. } = whose {
                self.fanout.unhold(joining.class);
            }
            return;
        }
        let (payer, before) = (self.payer(&whose), self.fanout.budget.spent());
        let frame = match work {
            Work::Made(frame) => frame,
            Work::Long(mut long) => {
                let built = self.fanout.step(&mut long);
                self.charge(payer, before, now);
                match built {
                    Some(frame) => frame,
                    None => return self.builds.running.push_front(Running { work: Work::Long(long), whose }),
                }
            }
        };
        match whose {
            Whose::Class(due) => {
                let flush = self.fanout.flushed(due, frame);
                self.start_job(flush, now);
            }
            Whose::Sub { conn, sub_slot, then } => {
                if then.is_some() {
                    self.at(conn.slot).waiting().building = false;
                }
                self.deliver(conn.slot, sub_slot, frame, now);
                if let Some(asked) = then {
                    self.finish_unsubscribe(conn.slot, &asked, now);
                }
                self.advance(conn.slot, net, now);
            }
            Whose::Answer { conn, asked, joining } => {
                let class = joining.class;
                self.at(conn.slot).waiting().building = false;
                self.finish_subscribe(conn.slot, &asked, joining, frame, now);
                self.fanout.unhold(class);
                self.advance(conn.slot, net, now);
            }
        }
    }

    /// Whether whom it is for is still there.
    fn is_wanted(&mut self, whose: &Whose) -> bool {
        match whose {
            Whose::Class(due) => self.fanout.classes.is(due.class, due.number),
            Whose::Sub { conn, sub_slot, .. } => {
                let client = self.client(*conn).filter(|client| client.phase == Phase::Open);
                client.and_then(|client| client.sub_in_slot(*sub_slot)).is_some_and(|sub| sub.building)
            }
            Whose::Answer { conn, .. } => self.client(*conn).is_some_and(|client| {
                client.phase == Phase::Open && client.waiting.as_ref().is_some_and(|waiting| waiting.building)
            }),
        }
    }

    fn payer(&mut self, whose: &Whose) -> Option<Address> {
        match whose {
            Whose::Class(due) => self.payer_of_class(due.class),
            Whose::Sub { conn, .. } | Whose::Answer { conn, .. } => self.payer_of(conn.slot),
        }
    }

    /// What a subscription was owed is queued, and takes it to where it was begun.
    fn deliver(&mut self, slot: u32, sub_slot: u8, frame: Frame, now: Now) {
        self.stats.catchups_out += 1;
        self.stats.frames_out += u64::from(frame.parts);
        self.stats.updates_out += u64::from(frame.updates);
        if let Some(sub) = self.at(slot).sub_in_slot(sub_slot) {
            (sub.pos, sub.sent_us) = (frame.version, now.mono_us);
        }
        let client = self.at(slot);
        if !client.is_being_answered() {
            client.built(sub_slot);
        }
        client.queue(frame.bytes);
    }

    /// An epoch ends: what is being built belongs to it. Ops are answered in the new one.
    pub(super) fn discard_builds(&mut self, now: Now) {
        for Running { whose, .. } in std::mem::take(&mut self.builds.running) {
            let wanted = self.is_wanted(&whose);
            let (conn, asked) = match whose {
                Whose::Class(_) => continue,
                Whose::Sub { conn, sub_slot, then } => {
                    if let Some(client) = self.client(conn) {
                        client.built(sub_slot);
                    }
                    (conn, then)
                }
                Whose::Answer { conn, asked, joining } => {
                    self.fanout.unhold(joining.class);
                    if let Some(client) = self.client(conn) {
                        client.built(joining.sub_slot);
                    }
                    (conn, Some(asked))
                }
            };
            if let (Some(mut asked), true) = (asked, wanted) {
                asked.at = 0;
                let waiting = self.at(conn.slot).waiting();
                (waiting.building, waiting.op_waits, waiting.op) = (false, true, Some(asked));
                self.wait(conn.slot, Lane::Long, now);
            }
        }
    }

    /// Everything that is built for a client, and its places, end.
    pub(super) fn leave_lines(&mut self, slot: u32) {
        let Some(waiting) = &mut self.at(slot).waiting else { return };
        (waiting.op, waiting.op_waits, waiting.building, waiting.called) = (None, false, false, false);
        let places = std::mem::take(&mut waiting.places);
        places.into_iter().flatten().for_each(|place| self.builds.leave(place));
    }

    /// Whether something can be built in the next turn.
    pub(super) fn builds_more(&self) -> bool {
        let [short, long] = &self.builds.lines;
        let room = !self.builds.wants_room();
        !self.builds.running.is_empty() || short.is_awake() || long.is_awake() && room
    }

    /// When something that waits for time or room is looked at again. µs, monotonic.
    pub(super) fn builds_next_us(&self) -> Option<u64> {
        let lines = self.builds.lines.iter().filter_map(Line::next_us);
        lines.chain(self.builds.wants_room().then_some(self.builds.room_us)).min()
    }

    /// A short frame's bytes, counted as sent.
    pub(super) fn count_out(&mut self, frame: Frame) -> Bytes {
        self.stats.frames_out += u64::from(frame.parts);
        self.stats.updates_out += u64::from(frame.updates);
        frame.bytes
    }
}
