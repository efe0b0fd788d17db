//! From received bytes to what a client asks: a connection reads, the shard does what it says.

use net::{ConnId, Sockets};

use super::{
    Application, Shard,
    client::{Client, Standing},
    shared::OVERLOADED,
    witness::Seen,
};
use crate::{
    access::rules::Place,
    client::{Refused, Said, State, Tools, handshake::Situation},
    clock::Now,
};

impl Shard {
    pub(super) fn on_received(&mut self, conn: ConnId, bytes: &mut [u8], net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        let reads = client.connection.is_reading();
        self.stats.bytes_in += bytes.len() as u64;
        self.read(conn.slot, bytes, net, now);
        if reads {
            self.advance(conn.slot, net, now);
        }
    }

    /// Gives bytes to a client's connection, and does what it says.
    pub(super) fn read(&mut self, slot: u32, bytes: &mut [u8], net: &mut impl Sockets, now: Now) {
        let mut at = 0;
        while at < bytes.len() {
            let has_certificate = self.has_certificate(slot, net);
            let (used, said) = self.receive(slot, &mut bytes[at..], has_certificate, now);
            at += used;
            self.on_said(slot, said, net, now);
        }
    }

    /// Whether a client that is about to ask for a WebSocket has shown a certificate that counts.
    fn has_certificate(&mut self, slot: u32, net: &mut impl Sockets) -> bool {
        let client = self.at(slot);
        let (conn, is_connecting) = (client.id, client.connection.state() == State::Connecting);
        let counts = is_connecting && self.guard.rules.from.contains(&Place::Certificate);
        counts && net.certificate(conn).is_some()
    }

    fn receive(&mut self, slot: u32, bytes: &mut [u8], has_certificate: bool, now: Now) -> (usize, Said) {
        let overloaded = self.relief.overload.refuses().then_some(Refused::Overload);
        let client = self.clients[slot as usize].as_mut().expect("a live connection's slot is taken");
        let Client { connection, address, is_loopback, is_proxied, standing, refused, .. } = client;
        let situation = Situation {
            peer: *address,
            is_proxied: *is_proxied,
            is_loopback: *is_loopback,
            hosts: &self.hosts,
            origins: &self.origins,
            refusing: self.refusing,
            proxies: (*standing == Standing::Awaited).then_some(&self.proxies),
            refused: refused.or(overloaded),
            draining: self.shared.draining(),
            warming: self.shared.warming(),
            behind: self.shared.behind().or(overloaded.map(|_| OVERLOADED)),
            silent: self.shared.silent(),
            admin: self.shared.admin,
            admin_tls: self.shared.admin_tls,
            patterns_max: self.patterns_max,
            rules: &self.guard.rules,
            verifier: self.shared.tokens.verifier.as_deref(),
            has_certificate,
            compression: &self.compression,
            dictionaries: &self.shared.dictionaries,
            handshakes: &self.shared.handshakes,
            hosts_told: &self.shared.hosts_told,
            origins_told: &self.shared.origins_told,
            raw_paths: &self.raw_paths,
            now,
            echo: self.application == Application::Echo,
        };
        let mut admit = |told| {
            *address = told;
            let admitted = self.shared.admit_for(told);
            *standing = admitted.map_or(Standing::Surplus, Standing::admitted);
            admitted.map(|_| ())
        };
        let tools = Tools {
            limits: &self.limits,
            situation,
            admit: &mut admit,
            inflater: &mut self.inflater,
            compress: &mut self.fanout.compress,
            counters: &mut self.stats.client,
        };
        connection.receive(bytes, tools, now)
    }

    fn on_said(&mut self, slot: u32, said: Said, net: &mut impl Sockets, now: Now) {
        match said {
            Said::Nothing => {}
            Said::Pause => {
                self.stats.receive_pauses += 1;
                net.pause_receive(self.at(slot).id);
            }
            Said::Upgrade(upgrade) => self.on_upgrade(slot, upgrade, net, now),
            Said::Refused { status, by, ended } => {
                self.stats.refused(status, by);
                self.record(slot, Seen::Refused { status: Some(status), by }, now);
                self.ended(slot, ended, now);
            }
            Said::Raw(text) => self.on_raw(slot, &text, now),
            Said::Op(Ok(request)) => self.on_request(slot, request, now),
            Said::Op(Err(refused)) => self.answer_error(slot, refused.id.as_deref(), &refused.reason, now),
            Said::Ended(ended) => self.ended(slot, ended, now),
            Said::HangUp(reason) => self.hang_up(slot, reason, net),
        }
    }

    /// To whoever keeps a record.
    pub(super) fn record(&mut self, slot: u32, seen: Seen, now: Now) {
        let address = self.at(slot).address;
        self.shared.tell(address, seen, now);
    }
}
