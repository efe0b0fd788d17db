//! What the fuzz targets do with their input; `tests/fuzz_seeds.rs` does the same with the seeds.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use engine::{
    clock::Now,
    protocol,
    shard::{
        Application, Shard,
        inbox::{Inbox, Message},
        shared::Shared,
    },
    topic::{epoch::Epoch, policy::Mode},
    update::{Batch, Op, TopicId, Update},
};
use gateway::config::Config;
use net::{ConnId, Sockets, sim::SimRing};
use proto::encode::{Opcode, masked_frame};

const SLOTS: u32 = 8;
const KEY: [u8; 4] = [1, 2, 3, 4];
/// Turns of one moment; more are an endless loop.
const TURNS_MAX: usize = 100_000;
const EVENTS_OF_TURN: usize = 64;
/// Frames that so few topics and one client can make the shard hold.
const PINNED_BYTES_MAX: u64 = 4 << 20;

/// What a client sends, in the first byte's upper two bits: lines that are text messages, the bytes
/// of an open WebSocket, or everything from the first byte of the request on. The lower six bits
/// say how the input is cut.
pub fn client_messages(data: &[u8]) {
    let Some((&first, input)) = data.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(input) {
        // An error is fine, a panic is not.
        let _ = protocol::request::parse(text);
    }
    let mut world = World::new(first);
    if first & 0x80 != 0 || first & 0x40 != 0 {
        let mut request = Vec::new();
        proto::handshake::request(&mut request, "h", "/ws", [0; 16], &[], false);
        world.net.peer_send(world.conn, &request);
        world.settle();
    }
    if first & 0x80 != 0 {
        for line in input.split(|byte| *byte == b'\n') {
            let mut frame = Vec::new();
            masked_frame(&mut frame, Opcode::Text, line, KEY);
            world.net.peer_send(world.conn, &frame);
            world.publish();
            world.settle();
        }
    } else {
        world.net.peer_send(world.conn, input);
        world.publish();
        world.settle();
    }
    world.end();
}

struct World {
    shard: Shard,
    net: SimRing,
    inbox: Arc<Inbox>,
    now: Now,
    conn: ConnId,
    version: u64,
}

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let mut config = Config::embedded_demo();
        config.server.shards = 1;
        config.fanout.frame_bytes_max = 512;
        config
    })
}

impl World {
    fn new(first: u8) -> Self {
        let now = Now { mono_us: 0, wall_us: 1_700_000_000_000_000 };
        let inbox = Inbox::new(1000, usize::MAX, net::Waker::unconnected());
        let shared = Arc::new(Shared::new(
            Epoch::parse("8f0c2a77d1e94b02").expect("16 hex digits"),
            None,
            SLOTS as usize,
            &config().settings(),
        ));
        let shard = Shard::new(
            &config().settings(),
            Application::Broadcast,
            0,
            SLOTS as usize,
            shared,
            inbox.clone(),
            now,
        );
        let mut net = SimRing::new(SLOTS, u64::from(first));
        net.set_recv_bytes_max(1 << (first & 0x0f));
        let conn = net.accept(([127, 0, 0, 1], 1).into()).expect("the table is empty");
        Self { shard, net, inbox, now, conn, version: 0 }
    }

    /// One update of a topic, which is born with the first.
    fn publish(&mut self) {
        let mut ops = Vec::new();
        if self.version == 0 {
            ops.push(Op::Birth { topic: TopicId(0), name: "a.b".into(), mode: Arc::new(Mode::Latest) });
        }
        self.version += 1;
        let (version, ts_us) = (self.version, self.now.wall_us);
        let json = Bytes::from(format!(r#"{{"topic":"a.b","v":{version},"ts":{ts_us},"data":1}}"#));
        let topic = TopicId(0);
        ops.push(Op::Update(Update {
            topic,
            version,
            v: version,
            ts_us,
            due_us: ts_us,
            gone: false,
            skipped: 0,
            json,
            changes: None,
        }));
        // A full inbox only means that nothing is published this time.
        let _ = self.inbox.push(Message::Updates(Arc::new(Batch::new(version, ops))));
    }

    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            self.shard.take_inbox(self.now);
            let mut events = 0;
            while events < EVENTS_OF_TURN
                && let Some(event) = self.net.next()
            {
                self.shard.on_event(event, &mut self.net, self.now);
                events += 1;
            }
            let mut busy = self.shard.run(&mut self.net, self.now) || events > 0;
            busy |= !self.net.peer_read(self.conn, usize::MAX).is_empty();
            if !busy {
                return self.check();
            }
        }
        panic!("the shard does not come to rest");
    }

    fn check(&self) {
        let (stats, limits) = (self.shard.stats(), &config().limits);
        assert!(stats.subscriptions <= limits.subscriptions as u64, "{} subscriptions", stats.subscriptions);
        assert!(stats.patterns <= limits.patterns as u64, "{} patterns", stats.patterns);
        assert!(stats.classes <= stats.subscriptions, "{} classes", stats.classes);
        assert!(stats.pinned_bytes <= PINNED_BYTES_MAX, "{} bytes pinned", stats.pinned_bytes);
    }

    /// Time passes, the client goes, and nothing of it is left.
    fn end(mut self) {
        for _ in 0..3 {
            self.now.mono_us += 700_000;
            self.now.wall_us += 700_000;
            self.settle();
        }
        self.net.peer_reset(self.conn);
        self.settle();
        self.now.mono_us += 100_000_000;
        self.publish();
        self.settle();
        let stats = self.shard.stats();
        let left = (stats.sockets, stats.connections, stats.subscriptions, stats.classes, stats.patterns);
        assert_eq!(left, (0, 0, 0, 0, 0), "sockets, connections, subscriptions, classes, patterns are left");
        assert_eq!((self.net.open(), stats.pinned_bytes), (0, 0), "slots and frames are left");
    }
}
