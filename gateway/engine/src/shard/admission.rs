//! Which connections are let in, which are only refused, and for how many of those there is room.

use std::net::IpAddr;

use net::{ConnId, Sockets};

use super::{
    Shard,
    client::{Client, Standing},
    witness::Seen,
};
use crate::{
    client::{CloseReason, Refused},
    clock::Now,
};

impl Shard {
    pub(super) fn on_accepted(
        &mut self,
        conn: ConnId,
        peer: IpAddr,
        listener: u8,
        waited_us: u32,
        net: &mut impl Sockets,
        now: Now,
    ) {
        let slot = conn.slot as usize;
        if slot >= self.clients.len() {
            self.clients.resize_with(slot + 1, || None);
        }
        let accepted = Now { mono_us: now.mono_us.saturating_sub(waited_us.into()), ..now };
        let mut client = Client::new(conn, peer.into(), accepted);
        client.is_loopback = self.loopbacks.get(usize::from(listener)) == Some(&true);
        client.is_proxied = self.proxies.trusted.contains(peer);
        if self.admitted >= self.admitted_max {
            client.refused = Some(Refused::Full);
        } else {
            let is_awaited = client.is_proxied && self.proxies.forwarded.is_some();
            match self.shared.admit((!is_awaited).then_some(client.address)) {
                Ok(is_counted) => {
                    client.standing =
                        if is_awaited { Standing::Awaited } else { Standing::admitted(is_counted) };
                    self.admitted += 1;
                }
                Err(refused) => client.refused = Some(refused),
            }
        }
        // Half of the reserve has to be enough for those who want to hear why.
        let reset = client.refused.is_some() && self.refusing() > self.reserve() / 2;
        if reset {
            self.stats.refused_reset += 1;
            self.shared.tell(client.address, Seen::Refused { status: None, by: client.refused }, now);
        }
        self.clients[slot] = Some(client);
        self.taken += 1;
        if reset {
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
            && client.standing != Standing::Refused
        {
            self.admitted -= 1;
            self.shared.release((client.standing == Standing::Admitted).then_some(client.address));
        }
    }
}
