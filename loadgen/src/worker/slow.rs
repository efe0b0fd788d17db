//! Slow and stalled readers: from when on they are, and how they read.

use std::cmp::Reverse;

use net::{ConnId, Sockets};

use super::{
    Due, Worker,
    manner::{self, Manner},
};

impl Worker {
    /// Sets the moment from which a connection is slow or stalled. `begin_us`: of the window.
    pub(super) fn plan_to_hold_back(&mut self, index: u32, begin_us: u64) {
        let client = &self.clients[index as usize];
        if client.manner == Manner::Full {
            return;
        }
        let (_, place) = manner::of(&self.args, self.global(index));
        let stagger_us = self.args.stagger.map_or(0.0, |stagger| stagger.as_micros() as f64);
        let from_us = begin_us + (stagger_us * place) as u64;
        self.timers.push(Reverse((from_us, index, client.attempt, Due::HoldBack)));
        if client.manner == Manner::Stalled
            && let Some(stall_for) = self.args.stall_for
        {
            let until_us = from_us + stall_for.as_micros() as u64;
            self.timers.push(Reverse((until_us, index, client.attempt, Due::Release)));
        }
    }

    pub(super) fn hold_back(&mut self, index: u32, conn: ConnId) {
        let client = &mut self.clients[index as usize];
        client.held_back = true;
        if client.manner == Manner::Stalled {
            self.sockets.pause_receive(conn);
        }
    }

    pub(super) fn release(&mut self, index: u32, conn: ConnId) {
        self.clients[index as usize].held_back = false;
        self.sockets.resume_receive(conn);
    }

    /// A slow reader pauses after every piece for as long as it would have taken to read it.
    pub(super) fn slow_down(&mut self, index: u32, conn: ConnId, received_bytes: u64, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if !client.held_back || client.manner != Manner::Slow {
            return;
        }
        self.sockets.pause_receive(conn);
        let pause_us = received_bytes * 1_000_000 / self.args.slow_bytes_per_s;
        client.read_from_us = client.read_from_us.max(now_us) + pause_us;
        self.timers.push(Reverse((client.read_from_us, index, client.attempt, Due::Resume)));
    }
}
