//! Hostile connections of a worker: when they connect, what their events bring about, how they ended.

use std::cmp::Reverse;

use net::{Close, ConnId, Event, Sockets};

use super::{Due, Worker, source};
use crate::args::Hostile;

/// Between two bytes of a slow handshake.
const SLOW_STEP_US: u64 = 1_000_000;
/// Until the next connect, and as much again at random.
const AGAIN_US: u64 = 500_000;

impl Worker {
    /// Which foe an event is of.
    pub(super) fn foe(&self, event: &Event) -> Option<usize> {
        if self.foes.is_empty() {
            return None;
        }
        let (Event::Connected { conn, .. }
        | Event::Received { conn, .. }
        | Event::ReceiveEnded { conn, .. }
        | Event::Sent { conn, .. }
        | Event::SendFailed { conn, .. }
        | Event::Closed { conn }) = event
        else {
            return None;
        };
        let index = *self.by_slot.get(conn.slot as usize)? as usize;
        let at = index.checked_sub(self.clients.len())?;
        (self.foes.get(at)?.conn == Some(*conn)).then_some(at)
    }

    /// All foes come within a second.
    pub(super) fn let_foes_loose(&mut self, now_us: u64) {
        for at in 0..self.foes.len() {
            self.foe_due(at, now_us + fastrand::u64(..1_000_000));
        }
    }

    fn foe_due(&mut self, at: usize, due_us: u64) {
        let index = (self.clients.len() + at) as u32;
        self.timers.push(Reverse((due_us, index, self.foes[at].attempt, Due::Foe)));
    }

    /// Its next connect, or the next byte of its handshake.
    pub(super) fn foe_elapsed(&mut self, at: usize, attempt: u32, now_us: u64) {
        let foe = &mut self.foes[at];
        if foe.attempt != attempt {
            return;
        }
        if let Some(conn) = foe.conn {
            let byte = foe.step();
            if !byte.is_empty() {
                self.sockets.send(conn, byte);
                self.foe_due(at, now_us + SLOW_STEP_US);
            }
            return;
        }
        let global = self.args.connections as usize + self.thread + at * self.threads;
        let addrs = &self.args.url.addrs;
        let addr = addrs[global % addrs.len()];
        match self.sockets.connect(source::address(&self.args, global, addr), addr) {
            Some(conn) => {
                self.foes[at].connecting(conn, global as u32, &self.args);
                self.by_slot[conn.slot as usize] = (self.clients.len() + at) as u32;
            }
            // The slot that it had is not free yet.
            None => self.foe_due(at, now_us + AGAIN_US),
        }
    }

    pub(super) fn foe_event(&mut self, at: usize, event: Event, now_us: u64) {
        match event {
            Event::Connected { conn, result: Ok(()) } => {
                let opening = self.foes[at].opening();
                if !opening.is_empty() {
                    self.sockets.send(conn, opening);
                } else if self.foes[at].kind == Hostile::SlowHandshake {
                    self.foe_due(at, now_us);
                }
            }
            Event::Connected { result: Err(error), .. } => {
                self.foes[at].told = Some(format!("connect: {error}"));
            }
            Event::Received { conn, mut bytes } => self.foe_received(at, conn, &mut bytes),
            Event::ReceiveEnded { conn, error } => {
                let how = error.map_or("end of stream".into(), |error| error.to_string());
                self.foes[at].told.get_or_insert(how);
                self.sockets.close(conn, Close::Orderly);
            }
            Event::Closed { .. } => {
                let foe = &mut self.foes[at];
                foe.conn = None;
                let how = foe.told.take().unwrap_or_else(|| "its send failed".into());
                self.tally.hostile_ended(foe.kind.name(), &how);
                self.foe_due(at, now_us + AGAIN_US + fastrand::u64(..AGAIN_US));
            }
            Event::SendFailed { conn, .. } => self.sockets.close(conn, Close::Orderly),
            _ => {}
        }
    }

    fn foe_received(&mut self, at: usize, conn: ConnId, bytes: &mut [u8]) {
        if self.foes[at].receive(bytes) {
            // The request was answered, so it was sent: no send is in flight.
            let attack = self.foes[at].attack();
            self.sockets.send(conn, attack);
        }
    }

    /// The run is over.
    pub(super) fn count_foes_left(&mut self) {
        for foe in &mut self.foes {
            if let Some(conn) = foe.conn {
                self.tally.hostile_ended(foe.kind.name(), "still open at the end");
                self.sockets.close(conn, Close::Reset);
            }
        }
    }
}
