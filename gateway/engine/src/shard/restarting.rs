//! The gateway's epoch changes: everything begins anew, and every client is told.

use net::Sockets;

use super::Shard;
use crate::{
    clock::Now,
    topic::{epoch::Epoch, position::Position},
    update::Batch,
};

impl Shard {
    /// All that was sent, or is on its way from slice to slice, belongs to the epoch that ends.
    pub(super) fn restart(&mut self, epoch: Epoch, batch: &Batch, now: Now) {
        self.jobs.clear();
        self.discard_builds(now);
        self.fanout.restart(epoch, batch);
        let held = self.clients.iter_mut().flatten().flat_map(|client| &mut client.subs);
        held.for_each(|sub| sub.pos = Position::NOWHERE);
        self.restarted = true;
    }

    /// Gives every client the snapshot that begins the new epoch; a busy client gets it when its send is done.
    pub(super) fn tell_restart(&mut self, net: &mut impl Sockets, now: Now) {
        for slot in 0..self.clients.len() {
            if self.clients[slot]
                .as_ref()
                .is_some_and(|client| client.connection.is_free() && !client.subs.is_empty())
            {
                self.advance(slot as u32, net, now);
            }
        }
    }
}
