//! A whole shard under random schedules: cuts, stalls, resets, half-closes, joins, leaves, changes of
//! subscriptions, resumption, garbage, long pauses, drains. Each frame that a client reads is judged
//! by a model of the contract. One seed decides everything.

mod forging;
mod health;
mod listening;
mod passes;
mod tls;

use std::{cell::Cell, collections::HashMap, hash::Hasher, time::Duration};

use engine::{
    address::Address,
    client::{CloseReason, Refused, close::NOT_GRANTED_NOW},
    http::proxies::Forwarded,
    protocol::{encoding::Encoding, fragment::FRAGMENT_BYTES, request::AUTO},
    sequencer::{Body, Grouping, Publication, UpstreamBatch, UpstreamUpdate, seq::Seq},
    settings::Compression,
    shard::stats::BUILD_WAITS,
    topic::{
        changes::{Base, Changes},
        pattern::Pattern,
        policy::{Behind, Keyed, Mode, Policies, Policy, Stream},
    },
};
use gateway::config::Config;
use net::{Sockets, sim::PeerEnd};
use proto::encode::Opcode;

use crate::support::{Peer, World, proxies, publisher::Publisher, subscriber::AskedOp};
use health::States;
use passes::{Passes, random_rules};
use tls::{Speakers, random_wire};

const STEPS_OF_EPISODE: u64 = 2_000;
const SLOTS: u32 = 48;
/// A drain in steps, and the one after which nothing holds up a close frame.
const DRAIN_STEPS: u32 = 40;
const DRAIN_HURRY_STEP: u32 = 38;
/// What may lie before a close frame beside a fragment: headers, pongs, TLS; and itself.
const IN_FLIGHT_BYTES: usize = 1800;
const INTERVALS_MS: [Option<u64>; 7] = [None, Some(0), Some(20), Some(100), Some(250), Some(900), Some(3000)];
/// The longest that is built in one go, and heartbeats.
const SLICE_BYTES_MAX: usize = 8_000;
/// Of a keyed topic; two fewer are allowed.
const KEYS: usize = 12;
const LONGEST_INTERVAL: Duration = Duration::from_secs(3);

/// A subscription of a connection that is gone, to resume from.
struct Saved {
    name: String,
    patterns: Vec<String>,
    epoch: String,
    version: u64,
}

/// What a client did, and so how it may end.
#[derive(Default)]
struct Conduct {
    saved: Vec<Saved>,
    /// A violation that closes with this code.
    violation: Option<u16>,
    said_goodbye: bool,
    half_closed: bool,
    reset: bool,
    /// When it last stopped reading or was slow at it. µs, monotonic.
    slow_us: u64,
    garbage: usize,
    broke_tls: bool,
    /// It spoke HTTP where TLS is spoken.
    strayed: bool,
    /// It does not begin with the header of a trusted proxy.
    forged: bool,
    /// Its end was looked at, by how it had been just before.
    judged: bool,
}

struct Simulation {
    world: World,
    rng: fastrand::Rng,
    conduct: Vec<Conduct>,
    topics: Vec<String>,
    patterns: Vec<String>,
    speakers: Speakers,
    states: States,
    passes: Passes,
    /// What all clients offer and speak, or each its own: only those who are alike share frames.
    wire: Option<(bool, Encoding)>,
    /// Where the next client that says all by its URL comes back to.
    resumed: Option<Saved>,
    draining: bool,
    /// Of the streams' publisher.
    seq: u64,
    /// `connections_per_ip` at first: who was refused by it may be looked at after a reload has ended it.
    crowd: usize,
    /// When the shard refused new clients last. µs, monotonic.
    refused_us: u64,
    tally: Tally,
}

/// What happened: a simulation that does nothing proves nothing.
#[derive(Debug, Default)]
pub struct Tally {
    pub batches: u64,
    pub snapshots: u64,
    pub heartbeats: u64,
    pub resumed: u64,
    pub parts: u64,
    pub closes: u64,
    pub resets: u64,
    pub drained: u64,
    /// Batches that so many updates made come before their interval had passed.
    pub early: u64,
    pub stalled: u64,
    /// Clients that were sent away for their age, and for saying nothing.
    pub aged: u64,
    pub silent: u64,
    /// Gaps told, clients closed for being behind, and what the publisher lost or sent twice.
    pub gaps: u64,
    pub lapsed: u64,
    pub skipped: u64,
    pub repeats: u64,
    pub key_tombstones_dropped: u64,
    pub histories_dropped: u64,
    /// Times that patterns were found that nobody held any more, and that one had to make room.
    pub patterns_found: u64,
    pub patterns_evicted: u64,
    /// Ops that waited for what was looked at before.
    pub rested: u64,
    /// Connections that were told of another epoch, and batches of another gateway.
    pub restarts: u64,
    pub followed: u64,
    pub statuses: u64,
    /// Frames that came compressed, and messages that went so.
    pub deflated: u64,
    pub inflated: u64,
    /// The most that was held for messages that refer back, and for want of such room: handshakes without
    /// compression, and clients closed.
    pub dictionary_bytes: u64,
    pub declined: u64,
    pub roomless: u64,
    /// Batches read over TLS, and what its layer counted.
    pub tls: u64,
    pub tls_handshakes: u64,
    pub tls_resumed: u64,
    pub tls_failed: u64,
    pub tls_deferred: u64,
    pub tls_shortened: u64,
    /// PROXY headers read, connections closed for want of one, and such that were over `connections_per_ip`.
    pub proxied: u64,
    pub forged: u64,
    pub crowded: u64,
    /// Frames that went on with a message, and control frames between those of one.
    pub continued: u64,
    pub passed: u64,
    /// Clients that a drain sent away in the midst of what they were sent, and closes within a message.
    pub cut: u64,
    pub closed_within: u64,
    /// Times that settings changed while clients were there.
    pub reloads: u64,
    /// Of those, such that changed what is granted.
    pub rules: u64,
    /// Clients refused since their subject had as many connections as it may.
    pub crowded_subjects: u64,
    /// Times that a frame waited for its turn to be built, by reason.
    pub waits: [u64; BUILD_WAITS.len()],
    /// Turns at each rung of the ladder, overloads that clients were told, and clients that were refused for one.
    pub rungs: [u64; 4],
    pub overloads: u64,
    pub refused: u64,
    /// Tokens accepted, subscriptions that lost something by one, ops that were not granted, tokens revoked, and
    /// connections closed since their token had expired, or was bad, missing or revoked.
    pub authorized: u64,
    pub taken: u64,
    pub not_granted: u64,
    pub revoked: u64,
    pub expired: u64,
    pub unauthorized: u64,
    /// Ids that streams told, and bare values that came and that were passed over.
    pub ids: u64,
    pub values: u64,
    pub conflated: u64,
    /// A hash of every byte that clients were sent, beneath TLS: equal where nothing changed for them.
    pub sent: u64,
}

/// Runs `steps` from `seed`; `step` counts them, so that who hears of a violation knows when it came.
///
/// # Panics
/// Where a frame, a close or the end breaks the contract.
pub fn run(seed: u64, steps: u64, step: &Cell<u64>) -> Tally {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    while step.get() < steps {
        let mut simulation = Simulation::new(rng.fork(), std::mem::take(&mut tally));
        for _ in 0..STEPS_OF_EPISODE.min(steps - step.get()) {
            simulation.step();
            step.set(step.get() + 1);
        }
        tally = simulation.end();
    }
    tally
}

fn random_config(rng: &mut fastrand::Rng) -> Config {
    let mut config = crate::support::config();
    let ms = |ms: &u64| Duration::from_millis(*ms);
    let fanout = &mut config.fanout;
    fanout.interval = ms(&rng.u64(0..200));
    fanout.interval_min = ms(&rng.choice([0, 0, 30]).unwrap());
    let menus: [&[u64]; 3] = [&[], &[], &[50, 250, 1000, 3000]];
    fanout.interval_menu = rng.choice(menus).unwrap().iter().map(ms).collect();
    fanout.flush_grid = ms(&rng.choice([1, 1, 3, 10]).unwrap());
    fanout.flush_updates = rng.choice([0, 0, 1, 3, 5, 10, 30]).unwrap();
    fanout.frame_bytes_max = rng.choice([256, 700, 2000, 1 << 20]).unwrap();
    fanout.heartbeat = ms(&rng.u64(500..5000));
    fanout.build_bytes = rng.choice([100, 400, 3000, 1 << 20, 1 << 20]).unwrap();
    fanout.pattern_keep = ms(&rng.choice([0, 100, 4000]).unwrap());
    config.compression.window_bits = rng.choice([9, 12, 15]).unwrap();
    config.compression.bytes_min = rng.choice([1, 100, 1000]).unwrap();
    config.compression.dictionaries = rng.choice([1500, 64 << 20, 64 << 20]).unwrap();
    config.compression.dictionaries_per_ip = rng.choice([0, 700, 32 << 20]).unwrap();
    let limits = &mut config.limits;
    limits.connections_per_ip = rng.choice([0, 0, 3]).unwrap();
    limits.message_bytes = 4096;
    limits.messages_per_s = 100_000;
    limits.control_per_s = 100_000;
    (limits.patterns_per_ip, limits.classes_per_ip) = (1_000_000, 10_000);
    limits.tombstones = rng.usize(..6);
    limits.kept_pattern_bytes = rng.choice([500, 5_000, 1 << 20]).unwrap();
    limits.topics_looked_at_per_s = rng.choice([0, 20, 1_000_000]).unwrap();
    limits.history_bytes = rng.choice([500, 5_000, 1 << 30, 1 << 30]).unwrap();
    limits.pinned_bytes = rng.choice([20_000, 100_000, 64 << 20]).unwrap();
    limits.stall = ms(&rng.u64(1000..8000));
    limits.idle = ms(&rng.u64(1000..6000));
    limits.connection_age = ms(&rng.choice([0, 0, 0, 0, 3_000, 20_000]).unwrap());
    limits.idle_subscribed = ms(&rng.choice([0, 0, 0, 4_000, 15_000]).unwrap());
    limits.ping = ms(&rng.u64(1000..6000));
    limits.pong = ms(&rng.u64(500..3000));
    limits.handshake = ms(&rng.u64(1000..6000));
    limits.handshakes_per_turn = rng.choice([1, 1, 2, 8]).unwrap();
    limits.sealed_bytes = rng.choice([500, 4_000, 20_000, 64 << 20]).unwrap();
    limits.build_bytes_per_ip = rng.choice([0, 0, 100_000]).unwrap();
    let overload = &mut config.overload;
    overload.rungs = rng.choice([0, 1, 3, 3]).unwrap();
    overload.after = ms(&rng.choice([100, 400, 1000]).unwrap());
    overload.calm = ms(&rng.choice([100, 500, 2000]).unwrap());
    overload.interval_max = ms(&rng.choice([50, 500, 2000]).unwrap());
    overload.busy_percent = rng.choice([0, 0, 95]).unwrap();
    let server = &mut config.server;
    server.proxies.trusted = proxies::trusted();
    server.proxies.forwarded =
        rng.choice([None, None, Some(Forwarded::XForwardedFor), Some(Forwarded::Forwarded)]).unwrap();
    server.proxy_protocol = rng.u8(..3) == 0;
    server.drain = ms(&rng.u64(500..8000));
    config.limits.connections_per_sub = rng.choice([0, 0, 3]).unwrap();
    config.limits.token_checks = rng.choice([1, 2, 1024]).unwrap();
    config.access.tokens.rules = random_rules(rng).into();
    config.topics = random_policies(rng);
    config
}

fn random_policies(rng: &mut fastrand::Rng) -> Policies {
    let keyed = |rng: &mut fastrand::Rng| {
        Mode::Keyed(Keyed { keys: KEYS - 2, key_tombstones: rng.usize(..5), table_bytes: 1 << 20 })
    };
    let stream = |rng: &mut fastrand::Rng, behind, longest| {
        let (snapshot_updates, history_updates) = (rng.usize(1..4), rng.usize(4..longest));
        Mode::Stream(Stream {
            snapshot_updates,
            history_updates,
            history_bytes: 1 << 20,
            history_age: None,
            behind,
        })
    };
    let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
    Policies::new(vec![
        policy("k.*", keyed(rng)),
        policy("s.gap.*", stream(rng, Behind::Gap, 40)),
        policy("s.close.*", stream(rng, Behind::Close, 8)),
    ])
}

impl Simulation {
    fn new(mut rng: fastrand::Rng, tally: Tally) -> Self {
        let config = random_config(&mut rng);
        let crowd = config.limits.connections_per_ip;
        let mut world = World::new(config, SLOTS, rng.u64(..));
        world.log = false;
        world.shard.set_slice(rng.choice([1, 2, 512]).unwrap());
        world.shard.set_turn_updates(rng.choice([1, 3, 4096]).unwrap());
        world.shard.set_pattern_sizes(rng.choice([1, 10, 256]).unwrap(), rng.choice([1, 3, 1024]).unwrap());
        world.set_fragment_bytes(rng.choice([100, 256, 1000, FRAGMENT_BYTES]).unwrap());
        world.net.inner().set_recv_bytes_max(rng.choice([7, 100, 4096]).unwrap());
        world.net.inner().set_send_bytes_max(rng.choice([50, 1000, usize::MAX]).unwrap());
        let topics = ["a", "a.b", "a.b.c", "b", "m.x"].into_iter().map(str::to_owned);
        let numbered = (0..40).map(|i| format!("{}.{}.t{i}", ["m", "n"][i % 2], ["x", "y", "z"][i % 3]));
        let others = ["k.0", "k.1", "k.2", "s.gap.0", "s.gap.1", "s.close.0"].map(str::to_owned);
        let topics: Vec<String> = topics.chain(numbered).chain(others.clone()).chain(others).collect();
        let wide = ["*", "m.*", "n.*", "m.x.*", "m.y.*", "n.z.*", "a.*", "a.b.*", "none.*", "k.*", "s.*"];
        let starred = [
            "*.b", "*.x", "a.*.c", "*.*", "m.*.t2", "*.x.*", "*.y.t10", "*.*.t7", "*.t4", "*.c", "s.*.0",
            "*.0", "*.none.*",
        ];
        let wide = wide.into_iter().chain(starred).map(str::to_owned);
        let patterns = wide.chain(topics.iter().cloned()).collect();
        let clients = rng.usize(4..16);
        let conduct = (0..clients).map(|_| Conduct::default()).collect();
        let speakers = Speakers::new();
        let states = States::new(&world, &topics, &mut rng);
        let wire = rng.bool().then(|| random_wire(&mut rng));
        let mut simulation = Self {
            world,
            rng,
            conduct,
            topics,
            patterns,
            speakers,
            states,
            passes: Passes::default(),
            wire,
            resumed: None,
            draining: false,
            seq: 0,
            crowd,
            refused_us: 0,
            tally,
        };
        for _ in 0..clients {
            simulation.dial();
        }
        simulation
    }

    fn step(&mut self) {
        match self.rng.u32(..1000) {
            0..290 => self.publish(),
            290..300 => self.follow(),
            300..600 => self.turn(),
            600..680 => {
                let ms = self.rng.u64(..150);
                self.advance(Duration::from_millis(ms));
            }
            680..681 => {
                let ms = self.rng.u64(..15_000);
                self.advance(Duration::from_millis(ms));
            }
            681..682 => self.quiesce(),
            682..684 => self.strain(),
            692..700 => self.finish_checks(false),
            700..702 => self.revoke(),
            684..692 => self.states.change(&self.world, &self.topics, &mut self.rng),
            702..703 => self.reload(),
            703..704 => self.reload_rules(),
            _ => {
                let peer = self.rng.usize(..self.conduct.len());
                self.act(peer);
            }
        }
    }

    /// The configuration is reloaded: most of what may change does.
    fn reload(&mut self) {
        let (rng, ms) = (&mut self.rng, Duration::from_millis);
        let Config { fanout, limits, compression, overload, .. } = &mut self.world.config;
        fanout.heartbeat = ms(rng.u64(500..5000));
        fanout.build_bytes = rng.choice([100, 400, 3000, 1 << 20, 1 << 20]).unwrap();
        fanout.pattern_keep = ms(rng.choice([0, 100, 4000]).unwrap());
        (compression.level, compression.bytes_min) = (rng.u8(1..=9), rng.choice([1, 100, 1000]).unwrap());
        (limits.patterns_per_ip, limits.classes_per_ip) =
            rng.choice([(0, 0), (1_000_000, 0), (1_000_000, 10_000)]).unwrap();
        limits.connections_per_ip = rng.choice([0, 1000]).unwrap();
        limits.kept_pattern_bytes = rng.choice([500, 5_000, 1 << 20]).unwrap();
        limits.topics_looked_at_per_s = rng.choice([0, 20, 1_000_000]).unwrap();
        limits.build_bytes_per_ip = rng.choice([0, 0, 100_000]).unwrap();
        limits.stall = ms(rng.u64(1000..8000));
        limits.idle = ms(rng.u64(1000..6000));
        limits.ping = ms(rng.u64(1000..6000));
        limits.pong = ms(rng.u64(500..3000));
        limits.handshake = ms(rng.u64(1000..6000));
        overload.rungs = rng.choice([0, 1, 3, 3]).unwrap();
        overload.after = ms(rng.choice([100, 400, 1000]).unwrap());
        overload.calm = ms(rng.choice([100, 500, 2000]).unwrap());
        overload.busy_percent = rng.choice([0, 0, 95]).unwrap();
        self.world.reload();
        self.tally.reloads += 1;
    }

    /// A turn in which not everything that could happens.
    fn turn(&mut self) {
        let us = self.rng.u64(..3000);
        self.world.pass(us);
        for _ in 0..self.rng.usize(..4) {
            self.world.net.inner().step();
        }
        let events = self.rng.usize(..8);
        let before = self.world.shard.stats().built_bytes;
        self.world.turn(events);
        let built = (self.world.shard.stats().built_bytes - before) as usize;
        // One slice more, and of heartbeats each class and client may have one.
        let most = self.world.config.fanout.build_bytes + SLICE_BYTES_MAX;
        assert!(built <= most, "{built} bytes were built in a turn");
        self.check_rung();
        for peer in 0..self.conduct.len() {
            if self.world.peers[peer].reading && self.rng.bool() {
                let max = self.rng.choice([10, 300, usize::MAX]).unwrap();
                self.world.read(peer, max);
            }
        }
    }

    /// For a while the clock jumps, so that what is due goes out late.
    fn strain(&mut self) {
        let turns = self.rng.usize(20..100);
        let longest_us = self.rng.choice([10_000, 60_000, 200_000]).unwrap();
        for _ in 0..turns {
            if self.rng.bool() {
                self.publish();
            }
            if self.rng.u8(..6) == 0 {
                let peer = self.rng.usize(..self.conduct.len());
                self.act(peer);
            }
            let us = self.rng.u64(..longest_us);
            self.world.pass(us);
            self.world.settle();
            self.check_rung();
            self.check_ends();
        }
    }

    /// What the shard leaves out is no more than it may.
    fn check_rung(&mut self) {
        let (rung, most) = (self.world.shard.stats().overload_rung, self.world.config.overload.rungs);
        assert!(rung <= u64::from(most), "rung {rung}, where {most} is the highest");
        if rung == 3 {
            self.refused_us = self.world.now.mono_us;
        }
        self.tally.rungs[rung as usize] += 1;
    }

    fn advance(&mut self, duration: Duration) {
        self.world.advance(duration);
        self.check_rung();
        self.check_ends();
        self.check_tokens();
        self.check_memory();
    }

    fn publish(&mut self) {
        let count = self.rng.usize(1..6);
        let grouping = if self.rng.u8(..4) == 0 { Grouping::Atomic } else { Grouping::Single };
        let mut items: Vec<Publication> = (0..count).map(|_| self.item()).collect();
        if self.rng.u8(..6) == 0 {
            let topic = self.rng.choice(&self.topics).unwrap();
            if self.world.publisher.current().lives(topic) {
                items.push(Publication { body: Body::Gone, ..self.world.item(topic, "") });
            }
        }
        self.world.publisher.publish(&items, grouping);
    }

    /// What another gateway has numbered: mostly a batch, now and then all it has, in a new epoch.
    fn follow(&mut self) {
        let restart = self.rng.u8(..16) == 0;
        if restart && self.rng.bool() {
            // While frames of the epoch that ends are on their way to some.
            self.publish();
            let us = self.rng.u64(..100_000);
            self.world.pass(us);
            self.world.turn(0);
        }
        let epoch = restart.then(|| {
            engine::topic::epoch::Epoch::parse(&format!("{:016x}", self.rng.u64(..))).expect("16 hex digits")
        });
        let publisher = &self.world.publisher;
        let version = if restart { self.rng.u64(1..3000) } else { publisher.version() + self.rng.u64(1..4) };
        let mut updates: Vec<UpstreamUpdate> = Vec::new();
        let count = self.rng.usize(..if restart { 30 } else { 6 });
        for mut item in (0..count).map(|_| self.item()).collect::<Vec<_>>() {
            let of_topic = updates.iter().filter(|followed| followed.publication.topic == item.topic);
            let held = self.world.publisher.current().topic(&item.topic).filter(|_| !restart);
            let newest = held.and_then(|topic| topic.entries.last());
            let (mut v, mut lives) = newest.map_or((0, false), |entry| (entry.v, !entry.gone));
            if let Some(before) = of_topic.last() {
                if !item.topic.starts_with("s.") {
                    continue;
                }
                (v, lives) = (before.v, true);
            }
            item.seq = None;
            if let (false, Body::Changes(changes)) = (lives, &item.body)
                && changes.base == Base::Held
            {
                continue;
            }
            updates.push(UpstreamUpdate { publication: item, v: v + self.rng.choice([1, 1, 1, 4]).unwrap() });
        }
        let following = UpstreamBatch { epoch, is_whole: restart, version, updates };
        self.tally.followed += u64::from(self.world.publisher.follow(&following));
    }

    fn item(&mut self) -> Publication {
        let pad = "x".repeat(self.rng.usize(..120));
        let topic = self.rng.choice(&self.topics).unwrap();
        if topic.starts_with("k.") {
            let topic = topic.clone();
            return self.keyed_item(&topic);
        }
        let mut item = self.world.item(topic, &format!(r#"{{"n":{},"pad":"{pad}"}}"#, self.rng.u32(..)));
        if self.rng.bool() {
            item.ts_us = Some(item.due_us - self.rng.i64(0..2_000_000));
        }
        if item.topic.starts_with("s.") {
            // Now and then one is lost on the way, or comes twice.
            self.seq += self.rng.choice([1, 1, 1, 1, 1, 1, 0, 3]).unwrap();
            item.seq = Some(Seq::one(self.seq));
        }
        item
    }

    /// Changes of a few keys, now and then from an empty table or as a whole object.
    fn keyed_item(&mut self, topic: &str) -> Publication {
        let item = self.world.item(topic, "{}");
        let count = self.rng.usize(..5);
        let keys = self.rng.choose_multiple(0..KEYS, count);
        let value = |rng: &mut fastrand::Rng| rng.u8(1..10).to_string().repeat(rng.usize(1..12));
        if self.rng.u8(..10) == 0 {
            let members = keys.iter().map(|key| format!(r#""k{key}":{}"#, value(&mut self.rng)));
            let object = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            return Publication { body: Body::Data(object.into()), ..item };
        }
        let reset = self.rng.u8(..30) == 0;
        let mut changes = Changes::new(if reset { Base::Empty } else { Base::Held });
        for key in keys {
            match self.rng.u8(..3) {
                0 => changes.del(&format!("k{key}")).unwrap(),
                _ => changes.set(&format!("k{key}"), value(&mut self.rng).as_bytes()).unwrap(),
            }
        }
        Publication { body: Body::Changes(changes.into()), ..item }
    }

    fn act(&mut self, peer: usize) {
        if self.is_over(peer) {
            return self.redial(peer);
        }
        if self.world.peers[peer].leaving || self.world.peers[peer].close.is_some() {
            return;
        }
        let encoding = self.world.peers[peer].encoding;
        match self.rng.u32(..1000) {
            0..480 if !encoding.takes_ops() => {}
            480..560 | 640..700 if !encoding.takes_ops() => self.say_something(peer),
            560..640 | 935..950 if encoding.is_stream() => {}
            0..350 => self.subscribe(peer),
            350..460 => self.unsubscribe(peer),
            460..480 => self.renew(peer),
            480..560 => self.world.ask(peer, AskedOp::Ping),
            560..640 => drop(self.world.send_frame(peer, Opcode::Ping, b"are you there")),
            640..700 => self.garbage(peer),
            700..780 => {
                self.tally.stalled += 1;
                let window = self.rng.usize(..2000);
                self.world.stall(peer, window);
            }
            780..920 => self.world.resume(peer),
            920..935 => self.world.peers[peer].answers_pings = self.rng.bool(),
            935..950 => self.violate(peer),
            950..960 => self.leave(peer),
            960..966 => self.break_tls(peer),
            _ => {
                let window = self.rng.choice([20, 300, usize::MAX]).unwrap();
                self.world.net.inner().set_window(self.world.peers[peer].conn, window);
            }
        }
        if !self.world.peers[peer].reading {
            self.conduct[peer].slow_us = self.world.now.mono_us;
        }
    }

    fn leave(&mut self, peer: usize) {
        self.world.peers[peer].leaving = true;
        let ways = if self.world.peers[peer].encoding.is_stream() { 2 } else { 3 };
        match self.rng.u8(..ways) {
            0 => {
                self.conduct[peer].reset = true;
                self.world.reset(peer);
            }
            1 => {
                self.conduct[peer].half_closed = true;
                self.half_close(peer);
            }
            _ => {
                self.conduct[peer].said_goodbye = true;
                self.world.send_frame(peer, Opcode::Close, &1000u16.to_be_bytes());
            }
        }
    }

    /// A new connection in place of one that is over; it may take up where that one was.
    fn redial(&mut self, at: usize) {
        if self.draining {
            return;
        }
        self.note(at);
        let mut saved = std::mem::take(&mut self.conduct[at].saved);
        for sub in self.world.peers[at].model.subs.iter().filter(|sub| sub.name != AUTO) {
            let patterns = sub.patterns.iter().cloned().collect();
            let epoch = self.world.publisher.epochs[sub.epoch].name.to_string();
            saved.push(Saved { name: sub.name.clone(), patterns, epoch, version: sub.version });
        }
        self.conduct[at] = Conduct::default();
        self.world.net.inner().peer_forget(self.world.peers[at].conn);
        let strays = self.rng.u8(..40) == 0;
        let forges = !strays && self.world.config.server.proxy_protocol && self.rng.u8(..20) == 0;
        (self.conduct[at].strayed, self.conduct[at].forged) = (strays, forges);
        self.resumed = if saved.is_empty() || self.rng.bool() { None } else { Some(saved.remove(0)) };
        let new = match (strays, forges) {
            (true, _) => self.stray(),
            (_, true) => self.forge(),
            _ => self.dial(),
        };
        self.world.peers.swap_remove(at);
        assert_eq!(new, self.conduct.len(), "the new peer takes the old one's place");
        let takes_ops = self.world.peers[at].encoding.takes_ops();
        if !strays && !forges && takes_ops && self.rng.bool() {
            for Saved { name, patterns, epoch, version } in saved {
                let since = Some((epoch, version));
                let interval_ms = self.rng.choice(INTERVALS_MS).unwrap();
                self.world.ask(at, AskedOp::Subscribe { sub: name, topics: patterns, interval_ms, since });
            }
        }
    }

    pub(super) fn subscribe(&mut self, peer: usize) {
        let sub = self.rng.choice(["", "", "one", "two", "three"]).unwrap().to_owned();
        let mut topics: Vec<String> =
            (0..self.rng.usize(1..4)).map(|_| self.rng.choice(&self.patterns).unwrap().clone()).collect();
        topics.sort();
        topics.dedup();
        let mut interval_ms = self.rng.choice(INTERVALS_MS).unwrap();
        if self.rng.u8(..3) == 0 {
            // Many of one class: they share frames, and those who are slow stand at different positions.
            topics = vec![self.rng.choice(["*", "s.*"]).unwrap().to_owned()];
            interval_ms = Some(100);
        }
        let model = &self.world.peers[peer].model;
        let publisher = &self.world.publisher;
        let (epoch, newest) = (publisher.current().name.to_string(), publisher.version());
        let mut since = None;
        if model.asked.is_empty() && self.rng.u8(..3) == 0 {
            let foreign = "00000000000000ff".to_owned();
            since = match (model.sub(&sub), self.rng.u8(..4)) {
                (_, 0) => Some((foreign, newest)),
                (None, 1) => Some((epoch, newest + self.rng.u64(1..50))),
                (None, _) => Some((epoch, newest.saturating_sub(self.rng.u64(..200)))),
                (Some(held), _) => {
                    topics = held.patterns.iter().cloned().collect();
                    Some((publisher.epochs[held.epoch].name.to_string(), held.version))
                }
            };
        }
        self.world.ask(peer, AskedOp::Subscribe { sub, topics, interval_ms, since });
    }

    fn unsubscribe(&mut self, peer: usize) {
        let sub = self.rng.choice(["", "", "one", "two", "three", AUTO]).unwrap().to_owned();
        let held = self.world.peers[peer].model.sub(&sub);
        let held: Vec<String> = held.map_or_else(Vec::new, |held| held.patterns.iter().cloned().collect());
        let topics = match self.rng.u8(..4) {
            0 => None,
            1 => Some(vec![self.rng.choice(&self.patterns).unwrap().clone()]),
            _ => self.rng.choice(&held).map(|pattern| vec![pattern.clone()]),
        };
        self.world.ask(peer, AskedOp::Unsubscribe { sub, topics });
    }

    fn garbage(&mut self, peer: usize) {
        const BAD: [&str; 7] = [
            "",
            "nonsense",
            "[1,2]",
            r#"{"op":"frobnicate"}"#,
            r#"{"op":"subscribe","topics":[]}"#,
            r#"{"op":"subscribe","topics":["a"],"since":"x"}"#,
            r#"{"op":"unsubscribe","sub":7}"#,
        ];
        for _ in 0..if self.rng.u8(..40) == 0 { 30 } else { 1 } {
            self.conduct[peer].garbage += 1;
            match self.rng.choice(BAD) {
                Some(text) if self.rng.bool() => self.world.send_bad(peer, text),
                _ => self.world.ask(peer, AskedOp::Bad),
            }
        }
    }

    fn violate(&mut self, peer: usize) {
        let (code, bytes): (u16, &[u8]) = match self.rng.u8(..6) {
            0 => (1002, &[0x81, 0x01, b'a']),
            1 => (1002, &[0x81, 0xfe, 0, 5]),
            2 => (1002, &[0xf1, 0x80, 0, 0, 0, 0]),
            3 if self.world.peers[peer].encoding == Encoding::Msgpack => (1003, &[0x81, 0x80, 0, 0, 0, 0]),
            3 => (1003, &[0x82, 0x80, 0, 0, 0, 0]),
            4 => (1007, &[0x01, 0x81, 0, 0, 0, 0, 0xff]),
            _ => (1009, &[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]),
        };
        self.world.peers[peer].leaving = true;
        self.conduct[peer].violation = Some(code);
        self.world.send_raw(peer, bytes);
    }

    fn is_over(&self, peer: usize) -> bool {
        self.world.peers[peer].slot_freed
    }

    /// How connections ended is what their clients' conduct allows.
    fn check_ends(&mut self) {
        for at in 0..self.conduct.len() {
            self.check_last_words(at);
            let may_be_unauthorized = self.may_be_unauthorized(at);
            let has_expired = self.has_expired(at);
            let may_be_refused = self.may_be_refused(&self.world.peers[at]);
            let may_be_crowded = self.may_be_crowded();
            let most = self.crowd;
            let (peer, conduct) = (&self.world.peers[at], &mut self.conduct[at]);
            let now_us = self.world.now.mono_us;
            if !peer.reading || !peer.answers_pings {
                conduct.slow_us = now_us;
            }
            assert!(!conduct.forged || peer.bytes == 0, "peer {at} got in without a header");
            if conduct.judged {
                continue;
            }
            let is_crowded = most > 0 && peer.crowd >= most;
            if let Some((code, reason)) = &peer.close {
                conduct.judged = true;
                let fits = match code {
                    1000 => conduct.said_goodbye,
                    1001 if reason == CloseReason::Age.text() => {
                        let is_told = peer.model.draining || peer.encoding == Encoding::Raw;
                        (is_told || self.draining) && is_of_age(peer, &self.world.config, now_us)
                    }
                    1001 => self.draining,
                    1013 if reason == Refused::Overload.text() => {
                        self.tally.refused += 1;
                        self.refused_us > 0 && now_us - self.refused_us < 20_000_000
                    }
                    1013 if reason == Refused::Draining.text() => self.draining,
                    1013 => has_no_room(&self.world.config.compression) && peer.keeps_context(),
                    4000 if reason == CloseReason::Silent.text() => {
                        was_silent(peer, &self.world.config, now_us)
                    }
                    // The answer to the op that ended the last one may have been cut off.
                    4000 => peer.model.subs.is_empty() || peer.model.is_unsubscribing(),
                    4001 => was_slow(conduct, now_us),
                    4004 => fell_behind(peer, &self.world.publisher),
                    4005 => has_expired,
                    // Of bare values nothing came yet: it was refused.
                    4401 | 4403 if peer.raw.as_ref().is_some_and(|values| values.count == 0) => true,
                    4401 => may_be_unauthorized,
                    4403 if reason == NOT_GRANTED_NOW => peer.raw.is_some() && self.tally.rules > 0,
                    4403 => conduct.garbage > 20 && peer.raw.is_some(),
                    4429 if reason == Refused::Address.text() => {
                        self.tally.crowded += 1;
                        is_crowded
                    }
                    4429 if reason == CloseReason::Connections.text()
                        || reason.starts_with("the subject of the token has ") =>
                    {
                        self.tally.crowded_subjects += 1;
                        may_be_crowded
                    }
                    4506 => conduct.garbage > 20,
                    other => conduct.violation == Some(*other),
                };
                assert!(fits, "peer {at} was closed with {code} {reason:?}: {:?}", peer.model);
                continue;
            }
            let end = self.world.net.inner().peer_end(peer.conn);
            let refused = !self.draining && peer.http.starts_with(b"HTTP/1.1 503 ");
            if refused && !conduct.judged && !matches!(end, PeerEnd::Open) {
                let answer = String::from_utf8_lossy(&peer.http);
                assert!(answer.contains("\r\nRetry-After: 5\r\n"), "peer {at} was refused by {answer:?}");
                self.tally.refused += 1;
            }
            if peer.http.starts_with(b"HTTP/1.1 429 ") && !matches!(end, PeerEnd::Open) {
                self.tally.crowded_subjects += u64::from(may_be_refused);
                self.tally.crowded += u64::from(!may_be_refused);
                assert!(
                    is_crowded || may_be_refused,
                    "peer {at} was refused, with {} others of its address",
                    peer.crowd
                );
            }
            let is_crowded = is_crowded && !peer.open;
            let refused = refused && self.refused_us > 0 && now_us - self.refused_us < 20_000_000;
            conduct.judged = !matches!(end, PeerEnd::Open);
            let fits = match end {
                PeerEnd::Open => true,
                PeerEnd::Ended => {
                    let broke_tls = conduct.broke_tls || conduct.strayed;
                    let gone = conduct.half_closed || conduct.violation.is_some() || broke_tls;
                    gone || !peer.reading
                        || self.draining
                        || refused
                        || may_be_refused
                        || is_crowded
                        || conduct.forged
                }
                PeerEnd::Reset => conduct.reset || self.draining || was_slow(conduct, now_us) || is_crowded,
            };
            assert!(fits || peer.slot_freed, "peer {at} ended without reason: {:?}", peer.model);
        }
    }

    fn check_memory(&mut self) {
        let stats = self.world.shard.stats();
        let slack = 64 * 12_000 + self.conduct.len() * 12_000;
        let limit = self.world.config.limits.pinned_bytes + slack;
        assert!(stats.pinned_bytes as usize <= limit, "{} bytes pinned", stats.pinned_bytes);
        assert!(stats.history_bytes as usize <= self.world.config.limits.history_bytes);
        assert!(self.world.net.open() <= self.conduct.len(), "slots are not given back");
        self.check_crowds();
        let bytes = self.world.shared.dictionaries.bytes();
        assert_eq!(stats.client.dictionary_bytes as usize, bytes, "one shard has all dictionaries");
        self.tally.dictionary_bytes = self.tally.dictionary_bytes.max(stats.client.dictionary_bytes);
    }

    /// No address has more connections than it may.
    fn check_crowds(&self) {
        let most = self.world.config.limits.connections_per_ip;
        let mut open: HashMap<Address, usize> = HashMap::new();
        for peer in
            self.world.peers.iter().filter(|peer| peer.open && !peer.slot_freed && peer.close.is_none())
        {
            *open.entry(peer.address.ip().into()).or_default() += 1;
        }
        let over = open.iter().find(|(_, count)| most > 0 && **count > most);
        assert_eq!(over, None, "more than {most} of one address");
    }

    /// Everybody reads, nobody publishes: in the end all hold the newest state.
    fn quiesce(&mut self) {
        for peer in 0..self.conduct.len() {
            self.world.resume(peer);
        }
        self.finish_all_checks();
        self.states.tick(&self.world);
        // Who was closed meanwhile learns it now, and is judged by how it has been.
        self.advance(Duration::from_millis(500));
        // What one address or client has used up comes back.
        let limits = &self.world.config.limits;
        let looked_at = if limits.topics_looked_at_per_s == 20 { 300 } else { 0 };
        let built = if limits.build_bytes_per_ip > 0 { 100 } else { 0 };
        let rest = Duration::from_secs(built.max(looked_at));
        self.advance(rest + LONGEST_INTERVAL + Duration::from_millis(200));
        // Those that came behind ops which had to wait.
        self.finish_all_checks();
        self.advance(Duration::from_millis(200));
        self.come_down();
        for (at, peer) in self.world.peers.iter().enumerate() {
            if peer.open && !peer.leaving && peer.close.is_none() && !peer.slot_freed {
                assert!(!peer.model.overloaded, "peer {at} was not told the end of an overload");
                assert!(peer.model.asked.is_empty(), "peer {at} was not answered: {:?}", peer.model.asked);
                peer.model.check_newest(&self.world.publisher.epochs);
                peer.raw.iter().for_each(|values| values.check_newest(&self.world.publisher.epochs));
                self.check_age(at);
                // One that a drain has sent away may not have been told.
                if !self.draining {
                    peer.model.states.check(&peer.model.subs, &self.states.not_live);
                }
            }
        }
    }

    /// Who reads is sent away when it has reached its age.
    fn check_age(&self, at: usize) {
        let age_us = self.world.config.limits.connection_age.as_micros() as u64;
        let lasted_us = self.world.now.mono_us - self.world.peers[at].opened_us;
        let most_us = age_us / 4 * 5 + 1_000_000;
        assert!(
            age_us == 0 || lasted_us <= most_us,
            "peer {at} is open for {lasted_us} µs, its age is {age_us} µs"
        );
    }

    /// A shard that keeps up leaves nothing out in the end.
    fn come_down(&mut self) {
        // Five steps, for each of which it waits sixteen times `calm` at most.
        let calm = self.world.config.overload.calm;
        for _ in 0..5 * 17 {
            if self.world.shard.stats().overload_rung == 0 {
                // Who is to be told is told by now.
                return self.advance(Duration::from_millis(10));
            }
            self.advance(calm);
        }
        panic!("the shard keeps up and still stands at rung {}", self.world.shard.stats().overload_rung);
    }

    fn end(mut self) -> Tally {
        if self.rng.bool() {
            self.drain();
        } else {
            self.quiesce();
            for peer in 0..self.conduct.len() {
                if !self.is_over(peer) && !self.world.peers[peer].leaving {
                    self.leave(peer);
                }
            }
        }
        self.finish_all_checks();
        let Config { limits, server, .. } = &self.world.config;
        let longest = limits.stall.max(limits.handshake) + server.drain;
        self.advance(longest + Duration::from_secs(3));
        // What was cached for others goes with the next update.
        self.world.publish("last", "1");
        let stats = self.world.shard.stats();
        let left = (stats.sockets, stats.connections, stats.subscriptions, stats.classes, stats.patterns);
        assert_eq!(left, (0, 0, 0, 0, 0), "sockets, connections, subscriptions, classes, patterns are left");
        assert_eq!((self.world.net.open(), self.world.shared.connections()), (0, 0), "slots are left");
        let tokens = &self.world.shared.tokens;
        assert_eq!((stats.grants, tokens.checks(), tokens.subjects()), (0, 0, 0), "tokens are left");
        let dictionaries = &self.world.shared.dictionaries;
        assert_eq!(stats.patterns_kept, 0, "patterns are kept for ever");
        let left =
            (stats.addresses, stats.client.dictionary_bytes, dictionaries.bytes(), dictionaries.addresses());
        assert_eq!(left, (0, 0, 0, 0), "shares, dictionaries are left");
        self.tally.gaps += stats.fanout.gaps;
        self.tally.declined += stats.compression_declined;
        self.tally.roomless += stats.ended[CloseReason::Dictionaries as usize];
        self.tally.inflated += stats.client.inflated;
        self.tally.proxied += stats.proxy.headers;
        self.tally.forged += stats.proxy.refused.iter().sum::<u64>();
        self.tally.waits.iter_mut().zip(stats.build_waits).for_each(|(all, waits)| *all += waits);
        assert_eq!((stats.build_clients, stats.build_classes), (0, 0), "someone still stands in line");
        self.tally.key_tombstones_dropped += stats.fanout.key_tombstones_dropped;
        self.tally.patterns_found += stats.patterns_found;
        self.tally.rested += stats.ops_rested;
        self.tally.patterns_evicted += stats.patterns_evicted;
        self.tally.histories_dropped += stats.fanout.histories_dropped;
        let counters = self.world.publisher.counters();
        self.tally.skipped += counters.by_topics.skipped;
        self.tally.repeats += counters.repeats;
        assert_eq!((stats.pinned_bytes, self.world.net.inner().held_bytes()), (0, 0), "frames are left");
        self.check_sessions();
        for peer in 0..self.conduct.len() {
            self.note(peer);
        }
        self.tally.sent = self.tally.sent.rotate_left(1) ^ self.world.sent.finish();
        self.tally
    }

    fn drain(&mut self) {
        self.draining = true;
        let slow = self.begin_long();
        self.world.drain();
        let step = self.world.config.server.drain / DRAIN_STEPS;
        // A last flush may not find its turn in time, or be cut off.
        let (mut some_wait, mut closed) = (false, Vec::new());
        for _ in 0..DRAIN_HURRY_STEP {
            let stats = self.world.shard.stats();
            some_wait = stats.connections > 0 && stats.build_clients + stats.build_classes > 0;
            closed = self.world.peers.iter().map(|peer| peer.close.is_some()).collect();
            self.advance(step);
            for peer in &slow {
                let bytes = self.rng.usize(1..60);
                self.take(*peer, bytes);
            }
        }
        // Here a close passes whatever it still waits for.
        self.advance(step / 4);
        for peer in slow.iter().filter(|_| !some_wait) {
            self.check_hurried(*peer);
        }
        self.advance(2 * step + Duration::from_millis(20));
        for (at, peer) in self.world.peers.iter().enumerate() {
            // Whose header is not whole holds up nobody.
            let is_gone = peer.slot_freed || peer.close.is_some() || self.conduct[at].forged;
            assert!(is_gone, "peer {at} outlives the drain: {peer:?}");
            let was_drained = |(_, reason): &(u16, String)| reason == CloseReason::Draining.text();
            if !peer.close.as_ref().is_some_and(was_drained) {
                continue;
            }
            self.tally.drained += 1;
            let is_cut = peer.fragments.within || peer.model.may_be_cut() || !closed[at];
            self.tally.cut += u64::from(slow.contains(&at) && is_cut);
            // One that a drain has sent away may not have been told of a state.
            if !slow.contains(&at) || !is_cut {
                let is_told = peer.model.draining || peer.encoding == Encoding::Raw;
                assert!(is_told, "peer {at} was not told");
                peer.model.check_newest(&self.world.publisher.epochs);
            }
        }
    }

    /// Some clients ask for much and are slow at reading it from now on.
    fn begin_long(&mut self) -> Vec<usize> {
        let mut slow = Vec::new();
        for at in 0..self.conduct.len() {
            let peer = &self.world.peers[at];
            let is_there = peer.open && !peer.leaving && peer.close.is_none() && !peer.slot_freed;
            if is_there && peer.encoding.takes_ops() && self.rng.bool() {
                let topics = vec!["*".to_owned()];
                let op =
                    AskedOp::Subscribe { sub: String::new(), topics, interval_ms: Some(100), since: None };
                self.world.ask(at, op);
                let window = self.rng.usize(..300);
                self.world.stall(at, window);
                slow.push(at);
            }
        }
        self.publish();
        let ms = self.rng.u64(..200);
        self.advance(Duration::from_millis(ms));
        slow
    }

    /// The client takes so many bytes more.
    fn take(&mut self, at: usize, bytes: usize) {
        let conn = self.world.peers[at].conn;
        self.world.net.inner().set_window(conn, bytes);
        self.world.settle();
        self.world.read(at, usize::MAX);
        self.world.net.inner().set_window(conn, 0);
        self.conduct[at].slow_us = self.world.now.mono_us;
    }

    /// Of a client that is to leave, which takes what is in flight, a close waits for no message.
    fn check_hurried(&mut self, at: usize) {
        self.take(at, self.world.fragment_bytes() + IN_FLIGHT_BYTES);
        let peer = &self.world.peers[at];
        let is_there = self.world.net.inner().peer_end(peer.conn) == PeerEnd::Open && !peer.slot_freed;
        assert!(peer.close.is_some() || !is_there, "peer {at}: the close waits for a message");
    }

    fn note(&mut self, at: usize) {
        self.note_tokens(at);
        let peer = &self.world.peers[at];
        let tally = &mut self.tally;
        tally.batches += peer.model.batches;
        tally.overloads += peer.model.overloads;
        tally.snapshots += peer.model.snapshots;
        tally.heartbeats += peer.model.heartbeats;
        tally.deflated += peer.deflated as u64;
        tally.continued += peer.fragments.continued;
        tally.passed += peer.fragments.passed;
        tally.closed_within += u64::from(peer.close.is_some() && peer.fragments.within);
        tally.tls += if peer.tls.is_some() { peer.model.batches } else { 0 };
        tally.restarts += peer.model.restarts;
        tally.resumed += peer.model.resumed;
        tally.statuses += peer.model.statuses;
        tally.early += peer.model.early;
        tally.parts += peer.model.parts;
        tally.ids += peer.ids;
        tally.values += peer.raw.as_ref().map_or(0, |values| values.count);
        tally.conflated += peer.raw.as_ref().map_or(0, |values| values.skipped);
        tally.closes += u64::from(peer.close.is_some());
        let was = |reason: CloseReason| peer.close.as_ref().is_some_and(|(_, text)| text == reason.text());
        tally.aged += u64::from(was(CloseReason::Age));
        tally.silent += u64::from(was(CloseReason::Silent));
        tally.lapsed += u64::from(peer.close_code() == Some(4004));
        tally.resets += u64::from(
            self.world.net.inner().peer_end(peer.conn) == PeerEnd::Reset && !self.conduct[at].reset,
        );
    }
}

/// It may have reached its age.
fn is_of_age(peer: &Peer, config: &Config, now_us: u64) -> bool {
    let age_us = config.limits.connection_age.as_micros() as u64;
    age_us > 0 && now_us - peer.dialled_us >= age_us / 4 * 3
}

/// It sent nothing for so long; what it sent last may still be on its way.
fn was_silent(peer: &Peer, config: &Config, now_us: u64) -> bool {
    const ON_ITS_WAY_US: u64 = 500_000;
    let silent_us = config.limits.idle_subscribed.as_micros() as u64;
    silent_us > 0 && peer.silence_us.max(now_us - peer.said_us) + ON_ITS_WAY_US >= silent_us
}

/// It missed updates of a stream that closes who does.
fn fell_behind(peer: &Peer, publisher: &Publisher) -> bool {
    peer.model.subs.iter().any(|sub| {
        publisher.epochs[sub.epoch..].iter().enumerate().any(|(later, epoch)| {
            // It may have been brought anywhere in an epoch that it was not told of yet.
            let from = if later == 0 { sub.version } else { 0 };
            epoch.overran(|at| sub.matches(&epoch.topics[at].name), from, true)
        })
    })
}

/// What compressed messages refer back to may find no room.
fn has_no_room(compression: &Compression) -> bool {
    let Compression { dictionaries, dictionaries_per_ip, .. } = *compression;
    dictionaries == 1500 || dictionaries_per_ip == 700
}

fn was_slow(conduct: &Conduct, now_us: u64) -> bool {
    conduct.slow_us > 0 && now_us - conduct.slow_us < 20_000_000
}
