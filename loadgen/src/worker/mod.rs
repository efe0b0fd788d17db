//! One thread of the load: its sockets, its share of the connections, and the schedule of what they do.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use net::{
    Backend, ConnId, Io, Options, Sockets, Waker, patiently,
    tls::{self, Tls},
};

use crate::{
    args::{self, Args},
    judge::{
        cache::MessageCache,
        holdings::{ClientHoldings, Holdings, Known},
        subscription::Subscription,
    },
    measure::tally::{Second, Tally},
};
use client::{Client, Phase};
use foe::Foe;
use inflations::Inflations;
use interests::Interests;
use manner::Manner;
use rate::Rate;
use shared::Shared;

mod client;
mod events;
mod foe;
mod hostile;
mod inflations;
mod interests;
mod manner;
mod rate;
mod reader;
mod say;
mod schedule;
pub mod shared;
mod slow;
pub mod source;
mod stream;
pub mod watchlists;
mod wire;

/// What the peer may take to answer a close.
const CLOSE_US: u64 = 2_000_000;
/// The back-off after connects that came to nothing: up to the first, twice that after each, up to the last.
const BACKOFF_US: (u64, u64) = (100_000, 10_000_000);
/// Receive buffers of all threads together.
const RECV_BUFFERS: usize = 4096;
const RECV_BUFFER_BYTES: u32 = 4096;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A slow or stalled reader begins to be so.
    HoldBack,
    /// A slow reader may read on.
    Resume,
    /// A stalled reader reads on for good.
    Release,
    /// The connection should be ready, or gone.
    Deadline,
    /// Connect once more.
    Retry,
    /// Say again what `--send` says.
    Say,
    /// A hostile connection's next step; its number comes after those of the clients.
    Foe,
}

/// Its share of the connections.
pub struct Worker {
    args: Arc<Args>,
    shared: Arc<Shared>,
    thread: usize,
    threads: usize,
    sockets: Tls<Backend>,
    clients: Vec<Client>,
    /// Client by slot of its connection.
    by_slot: Vec<u32>,
    interests: Interests,
    at_end: Option<Vec<Known>>,
    inflations: Inflations,
    cache: MessageCache,
    tally: Tally,
    second: Second,
    timers: BinaryHeap<Reverse<(u64, u32, u32, Due)>>,
    /// Clients whose connect was begun at least once.
    begun: usize,
    again: VecDeque<u32>,
    connecting: usize,
    churn: Rate,
    resume: Rate,
    pings: Rate,
    /// The client that was pinged last.
    pinged: usize,
    foes: Vec<Foe>,
    /// The window's begin, once it has begun.
    window_us: Option<u64>,
    /// Received with TLS, and counted.
    sealed_bytes: u64,
    next_second_us: u64,
}

impl Worker {
    /// A worker for every `threads`-th connection from `thread` on.
    pub fn new(
        args: Arc<Args>,
        shared: Arc<Shared>,
        io: Io,
        thread: usize,
        threads: usize,
    ) -> Result<Self, String> {
        let clients: Vec<Client> =
            (thread..args.connections as usize).step_by(threads).map(|index| client(&args, index)).collect();
        let foes = foe::foes(&args, thread, threads);
        // With more threads than connections, rates are shared by the threads that have one.
        let loaded = threads.min(args.connections as usize);
        let rate = |per_s: f64| Rate::new(if thread < loaded { per_s } else { 0.0 }, thread, loaded);
        // A replaced connection gives its slot back before the next one takes it.
        let slots = clients.len() + foes.len();
        let backend = backend(io, slots, threads)?;
        // What a load brings about is not ours to hold back.
        let all = tls::TlsLimits { handshakes_per_turn: usize::MAX, sealed_bytes: usize::MAX };
        Ok(Self {
            sockets: Tls::new(backend, None, all),
            by_slot: vec![0; slots.max(1)],
            interests: Interests::new(&args, &shared.key_budget),
            clients,
            at_end: None,
            inflations: Inflations::new(),
            cache: MessageCache::new(),
            tally: Tally::default(),
            second: Second::default(),
            timers: BinaryHeap::new(),
            begun: 0,
            again: VecDeque::new(),
            connecting: 0,
            churn: rate(args.churn_per_s),
            resume: rate(args.since_per_s),
            pings: rate(args.pings_per_s),
            pinged: 0,
            foes,
            window_us: None,
            sealed_bytes: 0,
            next_second_us: 0,
            args,
            shared,
            thread,
            threads,
        })
    }

    /// Runs until the end that the others agree on: what was counted, and what its connections hold.
    pub fn run(mut self) -> Result<(Tally, Holdings), String> {
        let failed = |error: io::Error| format!("the sockets failed: {error}");
        fastrand::seed(self.args.seed.wrapping_add(self.thread as u64));
        loop {
            let now_us = self.shared.now_us();
            if now_us >= self.shared.stop_us.load(Relaxed) {
                break;
            }
            self.schedule(now_us);
            let sleep = self.sleep(now_us);
            self.sockets.inner().wait(Some(sleep)).map_err(failed)?;
            self.harvest();
        }
        let live = |client: &Client| client.phase == Phase::Ready && client.subscription.is_live();
        let finals: Vec<bool> = self.clients.iter().map(live).collect();
        self.say_goodbye().map_err(failed)?;
        let at_last = self.known();
        let at_end = self.at_end.take().unwrap_or_else(|| self.known());
        let (thread, threads) = (self.thread, self.threads);
        let clients = self.clients.into_iter().zip(finals).enumerate();
        let clients = clients.filter(|(_, (_, live))| *live).map(|(index, (client, _))| {
            ClientHoldings::new(thread + index * threads, client.group, client.subscription)
        });
        Ok((self.tally, Holdings { clients: clients.collect(), at_end, at_last }))
    }

    /// The window ends: what was seen by now must be everywhere soon, so everyone reads at full speed.
    fn end_window(&mut self) {
        self.at_end = Some(self.known());
        let (begin_us, end_us) = (self.shared.begin_us.load(Relaxed), self.shared.end_us.load(Relaxed));
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.manner == Manner::Full
                && is_ready(&self.args, client)
                && client.pace.from_us <= begin_us
            {
                let pace = &mut client.pace;
                self.tally.evenness.add(pace.frames, pace.gap(end_us, begin_us));
            }
            if let Some(conn) = client.conn.filter(|_| client.held_back) {
                self.release(index as u32, conn);
            }
        }
    }

    fn known(&self) -> Vec<Known> {
        self.interests.catalogs.iter().map(Known::of).collect()
    }

    fn flush(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if let Some(conn) = client.conn
            && !client.sending
            && !client.outbox.is_empty()
            && client.phase != Phase::Connecting
        {
            client.sending = true;
            self.sockets.send(conn, std::mem::take(&mut client.outbox).into());
        }
    }

    /// A client's number among those of all threads.
    fn global(&self, index: u32) -> usize {
        self.thread + index as usize * self.threads
    }

    fn index(&self, conn: ConnId) -> Option<u32> {
        let index = *self.by_slot.get(conn.slot as usize)?;
        (self.clients.get(index as usize)?.conn == Some(conn)).then_some(index)
    }
}

/// The sockets of one of `threads`.
pub fn backend(io: Io, slots: usize, threads: usize) -> Result<Backend, String> {
    let options = Options {
        slots: slots.max(1) as u32,
        recv_buffers: recv_buffers(threads),
        recv_buffer_bytes: RECV_BUFFER_BYTES,
        cq_entries: 16384,
        ..Options::default()
    };
    let waker = Waker::new().map_err(|error| format!("no eventfd: {error}"))?;
    patiently(|| Backend::new(io, &options, waker.clone())).map_err(|error| error.to_string())
}

/// A thread's share, a power of two: most connections are silent at any moment.
fn recv_buffers(threads: usize) -> u16 {
    let share = (RECV_BUFFERS / threads).clamp(256, 2048);
    1 << share.ilog2()
}

/// Without Fanwire's protocol there is a first answer to wait for where `--ready` names it.
fn is_ready(args: &Args, client: &Client) -> bool {
    let at_once = || args.raw.as_ref().is_some_and(|raw| raw.ready.is_none());
    client.phase == Phase::Ready || client.phase == Phase::Open && at_once()
}

/// The connection numbered `index`.
fn client(args: &Args, index: usize) -> Client {
    let (manner, _) = manner::of(args, index);
    let group = (index % args.groups.len().max(1)) as u16;
    let few = matches!(args.interests, args::InterestKind::Own { .. });
    let subscription = if few { Subscription::of_few() } else { Subscription::default() };
    Client::new(index as u32, group, manner, subscription)
}
