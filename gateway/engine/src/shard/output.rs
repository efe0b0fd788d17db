//! What a connection wants of its socket, and what its client is owed once it is free.

use bytes::Bytes;
use net::{ConnId, Sockets};

use super::{
    Shard,
    builds::{Running, Whose, Work},
    client::Sub,
    pending::Pending,
};
use crate::{
    client::{CloseReason, Next},
    clock::Now,
    fanout::{Long, line::Lane},
    invariant,
    topic::position::Position,
};

impl Shard {
    pub(super) fn on_sent(&mut self, conn: ConnId, bytes: u32, done: bool, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        client.connection.sent(bytes, done, now);
        self.stats.bytes_out += u64::from(bytes);
        if done {
            self.advance(conn.slot, net, now);
        }
    }

    /// Does the next thing for a connection that may be idle: answers, held input, catching up,
    /// leaving. Call after every event that may have unblocked it.
    pub(super) fn advance(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        loop {
            let client = self.clients[slot as usize].as_mut().expect("a live connection's slot is taken");
            let id = client.id;
            match client.connection.next(&self.limits, now) {
                Next::Wait => return,
                Next::Send(bytes) => return net.send(id, bytes),
                Next::Receive(mut held) => self.read(slot, &mut held, net, now),
                Next::Resume => net.resume_receive(id),
                Next::QueryUnsent => net.query_unsent(id),
                Next::Shutdown => {
                    net.shutdown(id);
                    self.set_timer(slot, now);
                }
                Next::HangUp(reason) => return self.hang_up(slot, reason, net),
                Next::Free => {
                    if self.serve(slot, net, now) {
                        return;
                    }
                }
            }
        }
    }

    /// Gives a client that is free what it is owed. `false`: there may be more to do.
    fn serve(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> bool {
        let client = self.at(slot);
        if client.pending().is_some()
            && let Some(asked) = client.pend(|pending| pending.take_op())
        {
            self.go_on_with(slot, asked, now);
            return false;
        }
        if self.at(slot).pending().is_some() {
            if self.at(slot).pend(|pending| pending.take_judged()) {
                self.judge_subscriptions(slot, now);
                return false;
            }
            if let Some(asked) = self.at(slot).pend(|pending| pending.take_queued()) {
                self.begin_op(slot, asked, now);
                return false;
            }
        }
        // First, or a client that is always behind on its values never hears that they are stale.
        let was_held = self.at(slot).connection.is_held();
        if let Some(bytes) = self.owed_status(slot, now) {
            self.stats.frames_out += 1;
            self.send(slot, bytes, net, now);
            return true;
        }
        let client = self.at(slot);
        let goes_on = client.pending().is_some_and(Pending::has_queued);
        if goes_on || was_held && !client.connection.is_held() {
            // The client has the last of what follows an answer.
            return false;
        }
        if let Some(bytes) = self.owed(slot, now) {
            let is_message = !bytes.is_empty();
            if is_message {
                self.send(slot, bytes, net, now);
            }
            return is_message;
        }
        let client = self.at(slot);
        let is_open = client.connection.is_open();
        if is_open {
            client.rest();
        }
        is_open
    }

    /// Sends a frame to a client that is free.
    fn send(&mut self, slot: u32, frame: Bytes, net: &mut impl Sockets, now: Now) {
        let fragment_bytes = self.limits.fragment_bytes;
        let client = self.at(slot);
        let bytes = client.connection.give(frame, fragment_bytes, now);
        net.send(client.id, bytes);
    }

    /// What a subscription that missed its class's last frames gets, newest values included. It may
    /// have missed a heartbeat too, since another subscription's frame was on its way.
    fn owed(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        for i in 0..self.at(slot).subs.len() {
            let sub = &self.at(slot).subs[i];
            let (class, pos, sent_us, sub_slot) = (sub.class, sub.pos, sub.sent_us, sub.slot);
            let (put_off, is_silent) = (sub.waits || sub.building, self.fanout.is_silent(sent_us, now));
            let least = self.fanout.classes.get(class).sent;
            if !(pos < Position::at(least) || is_silent) {
                continue;
            }
            if self.close_if_lapsed(slot, sub_slot, now) {
                return None;
            }
            if !put_off {
                let (payer, before) = (self.payer_of(slot), self.fanout.budget.spent());
                let may_build = self.may_build(payer, now);
                let made = if may_build { self.catch_up(slot, i, least, now) } else { Err(Lane::Short) };
                self.charge(payer, before, now);
                match made {
                    Ok(Work::Made(frame)) => {
                        self.stats.catchups_out += 1;
                        return Some(self.count_out(frame));
                    }
                    Ok(Work::Long(work)) => self.begin_owed(slot, i, work),
                    Err(lane) => {
                        self.at(slot).subs[i].waits = true;
                        self.wait(slot, lane, now);
                    }
                }
            }
            if let (true, Some(version)) = (is_silent, pos.version()) {
                let frame = self.fanout.sign_of_life(class, version, now);
                self.at(slot).subs[i].sent_us = now.mono_us;
                return Some(self.count_out(frame));
            }
        }
        None
    }

    /// Closes the connection where a subscription has fallen behind a stream that wants that.
    pub(super) fn close_if_lapsed(&mut self, slot: u32, sub_slot: u8, now: Now) -> bool {
        let sub = self.at(slot).member_in_slot(sub_slot);
        let (class, pos) = (sub.class, sub.pos);
        let Some(lapse) = self.fanout.lapse(class, pos) else { return false };
        let ended = self.at(slot).connection.close_saying(CloseReason::Behind, &lapse.to_string(), now);
        self.ended(slot, ended, now);
        true
    }

    /// What takes a subscription to `least` or further, where it is put if that could be made at once.
    pub(super) fn catch_up(&mut self, slot: u32, sub: usize, least: u64, now: Now) -> Result<Work, Lane> {
        let Sub { class, pos, .. } = self.at(slot).subs[sub];
        let long = self.builds.is_granted();
        let made = self.fanout.catch_up(class, pos, least, long, now);
        let work = self.made(made)?;
        if let Work::Made(frame) = &work {
            let position = self.fanout.position();
            invariant!(
                pos <= Position::at(frame.version) && frame.version <= position,
                "a client at {pos:?} gets a frame of {}, of {position}",
                frame.version
            );
            let sub = &mut self.at(slot).subs[sub];
            (sub.pos, sub.sent_us) = (Position::at(frame.version), now.mono_us);
        }
        Ok(work)
    }

    /// What a subscription is owed is built in the turns to come.
    pub(super) fn begin_owed(&mut self, slot: u32, sub: usize, long: Box<Long>) {
        let client = self.at(slot);
        client.subs[sub].building = true;
        let whose =
            Whose::Sub { conn: client.id, sub_slot: client.subs[sub].slot, then: None, is_followed: false };
        self.builds.running.push_back(Running { work: Work::Long(long), whose });
    }
}
