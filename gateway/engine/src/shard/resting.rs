//! Ops that wait since many topics were looked at for their client.

use net::Sockets;

use super::Shard;
use crate::{clock::Now, topic::pattern::Pattern};

impl Shard {
    /// Whether a client waits with an op on these patterns. Such as are interned cost nothing.
    pub(super) fn rests(&mut self, slot: u32, patterns: &[Pattern], now: Now) -> bool {
        let conn = self.at(slot).id;
        let Some(until_us) = self.weights.rests(conn, now.mono_us) else { return false };
        if !self.fanout.has_new(patterns) {
            return false;
        }
        self.stats.ops_rested += u64::from(self.weights.wait(conn, until_us));
        true
    }

    /// Goes on with the ops of those who have waited.
    pub(super) fn run_rested(&mut self, net: &mut impl Sockets, now: Now) {
        while let Some(conn) = self.weights.pop(now.mono_us) {
            let Some(client) = self.client(conn).filter(|client| client.pending().is_some()) else {
                continue;
            };
            client.pend(|pending| pending.op_waits = pending.places.iter().any(Option::is_some));
            self.advance(conn.slot, net, now);
        }
    }
}
