//! What a worker does when something happened on its sockets.

use std::{cmp::Reverse, io, sync::atomic::Ordering::Relaxed, time::Duration};

use net::{Close, ConnId, Event, Events, Sockets};

use super::{
    BACKOFF_US, CLOSE_US, Due, Worker,
    client::{Leave, Phase},
    is_ready,
    reader::Context,
};
use crate::{args::raws::Raws, measure::arrival::Arrival};

impl Worker {
    pub(super) fn harvest(&mut self) {
        // What the wait brought had arrived by now; what comes while it is handled is seen by the next.
        let arrival = self.shared.arrival();
        let now_us = self.shared.now_us();
        let measured = self.shared.is_measured(now_us);
        let mut any = false;
        while let Some(event) = self.sockets.next() {
            any = true;
            match self.foe(&event) {
                None => self.handle(event, arrival, now_us),
                Some(at) => self.foe_event(at, event, now_us),
            }
        }
        if any && measured {
            self.tally.turn.record(self.shared.now_us() - now_us);
        }
    }

    fn handle(&mut self, event: Event, arrival: Arrival, now_us: u64) {
        match event {
            Event::Connected { conn, result } => self.connected(conn, result),
            Event::Received { conn, mut bytes } => self.received(conn, &mut bytes, arrival, now_us),
            Event::ReceiveEnded { conn, error } => {
                let Some(index) = self.index(conn) else { return };
                let client = &self.clients[index as usize];
                if client.leave == Leave::No && client.phase != Phase::Closing {
                    let how =
                        error.map_or("end of stream without a close frame".into(), |error| error.to_string());
                    let early = !client.established;
                    let kinds = if early { &mut self.tally.failures } else { &mut self.tally.closes };
                    kinds.add(&how, 1);
                }
                self.sockets.close(conn, Close::Orderly);
            }
            Event::Sent { conn, done, .. } => {
                let Some(index) = self.index(conn) else { return };
                if done {
                    self.sent(index, conn);
                }
            }
            Event::SendFailed { conn, .. } => self.sockets.close(conn, Close::Orderly),
            Event::Closed { conn } => self.closed(conn, now_us),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Unsent { .. } => {}
        }
    }

    fn connected(&mut self, conn: ConnId, result: io::Result<()>) {
        let Some(index) = self.index(conn) else { return };
        let client = &mut self.clients[index as usize];
        match result {
            Ok(()) => {
                client.unreached = 0;
                client.connected(&self.args, &self.interests);
                self.flush(index);
            }
            Err(error) => {
                // Else the next address is tried.
                if usize::from(client.unreached) + 1 >= self.args.url.addrs.len() {
                    self.tally.failures.add(&format!("connect: {error}"), 1);
                }
            }
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &mut [u8], arrival: Arrival, now_us: u64) {
        let Some(index) = self.index(conn) else { return };
        let measured = self.shared.is_measured(now_us);
        // What TLS has received since the last message stands for it.
        let received = self.sockets.counters().received_bytes;
        let sealed = received - std::mem::replace(&mut self.sealed_bytes, received);
        if measured {
            self.tally.wire_bytes += if self.args.tls.is_some() { sealed } else { bytes.len() as u64 };
        }
        let mut context = Context {
            args: &self.args,
            interests: &mut self.interests,
            inflations: &mut self.inflations,
            cache: &mut self.cache,
            tally: &mut self.tally,
            second: &mut self.second,
            arrival,
            now_us,
            begin_us: self.shared.begin_us.load(Relaxed),
            measured,
        };
        let client = &mut self.clients[index as usize];
        let before = client.phase;
        let goes_on = client.receive(bytes, &mut context);
        let upgraded = before == Phase::Handshake && client.phase != Phase::Handshake;
        let ready = before != client.phase && is_ready(&self.args, client);
        if upgraded {
            self.upgraded(index, now_us);
        }
        let waits = self.args.raw.as_ref().is_some_and(Raws::waits);
        if if waits { ready } else { upgraded } {
            self.established(index, now_us);
        }
        if ready {
            self.ready(index, now_us);
        }
        self.slow_down(index, conn, bytes.len() as u64, now_us);
        self.flush(index);
        if !goes_on {
            self.end(index, conn, now_us);
        }
    }

    fn upgraded(&mut self, index: u32, now_us: u64) {
        let client = &self.clients[index as usize];
        self.connecting -= 1;
        self.shared.open.fetch_add(1, Relaxed);
        if !client.known {
            self.tally.handshake.record(now_us.saturating_sub(client.intended_us));
        }
    }

    fn established(&mut self, index: u32, now_us: u64) {
        let client = &mut self.clients[index as usize];
        client.established = true;
        if std::mem::replace(&mut client.known, true) {
            self.tally.returned += 1;
            return;
        }
        self.tally.established += 1;
        self.shared.established.fetch_add(1, Relaxed);
        self.shared.established_us.fetch_max(now_us, Relaxed);
    }

    /// The first answer of a connection is whole.
    fn ready(&mut self, index: u32, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if !std::mem::replace(&mut client.decided, true) {
            self.shared.ready.fetch_add(1, Relaxed);
            self.tally.snapshot.record(now_us.saturating_sub(client.intended_us));
        }
        if std::mem::take(&mut client.cut) {
            self.tally.restart.back(now_us);
        }
        client.tries = 0;
        client.pace.from_us = now_us;
        if let Some(begin_us) = self.window_us {
            self.plan_to_hold_back(index, begin_us);
        }
    }

    /// The peer closed, refused or broke the protocol: what is queued may still leave.
    fn end(&mut self, index: u32, conn: ConnId, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if client.sending {
            client.ending = true;
            self.timers.push(Reverse((now_us + CLOSE_US, index, client.attempt, Due::Deadline)));
        } else {
            self.sockets.close(conn, Close::Orderly);
        }
    }

    fn closed(&mut self, conn: ConnId, now_us: u64) {
        let Some(index) = self.index(conn) else { return };
        let client = &mut self.clients[index as usize];
        let (leave, phase) = (client.leave, client.phase);
        let upgraded = !matches!(phase, Phase::Connecting | Phase::Handshake);
        let established = std::mem::take(&mut client.established);
        if phase == Phase::Connecting {
            client.detour = client.detour.wrapping_add(1);
            client.unreached = client.unreached.saturating_add(1);
        }
        let returns = client.known && (!established || self.args.reconnect) && !client.barred;
        client.disconnected(leave == Leave::Resume || leave == Leave::No && returns);
        if upgraded {
            self.shared.open.fetch_sub(1, Relaxed);
        } else {
            self.connecting -= 1;
        }
        match leave {
            Leave::Replace | Leave::Resume => self.again.push_back(index),
            Leave::ForGood => {}
            Leave::No if (1..self.args.url.addrs.len()).contains(&usize::from(client.unreached)) => {
                self.again.push_back(index);
                return;
            }
            Leave::No => {
                client.unreached = 0;
                if established {
                    self.tally.closed += 1;
                    self.tally.restart.cut(now_us);
                    client.cut = true;
                }
                if returns || !client.known && u32::from(client.tries) < self.args.retry {
                    self.retry(index, now_us);
                    return;
                }
                self.tally.failed += u64::from(!client.known);
            }
        }
        // The window waits for every first connection: ready, or never to be.
        if !std::mem::replace(&mut client.decided, true) {
            self.shared.failed.fetch_add(1, Relaxed);
        }
    }

    /// Has a connection tried again after a while: what the server asked for, else a back-off with
    /// full jitter, so that those who were cut together do not come back together.
    fn retry(&mut self, index: u32, now_us: u64) {
        let client = &mut self.clients[index as usize];
        let most_us = (BACKOFF_US.0 << client.tries.min(16)).min(BACKOFF_US.1);
        let asked_us = u64::from(std::mem::take(&mut client.after_ms)) * 1000;
        let due_us = now_us + if asked_us > 0 { asked_us } else { fastrand::u64(..most_us) };
        client.tries = client.tries.saturating_add(1);
        self.tally.retries += 1;
        self.timers.push(Reverse((due_us, index, client.attempt, Due::Retry)));
    }

    /// Closes all connections with 1000 and waits a little for the answers.
    pub(super) fn say_goodbye(&mut self) -> io::Result<()> {
        self.count_foes_left();
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            client.leave = Leave::ForGood;
            match (client.phase, client.conn) {
                (Phase::Open | Phase::Ready, Some(conn)) if client.is_stream() => {
                    self.sockets.close(conn, Close::Orderly);
                }
                (Phase::Open | Phase::Ready, _) => client.close(1000),
                (_, Some(conn)) => self.sockets.close(conn, Close::Reset),
                _ => {}
            }
            self.flush(index as u32);
        }
        let end_us = self.shared.now_us() + CLOSE_US;
        while self.sockets.open() > 0 && self.shared.now_us() < end_us {
            self.sockets.inner().wait(Some(Duration::from_millis(20)))?;
            while let Some(event) = self.sockets.next() {
                match event {
                    Event::Sent { conn, done: true, .. } => {
                        if let Some(index) = self.index(conn) {
                            self.sent(index, conn);
                        }
                    }
                    Event::ReceiveEnded { conn, .. } => self.sockets.close(conn, Close::Orderly),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn sent(&mut self, index: u32, conn: ConnId) {
        self.clients[index as usize].sending = false;
        self.flush(index);
        let client = &self.clients[index as usize];
        if client.ending && !client.sending {
            self.sockets.close(conn, Close::Orderly);
        }
    }
}
