//! A shard looks whether it keeps up, leaves things out, and tells its clients.

use net::Sockets;

use super::{Shard, overload::Change};
use crate::{
    client::State,
    clock::Now,
    fanout::{ClassId, Stretch},
    protocol::reply,
};

/// Clients told in one slice.
const SLICE: u32 = 64;

impl Shard {
    /// Looks whether the shard keeps up, and tells some clients. `true`: there are more to tell.
    pub(super) fn run_relief(&mut self, net: &mut impl Sockets, now: Now) -> bool {
        if let Some(change) = self.relief.overload.look(now.mono_us) {
            self.relieve(change);
        }
        if !self.relief.is_telling() {
            return false;
        }
        let (first, slots) = (self.relief.told, self.clients.len() as u32);
        let end = slots.min(first + SLICE);
        self.relief.told = if end == slots { u32::MAX } else { end };
        let notice = self.relief.notice();
        for slot in first..end {
            let Some(client) = &self.clients[slot as usize] else { continue };
            if client.connection.state() == State::Open {
                self.reply(slot, &notice);
                self.advance(slot, net, now);
            }
        }
        self.relief.is_telling()
    }

    /// A client that has just come hears what the others were told.
    pub(super) fn greet(&mut self, slot: u32) {
        if self.relief.heard(slot) {
            let notice = reply::overload(Some(self.relief.overload.interval_us_max() / 1000));
            self.reply(slot, &notice);
        }
    }

    /// A class's members were handed a frame, so long after it was due. With interval 0 none is ever late.
    pub(super) fn note_late(&mut self, id: ClassId, late_us: u64) {
        let class = self.fanout.classes.get(id);
        let (members, interval_us) = (class.members.len(), class.key.interval_us);
        if interval_us > 0
            && self.relief.overload.note_flush(members, late_us, self.fanout.stretch.of(interval_us))
        {
            self.stats.frames_late += members as u64;
        }
    }

    /// Intervals and compression are as the rung has them.
    pub(super) fn apply_relief(&mut self) {
        let overload = &self.relief.overload;
        self.fanout.stretch = Stretch::new(overload.factor(), overload.interval_us_max());
        self.fanout.compress.is_off = overload.sends_plain();
    }

    fn relieve(&mut self, change: Change) {
        self.apply_relief();
        let Change { is_up, rung, factor, late_percent, busy_percent } = change;
        let (shard, clients, classes) = (self.relief.index, self.clients_open, self.fanout.classes.len());
        if is_up {
            tracing::warn!(
                shard,
                rung,
                intervals = factor,
                late_percent,
                busy_percent,
                clients,
                classes,
                "the shard cannot keep up, so it lengthens intervals (rung 1), sends plain (2), refuses clients (3); \
                 give it fewer clients ([server] shards, cpus) or longer intervals ([fanout] interval_ms_min, \
                 interval_ms_menu)"
            );
        } else {
            tracing::info!(
                shard,
                rung,
                intervals = factor,
                late_percent,
                busy_percent,
                clients,
                classes,
                "the shard keeps up again and comes one step down"
            );
        }
    }
}
