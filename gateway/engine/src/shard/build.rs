//! Long frames are built one at a time, part by part, and delivered when they are whole.

use std::collections::VecDeque;

use bytes::Bytes;
use net::{ConnId, Sockets};

use super::{Shard, addresses::Addresses, pending::Asked, session::Joining};
use crate::{
    address::Address,
    clock::Now,
    fanout::{
        ClassId, Due, Flushed, Frame, Long, Made,
        line::{Lane, Line, Place, Waiter},
    },
    planted::{Bug, planted},
    settings,
};

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

#[derive(Debug)]
pub(super) struct Builds {
    pub lines: [Line; 2],
    /// What is being built, in order; all of it for the same client or class.
    pub running: VecDeque<Running>,
    pub addresses: Addresses,
    /// Who is served has its turn in the long line.
    pub granted: bool,
    /// What whose turn it is in the long line needs, for which there is no room.
    pub need_bytes: Option<usize>,
    /// Where it stands: it keeps its turn until there is room.
    pub need_place: Option<Place>,
    /// When it is looked whether there is room by now. µs, monotonic.
    pub room_us: u64,
    /// When it was last told that frames wait. µs, monotonic.
    pub told_us: Option<u64>,
}

impl Builds {
    pub fn new(limits: &settings::Limits) -> Self {
        Self {
            lines: [Line::new(Lane::Short), Line::new(Lane::Long)],
            running: VecDeque::new(),
            addresses: Addresses::new(limits.build_bytes_per_ip),
            granted: false,
            need_bytes: None,
            need_place: None,
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

    /// At the end of a line, or in front of it. Who had its turn and found no room keeps it, or room would
    /// always be taken by whoever is next when it comes.
    pub fn enter(&mut self, lane: Lane, waiter: Waiter, payer: Option<Address>, in_front: bool) -> Place {
        let line = &mut self.lines[lane as usize];
        let place = line.push(waiter, payer, in_front);
        if self.granted && self.need_bytes.is_some() && lane == Lane::Long {
            line.keep_turn(payer);
            self.need_place = Some(place);
        }
        if planted(Bug::WaitForgotten) {
            line.remove(place);
        }
        place
    }

    pub fn leave(&mut self, place: Place) {
        let line = &mut self.lines[place.lane as usize];
        line.remove(place);
        if self.need_place == Some(place) {
            line.pass_turn(place.payer);
            (self.need_bytes, self.need_place) = (None, None);
        }
    }
}

impl Shard {
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

    pub(super) fn run_build(&mut self, running: Running, net: &mut impl Sockets, now: Now) {
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
                    self.at(conn.slot).pend(|pending| pending.building = false);
                }
                self.deliver(conn.slot, sub_slot, frame, now);
                if let Some(asked) = then {
                    self.finish_unsubscribe(conn.slot, &asked, now);
                }
                self.advance(conn.slot, net, now);
            }
            Whose::Answer { conn, asked, joining } => {
                let class = joining.class;
                self.at(conn.slot).pend(|pending| pending.building = false);
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
                let client = self.client(*conn).filter(|client| client.connection.is_open());
                client.and_then(|client| client.sub_in_slot(*sub_slot)).is_some_and(|sub| sub.building)
            }
            Whose::Answer { conn, .. } => self
                .client(*conn)
                .is_some_and(|client| client.connection.is_open() && client.is_being_answered()),
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
        client.connection.queue(frame.bytes);
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
                self.at(conn.slot).pend(|pending| {
                    (pending.building, pending.op_waits, pending.op) = (false, true, Some(asked));
                });
                self.wait(conn.slot, Lane::Long, now);
            }
        }
    }

    /// Everything that is built for a client, and its places, end.
    pub(super) fn leave_lines(&mut self, slot: u32) {
        if let Some(pending) = self.at(slot).take_pending() {
            pending.places.into_iter().flatten().for_each(|place| self.builds.leave(place));
        }
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
