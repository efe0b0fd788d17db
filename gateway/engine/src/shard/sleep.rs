//! How long a shard may sleep, and what may wait meanwhile.

use super::Shard;
use crate::clock::Now;

/// So long updates may wait in the inbox where nobody is sent them at once.
const DOZE_US: u64 = 10_000;

/// A sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sleep {
    /// When [`Shard::run`] is next needed without an event. µs, monotonic.
    pub until_us: Option<u64>,
    /// Updates need not end it.
    pub updates_wait: bool,
}

impl Shard {
    /// How it may sleep. While updates come it takes them in when frames are due, or every [`DOZE_US`], rather than one
    /// by one: what is due then has them all. Not where somebody is sent each at once, or is answered when a position
    /// is reached.
    pub fn sleep(&self, now: Now) -> Sleep {
        let until_us = self.next_us();
        let has_come = self.took_us.is_some_and(|took_us| now.mono_us < took_us + DOZE_US);
        if !has_come || self.fanout.is_watched() || !self.ahead.is_empty() {
            return Sleep { until_us, updates_wait: false };
        }
        let doze_us = now.mono_us + DOZE_US;
        Sleep { until_us: Some(until_us.map_or(doze_us, |at_us| at_us.min(doze_us))), updates_wait: true }
    }
}
