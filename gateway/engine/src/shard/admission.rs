//! Which connections are let in, which are only refused, and for how many of those there is room.

use std::net::SocketAddr;

use net::{ConnId, Sockets};

use super::{Shard, client::Client};
use crate::{
    client::{CloseReason, Refused},
    clock::Now,
};

impl Shard {
    pub(super) fn on_accepted(
        &mut self,
        conn: ConnId,
        peer: SocketAddr,
        listener: u8,
        net: &mut impl Sockets,
        now: Now,
    ) {
        let slot = conn.slot as usize;
        if slot >= self.clients.len() {
            self.clients.resize_with(slot + 1, || None);
        }
        let address = peer.ip().into();
        let is_loopback = self.loopbacks.get(usize::from(listener)) == Some(&true);
        let mut client = Client::new(conn, address, is_loopback, now);
        if self.admitted >= self.admitted_max {
            client.refused = Some(Refused::Full);
        } else {
            match self.shared.admit(address) {
                Ok(()) => {
                    client.admitted = true;
                    self.admitted += 1;
                }
                Err(refused) => client.refused = Some(refused),
            }
        }
        // Half of the reserve has to be enough for those who want to hear why.
        let reset = client.refused.is_some() && self.refusing() > self.reserve() / 2;
        self.clients[slot] = Some(client);
        self.taken += 1;
        if reset {
            self.stats.refused_reset += 1;
            return self.hang_up(conn.slot, CloseReason::Refused, net);
        }
        self.set_timer(conn.slot, now);
    }

    /// Connections that are only being refused.
    pub(super) fn refusing(&self) -> usize {
        self.taken - self.admitted
    }

    /// Slots for those.
    fn reserve(&self) -> usize {
        self.slots - self.admitted_max
    }

    pub(super) fn on_closed(&mut self, conn: ConnId) {
        if self.client(conn).is_none() {
            return;
        }
        self.gone(conn.slot);
        self.wheel.clear(conn.slot);
        self.taken -= 1;
        if let Some(client) = self.clients[conn.slot as usize].take()
            && client.admitted
        {
            self.admitted -= 1;
            self.shared.release(client.address);
        }
    }
}
