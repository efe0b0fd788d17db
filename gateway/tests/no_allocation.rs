//! Delivering a frame allocates nothing: what a flush allocates does not depend on how many get it.
#![forbid(unsafe_code)]

use std::{net::SocketAddr, sync::Arc};

use allocation_counter::measure;
use bytes::Bytes;
use engine::{
    clock::Now,
    shard::{
        Application, Shard,
        inbox::{Inbox, Message},
        shared::Shared,
    },
    topic::policy::Mode,
    update::{Batch, Op, TopicId, Update},
};
use gateway::config::Config;
use net::{Close, ConnId, Event, Sockets};

/// Takes every send and remembers whose it was.
#[derive(Default)]
struct Sent {
    sends: Vec<(ConnId, u32)>,
}

impl Sockets for Sent {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        self.sends.push((conn, bytes.len() as u32));
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

struct World {
    shard: Shard,
    inbox: Arc<Inbox>,
    net: Sent,
    done: Vec<(ConnId, u32)>,
    now: Now,
    version: u64,
}

impl World {
    /// A shard whose `clients` are all of one class.
    fn new(clients: u32) -> Self {
        let mut config = Config::embedded_demo();
        config.server.shards = 1;
        config.limits.connections = Some(clients as usize);
        let slots = clients as usize + 256;
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let inbox = Inbox::new(1000, usize::MAX, net::Waker::unconnected());
        let shared = Arc::new(Shared::new(
            engine::topic::epoch::Epoch::from(1),
            None,
            clients as usize,
            &config.settings(),
        ));
        let shard =
            Shard::new(&config.settings(), Application::Broadcast, 0, slots, shared, inbox.clone(), now);
        let room = || Vec::with_capacity(2 * clients as usize);
        let mut world = Self { shard, inbox, net: Sent { sends: room() }, done: room(), now, version: 0 };
        for slot in 0..clients {
            let conn = ConnId { slot, generation: 0 };
            let head =
                b"GET /ws?topics=t.* HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            world.shard.on_event(
                Event::Accepted { conn, peer, listener: 0, waited_us: 0 },
                &mut world.net,
                now,
            );
            let received = Event::Received { conn, bytes: head.to_vec().into() };
            world.shard.on_event(received, &mut world.net, now);
        }
        while world.complete(|_| true) > 0 {}
        world
    }

    /// The sends that are `chosen` have reached their clients; gives how many.
    fn complete(&mut self, chosen: impl Fn(ConnId) -> bool) -> usize {
        std::mem::swap(&mut self.net.sends, &mut self.done);
        let mut completed = 0;
        while let Some((conn, bytes)) = self.done.pop() {
            if chosen(conn) {
                completed += 1;
                let sent = Event::Sent { conn, bytes, done: true };
                self.shard.on_event(sent, &mut self.net, self.now);
            } else {
                self.net.sends.push((conn, bytes));
            }
        }
        completed
    }

    fn publish(&mut self) {
        self.version += 1;
        let (topic, version) = (TopicId(0), self.version);
        let json = format!(r#"{{"topic":"t.x","v":{version},"ts":1,"data":{version}}}"#).into();
        let (ts_us, due_us) = (self.now.wall_us, self.now.wall_us);
        let update = Op::Update(Update {
            topic,
            version,
            v: version,
            ts_us,
            due_us,
            gone: false,
            skipped: 0,
            json,
            changes: None,
        });
        let birth =
            (version == 1).then(|| Op::Birth { topic, name: "t.x".into(), mode: Arc::new(Mode::Latest) });
        let batch = Batch::new(version, birth.into_iter().chain([update]).collect());
        self.inbox.push(Message::Updates(Arc::new(batch))).unwrap();
    }

    /// Publishes, lets an interval pass and flushes; gives the allocations of the shard.
    fn flush(&mut self) -> u64 {
        self.publish();
        self.now.mono_us += 100_000;
        self.now.wall_us += 100_000;
        let allocated = measure(|| {
            self.shard.take_inbox(self.now);
            while self.shard.run(&mut self.net, self.now) {}
        });
        allocated.count_total
    }
}

const FLUSHES: u64 = 50;

#[test]
fn a_flush_allocates_no_more_for_a_thousand_clients_than_for_ten() {
    let allocations = |clients: u32| {
        let mut world = World::new(clients);
        let mut total = 0;
        for _ in 0..FLUSHES {
            total += world.flush();
            let completed = || assert_eq!(world.complete(|_| true), clients as usize, "everybody got it");
            total += measure(completed).count_total;
        }
        total
    };
    let (few, many) = (allocations(10), allocations(1000));
    assert_eq!(few, many, "over {FLUSHES} flushes");
    assert!((1..=20 * FLUSHES).contains(&many), "{many} allocations over {FLUSHES} flushes");
}

#[test]
fn clients_that_were_busy_catch_up_with_a_frame_they_share() {
    let allocations = |clients: u32| {
        let mut world = World::new(clients);
        let mut total = 0;
        for _ in 0..FLUSHES {
            total += world.flush();
            // Half of them are still busy at the next flush, and then they missed one frame.
            total += measure(|| assert!(world.complete(|conn| conn.slot % 2 == 0) > 0)).count_total;
            total += world.flush();
            let completed = || {
                assert_eq!(world.complete(|_| true), clients as usize);
                assert_eq!(world.complete(|_| true), clients as usize / 2, "the busy half caught up");
            };
            total += measure(completed).count_total;
        }
        total
    };
    assert_eq!(allocations(10), allocations(1000), "over {FLUSHES} rounds");
}
