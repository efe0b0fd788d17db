//! What a frame costs the engine where each client has a watchlist of its own: one shard, sockets that take every
//! send at once, a clock of its own. Nothing of the kernel is in it.
//!
//! ```text
//! scripts/bench watchlists                     ns a frame, by part of a turn
//! scripts/bench watchlists --instructions      instructions a frame, by callgrind
//! ```
#![forbid(unsafe_code)]

use std::{collections::VecDeque, fmt::Write, net::SocketAddr, ops::AddAssign, sync::Arc, time::Instant};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use engine::{
    clock::Now,
    http::{origin::Origins, proxies::Proxies},
    settings::{Compression, Fanout, Keys, Limits, Overload, Refusing, Settings},
    shard::{
        Application, Shard,
        inbox::{Inbox, Message},
        shared::Shared,
    },
    topic::{
        epoch::Epoch,
        policy::{Mode, Policies},
    },
    update::{Batch, Op, TopicId, Update},
};
use net::{Close, ConnId, Event, Sockets};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SETTLE_INTERVALS: u64 = 4;
const SEED: u64 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wire {
    Json,
    Msgpack,
    /// JSON, with permessage-deflate.
    Deflate,
    MsgpackDeflate,
}

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value_t = 3_000)]
    clients: u32,
    /// Topics of each client's watchlist.
    #[arg(long, default_value_t = 20)]
    topics: usize,
    /// Topics that there are.
    #[arg(long, default_value_t = 1_000)]
    of: usize,
    /// All clients have the same watchlist: one class.
    #[arg(long)]
    same: bool,
    #[arg(long, default_value_t = 250)]
    interval_ms: u64,
    /// Updates a second, of random topics.
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
    /// From turn to turn of the shard.
    #[arg(long, default_value_t = 1_000)]
    turn_us: u64,
    /// Of the shard's clock.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    #[arg(long, value_enum, default_value_t = Wire::Json)]
    wire: Wire,
    /// Memory that is written to between turns, as the kernel does while it sends: what the caches held is gone.
    #[arg(long, default_value_t = 0)]
    evict_kib: usize,
}

/// Takes every send and remembers whose it was.
#[derive(Default)]
struct Sent {
    sends: VecDeque<(ConnId, u32)>,
    frames: u64,
    bytes: u64,
}

impl Sockets for Sent {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        self.sends.push_back((conn, bytes.len() as u32));
        self.frames += 1;
        self.bytes += bytes.len() as u64;
    }
    fn pause_receive(&mut self, _: ConnId) {}
    fn resume_receive(&mut self, _: ConnId) {}
    fn shutdown(&mut self, _: ConnId) {}
    fn query_unsent(&mut self, _: ConnId) {}
    fn close(&mut self, conn: ConnId, how: Close) {
        panic!("{conn:?} was closed: {how:?}");
    }
    fn connect(&mut self, _: Option<SocketAddr>, _: SocketAddr) -> Option<ConnId> {
        None
    }
    fn open(&self) -> usize {
        0
    }
    fn capacity(&self) -> usize {
        usize::MAX
    }
}

/// Where the time of turns goes.
#[derive(Debug, Default)]
struct Spent {
    take_inbox_ns: u128,
    events_ns: u128,
    run_ns: u128,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.take_inbox_ns += other.take_inbox_ns;
        self.events_ns += other.events_ns;
        self.run_ns += other.run_ns;
    }
}

struct World {
    shard: Shard,
    inbox: Arc<Inbox>,
    net: Sent,
    done: VecDeque<(ConnId, u32)>,
    now: Now,
    version: u64,
    random: fastrand::Rng,
    /// Updates of each topic.
    counts: Vec<u64>,
    /// Frames before the first turn that is measured.
    unmeasured: u64,
    data: String,
}

impl World {
    fn new(args: &Args) -> Self {
        let (mut fanout, mut limits, compression) =
            (Fanout::defaults(), Limits::defaults(), Compression::defaults());
        let overload = Overload::defaults();
        fanout.heartbeat = std::time::Duration::from_secs(3_600);
        limits.connections = Some(args.clients as usize);
        let settings = Settings {
            fanout: &fanout,
            limits: &limits,
            compression: &compression,
            overload: &overload,
            shards: 1,
            loopbacks: [true; 2],
            admin_tls: false,
            hosts: &[],
            origins: &Origins::default(),
            refusing: Refusing::Auto,
            proxies: &Proxies::default(),
            rules: &Arc::default(),
            is_chained: false,
            raw_paths: &[],
            topics: &Policies::default(),
        };
        let now = Now { mono_us: 1_000_000, wall_us: 1_760_000_000_000_000 };
        let epoch = Epoch::parse("8f0c2a77d1e94b02").expect("16 hex digits");
        let inbox = Inbox::new(1_000, usize::MAX, net::Waker::unconnected());
        let shared = Arc::new(Shared::new(epoch, None, args.clients as usize, &settings));
        let slots = args.clients as usize + 256;
        let shard = Shard::new(&settings, Application::Broadcast, 0, slots, shared, inbox.clone(), now);
        let (random, counts) = (fastrand::Rng::with_seed(SEED), vec![0; args.of]);
        let (net, done, data) = (Sent::default(), VecDeque::new(), String::new());
        Self { shard, inbox, net, done, now, version: 0, random, counts, unmeasured: 0, data }
    }

    fn connect(&mut self, args: &Args) {
        let extension = match args.wire {
            Wire::Deflate | Wire::MsgpackDeflate => {
                "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
            }
            Wire::Json | Wire::Msgpack => "",
        };
        let protocol = match args.wire {
            Wire::Msgpack | Wire::MsgpackDeflate => "Sec-WebSocket-Protocol: fanwire.msgpack.v1\r\n",
            Wire::Json | Wire::Deflate => "",
        };
        let mut random = fastrand::Rng::with_seed(SEED);
        let step_us = args.interval_ms * 1_000 / u64::from(args.clients).max(1);
        for slot in 0..args.clients {
            if args.same {
                random.seed(SEED);
            }
            let picked = random.choose_multiple(0..args.of, args.topics);
            let topics: Vec<String> = picked.into_iter().map(name).collect();
            let head = format!(
                "GET /ws?topics={}&interval_ms={} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{extension}{protocol}\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                topics.join(","),
                args.interval_ms
            );
            let conn = ConnId { slot, generation: 0 };
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let accepted = Event::Accepted { conn, peer, listener: 0, waited_us: 0 };
            self.shard.on_event(accepted, &mut self.net, self.now);
            let received = Event::Received { conn, bytes: head.into_bytes().into() };
            self.shard.on_event(received, &mut self.net, self.now);
            while self.shard.run(&mut self.net, self.now) {}
            while self.complete() > 0 {}
            self.pass(step_us);
        }
    }

    fn pass(&mut self, us: u64) {
        self.now.mono_us += us;
        self.now.wall_us += us as i64;
    }

    /// Publishes one update of each of `topics`, as one batch each.
    fn publish(&mut self, topics: impl Iterator<Item = usize>) {
        for topic in topics {
            self.version += 1;
            self.counts[topic] += 1;
            let (version, v, us, id) =
                (self.version, self.counts[topic], self.now.wall_us, TopicId(topic as u32));
            let name = name(topic);
            let mut price = || self.random.u32(100_000..200_000);
            let (bid, ask, last) = (price(), price(), price());
            let size = self.random.u32(1..=50) * 100;
            let decimal = |price: u32| format!("{}.{:02}", price / 100, price % 100);
            self.data.clear();
            write!(
                self.data,
                r#"{{"topic":"{name}","v":{v},"ts":{us},"data":{{"bid":{},"ask":{},"last":{},"size":{size},"n":{v}}}}}"#,
                decimal(bid),
                decimal(ask),
                decimal(last),
            )
            .expect("writing to memory does not fail");
            let update = Op::Update(Update {
                topic: id,
                version,
                v,
                ts_us: us,
                due_us: us,
                gone: false,
                skipped: 0,
                json: Bytes::copy_from_slice(self.data.as_bytes()),
                changes: None,
            });
            let birth = (v == 1).then(|| Op::Birth {
                topic: id,
                name: name.as_str().into(),
                mode: Arc::new(Mode::Latest),
            });
            let batch = Batch::new(version, birth.into_iter().chain([update]).collect());
            let pushed = self.inbox.push(Message::Updates(Arc::new(batch)));
            assert!(pushed.is_ok(), "the inbox has room for a turn's updates");
        }
    }

    /// All sends have reached their clients; gives how many.
    fn complete(&mut self) -> usize {
        std::mem::swap(&mut self.net.sends, &mut self.done);
        let completed = self.done.len();
        while let Some((conn, bytes)) = self.done.pop_front() {
            self.shard.on_event(Event::Sent { conn, bytes, done: true }, &mut self.net, self.now);
        }
        completed
    }

    /// A turn of the shard, as its pump does it.
    #[inline(never)]
    fn measured(&mut self) -> Spent {
        let began = Instant::now();
        self.shard.take_inbox(self.now);
        let taken = Instant::now();
        self.complete();
        let completed = Instant::now();
        self.shard.run(&mut self.net, self.now);
        Spent {
            take_inbox_ns: (taken - began).as_nanos(),
            events_ns: (completed - taken).as_nanos(),
            run_ns: completed.elapsed().as_nanos(),
        }
    }

    /// Turns for so long; gives what they took.
    fn turns(&mut self, us: u64, args: &Args) -> Spent {
        let mut spent = Spent::default();
        let mut evicted = vec![0u8; args.evict_kib << 10];
        let (mut due, per_turn) = (0, args.rate * args.turn_us);
        for _ in 0..us / args.turn_us {
            self.pass(args.turn_us);
            due += per_turn;
            let topics: Vec<usize> = (0..due / 1_000_000).map(|_| self.random.usize(0..args.of)).collect();
            due %= 1_000_000;
            self.publish(topics.into_iter());
            evicted.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
            std::hint::black_box(&evicted);
            spent += self.measured();
        }
        spent
    }
}

fn name(topic: usize) -> String {
    format!("tick.S{topic:04}")
}

fn main() {
    let args = Args::parse();
    let mut world = World::new(&args);
    for topic in 0..args.of {
        world.publish(std::iter::once(topic));
        world.shard.take_inbox(world.now);
    }
    world.connect(&args);
    world.unmeasured = world.net.frames;
    let interval_us = args.interval_ms * 1_000;
    world.turns(SETTLE_INTERVALS * interval_us, &args);
    let (frames, bytes) = (world.net.frames, world.net.bytes);
    let before = world.shard.stats();
    let spent = world.turns(args.seconds * 1_000_000, &args);
    let after = world.shard.stats();
    let counted = world.net.frames - world.unmeasured;
    let frames = (world.net.frames - frames) as f64;
    let bytes = (world.net.bytes - bytes) as f64 / frames;
    let updates = (after.updates_out - before.updates_out) as f64 / frames;
    let built = after.fanout.frames_built - before.fanout.frames_built;
    let ns = |part: u128| part as f64 / frames;
    println!(
        "counted={counted} frames={frames} built={built} updates={updates:.2} bytes={bytes:.0} take_inbox_ns={:.0} events_ns={:.0} \
        run_ns={:.0} all_ns={:.0}",
        ns(spent.take_inbox_ns),
        ns(spent.events_ns),
        ns(spent.run_ns),
        ns(spent.take_inbox_ns + spent.events_ns + spent.run_ns)
    );
}
