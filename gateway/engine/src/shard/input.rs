//! From received bytes to what a client asks: a connection reads, the shard does what it says.

use net::{ConnId, Sockets};

use super::{Application, Shard, shared::OVERLOADED};
use crate::{
    client::{Refused, Said, Tools, handshake::Situation},
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
            let (used, said) = self.receive(slot, &mut bytes[at..], now);
            at += used;
            self.on_said(slot, said, net, now);
        }
    }

    fn receive(&mut self, slot: u32, bytes: &mut [u8], now: Now) -> (usize, Said) {
        let overloaded = self.relief.overload.refuses().then_some(Refused::Overload);
        let client = self.clients[slot as usize].as_mut().expect("a live connection's slot is taken");
        let situation = Situation {
            peer: client.address,
            is_loopback: client.is_loopback,
            hosts: &self.hosts,
            refused: client.refused.or(overloaded),
            draining: self.shared.draining(),
            warming: self.shared.warming(),
            behind: self.shared.behind().or(overloaded.map(|_| OVERLOADED)),
            silent: self.shared.silent(),
            admin: self.shared.admin,
            admin_tls: self.shared.admin_tls,
            patterns_max: self.patterns_max,
            compression: &self.compression,
            dictionaries: &self.shared.dictionaries,
            echo: self.application == Application::Echo,
        };
        let tools = Tools {
            limits: &self.limits,
            situation,
            inflater: &mut self.inflater,
            compress: &mut self.fanout.compress,
            counters: &mut self.stats.client,
        };
        client.connection.receive(bytes, tools, now)
    }

    fn on_said(&mut self, slot: u32, said: Said, net: &mut impl Sockets, now: Now) {
        match said {
            Said::Nothing => {}
            Said::Pause => {
                self.stats.receive_pauses += 1;
                net.pause_receive(self.at(slot).id);
            }
            Said::Opened { subscribe, declined } => {
                self.stats.compression_declined += u64::from(declined);
                self.stats.accepted += 1;
                self.clients_open += 1;
                self.set_timer(slot, now);
                self.greet(slot);
                if let Some(subscribe) = subscribe {
                    self.on_subscribe(slot, None, subscribe, now);
                }
            }
            Said::Refused(status, ended) => {
                self.stats.refused(status);
                self.ended(slot, ended, now);
            }
            Said::Op(Ok(request)) => self.on_request(slot, request, now),
            Said::Op(Err(refused)) => self.answer_error(slot, refused.id.as_deref(), &refused.reason, now),
            Said::Ended(ended) => self.ended(slot, ended, now),
            Said::HangUp(reason) => self.hang_up(slot, reason, net),
        }
    }
}
