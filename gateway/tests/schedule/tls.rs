//! Clients that speak TLS, what only they do, and how sessions end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::protocol::encoding::Encoding;
use net::{TlsCounters, TlsFailure, sim::PeerEnd};

use super::{Simulation, was_slow};
use crate::support::tls::{Clients, Version};

/// Where clients come from; the last two are one address as limits count it.
const ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 7, 0, 0, 1)),
];

/// Clients of a world; those with tickets know each other's.
pub(super) struct Speakers {
    with_tickets: Clients,
    without: Clients,
    /// Those that spoke HTTP to the listener, those that broke a rule, and those that gave up a handshake.
    strayed: u64,
    broken: u64,
    gave_up: u64,
}

impl Speakers {
    pub(super) fn new() -> Self {
        let (with_tickets, without) = (Clients::with_tickets(), Clients::without_tickets());
        Self { with_tickets, without, strayed: 0, broken: 0, gave_up: 0 }
    }
}

/// Half of the clients offer to be sent compressed frames, some speak MessagePack, some get streams or bare values.
pub(super) fn random_wire(rng: &mut fastrand::Rng) -> (bool, Encoding) {
    let encoding = match rng.u8(..18) {
        0..5 => Encoding::Msgpack,
        5 | 6 => Encoding::Sse { ids: true },
        7 => Encoding::Ndjson,
        8 | 9 => Encoding::Raw,
        _ => Encoding::Json,
    };
    (rng.bool() && !encoding.is_stream(), encoding)
}

impl Simulation {
    pub(super) fn dial(&mut self) -> usize {
        self.show();
        let shown = self.world.showing.as_ref().map(|(pass, _)| pass.clone());
        let (deflate, encoding) = self.wire.unwrap_or_else(|| random_wire(&mut self.rng));
        let target = self.target(encoding);
        let peer = self.dial_somehow(&target.url, deflate, encoding);
        self.expect_first(peer, shown);
        self.expect_target(peer, target);
        peer
    }

    /// A third speak TLS, and of those that compress half go on with their context. Some are pages of this host, which
    /// hear of a refusal by a close frame.
    fn dial_somehow(&mut self, url: &str, deflate: bool, encoding: Encoding) -> usize {
        self.world.keep_context = self.rng.bool();
        let is_page = self.rng.u8(..3) == 0;
        self.world.fields = if is_page { vec![("Origin", "http://localhost")] } else { Vec::new() };
        self.world.address.set_ip(self.rng.choice(ADDRESSES).unwrap());
        self.world.address.set_port(self.rng.u16(1024..));
        if self.rng.u8(..3) > 0 {
            return self.world.dial_as(url, deflate, encoding);
        }
        let version = if self.rng.bool() { Version::Tls12 } else { Version::Tls13 };
        let clients = if self.rng.bool() { &self.speakers.with_tickets } else { &self.speakers.without };
        let tls = clients.connect(version);
        self.world.dial_tls(Some(tls), url, deflate, encoding)
    }

    /// A connection that takes the listener for one without TLS.
    pub(super) fn stray(&mut self) -> usize {
        let peer = self.world.dial_tls(None, "/ws", false, Encoding::Json);
        self.world.peers[peer].leaving = true;
        self.speakers.strayed += 1;
        peer
    }

    /// A client of TLS may say so first.
    pub(super) fn half_close(&mut self, peer: usize) {
        let says_so = self.rng.bool();
        let tls = self.world.peers[peer].tls.as_ref();
        // Said so early it is not encrypted, and so it is no end but a failure.
        self.speakers.gave_up += u64::from(says_so && tls.is_some_and(|tls| tls.is_handshaking()));
        self.world.half_close(peer, says_so);
    }

    /// Something that is not TLS, or not what was agreed.
    pub(super) fn break_tls(&mut self, peer: usize) {
        let Some(tls) = &mut self.world.peers[peer].tls else { return };
        let mut changed = tls.seal(b"changed on the way");
        if let Some(last) = changed.last_mut() {
            *last ^= 1;
        }
        let record: &[u8] = match self.rng.u8(..4) {
            0 => &[0xff; 50],
            // A ServerHello, and bytes that no key has sealed.
            1 => b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            2 => b"\x17\x03\x03\x00\x20iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii",
            // Before the handshake is through nothing was sealed.
            _ if changed.is_empty() => &[0xff; 50],
            _ => &changed,
        };
        tls.is_broken = true;
        self.world.peers[peer].leaving = true;
        self.conduct[peer].broke_tls = true;
        self.speakers.broken += 1;
        self.world.send_wire(peer, record);
    }

    /// Who was sent all and has read it was told that this is all.
    pub(super) fn check_last_words(&mut self, at: usize) {
        let (peer, conduct) = (&self.world.peers[at], &self.conduct[at]);
        let ended = self.world.net.inner().peer_end(peer.conn) == PeerEnd::Ended;
        let reads = peer.reading && !was_slow(conduct, self.world.now.mono_us);
        if !ended || !reads || conduct.half_closed {
            return;
        }
        match &peer.tls {
            Some(tls) if peer.close.is_some() && !conduct.broke_tls => {
                assert!(tls.is_ended, "peer {at} was not told the end of its session");
            }
            None if conduct.strayed => {
                let answer = String::from_utf8_lossy(&peer.http);
                assert!(answer.starts_with("HTTP/1.1 400 "), "peer {at} was answered {answer:?}");
            }
            _ => {}
        }
    }

    /// Once all are gone.
    pub(super) fn check_sessions(&mut self) {
        let counters = self.world.net.counters();
        let TlsCounters { sessions, sealed_bytes, failed, .. } = counters;
        assert_eq!((sessions, sealed_bytes), (0, 0), "sessions, sealed bytes are left");
        for failure in TlsFailure::ALL {
            let most = match failure {
                TlsFailure::PlainHttp => self.speakers.strayed,
                TlsFailure::Malformed => self.speakers.broken,
                TlsFailure::Alert => self.speakers.gave_up,
                TlsFailure::Incompatible | TlsFailure::Certificate | TlsFailure::TooLong => 0,
            };
            let count = failed[failure as usize];
            assert!(count <= most, "{count} sessions failed by {failure:?}, {most} had a reason to");
        }
        self.tally.tls_handshakes += counters.handshakes;
        self.tally.tls_resumed += counters.resumed;
        self.tally.tls_failed += failed.iter().sum::<u64>();
        self.tally.tls_deferred += counters.deferred;
        self.tally.tls_shortened += counters.shortened;
    }
}
