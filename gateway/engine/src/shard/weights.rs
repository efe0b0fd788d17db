//! What ops weigh: a client for whose new patterns many topics were looked at waits with the next such op, so that
//! it takes no more than its share of the shard.

use std::collections::{BTreeSet, HashMap};

use net::ConnId;

/// As much may be looked at at once as in so long.
const BURST_US: u64 = 2_000_000;
/// Entries that are not worth a look.
const SWEEP_MIN: usize = 64;

/// By client, the generic cell rate algorithm of what was looked at lately.
#[derive(Debug)]
pub(super) struct Weights {
    /// Topics of a second; 0: no limit.
    per_s: u64,
    /// When what was looked at is paid off. µs, monotonic.
    paid_us: HashMap<ConnId, u64>,
    /// How many there may be before those that are paid off are dropped.
    sweep_at: usize,
    /// Who waits, and until when.
    waiting: BTreeSet<(u64, ConnId)>,
}

impl Weights {
    /// `per_s`: `[limits] topics_looked_at_per_s`.
    pub fn new(per_s: usize) -> Self {
        Self { per_s: per_s as u64, paid_us: HashMap::new(), sweep_at: SWEEP_MIN, waiting: BTreeSet::new() }
    }

    /// With another one everybody begins anew, and who waits is called at once.
    pub fn set_rate(&mut self, per_s: usize) {
        if self.per_s != per_s as u64 {
            self.per_s = per_s as u64;
            self.paid_us.clear();
            self.waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, conn)| (0, conn)).collect();
        }
    }

    pub fn charge(&mut self, conn: ConnId, topics: u64, now_us: u64) {
        if topics == 0 || self.per_s == 0 {
            return;
        }
        let paid_us = self.paid_us.entry(conn).or_default();
        *paid_us = now_us.max(*paid_us) + topics * 1_000_000 / self.per_s;
        if self.paid_us.len() > self.sweep_at {
            self.paid_us.retain(|_, paid_us| *paid_us > now_us);
            self.sweep_at = (2 * self.paid_us.len()).max(SWEEP_MIN);
        }
    }

    /// Until when a client has to wait, if it has. µs, monotonic.
    pub fn rests(&self, conn: ConnId, now_us: u64) -> Option<u64> {
        let until_us = self.paid_us.get(&conn)?.saturating_sub(BURST_US);
        (until_us > now_us).then_some(until_us)
    }

    /// A client waits until then; `false`: it does so already.
    pub fn wait(&mut self, conn: ConnId, until_us: u64) -> bool {
        self.waiting.insert((until_us, conn))
    }

    /// One that has waited for long enough.
    pub fn pop(&mut self, now_us: u64) -> Option<ConnId> {
        self.waiting.first().filter(|(until_us, _)| *until_us <= now_us)?;
        self.waiting.pop_first().map(|(_, conn)| conn)
    }

    /// When the next one has. µs, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        self.waiting.first().map(|(until_us, _)| *until_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_looked_at_twice_its_share_waits_until_it_is_paid_off() {
        let [a, b] = [1, 2].map(|slot| ConnId { slot, generation: 0 });
        let mut weights = Weights::new(1_000);
        weights.charge(a, 2_000, 5_000_000);
        assert_eq!(weights.rests(a, 5_000_000), None);
        weights.charge(a, 500, 5_000_000);
        assert_eq!((weights.rests(a, 5_000_000), weights.rests(b, 5_000_000)), (Some(5_500_000), None));
        assert_eq!(weights.rests(a, 5_500_000), None);
    }

    #[test]
    fn those_that_are_paid_off_are_forgotten_and_without_a_limit_none_is_kept() {
        let mut weights = Weights::new(1_000);
        for slot in 0..10_000 {
            weights.charge(ConnId { slot, generation: 0 }, 100, u64::from(slot) * 100_000);
        }
        assert!(weights.paid_us.len() <= SWEEP_MIN, "{}", weights.paid_us.len());
        let mut unlimited = Weights::new(0);
        unlimited.charge(ConnId { slot: 1, generation: 0 }, 1_000, 0);
        assert!(unlimited.paid_us.is_empty());
    }
}
