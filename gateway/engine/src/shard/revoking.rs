//! Connections whose token is revoked end.

use net::Sockets;

use super::{Shard, inbox::Revocation};
use crate::{client::CloseReason, clock::Now};

impl Shard {
    /// What was said of tokens elsewhere since the last turn.
    pub(super) fn run_tokens(&mut self, net: &mut impl Sockets, now: Now) {
        self.run_checks(net, now);
        self.run_revoking(net, now);
    }

    /// Ends the connections of what was revoked since the last turn.
    fn run_revoking(&mut self, net: &mut impl Sockets, now: Now) {
        for Revocation { revoked, answer } in std::mem::take(&mut self.guard.revoking) {
            let mut closed = 0;
            for slot in 0..self.clients.len() as u32 {
                let client =
                    self.clients[slot as usize].as_ref().filter(|client| client.connection.is_open());
                let holder = client.and_then(|client| client.holder());
                if holder.is_some_and(|holder| revoked.is(holder.sub(), holder.jti())) {
                    closed += 1;
                    self.close(slot, CloseReason::Revoked, now);
                    self.advance(slot, net, now);
                }
            }
            answer(closed);
        }
    }
}
