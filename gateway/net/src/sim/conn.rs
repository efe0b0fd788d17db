//! One connection in memory: what lies on its way either way, and what can happen to it next.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes};

use super::buf::Returned;
use crate::socket::{ConnId, Event, RecvBuf, RecvBytes};

#[derive(Debug, Default)]
pub struct Conn {
    pub active: bool,
    pub events: VecDeque<Event>,
    pub closing: bool,
    pub closed: bool,
    // Towards us.
    pub inbound: VecDeque<u8>,
    pub peer_closed: bool,
    pub peer_reset: bool,
    pub paused: bool,
    /// The program holds what was received last, or is about to.
    pub lent: bool,
    pub ended: bool,
    // Towards the peer.
    pub sending: Option<Bytes>,
    /// Of the send in flight, until the program has read its last event.
    pub held_bytes: Option<usize>,
    pub kernel: VecDeque<u8>,
    pub window_bytes: usize,
    pub shut: bool,
    pub reset: bool,
    pub querying: bool,
}

impl Conn {
    pub fn peer_can_send(&self) -> bool {
        !self.peer_closed && !self.peer_reset && !self.closing && !self.closed
    }

    pub fn can_receive(&self) -> bool {
        !self.paused
            && !self.lent
            && !self.ended
            && (!self.inbound.is_empty() || self.peer_closed || self.peer_reset)
    }

    pub fn can_send(&self) -> bool {
        self.sending.is_some() && (self.peer_reset || self.window_bytes > self.kernel.len())
    }

    pub fn receive(&mut self, conn: ConnId, rng: &mut fastrand::Rng, max: usize, returned: &Returned) {
        if self.inbound.is_empty() {
            self.ended = true;
            let error = self.peer_reset.then(|| io::ErrorKind::ConnectionReset.into());
            self.events.push_back(Event::ReceiveEnded { conn, error });
            return;
        }
        let count = rng.usize(1..=self.inbound.len().min(max));
        let bytes: Vec<u8> = self.inbound.drain(..count).collect();
        self.lent = true;
        let bytes = RecvBuf { inner: RecvBytes::Sim(returned.lend(conn, bytes)) };
        self.events.push_back(Event::Received { conn, bytes });
    }

    pub fn send(&mut self, conn: ConnId, rng: &mut fastrand::Rng, max: usize) {
        let mut rest = self.sending.take().expect("only who sends something can send");
        if self.peer_reset || self.shut {
            let error = if self.shut { io::ErrorKind::BrokenPipe } else { io::ErrorKind::ConnectionReset };
            return self.events.push_back(Event::SendFailed { conn, error: error.into() });
        }
        let room = self.window_bytes - self.kernel.len();
        let most = rest.len().min(room).min(max);
        // Mostly the kernel takes all that fits.
        let count = if most == 0 || rng.bool() { most } else { rng.usize(1..=most) };
        self.kernel.extend(rest.split_to(count));
        let done = !rest.has_remaining();
        if !done {
            self.sending = Some(rest);
        }
        self.events.push_back(Event::Sent { conn, bytes: count as u32, done });
    }

    pub fn answer(&mut self, conn: ConnId) {
        self.querying = false;
        self.events.push_back(Event::Unsent { conn, bytes: self.kernel.len() as u32 });
    }
}
