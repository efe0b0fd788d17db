//! What a worker does by the clock: connects, timers, and connections that leave at a rate.

use std::{cmp::Reverse, net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use net::{Close, ConnId, Sockets};

use super::{
    BACKOFF_US, CLOSE_US, Due, Worker,
    client::{Leave, Phase},
    is_ready,
    manner::Manner,
    rate::Rate,
    source,
};
use crate::{args::template::Fill, measure::arrival::wall_us, server::tls::Tls};

/// Connects under way at once, so that the listener's backlog is not overrun.
const CONNECTING_MAX: usize = 256;
/// From the connect to the end of the first answer.
const SETUP_US: u64 = 10_000_000;
/// Moments that other threads set are noticed within this time.
const WAIT_US_MAX: u64 = 20_000;
/// Connections looked at for one that can be pinged.
const PING_TRIES: usize = 64;
/// Progress is handed over this often.
const SECOND_US: u64 = 250_000;

impl Worker {
    pub(super) fn sleep(&self, now_us: u64) -> Duration {
        let timer_us = self.timers.peek().map_or(u64::MAX, |Reverse((due_us, ..))| *due_us);
        let due_us = timer_us.min(self.next_connect_us()).min(self.next_second_us).min(now_us + WAIT_US_MAX);
        Duration::from_micros(due_us.min(self.next_by_rate_us()).saturating_sub(now_us))
    }

    /// When the next thing is due that is done at a rate within the window.
    fn next_by_rate_us(&self) -> u64 {
        let next_us = [&self.churn, &self.resume, &self.pings].map(Rate::next_us).into_iter().min();
        let within = self.window_us.filter(|_| self.at_end.is_none());
        within.zip(next_us).map_or(u64::MAX, |(begin_us, next_us)| begin_us.saturating_add(next_us))
    }

    /// When the next first connect is due.
    fn next_connect_us(&self) -> u64 {
        if self.begun == self.clients.len() || self.connecting >= CONNECTING_MAX {
            return u64::MAX;
        }
        self.intended_us(self.begun).unwrap_or(0)
    }

    /// When the first connect of this thread's client `index` is meant to start; `None`: as soon as can be.
    fn intended_us(&self, index: usize) -> Option<u64> {
        let global = self.global(index as u32) as u64;
        let ramp_us = self.args.ramp.as_micros() as u64;
        (ramp_us > 0).then(|| ramp_us * global / u64::from(self.args.connections))
    }

    pub(super) fn schedule(&mut self, now_us: u64) {
        while let Some(&Reverse((due_us, index, attempt, due))) = self.timers.peek()
            && due_us <= now_us
        {
            self.timers.pop();
            self.elapsed(index, attempt, due, now_us, due_us);
        }
        while self.next_connect_us() <= now_us {
            let intended_us = self.intended_us(self.begun).unwrap_or(now_us);
            self.begun += 1;
            self.connect(self.begun as u32 - 1, intended_us, now_us);
        }
        while self.connecting < CONNECTING_MAX
            && let Some(index) = self.again.pop_front()
        {
            self.connect(index, now_us, now_us);
        }
        if self.window_us.is_none() && now_us >= self.shared.begin_us.load(Relaxed) {
            self.begin_window(now_us);
        }
        if let Some(begin_us) = self.window_us
            && now_us < self.shared.end_us.load(Relaxed)
        {
            self.leave(now_us, now_us - begin_us);
            self.ping(begin_us, now_us - begin_us);
        }
        if self.at_end.is_none() && now_us >= self.shared.end_us.load(Relaxed) {
            self.end_window();
        }
        if now_us >= self.next_second_us {
            self.next_second_us = now_us + SECOND_US;
            self.shared.interval_ms.fetch_max(self.tally.interval_ms, Relaxed);
            let mut shared = self.shared.seconds[self.thread].lock().expect("no thread panics with it");
            shared.take(&mut self.second);
        }
    }

    fn elapsed(&mut self, index: u32, attempt: u32, due: Due, now_us: u64, due_us: u64) {
        if due == Due::Foe {
            return self.foe_elapsed(index as usize - self.clients.len(), attempt, now_us);
        }
        let client = &mut self.clients[index as usize];
        if client.attempt != attempt {
            return;
        }
        match (due, client.conn) {
            (Due::Resume, Some(conn)) if client.read_from_us <= now_us => self.sockets.resume_receive(conn),
            (Due::HoldBack, Some(conn)) if self.at_end.is_none() && is_ready(&self.args, client) => {
                self.hold_back(index, conn)
            }
            (Due::Release, Some(conn)) => self.release(index, conn),
            (Due::Retry, None) => self.again.push_back(index),
            (Due::Say, Some(_)) => self.say(index, now_us, due_us),
            (Due::Deadline, Some(conn)) if client.phase == Phase::Closing || client.ending => {
                self.sockets.close(conn, Close::Reset)
            }
            (Due::Deadline, Some(conn)) if !is_ready(&self.args, client) => {
                let what = match client.phase {
                    Phase::Connecting => "no answer to the connect within 10 s",
                    Phase::Handshake => "no answer to the handshake within 10 s",
                    _ if self.args.raw.is_some() => "no message that --ready waits for within 10 s",
                    _ => "no answer to the subscribe within 10 s",
                };
                self.tally.failures.add(what, 1);
                self.sockets.close(conn, Close::Reset);
            }
            _ => {}
        }
    }

    /// Repeats `--repeat` or `--send` as it was due, however late it is, and sets the next time.
    fn say(&mut self, index: u32, now_us: u64, due_us: u64) {
        let Some((raw, every_us)) = self.args.raw.as_ref().and_then(|raw| Some((raw, raw.send_every_us?)))
        else {
            return;
        };
        let client = &mut self.clients[index as usize];
        self.timers.push(Reverse((due_us + every_us, index, client.attempt, Due::Say)));
        if !is_ready(&self.args, client) {
            return;
        }
        let connection = (self.thread + index as usize * self.threads) as u32;
        let topics = self.interests.topics(&self.args, connection, client.group);
        let now_us = wall_us() - (now_us - due_us);
        let fill = Fill { conn: connection, now_us, topics: &topics, ..Fill::default() };
        if !client.say_again(&raw.repeat, &fill) {
            self.tally.errors.add("by us: a --send left out, the server does not read", 1);
        }
        self.flush(index);
    }

    fn connect(&mut self, index: u32, intended_us: u64, now_us: u64) {
        let (global, addrs) = (self.global(index), &self.args.url.addrs);
        let client = &mut self.clients[index as usize];
        let addr = addrs[(global + usize::from(client.detour)) % addrs.len()];
        let source: Option<SocketAddr> = source::address(&self.args, global, addr);
        let conn = match &self.args.tls {
            None => self.sockets.connect(source, addr),
            Some(Tls { config, name }) => {
                let conn = self.sockets.connect_tls(source, addr, config.clone(), name.clone());
                // rustls refuses a broken configuration only, and that one was checked.
                conn.expect("a client's configuration that was built")
            }
        };
        match conn {
            Some(conn) => {
                client.connecting(conn, intended_us, &self.args);
                self.by_slot[conn.slot as usize] = index;
                self.connecting += 1;
                self.timers.push(Reverse((now_us + SETUP_US, index, client.attempt, Due::Deadline)));
                if let Some(every_us) = self.args.raw.as_ref().and_then(|raw| raw.send_every_us) {
                    // Spread, so that they do not all speak at once.
                    let first_us = now_us + fastrand::u64(..every_us);
                    self.timers.push(Reverse((first_us, index, client.attempt, Due::Say)));
                }
            }
            // The slot of the connection that it replaces is not free yet.
            None => self.timers.push(Reverse((now_us + BACKOFF_US.0, index, client.attempt, Due::Retry))),
        }
    }

    /// The window begins: slow and stalled readers get their moments, hostile connections come.
    fn begin_window(&mut self, now_us: u64) {
        let begin_us = self.shared.begin_us.load(Relaxed);
        self.window_us = Some(begin_us);
        for index in 0..self.clients.len() as u32 {
            self.plan_to_hold_back(index, begin_us);
        }
        self.let_foes_loose(now_us);
    }

    /// Has connections leave at the rates asked for, `since_us` into the window.
    fn leave(&mut self, now_us: u64, since_us: u64) {
        while self.churn.take(since_us).is_some() {
            if let Some((index, conn)) = self.pick() {
                let client = &mut self.clients[index as usize];
                client.leave = Leave::Replace;
                if client.is_stream() {
                    client.phase = Phase::Closing;
                    self.sockets.close(conn, Close::Orderly);
                    continue;
                }
                client.close(1000);
                self.timers.push(Reverse((now_us + CLOSE_US, index, client.attempt, Due::Deadline)));
                self.flush(index);
            }
        }
        while self.resume.take(since_us).is_some() {
            if let Some((index, conn)) = self.pick() {
                self.clients[index as usize].leave = Leave::Resume;
                self.clients[index as usize].phase = Phase::Closing;
                self.sockets.close(conn, Close::Orderly);
            }
        }
    }

    /// Pings connections in turn at the rate asked for, `since_us` into the window.
    fn ping(&mut self, begin_us: u64, since_us: u64) {
        while let Some(due_us) = self.pings.take(since_us) {
            self.tally.pings.sent += 1;
            // Where none of so many is ready the ping stays unanswered.
            for _ in 0..PING_TRIES {
                self.pinged = (self.pinged + 1) % self.clients.len();
                let client = &mut self.clients[self.pinged];
                if is_ready(&self.args, client) && client.ping(begin_us + due_us) {
                    self.flush(self.pinged as u32);
                    break;
                }
            }
        }
    }

    /// Any connection that is ready and reads at full speed. A rate beyond what comes back is not met.
    fn pick(&mut self) -> Option<(u32, ConnId)> {
        let from = fastrand::usize(..self.clients.len().max(1));
        let (after, before) = (from..self.clients.len(), 0..from);
        let index = after.chain(before).find(|&index| {
            let client = &self.clients[index];
            client.manner == Manner::Full && is_ready(&self.args, client)
        })?;
        self.tally.left += 1;
        Some((index as u32, self.clients[index].conn?))
    }
}
