//! A whole shard on a simulated ring, with a simulated clock, model subscribers and the real sequencer.
//! Every frame that a subscriber reads is checked (see [`subscriber`]).
#![allow(dead_code, reason = "each test uses its part")]

pub mod epoch;
mod fragments;
mod held;
mod pace;
pub mod proxies;
pub mod publisher;
pub mod raw;
mod states;
pub mod streams;
pub mod subscriber;
pub mod tls;
pub mod tokens;
pub mod wires;

use std::{
    hash::{DefaultHasher, Hash},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use engine::{
    access::tokens::Tokens,
    address::Address,
    clock::Now,
    protocol::{encoding::Encoding, fragment::FRAGMENT_BYTES},
    sequencer::{Body, Grouping, Publication},
    settings::Reloaded,
    shard::{
        Application, Shard,
        inbox::{Inbox, Message},
        shared::Shared,
    },
};
use gateway::config::{Config, Server};
use net::{
    Backlog, ConnId, Events,
    proxy::Proxied,
    sim::{PeerEnd, SimRing},
    tls::Tls,
};
use proto::{
    Event,
    deflate::{Deflater, InflateLimits, Inflater},
    encode::{Opcode, masked_close, masked_frame},
    msgpack,
};

use fragments::Fragments;
use held::Sub;
use publisher::Publisher;
use subscriber::{Asked, AskedOp, Judge, Registry, Subscriber};
use tokens::{Believer, Pass};

pub const EPOCH: &str = "8f0c2a77d1e94b02";
/// What the wall clock shows when the simulation begins. µs since the Unix epoch.
const WALL_US: i64 = 1_700_000_000_000_000;
const ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);
const NONCE: [u8; 16] = [7; 16];
/// Turns of one moment; more are an endless loop.
const TURNS_MAX: usize = 50_000;
/// What the class's own rhythm adds to a heartbeat.
const HEARTBEAT_TOLERANCE_US: u64 = 20_000;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: proto::Limits = proto::Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 20 };

/// The defaults of the contract, one shard, no sources.
pub fn config() -> Config {
    let mut config = Config::embedded_demo();
    config.server.shards = 1;
    config.server.admin = None;
    config.sources.clear();
    config
}

/// A client's side of one connection.
#[derive(Debug)]
pub struct Peer {
    pub conn: ConnId,
    /// Where it comes from, whoever is between.
    pub address: SocketAddr,
    /// The most connections of that address that were there beside it.
    pub crowd: usize,
    /// Where it speaks TLS.
    pub tls: Option<tls::Client>,
    ws: proto::Conn,
    pub fragments: Fragments,
    pub model: Subscriber,
    /// The handshake ended in 101.
    pub open: bool,
    /// Reads all it is sent at once.
    pub reading: bool,
    /// Answers pings.
    pub answers_pings: bool,
    /// Since when it has been reading. µs, monotonic, like all below.
    pub reading_since_us: u64,
    /// When it was dialled, and when it read that it is open.
    pub dialled_us: u64,
    pub opened_us: u64,
    /// When it last sent something, and the longest that it sent nothing before.
    pub said_us: u64,
    pub silence_us: u64,
    /// Everything before the first frame.
    pub http: Vec<u8>,
    /// Of an HTTP answer that goes on: what came of a message that is not whole, and how often it was told where it stood.
    unread: Vec<u8>,
    pub ids: u64,
    /// What a client of bare values may be sent.
    pub raw: Option<raw::Values>,
    /// Text frames, where `World::log` is set.
    pub texts: Vec<String>,
    /// Its messages refer back to earlier ones where they are compressed.
    context: Option<Box<flate2::Compress>>,
    pub encoding: Encoding,
    /// Frames that were compressed.
    pub deflated: usize,
    pub pings: usize,
    pub pongs: Vec<Vec<u8>>,
    /// The gateway's close frame.
    pub close: Option<(u16, String)>,
    /// Bytes read.
    pub bytes: usize,
    /// The gateway has given its slot back.
    pub slot_freed: bool,
    /// It has done something that ends the connection.
    pub leaving: bool,
}

impl Peer {
    /// The text frames with this op, parsed.
    pub fn frames(&self, op: &str) -> Vec<serde_json::Value> {
        let parsed = self.texts.iter().map(|text| serde_json::from_str(text).expect("the model parsed it"));
        parsed.filter(|frame: &serde_json::Value| frame["op"] == op).collect()
    }

    /// A whole message has come.
    fn heard(&mut self, text: String, log: bool, judge: &mut Judge<'_>) {
        match &mut self.raw {
            Some(values) => values.take(&text, judge.epochs),
            None if self.encoding == Encoding::Raw => {}
            None => self.model.take(&text, judge),
        }
        if log {
            self.texts.push(text);
        }
    }

    /// Whether its compressed messages refer back to earlier ones.
    pub fn keeps_context(&self) -> bool {
        self.context.is_some() && self.ws.deflates()
    }

    pub fn close_code(&self) -> Option<u16> {
        self.close.as_ref().map(|(code, _)| *code)
    }
}

pub struct World {
    pub config: Config,
    pub now: Now,
    pub shard: Shard,
    pub net: Tls<Proxied<Backlog<SimRing>>>,
    pub inbox: Arc<Inbox>,
    pub shared: Arc<Shared>,
    pub believer: Arc<Believer>,
    pub publisher: Publisher,
    pub registry: Registry,
    pub peers: Vec<Peer>,
    /// Keep text frames in [`Peer::texts`].
    pub log: bool,
    /// Who is dialled from now on and offers compression goes on with its context, like most browsers.
    pub keep_context: bool,
    /// Where clients connect from.
    pub address: SocketAddr,
    /// When settings changed last. µs, monotonic.
    reloaded_us: u64,
    /// Before it all that was due had been sent to whoever reads. µs, monotonic.
    calm_us: u64,
    /// Nothing is published, and the shard has taken in all there was.
    is_still: bool,
    /// The `Host` of their requests, and what else these say.
    pub host: String,
    pub fields: Vec<(&'static str, &'static str)>,
    /// What the next one to be dialled shows with its request, and whether that is verified late.
    pub showing: Option<(Pass, bool)>,
    /// Of every byte that clients are sent, and to whom.
    pub sent: DefaultHasher,
    fragment_bytes: usize,
    /// Of the last turn.
    events: usize,
    inflater: Inflater,
    ids: u64,
}

impl World {
    /// `seed` decides how the ring cuts and mixes.
    pub fn new(config: Config, slots: u32, seed: u64) -> Self {
        let now = Now { mono_us: 5_000_000, wall_us: WALL_US + 5_000_000 };
        let inbox = Inbox::of(&config.limits, net::Waker::unconnected());
        let connections = config.limits.connections.unwrap_or(slots as usize);
        let mut shared = Shared::new(
            engine::topic::epoch::Epoch::parse(EPOCH).expect("16 hex digits"),
            config.server.admin,
            connections,
            &config.settings(),
        );
        let believer = Arc::new(Believer::default());
        let limits = &config.limits;
        shared.tokens = Tokens::new(Some(believer.clone()), limits.token_checks, limits.revocations, seed);
        let shared = Arc::new(shared);
        let shard = Shard::new(
            &config.settings(),
            Application::Broadcast,
            0,
            slots as usize,
            shared.clone(),
            inbox.clone(),
            now,
        );
        let publisher = Publisher::new(EPOCH, inbox.clone(), &config);
        let limits = net::tls::TlsLimits {
            handshakes_per_turn: config.limits.handshakes_per_turn,
            sealed_bytes: config.limits.sealed_bytes,
        };
        let proxied = Proxied::new(Backlog::new(SimRing::new(slots, seed)), config.proxy_rule());
        let net = Tls::new(proxied, Some((tls::LISTENER, tls::server())), limits);
        Self {
            config,
            now,
            shard,
            net,
            inbox,
            shared,
            believer,
            publisher,
            registry: Registry::default(),
            peers: Vec::new(),
            log: true,
            keep_context: false,
            address: ADDR,
            reloaded_us: 0,
            calm_us: 0,
            is_still: false,
            host: "localhost".to_owned(),
            fields: Vec::new(),
            showing: None,
            sent: DefaultHasher::new(),
            fragment_bytes: FRAGMENT_BYTES,
            events: 0,
            inflater: Inflater::new(),
            ids: 0,
        }
    }

    /// The longest payload of a frame from now on.
    pub fn set_fragment_bytes(&mut self, bytes: usize) {
        self.fragment_bytes = bytes;
        self.shard.set_fragment_bytes(bytes);
    }

    pub fn fragment_bytes(&self) -> usize {
        self.fragment_bytes
    }

    // Time.

    /// One turn of the pump with at most `events` events. `false`: the shard would sleep.
    pub fn turn(&mut self, events: usize) -> bool {
        let proxy = self.net.inner().proxy_counters();
        self.shard.note_ring(net::SocketCounters::default(), proxy, self.net.counters());
        let left = self.shard.take_inbox(self.now);
        self.net.inner().begin_turn(self.now.mono_us);
        self.net.begin_turn();
        let mut taken = 0;
        while taken < events
            && let Some(event) = self.net.next()
        {
            self.shard.on_event(event, &mut self.net, self.now);
            taken += 1;
        }
        for peer in &mut self.peers {
            peer.slot_freed |= self.net.inner().is_gone(peer.conn);
        }
        self.events = taken;
        let more = self.shard.run(&mut self.net, self.now);
        more || self.net.waits() || left || taken == events
    }

    /// Until nothing more happens at this moment.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let busy = self.turn(1024);
            let read: usize = (0..self.peers.len()).map(|at| self.read_if_reading(at)).sum();
            if read > 0 || busy {
                continue;
            }
            let before = self.shard.stats();
            // Who waits for room is called at its time; another turn may find the room earlier.
            let waits = before.build_clients + before.build_classes > 0;
            let sleeps = !waits && self.next_us().is_none_or(|at_us| at_us > self.now.mono_us);
            let busy = self.turn(1024);
            if self.events == 0 && !busy {
                if !waits {
                    self.calm_us = self.now.mono_us;
                }
                return;
            }
            let slept_over = self.events == 0 && (busy || self.shard.stats().frames_out > before.frames_out);
            assert!(!sleeps || !slept_over, "the shard would have slept with something to do");
        }
        panic!("the shard does not come to rest");
    }

    /// When a turn is next needed without an event. µs, monotonic.
    fn next_us(&mut self) -> Option<u64> {
        [self.shard.next_us(), self.net.inner().next_us()].into_iter().flatten().min()
    }

    /// Lets time pass; whatever falls due on the way happens at its moment.
    pub fn advance(&mut self, duration: Duration) {
        let end_us = self.now.mono_us + duration.as_micros() as u64;
        self.settle();
        let since_us = self.now.mono_us;
        self.is_still = true;
        while self.now.mono_us < end_us {
            let due_us = self.next_us().unwrap_or(end_us);
            if self.calm_us == self.now.mono_us {
                self.calm_us = due_us.clamp(self.now.mono_us, end_us);
            }
            let next_us = due_us.max(self.now.mono_us + 100).min(end_us);
            let rest_us = next_us - self.now.mono_us;
            self.pass(rest_us);
            self.shard.note_rest(rest_us);
            self.settle();
            self.check_heartbeats();
            self.check_late(since_us);
        }
        self.is_still = false;
        self.check_prompt();
    }

    /// Whoever reads was sent what does not wait for its interval: each update where that is 0, and what makes as many
    /// as `flush_updates`.
    fn check_prompt(&self) {
        let stats = self.shard.stats();
        if stats.build_clients + stats.build_classes > 0 {
            return;
        }
        let (epochs, flush_updates) = (&self.publisher.epochs, self.config.fanout.flush_updates);
        let epoch = epochs.last().expect("there is always one");
        for (at, peer) in self.peers.iter().enumerate() {
            let is_asking = !peer.model.asked.is_empty() || peer.leaving;
            if !peer.open || !peer.reading || is_asking || peer.close.is_some() || peer.slot_freed {
                continue;
            }
            let told =
                |sub: &&Sub| sub.epoch + 1 == epochs.len() && sub.first.is_none() && sub.parts.is_none();
            for sub in peer.model.subs.iter().filter(told) {
                let most = if sub.interval_ms == 0 { 1 } else { flush_updates };
                let waiting = sub.updates(epoch, sub.version, u64::MAX);
                assert!(
                    most == 0 || waiting < most,
                    "peer {at}: {:?} (class {}, {} ms) waits for {waiting} updates at {}, {most} do not wait",
                    sub.name,
                    sub.class,
                    sub.interval_ms,
                    sub.version
                );
            }
        }
    }

    /// No subscription of a client that reads was left without a frame for longer than a heartbeat
    /// and an eighth.
    fn check_heartbeats(&self) {
        let heartbeat_us = self.config.fanout.heartbeat.as_micros() as u64;
        let late_us = heartbeat_us + heartbeat_us / 8 + HEARTBEAT_TOLERANCE_US;
        for (at, peer) in self.peers.iter().enumerate() {
            if !peer.open || !peer.reading || peer.leaving || peer.close.is_some() || peer.slot_freed {
                continue;
            }
            // After a change of the epoch a snapshot is the first thing sent, which may wait to be built.
            let told = |sub: &&Sub| sub.epoch + 1 == self.publisher.epochs.len();
            for sub in peer.model.subs.iter().filter(told) {
                let since_us = sub.heard_us.max(peer.reading_since_us).max(self.reloaded_us);
                let silent_us = self.now.mono_us - since_us;
                let (name, class, interval_ms) = (&sub.name, sub.class, sub.interval_ms);
                assert!(
                    silent_us <= late_us,
                    "peer {at}: {name:?} (class {class}, {interval_ms} ms) was silent for {silent_us} µs, \
                     the heartbeat is {heartbeat_us} µs"
                );
            }
        }
    }

    /// The clocks move, and nothing else happens.
    pub fn pass(&mut self, us: u64) {
        self.now.mono_us += us;
        self.now.wall_us += us as i64;
    }

    // Publishing.

    pub fn item(&self, topic: &str, data: &str) -> Publication {
        let due_us = self.now.wall_us;
        Publication::new(topic, Body::Data(data.to_owned().into()), due_us)
    }

    /// Publishes one update and lets it be seen.
    pub fn publish(&mut self, topic: &str, data: &str) {
        let item = self.item(topic, data);
        assert!(self.publisher.publish(&[item], Grouping::Single), "the inbox is full");
        self.settle();
    }

    /// Publishes what `json` says besides the topic, like `"set":{"k":1}`, and lets it be seen.
    pub fn change(&mut self, topic: &str, json: &str) {
        let line = format!(r#"{{"topic":"{topic}",{json}}}"#);
        let item = gateway::intake::publish::parse_publication(&line.into(), self.now.wall_us).unwrap();
        assert!(self.publisher.publish(&[item], Grouping::Single), "refused: {json}");
        self.settle();
    }

    pub fn remove(&mut self, topic: &str) {
        let item = Publication { body: Body::Gone, ..self.item(topic, "") };
        assert!(self.publisher.publish(&[item], Grouping::Single), "{topic} does not exist");
        self.settle();
    }

    /// What `config` says by now holds from now on.
    pub fn reload(&mut self) {
        let reloaded = Arc::new(Reloaded::from(&self.config.settings()));
        self.shared.reload(&reloaded);
        self.inbox.push(Message::Reload(reloaded)).expect("an eighth of the inbox is kept for it");
        while self.shard.take_inbox(self.now) {}
        self.reloaded_us = self.now.mono_us;
    }

    pub fn drain(&mut self) {
        self.shared.start_draining();
        let drain_us = self.config.server.drain.as_micros() as u64;
        self.inbox.push(Message::Drain { drain_us }).expect("an eighth of the inbox is kept for it");
    }

    // Clients.

    /// A connection whose bytes the test writes itself.
    pub fn dial(&mut self) -> usize {
        self.dial_from(self.address)
    }

    pub fn dial_from(&mut self, addr: SocketAddr) -> usize {
        self.dial_at(addr, 0)
    }

    /// Through as many proxies as the configuration has.
    fn dial_at(&mut self, addr: SocketAddr, listener: u8) -> usize {
        let Server { proxies, proxy_protocol, .. } = &self.config.server;
        let asks = if proxies.forwarded.is_some() { proxies::PROXY } else { addr };
        let peer = if *proxy_protocol {
            self.dial_beneath(proxies::BALANCER, &proxies::header(asks), listener)
        } else {
            self.dial_beneath(asks, b"", listener)
        };
        self.peers[peer].address = addr;
        self.count_crowd(addr);
        peer
    }

    /// Of how many others of its address each connection has known.
    fn count_crowd(&mut self, addr: SocketAddr) {
        let address = Address::from(addr.ip());
        let of_one = |peer: &&mut Peer| !peer.slot_freed && Address::from(peer.address.ip()) == address;
        let mut crowd: Vec<&mut Peer> = self.peers.iter_mut().filter(of_one).collect();
        let others = crowd.len() - 1;
        crowd.iter_mut().for_each(|peer| peer.crowd = peer.crowd.max(others));
    }

    /// A connection that says this beneath its TLS, if it speaks any.
    pub fn dial_beneath(&mut self, addr: SocketAddr, begin: &[u8], listener: u8) -> usize {
        let conn = self.net.inner().accept_at(addr, listener).expect("the table has room");
        self.net.inner().peer_send(conn, begin);
        self.peers.push(Peer {
            conn,
            address: addr,
            crowd: 0,
            tls: None,
            ws: proto::Conn::client(NONCE),
            fragments: Fragments::default(),
            model: Subscriber::default(),
            open: false,
            reading: true,
            answers_pings: true,
            reading_since_us: self.now.mono_us,
            dialled_us: self.now.mono_us,
            opened_us: 0,
            said_us: self.now.mono_us,
            silence_us: 0,
            http: Vec::new(),
            unread: Vec::new(),
            ids: 0,
            raw: None,
            texts: Vec::new(),
            context: None,
            encoding: Encoding::Json,
            deflated: 0,
            pings: 0,
            pongs: Vec::new(),
            close: None,
            bytes: 0,
            slot_freed: false,
            leaving: false,
        });
        self.peers.len() - 1
    }

    /// A connection with its handshake sent.
    pub fn dial_to(&mut self, target: &str) -> usize {
        self.dial_as(target, false, Encoding::Json)
    }

    /// The same, offering to be sent compressed frames.
    pub fn dial_deflating(&mut self, target: &str) -> usize {
        self.dial_as(target, true, Encoding::Json)
    }

    pub fn dial_as(&mut self, target: &str, deflate: bool, encoding: Encoding) -> usize {
        let peer = self.dial();
        self.speak(peer, target, deflate, encoding);
        peer
    }

    /// The same at the listener that speaks TLS; the client may not know that it does.
    pub fn dial_tls(
        &mut self,
        tls: Option<tls::Client>,
        target: &str,
        deflate: bool,
        encoding: Encoding,
    ) -> usize {
        let peer = self.dial_at(self.address, tls::LISTENER);
        self.peers[peer].tls = tls;
        self.speak(peer, target, deflate, encoding);
        peer
    }

    /// A connection that shows a token with its request.
    pub fn dial_showing(&mut self, target: &str, pass: &Pass, is_late: bool) -> usize {
        let peer = self.dial();
        let value = format!("Bearer {}", pass.token(is_late));
        self.peers[peer].model.asked.push_back(Asked { id: None, op: AskedOp::Auth { pass: pass.clone() } });
        self.handshake_with(peer, target, false, &[("Authorization", &value)]);
        peer
    }

    pub fn speak(&mut self, peer: usize, target: &str, deflate: bool, encoding: Encoding) {
        if deflate {
            self.peers[peer].ws = proto::Conn::client(NONCE).offering_deflate();
        }
        self.peers[peer].encoding = encoding;
        self.peers[peer].context = (deflate && self.keep_context)
            .then(|| flate2::Compress::new(flate2::Compression::fast(), false).into());
        self.handshake(peer, target, deflate);
    }

    pub fn handshake(&mut self, peer: usize, target: &str, deflate: bool) {
        let shown = self.showing.take().map(|(pass, is_late)| format!("Bearer {}", pass.token(is_late)));
        let fields = shown.as_deref().map(|shown| ("Authorization", shown));
        self.handshake_with(peer, target, deflate, fields.as_slice());
    }

    pub fn handshake_with(&mut self, peer: usize, target: &str, deflate: bool, fields: &[(&str, &str)]) {
        let mut request = Vec::new();
        let protocols: Vec<&str> = self.peers[peer].encoding.subprotocol().into_iter().collect();
        let host = &self.host;
        let forwarded = self.config.server.proxies.forwarded;
        let told = forwarded.map(|by| (by.name(), proxies::field(by, self.peers[peer].address)));
        let told = told.as_ref().map(|(name, value)| (*name, value.as_str()));
        let fields = [&*self.fields, fields, told.as_slice()].concat();
        proto::handshake::request_with(&mut request, host, target, NONCE, &protocols, deflate, &fields);
        if self.peers[peer].context.is_some() {
            let offer = String::from_utf8(request).expect("a request of ours is text");
            request = offer.replace("; client_no_context_takeover", "").into();
        }
        self.send_raw(peer, &request);
    }

    /// An open WebSocket.
    pub fn connect(&mut self) -> usize {
        let peer = self.dial_to("/ws");
        self.settle();
        assert!(self.peers[peer].open, "{:?}", self.peers[peer]);
        peer
    }

    pub fn send_raw(&mut self, peer: usize, bytes: &[u8]) -> bool {
        match &mut self.peers[peer].tls {
            None => self.send_wire(peer, bytes),
            Some(tls) => {
                let wire = tls.seal(bytes);
                self.send_wire(peer, &wire)
            }
        }
    }

    /// Past the client's TLS, if it speaks any.
    pub fn send_wire(&mut self, peer: usize, bytes: &[u8]) -> bool {
        let (said, now_us) = (&mut self.peers[peer], self.now.mono_us);
        if !bytes.is_empty() {
            said.silence_us = said.silence_us.max(now_us - said.said_us);
            said.said_us = now_us;
        }
        self.net.inner().peer_send(said.conn, bytes)
    }

    /// A compressed message: `payload` as it goes over the wire.
    pub fn send_deflated(&mut self, peer: usize, opcode: Opcode, payload: &[u8]) -> bool {
        let mut frame = Vec::new();
        masked_frame(&mut frame, opcode, payload, KEY);
        frame[0] |= 0x40;
        self.send_raw(peer, &frame)
    }

    pub fn send_frame(&mut self, peer: usize, opcode: Opcode, payload: &[u8]) -> bool {
        let mut frame = Vec::new();
        masked_frame(&mut frame, opcode, payload, KEY);
        self.send_raw(peer, &frame)
    }

    /// A message that is to be refused.
    pub fn send_bad(&mut self, peer: usize, text: &str) {
        self.peers[peer].model.asked.push_back(Asked { id: None, op: AskedOp::Bad });
        // As MessagePack it is what nobody packed.
        self.send_frame(peer, self.peers[peer].encoding.opcode(), text.as_bytes());
    }

    pub fn ask(&mut self, peer: usize, op: AskedOp) {
        self.ids += 1;
        let text = render(&op, self.ids);
        self.peers[peer].model.asked.push_back(Asked { id: Some(self.ids), op });
        let (encoding, mut payload) = (self.peers[peer].encoding, text.into_bytes());
        if encoding == Encoding::Msgpack {
            let json = std::mem::take(&mut payload);
            msgpack::from_json(&json, &mut payload).unwrap();
        }
        match self.deflated(peer, &payload) {
            Some(deflated) => self.send_deflated(peer, encoding.opcode(), &deflated),
            None => self.send_frame(peer, encoding.opcode(), &payload),
        };
    }

    /// A message as it goes compressed: who may do that does so now and then.
    fn deflated(&mut self, peer: usize, payload: &[u8]) -> Option<Vec<u8>> {
        let peer = &mut self.peers[peer];
        if !peer.ws.deflates() {
            return None;
        }
        match &mut peer.context {
            Some(_) if self.ids.is_multiple_of(5) => None,
            Some(context) => Some(deflate_on(context, payload)),
            None if self.ids.is_multiple_of(2) => Deflater::new(1, 15).deflate(payload).map(<[u8]>::to_vec),
            None => None,
        }
    }

    /// `subscribe` as a test writes it most often.
    pub fn subscribe(&mut self, peer: usize, sub: &str, topics: &[&str], interval_ms: Option<u64>) {
        self.subscribe_since(peer, sub, topics, interval_ms, None);
    }

    pub fn subscribe_since(
        &mut self,
        peer: usize,
        sub: &str,
        topics: &[&str],
        interval_ms: Option<u64>,
        since: Option<(&str, u64)>,
    ) {
        let since = since.map(|(epoch, version)| (epoch.to_owned(), version));
        let topics = topics.iter().map(|t| t.to_string()).collect();
        self.ask(peer, AskedOp::Subscribe { sub: sub.into(), topics, interval_ms, since });
        self.settle();
    }

    pub fn unsubscribe(&mut self, peer: usize, sub: &str, topics: Option<&[&str]>) {
        let topics = topics.map(|topics| topics.iter().map(|t| t.to_string()).collect());
        self.ask(peer, AskedOp::Unsubscribe { sub: sub.into(), topics });
        self.settle();
    }

    /// The client reads no more: the kernel takes `window` bytes beyond what it holds, then nothing.
    pub fn stall(&mut self, peer: usize, window: usize) {
        self.peers[peer].reading = false;
        self.net.inner().set_window(self.peers[peer].conn, window);
    }

    /// The client reads again.
    pub fn resume(&mut self, peer: usize) {
        self.peers[peer].reading = true;
        self.peers[peer].reading_since_us = self.now.mono_us;
        self.net.inner().set_window(self.peers[peer].conn, usize::MAX);
    }

    pub fn reset(&mut self, peer: usize) {
        self.net.inner().peer_reset(self.peers[peer].conn);
    }

    /// No more comes from the client; over TLS it may say so before.
    pub fn half_close(&mut self, peer: usize, says_so: bool) {
        if let Some(tls) = self.peers[peer].tls.as_mut().filter(|_| says_so) {
            let wire = tls.end();
            self.send_wire(peer, &wire);
        }
        self.net.inner().peer_close(self.peers[peer].conn);
    }

    pub fn end(&mut self, peer: usize) -> PeerEnd {
        self.net.inner().peer_end(self.peers[peer].conn)
    }

    fn read_if_reading(&mut self, peer: usize) -> usize {
        if self.peers[peer].reading { self.read(peer, usize::MAX) } else { 0 }
    }

    /// Reads up to `max` bytes of the connection, and judges what they say.
    pub fn read(&mut self, peer: usize, max: usize) -> usize {
        let mut bytes = self.net.inner().peer_read(self.peers[peer].conn, max);
        let read = bytes.len();
        if read == 0 {
            return 0;
        }
        if let Some(tls) = &mut self.peers[peer].tls {
            bytes = tls.open(&bytes);
            let wire = tls.flush();
            self.send_wire(peer, &wire);
        }
        (peer, &bytes).hash(&mut self.sent);
        let replies = self.judge(peer, &mut bytes);
        for reply in replies {
            self.send_raw(peer, &reply);
        }
        read
    }

    /// Other rules hold: what the gateway takes from a client then, and gives it.
    pub fn expect_own(&mut self, at: usize) {
        let (peer, judge) = self.with_judge(at);
        peer.model.expect_own(&judge);
    }

    /// What a client holds is granted by now.
    pub fn check_grants(&mut self, at: usize) {
        let (peer, judge) = self.with_judge(at);
        peer.model.check_grants(&judge);
    }

    /// A client, and what its frames are judged by now.
    fn with_judge(&mut self, at: usize) -> (&mut Peer, Judge<'_>) {
        let Self { config, peers, publisher, registry, now, .. } = self;
        let peer = &mut peers[at];
        let has_read = peer.reading && peer.reading_since_us < self.calm_us;
        let judge = Judge {
            epochs: &publisher.epochs,
            registry,
            fanout: &config.fanout,
            overload: &config.overload,
            rules: &config.access.tokens.rules,
            wire: (peer.ws.deflates(), peer.encoding),
            now_us: now.mono_us,
            wall_us: now.wall_us,
            limits_subjects: config.limits.connections_per_sub > 0,
            calm_us: has_read.then_some(self.calm_us),
            is_still: self.is_still,
            reloaded_us: self.reloaded_us,
        };
        (peer, judge)
    }

    fn judge(&mut self, at: usize, bytes: &mut [u8]) -> Vec<Vec<u8>> {
        let (fragment_bytes, log, opened_us) = (self.fragment_bytes, self.log, self.now.mono_us);
        let mut inflater = std::mem::take(&mut self.inflater);
        let (peer, mut judge) = self.with_judge(at);
        let mut replies = Vec::new();
        peer.bytes += bytes.len();
        if peer.encoding.is_stream() {
            peer.take_stream(bytes, log, &mut judge);
            self.inflater = inflater;
            return replies;
        }
        if !peer.open {
            peer.http.extend_from_slice(bytes);
        }
        let mut from = 0;
        if peer.open {
            peer.fragments.take(bytes, fragment_bytes);
        }
        while from < bytes.len() {
            assert!(peer.close.is_none(), "{} bytes after the close frame", bytes.len() - from);
            let received = peer.ws.receive(&mut bytes[from..], &LIMITS);
            from += received.used;
            match received.event {
                None | Some(Event::Refused { .. }) => {}
                Some(Event::Response(response)) => {
                    (peer.open, judge.wire.0) = (true, response.deflate());
                    peer.opened_us = opened_us;
                    peer.raw.iter_mut().for_each(|values| values.open(judge.epochs));
                    peer.fragments.take(&bytes[from..], fragment_bytes);
                }
                Some(Event::Deflated(deflated)) => {
                    let limits = InflateLimits { message_bytes: LIMITS.message_bytes, ratio: 1100 };
                    peer.deflated += 1;
                    let text = said(&inflater.inflate(&deflated, limits).unwrap(), peer.encoding);
                    peer.heard(text, log, &mut judge);
                }
                Some(message @ (Event::Text(_) | Event::Binary(_))) => {
                    let text = said(&message, peer.encoding);
                    peer.heard(text, log, &mut judge);
                }
                Some(Event::Ping(payload)) => {
                    peer.pings += 1;
                    let mut pong = Vec::new();
                    masked_frame(&mut pong, Opcode::Pong, payload, KEY);
                    replies.extend(peer.answers_pings.then_some(pong));
                }
                Some(Event::Pong(payload)) => peer.pongs.push(payload.to_vec()),
                Some(Event::Close(close)) => {
                    let close = close.expect("the gateway always gives a code");
                    let mut answer = Vec::new();
                    masked_close(&mut answer, close.code, "", KEY);
                    replies.push(answer);
                    peer.close = Some((close.code, close.reason.to_owned()));
                }
                Some(other) => panic!("the gateway sent {other:?}"),
            }
        }
        self.inflater = inflater;
        replies
    }
}

/// A compressed message that may refer back to those before it.
pub fn deflate_on(context: &mut flate2::Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 64);
    context.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

/// A message as JSON.
fn said(message: &Event<'_>, encoding: Encoding) -> String {
    match (message, encoding) {
        (Event::Text(text), Encoding::Json | Encoding::Raw) => (*text).to_owned(),
        (Event::Binary(packed), Encoding::Msgpack) => {
            let mut text = Vec::new();
            msgpack::to_json(packed, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn render(op: &AskedOp, id: u64) -> String {
    use serde_json::json;
    let mut message = match op {
        AskedOp::Subscribe { sub, topics, interval_ms, since } => {
            let mut message = json!({"op": "subscribe", "id": id, "topics": topics});
            if !sub.is_empty() {
                message["sub"] = json!(sub);
            }
            if let Some(ms) = interval_ms {
                message["interval_ms"] = json!(ms);
            }
            if let Some((epoch, version)) = since {
                message["since"] = json!(format!("{epoch}:{version}"));
            }
            message
        }
        AskedOp::Unsubscribe { sub, topics } => {
            let mut message = json!({"op": "unsubscribe", "id": id});
            if !sub.is_empty() {
                message["sub"] = json!(sub);
            }
            if let Some(topics) = topics {
                message["topics"] = json!(topics);
            }
            message
        }
        AskedOp::Ping => json!({"op": "ping", "id": id}),
        AskedOp::Auth { pass } => {
            json!({"op": "auth", "id": id, "token": pass.token(id.is_multiple_of(3))})
        }
        AskedOp::Bad => json!({"op": "subscribe", "id": id, "topics": ["a*.b"]}),
    };
    message["x"] = json!("unknown fields are ignored");
    message.to_string()
}
