//! A shard: its clients, its fan-out and its deadlines, as events in and commands out.
//!
//! Everything here gets the time as an argument and talks to its sockets through [`Sockets`], so the same code
//! runs on io_uring and in a simulation.

mod access;
mod addresses;
mod admission;
mod ages;
mod ahead;
mod allowance;
mod authorize;
mod build;
mod builds;
mod client;
mod deadlines;
mod drain;
mod ending;
mod fan;
mod gauges;
mod granting;
mod guard;
pub mod inbox;
mod input;
mod job;
mod leaving;
mod membership;
mod named;
mod ops;
mod output;
pub mod overload;
mod pending;
mod raw;
mod rejudging;
mod relief;
mod relieving;
mod reload;
mod restarting;
mod resting;
mod revoking;
pub mod shared;
mod shares;
mod sleep;
pub mod stats;
mod status;
mod statuses;
mod subscribe;
mod tried;
mod turns;
mod unsubscribe;
mod weights;
pub mod witness;
mod writer;
pub mod writes;
mod writing;
pub mod wrote;

use std::{collections::VecDeque, io, sync::Arc};

use net::{ConnId, Event, Sockets};
use proto::deflate::Inflater;

pub use crate::client::Application;
use crate::{
    client::ClientLimits,
    clock::Now,
    fanout::Fanout,
    http::{host::Host, origin::Origins, proxies::Proxies, raw_path::RawPath},
    settings::{self, Refusing, Settings},
    shard::{
        inbox::{Inbox, Message},
        shared::Shared,
        stats::Stats,
    },
    topic::policy::Policies,
    wheel::Wheel,
};
use ages::Ages;
use builds::Builds;
use client::Client;
use drain::Drain;
use guard::Guard;
use job::Job;
use pending::Ahead;
use relief::Relief;
use shares::Shares;
pub use sleep::Sleep;
use statuses::Statuses;
use weights::Weights;

/// Updates, and their bytes, that are taken in before clients have their turn: a few milliseconds.
const TURN_UPDATES: usize = 4096;
const TURN_BYTES: usize = 1 << 20;
/// Deadlines of connections are as much late at most.
const DEADLINES_US: u64 = 10_000;

pub struct Shard {
    application: Application,
    fanout_config: settings::Fanout,
    /// Of connections.
    limits: ClientLimits,
    subscriptions_max: usize,
    patterns_max: usize,
    pinned_bytes: usize,
    compression: settings::Compression,
    /// Of each listener, whether its address is of loopback.
    loopbacks: [bool; 2],
    /// `[access] hosts`.
    hosts: Vec<Host>,
    /// `[access] origins`.
    origins: Origins,
    /// `[server] refuse`.
    refusing: Refusing,
    proxies: Proxies,
    /// `[[topic]]`, and `[[raw]]`.
    topics: Policies,
    raw_paths: Vec<RawPath>,
    /// Made when the first compressed message comes.
    inflater: Option<Box<Inflater>>,
    guard: Guard,
    /// Which of the shards it is.
    index: usize,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    fanout: Fanout,
    /// By slot of the ring's table.
    clients: Vec<Option<Client>>,
    /// Slots of the ring's table, and how many are taken.
    slots: usize,
    taken: usize,
    /// Connections admitted, and how many the table has room for beside those only being refused.
    admitted: usize,
    admitted_max: usize,
    clients_open: usize,
    jobs: VecDeque<Job>,
    builds: Builds,
    /// Members handed a frame in one run.
    slice: usize,
    /// Updates taken in before clients have their turn.
    turn_updates: usize,
    wheel: Wheel,
    ages: Ages,
    drain: Option<Drain>,
    relief: Relief,
    stop: bool,
    /// The epoch has changed: every client that is not busy has to get it.
    restarted: bool,
    statuses: Statuses,
    /// Of the tables of `fanout`.
    shares: Shares,
    /// `subscribe` ops that wait for a position: see [`ahead`].
    ahead: Vec<Ahead>,
    weights: Weights,
    /// The gateway's numbers come from upstream, and others may be further.
    chained: bool,
    /// When updates were last taken in. µs, monotonic.
    took_us: Option<u64>,
    pinned_checked_us: u64,
    stats: Stats,
}

/// Slots of each shard's table of sockets for connections that are only being refused.
pub const SLOTS_RESERVED: usize = 256;

/// Clients of a shard with a table of so many slots.
pub fn clients_max(slots: usize) -> usize {
    slots - SLOTS_RESERVED.min(slots / 4)
}

impl Shard {
    /// `index`: which of `shards` it is; `slots`: of its ring's table.
    pub fn new(
        settings: &Settings<'_>,
        application: Application,
        index: usize,
        slots: usize,
        shared: Arc<Shared>,
        inbox: Arc<Inbox>,
        now: Now,
    ) -> Self {
        let of_all = (index, settings.shards);
        let fanout = Fanout::new(settings, shared.epoch, of_all, shared.pinned.clone(), now);
        Self {
            application,
            fanout_config: settings.fanout.clone(),
            limits: ClientLimits::new(settings.limits, settings.compression),
            subscriptions_max: settings.limits.subscriptions,
            patterns_max: settings.limits.patterns,
            pinned_bytes: settings.limits.pinned_bytes,
            compression: settings.compression.clone(),
            loopbacks: settings.loopbacks,
            hosts: settings.hosts.to_vec(),
            origins: settings.origins.clone(),
            refusing: settings.refusing,
            proxies: settings.proxies.clone(),
            topics: settings.topics.clone(),
            raw_paths: settings.raw_paths.to_vec(),
            guard: Guard::new(settings),
            index,
            shared,
            inbox,
            fanout,
            clients: Vec::with_capacity(slots),
            inflater: None,
            slots,
            taken: 0,
            admitted: 0,
            admitted_max: clients_max(slots),
            clients_open: 0,
            jobs: VecDeque::new(),
            builds: Builds::new(settings.limits),
            slice: job::SLICE,
            turn_updates: TURN_UPDATES,
            wheel: Wheel::new(slots, DEADLINES_US, now.mono_us),
            ages: Ages::new(settings.limits.connection_age),
            drain: None,
            relief: Relief::new(settings, application, index, now),
            stop: false,
            restarted: false,
            statuses: Statuses::new(settings),
            shares: Shares::new(settings.limits),
            ahead: Vec::new(),
            weights: Weights::new(settings.limits.topics_looked_at_per_s),
            chained: settings.is_chained,
            took_us: None,
            pinned_checked_us: 0,
            stats: Stats::default(),
        }
    }

    /// How many updates are taken in before clients have their turn: tests make it small.
    pub fn set_turn_updates(&mut self, updates: usize) {
        self.turn_updates = updates;
    }

    /// How many members are handed a frame in one run: tests with few clients make it small.
    pub fn set_slice(&mut self, members: usize) {
        self.slice = members;
    }

    /// What makes a pattern worth keeping, and how fast one begins and ends: tests with few topics make both small.
    pub fn set_pattern_sizes(&mut self, kept_looked_at: usize, at_once: usize) {
        self.fanout.set_pattern_sizes(kept_looked_at, at_once);
    }

    /// The longest payload of a frame: tests with short messages make it small.
    pub fn set_fragment_bytes(&mut self, bytes: usize) {
        self.limits.fragment_bytes = bytes;
        self.fanout.compress.fragment_bytes = bytes;
        self.statuses.fragment_bytes = bytes;
    }

    /// What the ring and the layers on it did so far, for whoever scrapes.
    pub fn note_ring(
        &mut self,
        counters: net::SocketCounters,
        proxy: net::ProxyCounters,
        tls: net::TlsCounters,
    ) {
        (self.stats.ring, self.stats.proxy, self.stats.tls) = (counters, proxy, tls);
    }

    /// It had nothing to do for so long.
    pub fn note_rest(&mut self, us: u64) {
        self.relief.overload.note_rest(us);
    }

    /// Takes in what the control plane sent. Sends nothing.
    ///
    /// `true`: some is left for the next turn, since clients are not to wait for a flood of updates.
    pub fn take_inbox(&mut self, now: Now) -> bool {
        self.take_updates(self.turn_updates, TURN_BYTES, now);
        !self.inbox.is_empty()
    }

    /// All of it, for whoever may have published what he asks for.
    fn take_whole_inbox(&mut self, now: Now) {
        self.take_updates(usize::MAX, usize::MAX, now);
    }

    fn take_updates(&mut self, mut updates: usize, mut bytes: usize, now: Now) {
        self.fanout.begin_drain();
        while updates > 0
            && bytes > 0
            && let Some(message) = self.inbox.pop()
        {
            if let Message::Updates(batch) = &message {
                updates = updates.saturating_sub(batch.ops.len());
                bytes = bytes.saturating_sub(batch.bytes);
                self.took_us = Some(now.mono_us);
            }
            match message {
                Message::Updates(batch) => self.fanout.apply(&batch),
                Message::Restart { epoch, batch } => self.restart(epoch, &batch, now),
                Message::Status(change) => self.take_status((*change).clone()),
                Message::Reload(settings) => self.reload(&settings, now),
                Message::Drain { drain_us } => self.start_drain(drain_us, now),
                Message::Revoke(revocation) => self.guard.revoking.push(revocation),
                Message::Scrape(answer) => answer(Box::new(self.stats())),
                Message::Stop => self.stop = true,
            }
        }
    }

    pub fn on_event(&mut self, event: Event, net: &mut impl Sockets, now: Now) {
        match event {
            Event::Accepted { conn, peer, listener, waited_us } => {
                self.on_accepted(conn, peer.ip(), listener, waited_us, net, now);
            }
            Event::Received { conn, mut bytes } => self.on_received(conn, &mut bytes, net, now),
            Event::ReceiveEnded { conn, error: Some(error) }
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                self.on_broken(conn, net, now);
            }
            Event::ReceiveEnded { conn, error } => self.on_receive_ended(conn, error.is_some(), net, now),
            Event::Sent { conn, bytes, done } => self.on_sent(conn, bytes, done, net, now),
            Event::SendFailed { conn, .. } => self.on_send_failed(conn, net),
            Event::Unsent { conn, bytes } => self.on_unsent(conn, bytes, net, now),
            Event::Closed { conn } => self.on_closed(conn),
            Event::AcceptFailed { error } => {
                self.stats.accept_failures += 1;
                tracing::warn!(%error, "could not accept a connection");
            }
            Event::Connected { .. } => unreachable!("a shard connects to nobody: {event:?}"),
        }
    }

    /// Does what is due: deadlines, flushes and one slice of fan-out. `true`: there is more to do.
    pub fn run(&mut self, net: &mut impl Sockets, now: Now) -> bool {
        if self.stop {
            self.reset_all(net);
            return false;
        }
        self.fanout.begin_turn(now);
        self.run_deadlines(net, now);
        self.run_tokens(net, now);
        self.run_wrote(net, now);
        self.run_drain(net, now);
        if std::mem::take(&mut self.restarted) {
            self.tell_restart(net, now);
        }
        self.run_ahead(net, now);
        self.run_rested(net, now);
        self.serve_short(net, now);
        self.flush_due(now);
        self.serve_long(net, now);
        self.run_jobs(net, now);
        self.check_pinned(net, now);
        let telling = self.run_relief(net, now) | self.tell_statuses(net, now);
        telling
            || self.fanout.is_ending()
            || !self.jobs.is_empty()
            || self.builds_more()
            || self.drain.as_ref().is_some_and(Drain::telling)
    }

    /// When [`Shard::run`] is next needed without an event. µs, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        [
            self.wheel.next_us(),
            self.fanout.classes.next_due_us(),
            self.fanout.next_us(),
            self.drain_next_us(),
            self.ahead_next_us(),
            self.weights.next_us(),
            self.guard.next_us(),
            self.builds_next_us(),
            self.relief.overload.next_us(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether nothing is left to serve: told to end, and every connection is gone.
    pub fn finished(&self) -> bool {
        self.stop && self.taken == 0
    }

    /// The client, where `conn` is still the one in its slot.
    fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.clients.get_mut(conn.slot as usize)?.as_mut().filter(|client| client.id == conn)
    }

    /// The client in `slot`; call only where one is.
    fn at(&mut self, slot: u32) -> &mut Client {
        self.clients[slot as usize].as_mut().expect("a live connection's slot is taken")
    }
}
