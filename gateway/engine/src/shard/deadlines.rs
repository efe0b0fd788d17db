//! Deadlines of connections: handshake, idle, ping and pong, stall, linger.
//!
//! A connection has one timer. When it fires, all that could be due is looked at and the timer is
//! set to the next of it, so nothing is done when bytes come or go.

use net::{Close, ConnId, Sockets};

use super::{Shard, output::LINGER_US};
use crate::{
    client::{CloseReason, Phase, PingState},
    clock::Now,
};

/// An empty, unmasked ping frame (RFC 6455, 5.5.2).
const PING: &[u8] = &[0x89, 0];

/// For a connection that is only refused to send its request head, and again to take the answer.
pub(super) const REFUSED_US: u64 = 1_000_000;

/// How often a busy client that should leave is looked at.
pub(super) const DRAIN_CHECK_US: u64 = 20_000;

impl Shard {
    pub(super) fn run_deadlines(&mut self, net: &mut impl Sockets, now: Now) {
        while let Some(slot) = self.wheel.pop(now.mono_us) {
            if self.clients[slot as usize].is_some()
                && let Some(next_us) = self.check_deadlines(slot, net, now)
            {
                self.wheel.set(slot, next_us);
            }
        }
    }

    /// Does what is due and says when to look again; `None`: the connection is going.
    fn check_deadlines(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Option<u64> {
        let (limits, client) = (self.limits.clone(), self.at(slot));
        let (why, how, at_us) = match client.phase {
            Phase::Handshake => (CloseReason::HandshakeTimeout, Close::Orderly, self.handshake_due_us(slot)),
            Phase::Leaving if client.ended == Some(CloseReason::Refused) => {
                (CloseReason::Refused, Close::Reset, client.since_us + REFUSED_US.min(limits.stall_us))
            }
            Phase::Open | Phase::Leaving if client.in_flight => {
                (CloseReason::Stalled, Close::Reset, client.progress_us + limits.stall_us)
            }
            Phase::Open => return self.check_open(slot, net, now),
            Phase::Leaving => (CloseReason::Stalled, Close::Reset, client.since_us + limits.stall_us),
            Phase::Lingering => (CloseReason::ClientClosed, Close::Orderly, client.since_us + LINGER_US),
            Phase::Closing => return None,
        };
        if now.mono_us < at_us {
            // A send in flight may end and leave something else to be looked at.
            let again_us = if self.drain.is_some() { DRAIN_CHECK_US } else { limits.stall_us / 4 };
            return Some(at_us.min(now.mono_us + again_us));
        }
        self.hang_up(slot, why, how, net);
        None
    }

    /// When a connection must have sent its request head.
    pub(super) fn handshake_due_us(&mut self, slot: u32) -> u64 {
        let handshake_us = self.limits.handshake_us;
        let client = self.at(slot);
        let (since_us, refused) = (client.since_us, client.refused.is_some());
        let at_us = since_us + if refused { REFUSED_US.min(handshake_us) } else { handshake_us };
        self.drain_handshake_due_us(since_us).map_or(at_us, |drain_us| at_us.min(drain_us))
    }

    /// An open connection with no send in flight.
    fn check_open(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Option<u64> {
        if let Some(at_us) = self.leave_due_us(slot) {
            return self.check_leave(slot, at_us, net, now);
        }
        let limits = self.limits.clone();
        let client = self.at(slot);
        if client.is_kept_waiting() {
            // It is not read from meanwhile, so that it cannot be said to be silent.
            (client.heard_us, client.ping) = (now.mono_us, PingState::None);
            client.since_us = now.mono_us;
            return Some(now.mono_us + limits.ping_us.min(limits.stall_us / 4).min(limits.idle_us));
        }
        let idle_at_us = if client.subs.is_empty() { client.since_us + limits.idle_us } else { u64::MAX };
        if now.mono_us >= idle_at_us {
            self.close(slot, CloseReason::Idle, now);
            self.advance(slot, net, now);
            return None;
        }
        let client = self.at(slot);
        let ping_at_us = match client.ping {
            PingState::Waiting { since_us, .. }
                if client.heard_us >= since_us || client.moved_us >= since_us =>
            {
                client.ping = PingState::None;
                client.heard_us.max(client.moved_us) + limits.ping_us
            }
            PingState::Waiting { since_us, .. } => since_us + limits.pong_us,
            PingState::Sending => now.mono_us + limits.pong_us,
            PingState::None => client.heard_us.max(client.moved_us) + limits.ping_us,
        };
        if now.mono_us < ping_at_us {
            return Some(ping_at_us.min(idle_at_us).min(now.mono_us + limits.stall_us / 4));
        }
        if let PingState::Waiting { .. } = client.ping {
            // The last word is the socket's: its send queue may still be shrinking.
            net.query_unsent(client.id);
        } else {
            client.ping = PingState::Sending;
            self.send(slot, bytes::Bytes::from_static(PING), net, now);
        }
        Some(now.mono_us + limits.pong_us.min(limits.stall_us / 4))
    }

    /// The socket's send queue: first right after the ping went out, later when no pong came in time.
    pub(super) fn on_unsent(&mut self, conn: ConnId, bytes: u32, net: &mut impl Sockets, now: Now) {
        let pong_us = self.limits.pong_us;
        let Some(client) = self.client(conn) else { return };
        let PingState::Waiting { since_us, unsent } = client.ping else { return };
        match unsent {
            None => client.ping = PingState::Waiting { since_us, unsent: Some(bytes) },
            Some(_) if now.mono_us < since_us + pong_us || client.heard_us >= since_us => {}
            Some(_) if client.is_kept_waiting() => {}
            Some(before) if bytes < before => {
                client.ping = PingState::Waiting { since_us: now.mono_us, unsent: Some(bytes) };
            }
            Some(_) => {
                self.close(conn.slot, CloseReason::PingTimeout, now);
                self.advance(conn.slot, net, now);
            }
        }
    }
}
