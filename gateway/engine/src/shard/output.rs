//! From answers to sends: one in flight per connection, and what follows when it is done.

use bytes::Bytes;
use net::{Close, ConnId, Sockets};

use super::{
    Shard,
    build::{Running, Whose, Work},
    deadlines::REFUSED_US,
};
use crate::{
    client::{CloseReason, Phase, PingState, Sub},
    clock::Now,
    fanout::{Long, NOWHERE, line::Lane},
};

/// How long input is discarded after a half-close.
pub(super) const LINGER_US: u64 = 1_000_000;

/// A send that takes longer was waiting for the peer, so that its end is a sign of life.
const PENDING_US: u64 = 50_000;

impl Shard {
    pub(super) fn on_sent(&mut self, conn: ConnId, bytes: u32, done: bool, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        if !done || now.mono_us > client.progress_us + PENDING_US {
            client.moved_us = now.mono_us;
        }
        client.progress_us = now.mono_us;
        if done {
            client.in_flight = false;
            if client.ping == PingState::Sending {
                client.ping = PingState::Waiting { since_us: now.mono_us, unsent: None };
                net.query_unsent(conn);
            }
        }
        self.stats.bytes_out += u64::from(bytes);
        if done {
            self.advance(conn.slot, net, now);
        }
    }

    /// Hands bytes to the ring. Call only when nothing is in flight.
    pub(super) fn send(&mut self, slot: u32, bytes: Bytes, net: &mut impl Sockets, now: Now) {
        let client = self.at(slot);
        client.in_flight = true;
        client.progress_us = now.mono_us;
        net.send(client.id, bytes);
    }

    /// Does the next thing for a connection that may be idle: answers, held input, catching up,
    /// leaving. Call after every event that may have unblocked it.
    pub(super) fn advance(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        loop {
            let client = self.at(slot);
            if client.in_flight || matches!(client.phase, Phase::Closing | Phase::Lingering) {
                return;
            }
            let phase = client.phase;
            client.settle_pongs();
            if let Some(waiting) = &mut client.waiting {
                if let Some(bytes) = waiting.queue.pop_front() {
                    client.tidy();
                    return self.send(slot, bytes, net, now);
                }
                if waiting.ahead {
                    return;
                }
                if !waiting.op_waits
                    && !waiting.building
                    && phase == Phase::Open
                    && let Some(asked) = waiting.op.take()
                {
                    self.try_op(slot, asked, now);
                    continue;
                }
                let answers = waiting.op.is_some() || waiting.building || waiting.untold.is_some();
                if !answers && !waiting.held.is_empty() && matches!(phase, Phase::Open | Phase::Handshake) {
                    let mut held = std::mem::take(&mut waiting.held);
                    self.parse(slot, &mut held, net, now);
                    continue;
                }
                client.tidy();
            }
            match phase {
                Phase::Leaving => return self.half_close(slot, net, now),
                Phase::Open => {
                    if client.paused && !client.is_kept_waiting() {
                        // What it said meanwhile comes only now.
                        (client.paused, client.heard_us) = (false, now.mono_us);
                        net.resume_receive(client.id);
                    }
                    if client.peer_done && !client.is_kept_waiting() {
                        return self.hang_up(slot, CloseReason::ClientClosed, Close::Orderly, net);
                    }
                    // First, or a client that is always behind on its values never hears that they are stale.
                    let answers = client.is_kept_waiting();
                    if let Some(bytes) = self.owed_status(slot, now) {
                        self.stats.frames_out += 1;
                        return self.send(slot, bytes, net, now);
                    }
                    if answers && !self.at(slot).is_kept_waiting() {
                        // The last of what follows an answer was told.
                        continue;
                    }
                    if let Some(bytes) = self.owed(slot, now) {
                        return self.send(slot, bytes, net, now);
                    }
                    if self.at(slot).phase == Phase::Open {
                        return self.at(slot).rest();
                    }
                }
                _ => return,
            }
        }
    }

    /// What a subscription that missed its class's last frames gets, newest values included. It may
    /// have missed a heartbeat too, since another subscription's frame was on its way.
    fn owed(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        for i in 0..self.at(slot).subs.len() {
            let sub = &self.at(slot).subs[i];
            let (class, pos, sent_us, sub_slot) = (sub.class, sub.pos, sub.sent_us, sub.slot);
            let (put_off, is_silent) = (sub.waits || sub.building, self.fanout.is_silent(sent_us, now));
            let least = self.fanout.classes.get(class).sent;
            if !(pos == NOWHERE || pos < least || is_silent) {
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
            if is_silent && pos != NOWHERE {
                let frame = self.fanout.sign_of_life(class, pos, now);
                self.at(slot).subs[i].sent_us = now.mono_us;
                return Some(self.count_out(frame));
            }
        }
        None
    }

    /// Closes the connection where a subscription has fallen behind a stream that wants that.
    pub(super) fn close_if_lapsed(&mut self, slot: u32, sub_slot: u8, now: Now) -> bool {
        let Some(sub) = self.at(slot).sub_in_slot(sub_slot) else { return false };
        let (class, pos) = (sub.class, sub.pos);
        let Some(lapse) = self.fanout.lapse(class, pos) else { return false };
        self.close_saying(slot, CloseReason::Behind, &lapse.to_string(), now);
        true
    }

    /// What takes a subscription to `least` or further, where it is put if that could be made at once.
    pub(super) fn catch_up(&mut self, slot: u32, sub: usize, least: u64, now: Now) -> Result<Work, Lane> {
        let Sub { class, pos, .. } = self.at(slot).subs[sub];
        let long = self.builds.is_granted();
        let made = self.fanout.catch_up(class, pos, least, long, now);
        let work = self.made(made)?;
        if let Work::Made(frame) = &work {
            let sub = &mut self.at(slot).subs[sub];
            (sub.pos, sub.sent_us) = (frame.version, now.mono_us);
        }
        Ok(work)
    }

    /// What a subscription is owed is built in the turns to come.
    pub(super) fn begin_owed(&mut self, slot: u32, sub: usize, long: Box<Long>) {
        let client = self.at(slot);
        client.subs[sub].building = true;
        let whose = Whose::Sub { conn: client.id, sub_slot: client.subs[sub].slot, then: None };
        self.builds.running.push_back(Running { work: Work::Long(long), whose });
    }

    /// Queues a close frame; the connection ends when it was sent.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason, now: Now) {
        self.close_saying(slot, reason, reason.text(), now);
    }

    /// The same with a text made for the case.
    pub(super) fn close_saying(&mut self, slot: u32, reason: CloseReason, text: &str, now: Now) {
        let code = reason.code().expect("a close frame has a code");
        self.close_with(slot, code, reason, text, now);
    }

    /// The same with the client's own code.
    pub(super) fn close_with(&mut self, slot: u32, code: u16, reason: CloseReason, text: &str, now: Now) {
        if self.at(slot).phase != Phase::Open {
            return;
        }
        let mut frame = Vec::with_capacity(4 + text.len());
        proto::encode::close(&mut frame, code, text);
        self.at(slot).queue(frame);
        self.leave(slot, reason, now);
    }

    pub(super) fn refuse(&mut self, slot: u32, status: u16, answer: Vec<u8>, now: Now) {
        self.stats.refused(status);
        self.at(slot).queue(answer);
        self.leave(slot, CloseReason::Refused, now);
    }

    /// What is queued is the last thing sent; input is discarded from here on.
    pub(super) fn leave(&mut self, slot: u32, why: CloseReason, now: Now) {
        self.end(slot, why);
        let longest_us =
            if why == CloseReason::Refused { REFUSED_US } else { u64::MAX }.min(self.limits.stall_us);
        let client = self.at(slot);
        client.phase = Phase::Leaving;
        client.since_us = now.mono_us;
        self.leave_lines(slot);
        let client = self.at(slot);
        if let Some(waiting) = &mut client.waiting {
            waiting.held = Vec::new();
            waiting.pongs = Vec::new();
            waiting.untold = None;
            waiting.ahead = false;
        }
        self.wheel.set(slot, now.mono_us + longest_us);
    }

    fn half_close(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        let client = self.at(slot);
        if client.peer_done {
            return self.hang_up(slot, CloseReason::ClientClosed, Close::Orderly, net);
        }
        net.shutdown(client.id);
        self.linger(slot, net, now);
    }

    /// What came is no TLS. The session sends its alert and ends by itself, behind what is on its way; a
    /// reset would lose it.
    pub(super) fn on_broken(&mut self, conn: ConnId, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        if matches!(client.phase, Phase::Lingering | Phase::Closing) {
            return self.hang_up(conn.slot, CloseReason::SocketError, Close::Orderly, net);
        }
        self.end(conn.slot, CloseReason::SocketError);
        let client = self.at(conn.slot);
        client.waiting = None;
        self.linger(conn.slot, net, now);
    }

    /// Input is discarded until the peer ends too, for a bounded time.
    fn linger(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        let client = self.at(slot);
        client.phase = Phase::Lingering;
        client.since_us = now.mono_us;
        if client.paused {
            client.paused = false;
            net.resume_receive(client.id);
        }
        self.wheel.set(slot, now.mono_us + LINGER_US);
    }

    pub(super) fn on_receive_ended(&mut self, conn: ConnId, failed: bool, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        client.peer_done = true;
        if failed {
            return self.hang_up(conn.slot, CloseReason::SocketError, Close::Orderly, net);
        }
        match client.phase {
            Phase::Handshake | Phase::Lingering => {
                self.hang_up(conn.slot, CloseReason::ClientClosed, Close::Orderly, net);
            }
            // What is queued, or a close frame held, still goes out.
            Phase::Open | Phase::Leaving => self.advance(conn.slot, net, now),
            Phase::Closing => {}
        }
    }
}
