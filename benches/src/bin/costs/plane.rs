//! A gateway without IO: a sequencer, its one shard and clients that take whatever they are sent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use engine::{
    access::tokens::Tokens,
    clock::Now,
    sequencer::{Body, Grouping, Publication, Sequencer},
    shard::{Application, Shard, inbox::Inbox, shared::Shared},
    topic::epoch::Epoch,
};
use gateway::config::Config;
use net::{ConnId, Event, Events};
use proto::{
    encode::{Opcode, masked_frame},
    handshake,
};

use super::wire::Wire;

/// The gateway's epoch.
pub const EPOCH: &str = "8f0c2a77d1e94b02";
/// What the clocks show at first. µs.
const MONO_US: u64 = 5_000_000;
pub const WALL_US: i64 = 1_700_000_000_000_000;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Events of one turn.
const EVENTS: usize = 1024;
/// Updates of one batch.
const BATCH: usize = 1000;

pub struct Plane {
    pub now: Now,
    pub sequencer: Sequencer,
    pub inbox: Arc<Inbox>,
    pub shard: Shard,
    pub wire: Wire,
}

impl Plane {
    /// With room for so many clients; the defaults of the configuration, but for what `set` changes.
    pub fn new(clients: usize, set: impl FnOnce(&mut Config)) -> Self {
        Self::with_tokens(clients, Tokens::default(), set)
    }

    /// The same where tokens may be shown.
    pub fn with_tokens(clients: usize, tokens: Tokens, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::embedded_demo();
        config.server.shards = 1;
        config.sources.clear();
        set(&mut config);
        let now = Now { mono_us: MONO_US, wall_us: WALL_US };
        // A part of the slots is kept for connections that are only refused.
        let slots = clients + (clients / 2).max(64);
        let epoch = Epoch::parse(EPOCH).expect("16 hex digits");
        let inbox = Inbox::of(&config.limits, net::Waker::unconnected());
        let settings = config.settings();
        let mut shared = Shared::new(epoch, None, slots, &settings);
        shared.tokens = tokens;
        let shared = Arc::new(shared);
        let shard = Shard::new(&settings, Application::Broadcast, 0, slots, shared, inbox.clone(), now);
        let sequencer = Sequencer::new(epoch, vec![inbox.clone()], &config.limits, config.topics.clone());
        Self { now, sequencer, inbox, shard, wire: Wire::new(slots) }
    }

    /// Until nothing more happens at this moment.
    pub fn settle(&mut self) {
        loop {
            let mut is_busy = self.shard.take_inbox(self.now);
            for _ in 0..EVENTS {
                let Some(event) = self.wire.next() else { break };
                is_busy |= !matches!(event, Event::Closed { .. });
                self.shard.on_event(event, &mut self.wire, self.now);
            }
            is_busy |= self.shard.run(&mut self.wire, self.now);
            if !is_busy {
                return;
            }
        }
    }

    /// Publishes an update of each topic and lets it be seen.
    pub fn publish<'a>(&mut self, topics: impl IntoIterator<Item = &'a Arc<str>>, data: &'static str) {
        let due_us = self.now.wall_us;
        let update = |topic: &Arc<str>| Publication::new(topic.clone(), Body::Data(data.into()), due_us);
        let updates: Vec<Publication> = topics.into_iter().map(update).collect();
        let mut left = &updates[..];
        while !left.is_empty() {
            let next = &left[..left.len().min(BATCH)];
            let published = self.sequencer.try_publish(next, Grouping::Single, self.now);
            left = &left[published.expect("the inbox is empty").accepted..];
            self.settle();
        }
    }

    /// A client connects; `query` as it stands in the URL, like `topics=a.*&interval_ms=0`.
    pub fn join(&mut self, query: &str) -> ConnId {
        self.join_with(query, &[])
    }

    /// The same with fields of its own in the request.
    pub fn join_with(&mut self, query: &str, fields: &[(&str, &str)]) -> ConnId {
        let conn = self.wire.accept(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)));
        let mut request = Vec::new();
        let target = format!("/ws?{query}");
        let protocols = ["fanwire.json.v1"];
        handshake::request_with(&mut request, "localhost", &target, [7; 16], &protocols, false, fields);
        self.wire.receive(conn, request);
        conn
    }

    /// A client sends a message.
    pub fn ask(&mut self, conn: ConnId, text: &str) {
        let mut frame = Vec::new();
        masked_frame(&mut frame, Opcode::Text, text.as_bytes(), KEY);
        self.wire.receive(conn, frame);
    }

    /// A client ends its connection.
    pub fn leave(&mut self, conn: ConnId) {
        self.wire.end(conn);
    }
}
