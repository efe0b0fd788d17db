//! When batches come: none before its interval has passed since the one before, unless so many updates made it come, and
//! none later than that.

use super::{World, held::Sub};

/// A class whose frame is on its way at its moment is looked at again within so long.
const BUSY_US: u64 = 10_000;

/// What a batch's moment is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now_us: u64,
    /// Before it all that was due had been sent to the client, and read. µs, monotonic. `None`: it did not read.
    pub calm_us: Option<u64>,
    /// Nothing is taken in.
    pub is_still: bool,
    /// The client asks for something, or is to leave: what it is owed does not wait.
    pub is_hurried: bool,
    /// `[fanout] flush_updates`.
    pub flush_updates: u64,
    /// Who was sent nothing for so long, or since settings changed, may get what waits in place of a heartbeat.
    pub silence_us: u64,
    pub reloaded_us: u64,
}

/// How the batches of a subscription follow each other.
#[derive(Debug, Default)]
pub struct Pace {
    /// The last one that came at its interval was due no earlier. µs, monotonic. `None`: it is not known.
    due_us: Option<u64>,
    /// When the client was sent anything last, or before. µs, monotonic. `None`: it is not known.
    heard_us: Option<u64>,
    /// The client may have been taken further than its class.
    is_ahead: bool,
    /// Batches that were too early for their interval, and were made to come.
    pub early: u64,
}

impl Pace {
    /// A batch with updates, of so many since `from`, comes to a subscription with an interval.
    pub fn take(&mut self, interval_ms: u64, (is_on, updates): (bool, u64), moment: Moment) {
        let Moment { now_us, flush_updates, .. } = moment;
        // What follows the client's own position is all it is known by, where its class may have counted for longer.
        let is_own = self.is_ahead && is_on || self.may_be_silent(moment);
        let is_full = flush_updates > 0 && updates >= flush_updates;
        let next_us = self.due_us.map(|due_us| due_us + interval_ms * 1000).filter(|_| !moment.is_hurried);
        let is_early = next_us.is_some_and(|next_us| now_us < next_us);
        assert!(
            !is_early || is_full || is_own,
            "a batch of {updates} updates comes at {now_us} µs, before its interval of {interval_ms} ms has passed at \
             {next_us:?}; {flush_updates} do not wait"
        );
        self.early += u64::from(is_early && is_full);
        if moment.is_hurried {
            self.due_us = None;
        } else if !is_full && !is_own {
            self.due_us = moment.calm_us;
        }
        self.is_ahead = !moment.is_still || is_own;
        self.heard_us = moment.calm_us;
    }

    fn may_be_silent(&self, moment: Moment) -> bool {
        self.heard_us.is_none_or(|heard_us| {
            moment.now_us - heard_us >= moment.silence_us || moment.reloaded_us >= heard_us
        })
    }

    /// Something else took the subscription further.
    pub fn lose(&mut self) {
        *self = Self { is_ahead: true, early: self.early, ..Self::default() };
    }

    /// An empty batch did, while its class stays.
    pub fn pass(&mut self, moment: Moment) {
        (self.is_ahead, self.heard_us) = (true, moment.calm_us);
    }
}

impl World {
    /// Whoever reads has got what waited for its interval, and as long as a shard may lengthen it, since `since_us`.
    pub(super) fn check_late(&self, since_us: u64) {
        let stats = self.shard.stats();
        if stats.build_clients + stats.build_classes > 0 || self.shared.draining() {
            return;
        }
        let (epochs, fanout) = (&self.publisher.epochs, &self.config.fanout);
        let epoch = epochs.last().expect("there is always one");
        let overload = &self.config.overload;
        let stretched_us = overload.interval_max.as_micros() as u64;
        // What was lengthened before a reload ends that is no shorter for it.
        let is_stretched = overload.rungs > 0 || since_us < self.reloaded_us + stretched_us;
        let stretched_us = if is_stretched { stretched_us } else { 0 };
        let served = self.peers.iter().enumerate().filter(|(_, peer)| {
            let is_served = peer.open && peer.reading && peer.close.is_none() && !peer.slot_freed;
            is_served && !peer.leaving && peer.model.asked.is_empty() && peer.reading_since_us < since_us
        });
        for (at, peer) in served {
            let told =
                |sub: &&Sub| sub.epoch + 1 == epochs.len() && sub.first.is_none() && sub.parts.is_none();
            for sub in peer.model.subs.iter().filter(told) {
                let Some(first_us) = sub.waits_since_us(epoch) else { continue };
                let waits_us = (self.now.wall_us - first_us).max(0) as u64;
                let waits_us = waits_us.min(self.now.mono_us - since_us);
                let most_us = (sub.interval_ms * 1000).max(stretched_us);
                let most_us = most_us + fanout.flush_grid.as_micros() as u64 + BUSY_US;
                assert!(
                    waits_us <= most_us,
                    "peer {at}: {:?} (class {}) waits for an update for {waits_us} µs, its interval is {} ms",
                    sub.name,
                    sub.class,
                    sub.interval_ms
                );
            }
        }
    }
}
