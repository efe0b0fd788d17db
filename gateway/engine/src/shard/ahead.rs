//! Ops that a shard cannot answer yet: a client comes with a `since` from another shard that is further, or
//! from another gateway whose numbers this one takes over, or nothing was heard from upstream so far. They
//! wait until the shard gets there, for a bounded time.

use net::Sockets;

use super::{
    Shard,
    pending::{Ahead, Asked},
};
use crate::{
    client::CloseReason,
    clock::Now,
    protocol::{reply, request::Since},
};

const WAIT_US: u64 = 2_000_000;

impl Shard {
    /// Whether an op with this `since` can be answered better in a moment.
    pub(super) fn is_early(&self, since: Option<&Since>) -> bool {
        if self.chained {
            return !self.fanout.has_restarted() || self.is_ahead(since);
        }
        // Beyond what was announced nothing comes: a client that is ahead of the gateway gets a snapshot at once.
        self.is_ahead(since) && since.is_some_and(|since| since.version <= self.inbox.announced())
    }

    fn is_ahead(&self, since: Option<&Since>) -> bool {
        let Some(since) = since else { return false };
        since.epoch == self.fanout.epoch() && since.version > self.fanout.position()
    }

    pub(super) fn wait_for(&mut self, slot: u32, asked: Box<Asked>, now: Now) {
        let client = self.at(slot);
        client.pend(|pending| pending.ahead = true);
        let conn = client.id;
        self.ahead.push(Ahead { conn, asked, until_us: now.mono_us + WAIT_US });
    }

    /// Answers those whose position was reached, and ends the wait of those whose time is over.
    pub(super) fn run_ahead(&mut self, net: &mut impl Sockets, now: Now) {
        if self.ahead.is_empty() {
            return;
        }
        for ahead in std::mem::take(&mut self.ahead) {
            let client = self.client(ahead.conn);
            // A client that is leaving waits for nothing any more.
            if !client.is_some_and(|client| client.pending().is_some_and(|pending| pending.ahead)) {
                self.fanout.release(&ahead.asked.interning.ids);
                continue;
            }
            let slot = ahead.conn.slot;
            let since = ahead.asked.subscribe().and_then(|op| op.since.as_ref());
            if self.is_early(since) && now.mono_us < ahead.until_us {
                self.ahead.push(ahead);
                continue;
            }
            // Of a gateway that numbers itself a snapshot is the newest there is.
            let is_behind = self.chained && self.is_ahead(since);
            self.at(slot).pend(|pending| pending.ahead = false);
            if is_behind {
                self.reply(slot, &reply::behind());
                self.close(slot, CloseReason::Ahead, now);
            } else {
                let at = self.fanout.position();
                self.go_on_with(slot, Box::new(Asked { at, ..*ahead.asked }), now);
            }
            self.advance(slot, net, now);
        }
    }

    /// When the first of them has waited long enough. µs, monotonic.
    pub(super) fn ahead_next_us(&self) -> Option<u64> {
        self.ahead.iter().map(|ahead| ahead.until_us).min()
    }
}
