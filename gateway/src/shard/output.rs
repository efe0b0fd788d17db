//! From answers to sends: one in flight per connection, and what follows when it is done.

use bytes::Bytes;
use ring::{Close, ConnId, Sockets};

use super::{Shard, deadlines::REFUSED_US};
use crate::{
    client::{Phase, PingState, handshake},
    clock::Now,
    fanout::NOWHERE,
    stats::Reason,
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
                if !waiting.held.is_empty() && matches!(phase, Phase::Open | Phase::Handshake) {
                    let mut held = std::mem::take(&mut waiting.held);
                    self.parse(slot, &mut held, net, now);
                    continue;
                }
                client.waiting = None;
            }
            match phase {
                Phase::Leaving => return self.half_close(slot, net, now),
                Phase::Open => {
                    if client.paused {
                        client.paused = false;
                        net.resume_receive(client.id);
                    }
                    if client.peer_done {
                        return self.hang_up(slot, Reason::ClientClosed, Close::Orderly, net);
                    }
                    // First, or a client that is always behind on its values never hears that they are stale.
                    if let Some(bytes) = self.owed_status(slot) {
                        self.stats.frames_out += 1;
                        return self.send(slot, bytes, net, now);
                    }
                    if let Some(bytes) = self.owed(slot, now) {
                        self.stats.catchups_out += 1;
                        return self.send(slot, bytes, net, now);
                    }
                    if self.at(slot).phase == Phase::Open {
                        return;
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
            if pos == NOWHERE
                || pos < self.fanout.classes.get(class).sent
                || self.fanout.is_silent(sent_us, now)
            {
                if self.close_if_lapsed(slot, sub_slot, now) {
                    return None;
                }
                return Some(self.catch_up(slot, i, now));
            }
        }
        None
    }

    /// Closes the connection where a subscription has fallen behind a stream that wants that.
    pub(super) fn close_if_lapsed(&mut self, slot: u32, sub_slot: u8, now: Now) -> bool {
        let Some(sub) = self.at(slot).sub_in_slot(sub_slot) else { return false };
        let (class, pos) = (sub.class, sub.pos);
        let Some(lapse) = self.fanout.lapse(class, pos) else { return false };
        self.close(slot, 4004, &lapse.to_string(), Reason::Behind, now);
        true
    }

    /// Brings a subscription to the present position and gives the frame that does it.
    pub(super) fn catch_up(&mut self, slot: u32, sub: usize, now: Now) -> Bytes {
        let position = self.fanout.position();
        let sub = &self.at(slot).subs[sub];
        let (class, pos, sub_slot) = (sub.class, sub.pos, sub.slot);
        let frame = self.fanout.catch_up(class, pos, now);
        if let Some(sub) = self.at(slot).sub_in_slot(sub_slot) {
            sub.pos = position;
            sub.sent_us = now.mono_us;
        }
        self.stats.frames_out += u64::from(frame.parts);
        self.stats.updates_out += u64::from(frame.updates);
        frame.bytes
    }

    /// Queues a close frame; the connection ends when it was sent.
    pub(super) fn close(&mut self, slot: u32, code: u16, reason: &str, why: Reason, now: Now) {
        if self.at(slot).phase != Phase::Open {
            return;
        }
        let mut frame = Vec::with_capacity(4 + reason.len());
        proto::encode::close(&mut frame, code, reason);
        self.at(slot).queue(frame);
        self.leave(slot, why, now);
    }

    pub(super) fn refuse(&mut self, slot: u32, refusal: &proto::Refusal, now: Now) {
        self.stats.refused(refusal.status);
        let answer = handshake::refusal(refusal);
        self.at(slot).queue(answer);
        self.leave(slot, Reason::Refused, now);
    }

    /// What is queued is the last thing sent; input is discarded from here on.
    pub(super) fn leave(&mut self, slot: u32, why: Reason, now: Now) {
        self.end(slot, why);
        let longest_us = if why == Reason::Refused { REFUSED_US } else { u64::MAX }.min(self.limits.stall_us);
        let client = self.at(slot);
        client.phase = Phase::Leaving;
        client.since_us = now.mono_us;
        if let Some(waiting) = &mut client.waiting {
            waiting.held = Vec::new();
            waiting.pongs = Vec::new();
            waiting.ahead = false;
        }
        self.wheel.set(slot, now.mono_us + longest_us);
    }

    fn half_close(&mut self, slot: u32, net: &mut impl Sockets, now: Now) {
        let client = self.at(slot);
        if client.peer_done {
            return self.hang_up(slot, Reason::ClientClosed, Close::Orderly, net);
        }
        net.shutdown(client.id);
        self.linger(slot, net, now);
    }

    /// What came is no TLS. The session sends its alert and ends by itself, behind what is on its way; a
    /// reset would lose it.
    pub(super) fn on_broken(&mut self, conn: ConnId, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        if matches!(client.phase, Phase::Lingering | Phase::Closing) {
            return self.hang_up(conn.slot, Reason::SocketError, Close::Orderly, net);
        }
        self.end(conn.slot, Reason::SocketError);
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
            return self.hang_up(conn.slot, Reason::SocketError, Close::Orderly, net);
        }
        match client.phase {
            Phase::Handshake | Phase::Lingering => {
                self.hang_up(conn.slot, Reason::ClientClosed, Close::Orderly, net);
            }
            // What is queued, or a close frame held, still goes out.
            Phase::Open | Phase::Leaving => self.advance(conn.slot, net, now),
            Phase::Closing => {}
        }
    }
}
