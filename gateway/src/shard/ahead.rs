//! Ops that a gateway which takes over another's numbers cannot answer yet: it has not heard from
//! upstream so far, or a client comes with a `since` from a gateway that is further. They wait until
//! this one gets there, for a bounded time.

use ring::{ConnId, Sockets};

use super::Shard;
use crate::{
    clock::Now,
    protocol::{self, Op, Since, Subscribe},
    stats::Reason,
};

const WAIT_US: u64 = 2_000_000;

/// A `subscribe` that waits. Its client is blocked meanwhile, so there is at most one a client.
#[derive(Debug)]
pub struct Ahead {
    conn: ConnId,
    id: Option<String>,
    op: Subscribe,
    /// µs, monotonic.
    until_us: u64,
}

impl Shard {
    /// Whether an op with this `since` can be answered better in a moment.
    pub(super) fn is_early(&self, since: Option<&Since>) -> bool {
        self.chained && (!self.fanout.has_restarted() || self.is_ahead(since))
    }

    fn is_ahead(&self, since: Option<&Since>) -> bool {
        let Some(since) = since else { return false };
        since.epoch == **self.fanout.epoch() && since.version > self.fanout.position()
    }

    pub(super) fn wait_for(&mut self, slot: u32, id: Option<String>, op: Subscribe, now: Now) {
        let client = self.at(slot);
        client.waiting().ahead = true;
        let conn = client.id;
        self.ahead.push(Ahead { conn, id, op, until_us: now.mono_us + WAIT_US });
    }

    /// Answers those whose position was reached, and closes those whose time is over.
    pub(super) fn run_ahead(&mut self, net: &mut impl Sockets, now: Now) {
        if self.ahead.is_empty() {
            return;
        }
        for ahead in std::mem::take(&mut self.ahead) {
            let client = self.client(ahead.conn);
            // A client that is leaving waits for nothing any more.
            if !client.is_some_and(|client| client.waiting.as_ref().is_some_and(|waiting| waiting.ahead)) {
                continue;
            }
            let slot = ahead.conn.slot;
            let since = ahead.op.since.as_ref();
            if self.is_early(since) && now.mono_us < ahead.until_us {
                self.ahead.push(ahead);
                continue;
            }
            let is_ahead = self.is_ahead(since);
            self.at(slot).waiting().ahead = false;
            if is_ahead {
                self.at(slot).queue_message(protocol::behind());
                self.close(slot, 1013, "behind the position of since", Reason::Ahead, now);
            } else {
                self.ask(slot, ahead.id, Op::Subscribe(ahead.op), now);
            }
            self.advance(slot, net, now);
        }
    }

    /// When the first of them has waited long enough. µs, monotonic.
    pub(super) fn ahead_next_us(&self) -> Option<u64> {
        self.ahead.iter().map(|ahead| ahead.until_us).min()
    }
}
