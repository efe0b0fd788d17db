//! Long frames are built one at a time, part by part, and delivered when they are whole.

use bytes::Bytes;
use net::Sockets;

use super::{
    Shard,
    builds::{Running, Whose, Work},
};
use crate::{
    address::Address,
    clock::Now,
    fanout::{
        ClassId, Flushed, Frame, Made,
        line::{Lane, Line},
    },
    topic::position::Position,
};

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

    /// The one that has its turn in the long line found no room for so many bytes.
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
            Whose::Sub { conn, sub_slot, then, is_followed } => {
                if then.is_some() {
                    self.at(conn.slot).pend(|pending| pending.building = false);
                }
                self.deliver(conn.slot, sub_slot, frame, now);
                if !is_followed {
                    self.at(conn.slot).built(sub_slot);
                }
                if let Some(asked) = then {
                    self.finish_unsubscribe(conn.slot, &asked, now);
                }
                self.advance_or_leave(conn.slot, net, now);
            }
            Whose::Answer { conn, asked, joining } => {
                let class = joining.class;
                self.at(conn.slot).pend(|pending| pending.building = false);
                self.finish_subscribe(conn.slot, &asked, joining, frame, now);
                self.fanout.unhold(class);
                self.advance_or_leave(conn.slot, net, now);
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
        let client = self.at(slot);
        let sub = client.member_in_slot(sub_slot);
        (sub.pos, sub.sent_us) = (Position::at(frame.version), now.mono_us);
        client.connection.queue(frame.bytes);
    }

    /// An epoch ends: what is being built belongs to it. Ops are answered in the new one.
    pub(super) fn discard_builds(&mut self, now: Now) {
        for Running { whose, .. } in std::mem::take(&mut self.builds.running) {
            let wanted = self.is_wanted(&whose);
            let (conn, asked) = match whose {
                Whose::Class(_) => continue,
                Whose::Sub { conn, sub_slot, then, .. } => {
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
            let asked = pending.op.into_iter().chain(pending.queue);
            asked.for_each(|asked| self.fanout.release(&asked.interning.ids));
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
