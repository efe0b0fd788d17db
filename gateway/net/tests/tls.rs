//! TLS on a simulated ring: whatever is cut, stalled or lost on the way, what is said arrives as it was said,
//! and what is not TLS gets an answer by name.
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use net::{
    Close, ConnId, Event, Events, Sockets, TlsFailure,
    sim::{PeerEnd, SimRing},
    tls::{Tls, TlsLimits},
};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};

const LIMITS: TlsLimits = TlsLimits { handshakes_per_turn: 4, sealed_bytes: 1 << 20 };
const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000);

fn configs(versions: &[&'static SupportedProtocolVersion]) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    // Signatures of this kind are all of one length, so that a seed decides all.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .unwrap();
    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server.into(), client.into())
}

fn all() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    configs(rustls::ALL_VERSIONS)
}

struct Peer {
    tls: ClientConnection,
    heard: Vec<u8>,
    /// The alert that the server ended the session with.
    alert: Option<AlertDescription>,
}

/// A server that says what it is told to, and remembers what it hears.
struct World {
    net: Tls<SimRing>,
    peers: HashMap<ConnId, Peer>,
    heard: HashMap<ConnId, Vec<u8>>,
    /// Waits for the send before it.
    to_say: HashMap<ConnId, Vec<Bytes>>,
    sending: HashMap<ConnId, bool>,
    ends: Vec<(ConnId, bool)>,
    config: Arc<ClientConfig>,
}

impl World {
    fn new((server, client): (Arc<ServerConfig>, Arc<ClientConfig>), limits: TlsLimits, seed: u64) -> Self {
        Self {
            net: Tls::new(SimRing::new(64, seed), Some((1, server)), limits),
            peers: HashMap::new(),
            heard: HashMap::new(),
            to_say: HashMap::new(),
            sending: HashMap::new(),
            ends: Vec::new(),
            config: client,
        }
    }

    fn connect(&mut self) -> ConnId {
        let conn = self.net.inner().accept_at(ADDR, 1).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(self.config.clone(), name).unwrap();
        self.peers.insert(conn, Peer { tls, heard: Vec::new(), alert: None });
        conn
    }

    fn say(&mut self, conn: ConnId, bytes: impl Into<Bytes>) {
        self.to_say.entry(conn).or_default().push(bytes.into());
        self.flush(conn);
    }

    fn flush(&mut self, conn: ConnId) {
        let sending = self.sending.entry(conn).or_default();
        let queue = self.to_say.entry(conn).or_default();
        if !*sending && !queue.is_empty() {
            *sending = true;
            self.net.send(conn, queue.remove(0));
        }
    }

    /// One turn of the server, with at most `max` events.
    fn turn(&mut self, max: usize) -> usize {
        self.net.begin_turn();
        let mut events = 0;
        while events < max
            && let Some(event) = self.net.next()
        {
            events += 1;
            match event {
                Event::Received { conn, bytes } => {
                    self.heard.entry(conn).or_default().extend_from_slice(&bytes)
                }
                Event::Sent { conn, done: true, .. } => {
                    self.sending.insert(conn, false);
                    self.flush(conn);
                }
                Event::ReceiveEnded { conn, error } => self.ends.push((conn, error.is_some())),
                _ => {}
            }
        }
        events
    }

    /// The peer reads up to `max` bytes and answers what its TLS has to.
    fn peer(&mut self, conn: ConnId, max: usize) -> usize {
        let bytes = self.net.inner().peer_read(conn, max);
        let Some(peer) = self.peers.get_mut(&conn) else { return 0 };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            assert_eq!(peer.alert, None, "{} bytes after the alert", rest.len());
            peer.tls.read_tls(&mut rest).unwrap();
            let state = match peer.tls.process_new_packets() {
                Ok(state) => state,
                Err(Error::AlertReceived(alert)) => {
                    peer.alert = Some(alert);
                    continue;
                }
                Err(error) => panic!("the session failed: {error}"),
            };
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            peer.tls.reader().read_exact(&mut plain).unwrap();
            peer.heard.extend_from_slice(&plain);
        }
        let mut out = Vec::new();
        while peer.tls.wants_write() {
            peer.tls.write_tls(&mut out).unwrap();
        }
        self.net.inner().peer_send(conn, &out);
        bytes.len() + out.len()
    }

    /// The peer takes in what it was sent, and what it answers waits with what it says next.
    fn read_only(&mut self, conn: ConnId) -> &mut Peer {
        let bytes = self.net.inner().peer_read(conn, usize::MAX);
        let peer = self.peers.get_mut(&conn).unwrap();
        peer.tls.read_tls(&mut &bytes[..]).unwrap();
        peer.tls.process_new_packets().unwrap();
        peer
    }

    fn settle(&mut self) {
        let peers: Vec<ConnId> = self.peers.keys().copied().collect();
        let mut idle = false;
        loop {
            let moved: usize = peers.iter().map(|conn| self.peer(*conn, usize::MAX)).sum();
            let told = self.turn(usize::MAX);
            // A turn may move bytes to peers without telling of anything.
            let was_idle = std::mem::replace(&mut idle, moved + told == 0 && !self.net.waits());
            if was_idle && idle {
                return;
            }
        }
    }
}

#[test]
fn what_is_said_arrives_however_it_is_cut() {
    for seed in 1..=60 {
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let versions: &[&SupportedProtocolVersion] = match seed % 3 {
            0 => &[&rustls::version::TLS12],
            1 => &[&rustls::version::TLS13],
            _ => rustls::ALL_VERSIONS,
        };
        let limits =
            TlsLimits { handshakes_per_turn: rng.usize(1..4), sealed_bytes: rng.usize(100..100_000) };
        let mut world = World::new(configs(versions), limits, seed);
        world.net.inner().set_recv_bytes_max(rng.choice([7, 100, 2048]).unwrap());
        world.net.inner().set_send_bytes_max(rng.choice([50, 1000, usize::MAX]).unwrap());
        let conns: Vec<ConnId> = (0..5).map(|_| world.connect()).collect();
        // Who is not accepted yet cannot be spoken to.
        world.turn(usize::MAX);
        let (mut said, mut told) = (HashMap::new(), HashMap::new());
        for _ in 0..2000 {
            let conn = *rng.choice(&conns).unwrap();
            match rng.u8(..8) {
                0 => {
                    let bytes: Vec<u8> = (0..rng.usize(1..60_000)).map(|_| rng.u8(..)).collect();
                    said.entry(conn).or_insert_with(Vec::new).extend_from_slice(&bytes);
                    world.say(conn, bytes);
                }
                1 => {
                    let bytes: Vec<u8> = (0..rng.usize(1..3000)).map(|_| rng.u8(..)).collect();
                    world.peers.get_mut(&conn).unwrap().tls.writer().write_all(&bytes).unwrap();
                    told.entry(conn).or_insert_with(Vec::new).extend_from_slice(&bytes);
                }
                2 => world.net.inner().set_window(conn, rng.choice([0, 100, 10_000, usize::MAX]).unwrap()),
                3..6 => drop(world.turn(rng.usize(..6))),
                _ => drop(world.peer(conn, rng.choice([1, 500, usize::MAX]).unwrap())),
            }
            let sealed = world.net.counters().sealed_bytes as usize;
            assert!(sealed <= limits.sealed_bytes + (17 << 10), "{sealed} bytes sealed");
        }
        conns.iter().for_each(|conn| world.net.inner().set_window(*conn, usize::MAX));
        world.settle();
        for conn in conns {
            let empty = Vec::new();
            assert_eq!(&world.peers[&conn].heard, said.get(&conn).unwrap_or(&empty));
            assert_eq!(world.heard.get(&conn).unwrap_or(&empty), told.get(&conn).unwrap_or(&empty));
        }
        let counters = world.net.counters();
        assert_eq!((counters.sealed_bytes, counters.sessions, counters.handshakes), (0, 5, 5));
        assert_eq!(counters.failed, [0; TlsFailure::ALL.len()]);
    }
}

#[test]
fn handshakes_come_a_few_at_a_time() {
    let mut world = World::new(all(), LIMITS, 1);
    let conns: Vec<ConnId> = (0..30).map(|_| world.connect()).collect();
    for conn in &conns {
        world.peer(*conn, usize::MAX);
    }
    world.turn(usize::MAX);
    let answered = |world: &mut World| {
        conns.iter().filter(|conn| !world.net.inner().peer_read(**conn, 1).is_empty()).count()
    };
    assert_eq!(answered(&mut world), 4, "as many as fit a turn");
    let deferred = world.net.counters().deferred;
    assert!(deferred >= 26, "{deferred}");
    world.net.begin_turn();
    assert!(world.net.waits(), "the others still wait");
}

#[test]
fn who_does_not_read_keeps_nobody_else_waiting() {
    let limits = TlsLimits { sealed_bytes: 4 << 10, ..LIMITS };
    let mut world = World::new(all(), limits, 1);
    let conns: Vec<ConnId> = (0..6).map(|_| world.connect()).collect();
    world.settle();
    let (reads, stalled) = conns.split_first().unwrap();
    for conn in stalled {
        world.net.inner().set_window(*conn, 0);
        world.say(*conn, vec![b'x'; 20_000]);
    }
    world.settle();
    let sealed = world.net.counters().sealed_bytes as usize;
    assert!(sealed >= limits.sealed_bytes, "there is no room: {sealed}");
    assert!(sealed <= limits.sealed_bytes + stalled.len() * 1100, "{sealed}");
    world.say(*reads, vec![b'x'; 20_000]);
    world.settle();
    assert_eq!(world.peers[reads].heard.len(), 20_000);
    assert!(world.net.counters().shortened >= 20);
    stalled.iter().for_each(|conn| world.net.inner().set_window(*conn, usize::MAX));
    world.settle();
    assert!(stalled.iter().all(|conn| world.peers[conn].heard.len() == 20_000));
}

#[test]
fn the_end_comes_after_what_waits_for_its_turn() {
    let limits = TlsLimits { handshakes_per_turn: 1, ..LIMITS };
    let mut world = World::new(configs(&[&rustls::version::TLS13]), limits, 1);
    let conn = world.connect();
    world.peers.get_mut(&conn).unwrap().tls.writer().write_all(b"request").unwrap();
    world.peer(conn, usize::MAX);
    world.turn(usize::MAX);
    // The rest of the handshake, the request and the end come while that turn goes on.
    world.peer(conn, usize::MAX);
    world.net.inner().peer_close(conn);
    while let Some(event) = world.net.next() {
        assert!(!matches!(event, Event::ReceiveEnded { .. }), "the end comes first");
    }
    assert!(world.net.counters().deferred > 0);
    world.turn(usize::MAX);
    assert_eq!((&world.heard[&conn][..], &world.ends[..]), (&b"request"[..], &[(conn, false)][..]));
}

#[test]
fn who_asks_and_then_breaks_tls_at_once_is_told_to_have_ended() {
    let mut world = World::new(configs(&[&rustls::version::TLS13]), LIMITS, 1);
    let conn = world.connect();
    world.peer(conn, usize::MAX);
    world.turn(usize::MAX);
    // The rest of the handshake, the request and garbage in one piece.
    let peer = world.read_only(conn);
    peer.tls.writer().write_all(b"request").unwrap();
    let mut out = Vec::new();
    while peer.tls.wants_write() {
        peer.tls.write_tls(&mut out).unwrap();
    }
    out.extend_from_slice(&[0xff; 50]);
    world.net.inner().peer_send(conn, &out);
    world.turn(usize::MAX);
    assert_eq!((&world.heard[&conn][..], &world.ends[..]), (&b"request"[..], &[(conn, true)][..]));
}

#[test]
fn the_end_is_told_once_however_it_is_said() {
    let limits = TlsLimits { handshakes_per_turn: 1, ..LIMITS };
    let mut world = World::new(configs(&[&rustls::version::TLS13]), limits, 1);
    let conn = world.connect();
    world.peer(conn, usize::MAX);
    world.turn(usize::MAX);
    let peer = world.read_only(conn);
    peer.tls.send_close_notify();
    world.peer(conn, usize::MAX);
    world.net.inner().peer_close(conn);
    while let Some(event) = world.net.next() {
        assert!(!matches!(event, Event::ReceiveEnded { .. }), "it waits for its turn");
    }
    world.turn(usize::MAX);
    assert_eq!(world.ends, [(conn, false)]);
}

#[test]
fn http_gets_its_answer_however_it_comes() {
    let limits = TlsLimits { handshakes_per_turn: 1, ..LIMITS };
    let mut world = World::new(all(), limits, 1);
    world.net.inner().set_recv_bytes_max(1);
    let conns: Vec<ConnId> = (0..3).map(|_| world.net.inner().accept_at(ADDR, 1).unwrap()).collect();
    for conn in &conns {
        world.net.inner().peer_send(*conn, b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for _ in 0..6 {
        world.turn(usize::MAX);
    }
    assert!(world.net.counters().deferred > 0, "some wait for their turn");
    assert_eq!(world.net.counters().failed[TlsFailure::PlainHttp as usize], 3);
    for conn in conns {
        let heard = world.net.inner().peer_read(conn, usize::MAX);
        assert!(heard.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{heard:x?}");
    }
}

#[test]
fn a_ticket_makes_the_next_handshake_short() {
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let mut world = World::new(configs(versions), LIMITS, 1);
        for (n, resumed) in [(1, 0), (2, 1), (3, 2)] {
            let conn = world.connect();
            world.settle();
            world.say(conn, vec![b'x'; 10]);
            world.settle();
            assert_eq!(world.peers[&conn].heard, [b'x'; 10]);
            let counters = world.net.counters();
            assert_eq!((counters.handshakes, counters.resumed), (n, resumed));
        }
    }
}

#[test]
fn the_end_is_said_on_both_sides() {
    let mut world = World::new(all(), LIMITS, 1);
    let conn = world.connect();
    world.settle();
    world.say(conn, vec![b'x'; 40_000]);
    world.settle();
    world.net.shutdown(conn);
    world.settle();
    let peer = world.peers.get_mut(&conn).unwrap();
    assert_eq!(peer.heard.len(), 40_000);
    // Only a close_notify makes it an end instead of an error.
    assert_eq!(peer.tls.reader().read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(world.net.inner().peer_end(conn), PeerEnd::Ended);
    let peer = world.peers.get_mut(&conn).unwrap();
    peer.tls.send_close_notify();
    world.settle();
    assert_eq!(world.ends, [(conn, false)]);
    world.net.close(conn, Close::Orderly);
    assert_eq!(world.net.counters().sessions, 0);
}

#[test]
fn http_and_garbage_get_an_answer_by_name() {
    let mut world = World::new(all(), LIMITS, 1);
    for (bytes, answer, failure) in [
        (
            &b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            TlsFailure::PlainHttp,
        ),
        (&[0xff; 50], &[21, 3, 3], TlsFailure::Malformed),
        // A ServerHello.
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", &[21, 3, 3], TlsFailure::Malformed),
    ] {
        let before = world.net.counters().failed[failure as usize];
        let conn = world.net.inner().accept_at(ADDR, 1).unwrap();
        world.net.inner().peer_send(conn, bytes);
        world.turn(usize::MAX);
        let heard = world.net.inner().peer_read(conn, usize::MAX);
        assert!(heard.starts_with(answer), "{bytes:x?} was answered {heard:x?}");
        assert_eq!(world.net.counters().failed[failure as usize], before + 1, "{bytes:x?}");
        world.turn(usize::MAX);
        assert_eq!(world.net.inner().peer_end(conn), PeerEnd::Ended, "nothing more is said");
        // What else comes is not looked at.
        world.net.inner().peer_send(conn, bytes);
        world.turn(usize::MAX);
        assert_eq!(world.net.counters().failed[failure as usize], before + 1);
        assert!(!world.heard.contains_key(&conn));
    }
}

#[test]
fn a_record_that_was_changed_ends_the_connection() {
    let mut world = World::new(all(), LIMITS, 1);
    let (conn, other) = (world.connect(), world.connect());
    world.settle();
    let peer = world.peers.get_mut(&conn).unwrap();
    peer.tls.writer().write_all(b"hello").unwrap();
    let mut out = Vec::new();
    peer.tls.write_tls(&mut out).unwrap();
    *out.last_mut().unwrap() ^= 1;
    world.net.inner().peer_send(conn, &out);
    world.turn(usize::MAX);
    assert_eq!((world.ends.clone(), world.heard.get(&conn)), (vec![(conn, true)], None));
    assert_eq!(world.net.counters().failed[TlsFailure::Malformed as usize], 1);
    world.peers.get_mut(&other).unwrap().tls.writer().write_all(b"still here").unwrap();
    world.settle_but(conn);
    assert_eq!(world.heard[&other], b"still here");
}

/// TLS 1.2 and 1.3, each alone.
const EACH_VERSION: [&[&SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];

#[test]
fn a_handshake_that_fails_is_answered_to_the_last_piece() {
    for version in EACH_VERSION {
        for server_bytes in [1, 100, usize::MAX] {
            let (mut server, mut client) = configs(version);
            Arc::get_mut(&mut server).unwrap().alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::get_mut(&mut client).unwrap().alpn_protocols = vec![b"h2".to_vec()];
            let mut world = World::new((server, client), LIMITS, 1);
            world.net.inner().set_send_bytes_max(server_bytes);
            let conn = world.connect();
            world.settle();
            assert_eq!(
                world.peers[&conn].alert,
                Some(AlertDescription::NoApplicationProtocol),
                "{version:?}"
            );
            assert_eq!(world.net.counters().failed[TlsFailure::Incompatible as usize], 1);
            assert_eq!(world.net.inner().peer_end(conn), PeerEnd::Ended, "nothing more is said");
        }
    }
}

#[test]
fn a_handshake_that_fails_after_the_servers_part_of_it_is_told_why() {
    for version in EACH_VERSION {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let cert =
            rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone().into(), provider.clone());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(version)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(version)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut world = World::new((server.into(), client.into()), LIMITS, 1);
        let conn = world.connect();
        world.settle();
        assert_eq!(world.peers[&conn].alert, Some(AlertDescription::CertificateRequired), "{version:?}");
        assert_eq!(world.net.counters().failed[TlsFailure::Certificate as usize], 1);
    }
}

#[test]
fn a_session_that_fails_later_says_so_behind_what_is_on_its_way() {
    for version in EACH_VERSION {
        let mut world = World::new(configs(version), LIMITS, 1);
        let conn = world.connect();
        world.settle();
        // A frame of which the kernel took a part.
        world.net.inner().set_window(conn, 100);
        world.say(conn, vec![b'x'; 10_000]);
        world.turn(usize::MAX);
        let peer = world.peers.get_mut(&conn).unwrap();
        peer.tls.writer().write_all(b"hello").unwrap();
        let mut out = Vec::new();
        peer.tls.write_tls(&mut out).unwrap();
        *out.last_mut().unwrap() ^= 1;
        world.net.inner().peer_send(conn, &out);
        world.turn(usize::MAX);
        assert_eq!(world.ends, [(conn, true)]);
        world.net.inner().set_window(conn, usize::MAX);
        world.settle();
        assert_eq!(world.peers[&conn].alert, Some(AlertDescription::BadRecordMac), "{version:?}");
        assert_eq!(world.net.inner().peer_end(conn), PeerEnd::Ended, "nothing more is said");
    }
}

#[test]
fn a_message_that_comes_in_part_is_held_up_to_64_kib_and_then_refused_by_name() {
    /// A plain handshake record.
    fn record(payload: &[u8]) -> Vec<u8> {
        [&[22, 3, 1][..], &(payload.len() as u16).to_be_bytes(), payload].concat()
    }
    // A ClientHello of 16 MB; and the longest that is announced within bounds, a byte in a record.
    let announced = |bytes: u32| [&[1][..], &bytes.to_be_bytes()[1..]].concat();
    for (first, piece) in [(announced(0xff_ffff), vec![0; 16_000]), (announced(0xffff), vec![0])] {
        let mut world = World::new(all(), LIMITS, 1);
        let conn = world.net.inner().accept_at(ADDR, 1).unwrap();
        world.net.inner().peer_send(conn, &record(&first));
        let mut sent = 0;
        while world.net.counters().failed[TlsFailure::TooLong as usize] == 0 {
            assert!(sent < 128 << 10, "{sent} bytes are held");
            let piece = record(&piece);
            sent += piece.len();
            world.net.inner().peer_send(conn, &piece);
            world.turn(usize::MAX);
        }
        world.turn(usize::MAX);
        assert_eq!(world.net.inner().peer_read(conn, usize::MAX), [21, 3, 3, 0, 2, 2, 50]);
        assert_eq!(world.net.inner().peer_end(conn), PeerEnd::Ended, "nothing more is said");
    }
}

impl World {
    /// Without a peer whose TLS is broken.
    fn settle_but(&mut self, broken: ConnId) {
        self.peers.remove(&broken);
        self.settle();
    }
}

#[test]
fn garbage_after_the_end_is_answered_by_nothing() {
    let mut world = World::new(all(), LIMITS, 1);
    let conn = world.connect();
    world.settle();
    world.net.shutdown(conn);
    world.settle();
    world.net.inner().peer_send(conn, &[0xff; 50]);
    while let Some(event) = world.net.next() {
        match event {
            Event::Received { .. } => panic!("garbage is not told"),
            Event::ReceiveEnded { conn: of, error } => world.ends.push((of, error.is_some())),
            Event::SendFailed { error, .. } => panic!("something was said after the end: {error}"),
            _ => {}
        }
    }
    assert_eq!(world.ends, [(conn, true)]);
    assert!(world.net.inner().peer_read(conn, usize::MAX).is_empty());
}

#[test]
fn plain_connections_beside_it_are_as_they_were() {
    let mut world = World::new(all(), LIMITS, 1);
    let plain = world.net.inner().accept_at(ADDR, 0).unwrap();
    let tls = world.connect();
    world.settle();
    world.net.inner().peer_send(plain, b"GET / HTTP/1.1\r\n\r\n");
    world.say(plain, b"plain".to_vec());
    world.say(tls, b"sealed".to_vec());
    world.settle();
    assert_eq!(world.heard[&plain], b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(world.net.inner().peer_read(plain, 100), b"plain");
    assert_eq!(world.peers[&tls].heard, b"sealed");
}
