//! One thread of the load: a ring, its share of the connections, and the schedule of what they do.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ring::{Close, ConnId, Event, Options, Ring, Sockets, Waker};

use crate::{
    args::Args,
    catalog::Catalog,
    client::{Client, Context, Leave, Pace, Phase},
    message::Cache,
    shared::{self, Shared},
    source,
    stamp::Arrival,
    tally::{Second, Tally},
};

/// Connects under way at once, so that the listener's backlog is not overrun.
const CONNECTING_MAX: usize = 256;
/// From the connect to the end of the first answer.
const SETUP_US: u64 = 10_000_000;
/// What the peer may take to answer a close.
const CLOSE_US: u64 = 2_000_000;
/// After a reconnect that failed.
const RETRY_US: u64 = 1_000_000;
/// Bytes a second of a slow reader.
const SLOW_BYTES_PER_S: u64 = 16_000;
/// Moments that other threads set are noticed within this time.
const WAIT_US_MAX: u64 = 20_000;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A slow reader may read on.
    Resume,
    /// The connection should be ready, or gone.
    Deadline,
    /// Connect once more.
    Retry,
}

/// What a thread hands over at the end.
#[derive(Debug)]
pub struct Outcome {
    pub tally: Tally,
    pub clients: Vec<Final>,
    /// Per list of patterns.
    pub catalogs: Vec<Known>,
}

/// What a live connection held at the end.
#[derive(Debug)]
pub struct Final {
    pub group: u16,
    pub epoch: u64,
    pub position: u64,
    pub snapshot_at: u64,
    /// By the words of its catalog.
    pub held: Vec<u64>,
}

/// A list of patterns and what was seen of it until the window's end.
#[derive(Debug)]
pub struct Known {
    pub epoch: u64,
    /// Topic, its word, the highest `v`.
    pub topics: Vec<(String, u32, u64)>,
}

/// Its share of the connections.
pub struct Worker {
    args: Arc<Args>,
    shared: Arc<Shared>,
    thread: usize,
    threads: usize,
    ring: Ring,
    clients: Vec<Client>,
    /// Client by slot of the ring.
    by_slot: Vec<u32>,
    catalogs: Vec<Catalog>,
    at_end: Option<Vec<Known>>,
    cache: Cache,
    tally: Tally,
    second: Second,
    timers: BinaryHeap<Reverse<(u64, u32, u32, Due)>>,
    /// Clients whose connect was begun at least once.
    begun: usize,
    again: VecDeque<u32>,
    connecting: usize,
    churned: u64,
    resumed: u64,
    next_second_us: u64,
}

impl Worker {
    /// A worker for every `threads`-th connection from `thread` on.
    pub fn new(args: Arc<Args>, shared: Arc<Shared>, thread: usize, threads: usize) -> Result<Self, String> {
        let clients: Vec<Client> =
            (thread..args.connections as usize).step_by(threads).map(|index| client(&args, index)).collect();
        // A replaced connection gives its slot back before the next one takes it.
        let slots = clients.len().max(1) as u32;
        let options = Options {
            slots,
            recv_buffers: 2048,
            recv_buffer_bytes: 8192,
            cq_entries: 16384,
            ..Options::default()
        };
        let waker = Waker::new().map_err(|error| format!("no eventfd for thread {thread}: {error}"))?;
        let ring = Ring::new(&options, waker).map_err(|error| error.to_string())?;
        let groups = if args.groups.is_empty() { vec![Vec::new()] } else { args.groups.clone() };
        Ok(Self {
            ring,
            by_slot: vec![0; slots as usize],
            catalogs: groups
                .into_iter()
                .map(|patterns| Catalog::new(patterns, args.stream.clone()))
                .collect(),
            clients,
            at_end: None,
            cache: Cache::new(),
            tally: Tally::default(),
            second: Second::default(),
            timers: BinaryHeap::new(),
            begun: 0,
            again: VecDeque::new(),
            connecting: 0,
            churned: 0,
            resumed: 0,
            next_second_us: 0,
            args,
            shared,
            thread,
            threads,
        })
    }

    /// Runs until the end that the others agree on.
    pub fn run(mut self) -> Result<Outcome, String> {
        let failed = |error: io::Error| format!("the ring failed: {error}");
        loop {
            let now_us = self.shared.now_us();
            if now_us >= self.shared.stop_us.load(Relaxed) {
                break;
            }
            self.schedule(now_us);
            self.ring.wait(Some(self.sleep(now_us))).map_err(failed)?;
            self.harvest();
        }
        let live = |client: &Client| client.phase == Phase::Ready && client.subscription.is_live();
        let finals: Vec<bool> = self.clients.iter().map(live).collect();
        self.say_goodbye().map_err(failed)?;
        let known = self.at_end.take().unwrap_or_else(|| self.known());
        let clients =
            self.clients.into_iter().zip(finals).filter(|(_, live)| *live).map(|(client, _)| Final {
                group: client.group,
                epoch: client.subscription.epoch(),
                position: client.subscription.position(),
                snapshot_at: client.subscription.snapshot_at(),
                held: client.subscription.into_held(),
            });
        Ok(Outcome { tally: self.tally, clients: clients.collect(), catalogs: known })
    }

    fn sleep(&self, now_us: u64) -> Duration {
        let timer_us = self.timers.peek().map_or(u64::MAX, |Reverse((due_us, ..))| *due_us);
        let due_us = timer_us.min(self.next_connect_us()).min(self.next_second_us).min(now_us + WAIT_US_MAX);
        Duration::from_micros(due_us.saturating_sub(now_us))
    }

    /// When the next first connect is due.
    fn next_connect_us(&self) -> u64 {
        if self.begun == self.clients.len() || self.connecting >= CONNECTING_MAX {
            return u64::MAX;
        }
        let index = (self.thread + self.begun * self.threads) as u64;
        self.args.ramp.as_micros() as u64 * index / u64::from(self.args.connections)
    }

    fn schedule(&mut self, now_us: u64) {
        while let Some(&Reverse((due_us, index, attempt, due))) = self.timers.peek()
            && due_us <= now_us
        {
            self.timers.pop();
            self.elapsed(index, attempt, due, now_us);
        }
        while self.next_connect_us() <= now_us {
            self.begun += 1;
            self.connect(self.begun as u32 - 1, now_us);
        }
        while self.connecting < CONNECTING_MAX
            && let Some(index) = self.again.pop_front()
        {
            self.connect(index, now_us);
        }
        self.leave(now_us);
        if self.at_end.is_none() && now_us >= self.shared.end_us.load(Relaxed) {
            self.end_window();
        }
        if now_us >= self.next_second_us {
            self.next_second_us = now_us + 250_000;
            self.shared.interval_ms.fetch_max(self.tally.interval_ms, Relaxed);
            let mut shared = self.shared.seconds[self.thread].lock().expect("no thread panics with it");
            shared.take(&mut self.second);
        }
    }

    fn elapsed(&mut self, index: u32, attempt: u32, due: Due, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if client.attempt != attempt {
            return;
        }
        match (due, client.conn) {
            (Due::Resume, Some(conn)) if client.read_from_us <= now_us => self.ring.resume_receive(conn),
            (Due::Retry, None) => self.again.push_back(index),
            (Due::Deadline, Some(conn)) if client.phase == Phase::Closing || client.ending => {
                self.ring.close(conn, Close::Reset)
            }
            (Due::Deadline, Some(conn)) if !is_ready(&self.args, client) => {
                let what = match client.phase {
                    Phase::Connecting => "no answer to the connect within 10 s",
                    Phase::Handshake => "no answer to the handshake within 10 s",
                    _ => "no answer to the subscribe within 10 s",
                };
                self.tally.failures.add(what, 1);
                self.ring.close(conn, Close::Reset);
            }
            _ => {}
        }
    }

    fn connect(&mut self, index: u32, now_us: u64) {
        let global = self.thread + index as usize * self.threads;
        let source: Option<SocketAddr> = source::address(&self.args, global);
        let client = &mut self.clients[index as usize];
        match self.ring.connect(source, self.args.url.addr) {
            Some(conn) => {
                client.connecting(conn, now_us);
                self.by_slot[conn.slot as usize] = index;
                self.connecting += 1;
                self.timers.push(Reverse((now_us + SETUP_US, index, client.attempt, Due::Deadline)));
            }
            // The slot of the connection that it replaces is not free yet.
            None => self.timers.push(Reverse((now_us + RETRY_US, index, client.attempt, Due::Retry))),
        }
    }

    /// Has connections leave at the rates asked for, within the window.
    fn leave(&mut self, now_us: u64) {
        let begin_us = self.shared.begin_us.load(Relaxed);
        if now_us <= begin_us || now_us >= self.shared.end_us.load(Relaxed) {
            return;
        }
        let due = |per_s: f64| ((now_us - begin_us) as f64 * per_s / 1e6 / self.threads as f64) as u64;
        let (churn, resume) = (due(self.args.churn_per_s), due(self.args.since_per_s));
        for _ in self.churned..churn {
            if let Some((index, _)) = self.pick() {
                let client = &mut self.clients[index as usize];
                client.leave = Leave::Replace;
                client.close(1000);
                self.timers.push(Reverse((now_us + CLOSE_US, index, client.attempt, Due::Deadline)));
                self.flush(index);
            }
        }
        for _ in self.resumed..resume {
            if let Some((index, conn)) = self.pick() {
                self.clients[index as usize].leave = Leave::Resume;
                self.clients[index as usize].phase = Phase::Closing;
                self.ring.close(conn, Close::Orderly);
            }
        }
        (self.churned, self.resumed) = (self.churned.max(churn), self.resumed.max(resume));
    }

    /// Any connection that is ready and reads at full speed. A rate beyond what comes back is not met.
    fn pick(&mut self) -> Option<(u32, ConnId)> {
        let from = fastrand::usize(..self.clients.len().max(1));
        let (after, before) = (from..self.clients.len(), 0..from);
        let index = after.chain(before).find(|&index| {
            let client = &self.clients[index];
            client.pace == Pace::Full && is_ready(&self.args, client)
        })?;
        self.tally.left += 1;
        Some((index as u32, self.clients[index].conn?))
    }

    fn harvest(&mut self) {
        // What the wait brought had arrived by now; what comes while it is handled is seen by the next.
        let arrival = shared::arrival();
        let now_us = self.shared.now_us();
        while let Some(event) = self.ring.next() {
            self.handle(event, arrival, now_us);
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
                    let early = matches!(client.phase, Phase::Connecting | Phase::Handshake);
                    let kinds = if early { &mut self.tally.failures } else { &mut self.tally.closes };
                    kinds.add(&how, 1);
                }
                self.ring.close(conn, Close::Orderly);
            }
            Event::Sent { conn, done, .. } => {
                let Some(index) = self.index(conn) else { return };
                if done {
                    self.sent(index, conn);
                }
            }
            Event::SendFailed { conn, .. } => self.ring.close(conn, Close::Orderly),
            Event::Closed { conn } => self.closed(conn, now_us),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Unsent { .. } => {}
        }
    }

    fn connected(&mut self, conn: ConnId, result: io::Result<()>) {
        let Some(index) = self.index(conn) else { return };
        let client = &mut self.clients[index as usize];
        match result {
            Ok(()) => {
                client.connected(&self.args);
                self.flush(index);
            }
            Err(error) => self.tally.failures.add(&format!("connect: {error}"), 1),
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &mut [u8], arrival: Arrival, now_us: u64) {
        let Some(index) = self.index(conn) else { return };
        let measured = self.shared.is_measured(now_us);
        if measured {
            self.tally.wire_bytes += bytes.len() as u64;
        }
        let mut context = Context {
            args: &self.args,
            catalogs: &mut self.catalogs,
            cache: &mut self.cache,
            tally: &mut self.tally,
            second: &mut self.second,
            arrival,
            measured,
        };
        let client = &mut self.clients[index as usize];
        let before = client.phase;
        let goes_on = client.receive(bytes, &mut context);
        if before == Phase::Handshake && client.phase != Phase::Handshake {
            self.established(index, now_us);
        }
        self.pace(index, conn, before, bytes.len() as u64, now_us);
        self.flush(index);
        if !goes_on {
            self.end(index, conn, now_us);
        }
    }

    fn established(&mut self, index: u32, now_us: u64) {
        let client = &self.clients[index as usize];
        self.connecting -= 1;
        self.shared.open.fetch_add(1, Relaxed);
        if client.attempt > 1 {
            self.tally.returned += 1;
            return;
        }
        self.tally.established += 1;
        self.tally.handshake.record(now_us - client.connect_us);
        self.shared.established.fetch_add(1, Relaxed);
        self.shared.established_us.fetch_max(now_us, Relaxed);
    }

    /// Counts who is ready, and holds back those who read slowly or not at all.
    fn pace(&mut self, index: u32, conn: ConnId, before: Phase, received_bytes: u64, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if before != client.phase && is_ready(&self.args, client) {
            if !std::mem::replace(&mut client.decided, true) {
                self.shared.ready.fetch_add(1, Relaxed);
            }
            if client.pace == Pace::Stalled {
                self.ring.pause_receive(conn);
            }
        }
        if client.pace == Pace::Slow {
            self.ring.pause_receive(conn);
            let pause_us = received_bytes * 1_000_000 / SLOW_BYTES_PER_S;
            client.read_from_us = client.read_from_us.max(now_us) + pause_us;
            self.timers.push(Reverse((client.read_from_us, index, client.attempt, Due::Resume)));
        }
    }

    /// The peer closed, refused or broke the protocol: what is queued may still leave.
    fn end(&mut self, index: u32, conn: ConnId, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if client.sending {
            client.ending = true;
            self.timers.push(Reverse((now_us + CLOSE_US, index, client.attempt, Due::Deadline)));
        } else {
            self.ring.close(conn, Close::Orderly);
        }
    }

    fn closed(&mut self, conn: ConnId, now_us: u64) {
        let Some(index) = self.index(conn) else { return };
        let client = &mut self.clients[index as usize];
        let (leave, phase, attempt) = (client.leave, client.phase, client.attempt);
        client.disconnected(leave == Leave::Resume);
        let established = !matches!(phase, Phase::Connecting | Phase::Handshake);
        if established {
            self.shared.open.fetch_sub(1, Relaxed);
        } else {
            self.connecting -= 1;
        }
        match leave {
            Leave::Replace | Leave::Resume => self.again.push_back(index),
            Leave::ForGood => {}
            Leave::No if established => self.tally.closed += 1,
            Leave::No if attempt == 1 => self.tally.failed += 1,
            Leave::No => self.timers.push(Reverse((now_us + RETRY_US, index, attempt, Due::Retry))),
        }
        // The window waits for every first connection: ready, or never to be.
        if !std::mem::replace(&mut client.decided, true) {
            self.shared.failed.fetch_add(1, Relaxed);
        }
    }

    /// The window ends: what was seen by now must be everywhere soon, so everyone reads at full speed.
    fn end_window(&mut self) {
        self.at_end = Some(self.known());
        for client in &mut self.clients {
            if client.pace != Pace::Full
                && let Some(conn) = client.conn
            {
                self.ring.resume_receive(conn);
            }
            client.pace = Pace::Full;
        }
    }

    fn known(&self) -> Vec<Known> {
        let known = |catalog: &Catalog| Known {
            epoch: catalog.epoch(),
            topics: catalog.topics().map(|(topic, word, v)| (topic.to_owned(), word, v)).collect(),
        };
        self.catalogs.iter().map(known).collect()
    }

    /// Closes all connections with 1000 and waits a little for the answers.
    fn say_goodbye(&mut self) -> io::Result<()> {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            client.leave = Leave::ForGood;
            match (client.phase, client.conn) {
                (Phase::Open | Phase::Ready, _) => client.close(1000),
                (_, Some(conn)) => self.ring.close(conn, Close::Reset),
                _ => {}
            }
            self.flush(index as u32);
        }
        let end_us = self.shared.now_us() + CLOSE_US;
        while self.ring.open() > 0 && self.shared.now_us() < end_us {
            self.ring.wait(Some(Duration::from_millis(20)))?;
            while let Some(event) = self.ring.next() {
                match event {
                    Event::Sent { conn, done: true, .. } => {
                        if let Some(index) = self.index(conn) {
                            self.sent(index, conn);
                        }
                    }
                    Event::ReceiveEnded { conn, .. } => self.ring.close(conn, Close::Orderly),
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
            self.ring.close(conn, Close::Orderly);
        }
    }

    fn flush(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if let Some(conn) = client.conn
            && !client.sending
            && !client.outbox.is_empty()
            && client.phase != Phase::Connecting
        {
            client.sending = true;
            self.ring.send(conn, std::mem::take(&mut client.outbox).into());
        }
    }

    fn index(&self, conn: ConnId) -> Option<u32> {
        let index = *self.by_slot.get(conn.slot as usize)?;
        (self.clients.get(index as usize)?.conn == Some(conn)).then_some(index)
    }
}

/// Without Fanwire's protocol there is no first answer to wait for.
fn is_ready(args: &Args, client: &Client) -> bool {
    client.phase == Phase::Ready || args.raw.is_some() && client.phase == Phase::Open
}

/// The connection numbered `index`. Slow and stalled ones are spread by the golden ratio.
fn client(args: &Args, index: usize) -> Client {
    let share = (index as f64 * 0.618_033_988_749_894_9).fract() * 100.0;
    let pace = match share {
        share if share < args.slow => Pace::Slow,
        share if share < args.slow + args.stall => Pace::Stalled,
        _ => Pace::Full,
    };
    Client::new((index % args.groups.len().max(1)) as u16, pace)
}
