//! What a connection's timers want: handshake, stall, idle, ping and pong, linger, leaving in a drain.
//!
//! A connection has one timer. When it fires, all that could be due is looked at and the timer is set to the
//! next of it, so nothing is done when bytes come or go.

use bytes::Bytes;

use super::{
    ClientLimits, CloseReason, Connection, State,
    ping::{self, Ping},
};
use crate::{
    clock::Now,
    protocol::{encoding::Encoding, event},
};

/// For a connection that is only refused to send its request head, and again to take the answer.
const REFUSED_US: u64 = 1_000_000;
/// How long input is discarded after a half-close.
const LINGER_US: u64 = 1_000_000;
/// For a connection that only got as far as being accepted: it must not hold up a drain for `handshake`.
const DRAIN_HANDSHAKE_US: u64 = 1_000_000;
/// A client of server-sent events that was sent nothing for so long gets a comment: proxies end what is silent.
const SILENCE_US: u64 = 15_000_000;
/// How often a busy client that should leave is looked at.
pub const DRAIN_CHECK_US: u64 = 20_000;

/// What the deadlines of a connection depend on beside itself.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub limits: &'a ClientLimits,
    /// The gateway let it in only to refuse its request.
    pub is_refused: bool,
    pub is_subscribed: bool,
    /// When it has reached its age. µs, monotonic.
    pub aged_us: u64,
    /// While the gateway is draining, or it leaves by itself.
    pub drain: Option<Leaving>,
}

/// Of a drain, µs, monotonic.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    /// When it began.
    pub start_us: u64,
    /// When the client is to leave.
    pub leave_us: u64,
}

impl Leaving {
    /// Of who leaves without a drain.
    pub const NOW: Self = Self { start_us: 0, leave_us: 0 };
}

/// What a connection's timers want. Times are µs, monotonic: when to look again.
#[derive(Debug)]
pub enum Due {
    Nothing {
        again_us: u64,
    },
    /// It is going: its timer is not set again.
    Never,
    HangUp(CloseReason),
    Close(CloseReason),
    Send {
        bytes: Bytes,
        again_us: u64,
    },
    QueryUnsent {
        again_us: u64,
    },
    /// It has reached its age.
    Age,
    /// It is to leave now.
    Leave,
}

impl Due {
    /// The same, and to be looked at again by then.
    fn by(self, at_us: u64) -> Self {
        match self {
            Due::Nothing { again_us } => Due::Nothing { again_us: again_us.min(at_us) },
            Due::Send { bytes, again_us } => Due::Send { bytes, again_us: again_us.min(at_us) },
            Due::QueryUnsent { again_us } => Due::QueryUnsent { again_us: again_us.min(at_us) },
            Due::Never | Due::HangUp(_) | Due::Close(_) | Due::Age | Due::Leave => self,
        }
    }
}

impl Connection {
    /// What is due now.
    pub fn due(&mut self, terms: Terms<'_>, now: Now) -> Due {
        let stall_us = terms.limits.stall_us;
        let is_refused = self.reason == Some(CloseReason::Refused);
        let (reason, at_us) = match (self.state, self.send_progress_us()) {
            (State::Connecting, _) => (CloseReason::HandshakeTimeout, self.first_due_us(terms, now)),
            (State::Closing, _) if self.is_half_closed => {
                (CloseReason::ClientClosed, self.first_due_us(terms, now))
            }
            (State::Closing, _) if is_refused => (CloseReason::Refused, self.first_due_us(terms, now)),
            (State::Open, progress_us) => {
                let due = self.due_when_open(progress_us, terms, now);
                let is_going = terms.drain.is_some();
                return if is_going { due } else { due.by(terms.aged_us.min(self.silent_at_us(terms))) };
            }
            (State::Closing, Some(progress_us)) => (CloseReason::Stalled, progress_us + stall_us),
            (State::Closing, None) => (CloseReason::Stalled, self.first_due_us(terms, now)),
            (State::Closed, _) => return Due::Never,
        };
        if now.mono_us < at_us {
            // A send in flight may end and leave something else to be looked at.
            let again_us = if terms.drain.is_some() { DRAIN_CHECK_US } else { stall_us / 4 };
            return Due::Nothing { again_us: at_us.min(now.mono_us + again_us) };
        }
        Due::HangUp(reason)
    }

    /// When a connection that has just come to its state is first looked at.
    pub fn first_due_us(&self, terms: Terms<'_>, now: Now) -> u64 {
        let Terms { limits, is_refused, drain, .. } = terms;
        match self.state {
            State::Connecting => {
                let patience_us = if is_refused { REFUSED_US } else { u64::MAX }.min(limits.handshake_us);
                let drain_us = drain.map(|drain| drain.start_us.max(self.since_us) + DRAIN_HANDSHAKE_US);
                (self.since_us + patience_us).min(drain_us.unwrap_or(u64::MAX))
            }
            State::Open => {
                let look_us = if self.is_stream() { ping::look_us(limits) } else { limits.ping_us };
                let soon_us = now.mono_us + limits.idle_us.min(look_us).min(limits.stall_us / 4);
                soon_us.min(terms.aged_us).min(now.mono_us.saturating_add(limits.silent_us))
            }
            State::Closing if self.is_half_closed => self.since_us + LINGER_US,
            State::Closing if self.reason == Some(CloseReason::Refused) => {
                self.since_us + REFUSED_US.min(limits.stall_us)
            }
            State::Closing => self.since_us + limits.stall_us,
            State::Closed => u64::MAX,
        }
    }

    /// `progress_us`: when the send in flight last moved.
    fn due_when_open(&mut self, progress_us: Option<u64>, terms: Terms<'_>, now: Now) -> Due {
        let (limits, now_us) = (terms.limits, now.mono_us);
        let stalled_at_us = progress_us.map_or(u64::MAX, |progress_us| progress_us + limits.stall_us);
        if now_us >= stalled_at_us {
            return Due::HangUp(CloseReason::Stalled);
        }
        if let Some(drain) = terms.drain {
            return match now_us < drain.leave_us {
                true => Due::Nothing { again_us: drain.leave_us.min(stalled_at_us) },
                false => Due::Leave,
            };
        }
        if now_us >= terms.aged_us {
            return Due::Age;
        }
        if self.is_stream() {
            return self.due_of_stream(stalled_at_us, terms, now);
        }
        if self.is_held() && progress_us.is_none() {
            // It is not read from meanwhile, so that it cannot be said to be silent.
            (self.heard_us, self.ping, self.since_us) = (now_us, Ping::None, now_us);
            let again_us = now_us + limits.ping_us.min(limits.stall_us / 4).min(limits.idle_us);
            return Due::Nothing { again_us };
        }
        let may_idle = !terms.is_subscribed && !self.is_held();
        let idle_at_us = if may_idle { self.since_us + limits.idle_us } else { u64::MAX };
        if now_us >= idle_at_us {
            return Due::Close(CloseReason::Idle);
        }
        if now_us >= self.silent_at_us(terms) {
            return Due::Close(CloseReason::Silent);
        }
        if progress_us.is_some() {
            // It may end and leave something else to be looked at.
            let again_us = stalled_at_us.min(idle_at_us).min(now_us + limits.stall_us / 4);
            return Due::Nothing { again_us };
        }
        let ping_at_us = self.ping_due_us(limits, now);
        if now_us < ping_at_us {
            let again_us = ping_at_us.min(idle_at_us).min(now_us + limits.stall_us / 4);
            return Due::Nothing { again_us };
        }
        let again_us = now_us + limits.pong_us.min(limits.stall_us / 4);
        if let Ping::Waiting { .. } = self.ping {
            // The last word is the socket's: its send queue may still be shrinking.
            return Due::QueryUnsent { again_us };
        }
        self.ping = Ping::Sending;
        Due::Send { bytes: self.begin_send(Bytes::from_static(ping::FRAME), now), again_us }
    }

    /// The client says nothing, so what tells that it is there is that something leaves the send queue.
    fn due_of_stream(&mut self, stalled_at_us: u64, terms: Terms<'_>, now: Now) -> Due {
        let (limits, now_us) = (terms.limits, now.mono_us);
        let may_idle = !terms.is_subscribed && !self.is_held();
        let idle_at_us = if may_idle { self.since_us + limits.idle_us } else { u64::MAX };
        if now_us >= idle_at_us {
            return Due::Close(CloseReason::Idle);
        }
        let again_us = stalled_at_us.min(idle_at_us).min(now_us + ping::look_us(limits));
        let is_sse = matches!(self.wire.encoding, Encoding::Sse { .. });
        if is_sse && self.is_free() && now_us >= self.progress_us.saturating_add(SILENCE_US) {
            return Due::Send { bytes: self.begin_send(Bytes::from_static(event::COMMENT), now), again_us };
        }
        match self.ping {
            Ping::Waiting { since_us, .. } if now_us < since_us + limits.pong_us => {
                Due::Nothing { again_us: again_us.min(since_us + limits.pong_us) }
            }
            // Nothing was sent since it was seen to be there.
            Ping::None if self.progress_us < self.heard_us => Due::Nothing { again_us },
            Ping::None | Ping::Sending | Ping::Sent { .. } => {
                self.ping = Ping::Waiting { since_us: now_us, unsent: None };
                Due::QueryUnsent { again_us }
            }
            Ping::Waiting { .. } => Due::QueryUnsent { again_us },
        }
    }

    /// When a subscriber has sent no byte for too long; never while it is not read from.
    fn silent_at_us(&self, terms: Terms<'_>) -> u64 {
        let is_read = terms.is_subscribed && !self.is_held() && !self.is_paused && !self.is_stream();
        if is_read { self.heard_us.saturating_add(terms.limits.silent_us) } else { u64::MAX }
    }

    /// When it is to be pinged, or should have answered a ping.
    fn ping_due_us(&mut self, limits: &ClientLimits, now: Now) -> u64 {
        let alive_us = self.heard_us.max(self.moved_us);
        match self.ping {
            Ping::Sending => now.mono_us + limits.pong_us,
            Ping::Sent { since_us } | Ping::Waiting { since_us, .. } if alive_us < since_us => {
                since_us + limits.pong_us
            }
            Ping::None | Ping::Sent { .. } | Ping::Waiting { .. } => {
                self.ping = Ping::None;
                alive_us + limits.ping_us
            }
        }
    }

    /// The socket's send queue, in bytes: first right after the ping went out, later when no pong came in
    /// time. `Some`: the client is gone, and is to be closed for that; over HTTP it is to be hung up.
    pub fn unsent(&mut self, bytes: u32, limits: &ClientLimits, now: Now) -> Option<CloseReason> {
        let Ping::Waiting { since_us, unsent } = self.ping else { return None };
        if self.is_stream() {
            return self.unsent_of_stream(bytes, since_us, unsent, limits, now);
        }
        match unsent {
            None => self.ping = Ping::Waiting { since_us, unsent: Some(bytes) },
            Some(_) if now.mono_us < since_us + limits.pong_us || self.heard_us >= since_us => {}
            Some(_) if self.is_held() => {}
            Some(before) if bytes < before => {
                self.ping = Ping::Waiting { since_us: now.mono_us, unsent: Some(bytes) };
            }
            Some(_) => return Some(CloseReason::PingTimeout),
        }
        None
    }

    /// `before`: what the send queue would be if nothing had left it since it was last looked at.
    fn unsent_of_stream(
        &mut self,
        bytes: u32,
        since_us: u64,
        before: Option<u32>,
        limits: &ClientLimits,
        now: Now,
    ) -> Option<CloseReason> {
        let has_shrunk = before.is_some_and(|before| bytes < before);
        if bytes == 0 || has_shrunk {
            self.heard_us = now.mono_us;
        }
        match before {
            _ if bytes == 0 => self.ping = Ping::None,
            Some(_) if !has_shrunk && now.mono_us >= since_us + limits.pong_us => {
                return Some(CloseReason::Stalled);
            }
            Some(_) if !has_shrunk => {}
            _ => self.ping = Ping::Waiting { since_us: now.mono_us, unsent: Some(bytes) },
        }
        None
    }
}
