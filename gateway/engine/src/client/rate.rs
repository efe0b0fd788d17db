//! Rates, and where somebody stands with one, in a few bytes.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::unit::Rate;

/// A rate, as it is computed with.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Of each event. 0: no limit.
    cost_ns: u64,
    /// How much may come at once, in time.
    burst_ns: u64,
}

impl RateLimit {
    /// As many as come in two seconds may come at once. 0 per second: no limit.
    pub fn per_s(rate: u32) -> Self {
        Self::of(Rate { count: 2 * u64::from(rate), per: Duration::from_secs(2) })
    }

    pub fn of(rate: Rate) -> Self {
        match (rate.per.as_nanos() as u64).checked_div(rate.count) {
            None => Self { cost_ns: 0, burst_ns: 0 },
            // So many at once, whatever the division leaves.
            Some(cost_ns) => Self { cost_ns: cost_ns.max(1), burst_ns: cost_ns.max(1) * rate.count },
        }
    }

    pub fn is_on(self) -> bool {
        self.cost_ns > 0
    }
}

/// A rate that all shards look at, and that another one takes the place of now and then.
#[derive(Debug)]
pub struct SharedRate {
    cost_ns: AtomicU64,
    burst_ns: AtomicU64,
}

impl SharedRate {
    pub fn of(rate: Rate) -> Self {
        let RateLimit { cost_ns, burst_ns } = RateLimit::of(rate);
        Self { cost_ns: AtomicU64::new(cost_ns), burst_ns: AtomicU64::new(burst_ns) }
    }

    /// Who looks meanwhile may find one half of each.
    pub fn set(&self, rate: Rate) {
        let RateLimit { cost_ns, burst_ns } = RateLimit::of(rate);
        self.cost_ns.store(cost_ns, Relaxed);
        self.burst_ns.store(burst_ns, Relaxed);
    }

    pub fn limit(&self) -> RateLimit {
        RateLimit { cost_ns: self.cost_ns.load(Relaxed), burst_ns: self.burst_ns.load(Relaxed) }
    }
}

/// Where somebody stands with one limit: the generic cell rate algorithm's "theoretical arrival time" (ITU-T I.371).
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    /// Monotonic.
    arrival_ns: u64,
}

impl Meter {
    /// Where it stands after one event more. `Err`: that is over the rate; in so many µs there is room.
    pub fn after_one(self, limit: RateLimit, now_us: u64) -> Result<Self, u64> {
        if !limit.is_on() {
            return Ok(self);
        }
        let now_ns = now_us * 1_000;
        let arrival_ns = self.arrival_ns.max(now_ns) + limit.cost_ns;
        match arrival_ns.saturating_sub(now_ns + limit.burst_ns) {
            0 => Ok(Self { arrival_ns }),
            over_ns => Err(over_ns.div_ceil(1_000)),
        }
    }

    /// Counts one event; `false`: over the rate.
    pub fn allow(&mut self, limit: RateLimit, now_us: u64) -> bool {
        let after = self.after_one(limit, now_us);
        *self = after.unwrap_or(*self);
        after.is_ok()
    }

    /// Whether all is given back: it is as one that nothing was counted on.
    pub fn is_at_rest(self, now_us: u64) -> bool {
        self.arrival_ns <= now_us * 1_000
    }

    pub fn from_bits(arrival_ns: u64) -> Self {
        Self { arrival_ns }
    }

    pub fn to_bits(self) -> u64 {
        self.arrival_ns
    }
}

/// More malformed messages than this in [`ERRORS_WINDOW_US`] close the connection.
pub const ERRORS_MAX: usize = 20;
pub const ERRORS_WINDOW_US: u64 = 10_000_000;

/// When a client's last malformed messages came; made with the first of them.
#[derive(Debug, Default)]
pub struct ErrorWindow {
    at_us: VecDeque<u64>,
}

impl ErrorWindow {
    /// Counts one; `true`: too many.
    pub fn note(&mut self, now_us: u64) -> bool {
        while self.at_us.front().is_some_and(|at| at + ERRORS_WINDOW_US <= now_us) {
            self.at_us.pop_front();
        }
        self.at_us.push_back(now_us);
        self.at_us.len() > ERRORS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_twice_the_rate_and_then_the_rate() {
        let (limit, mut rate) = (RateLimit::per_s(100), Meter::default());
        let burst = (0..1000).filter(|_| rate.allow(limit, 5_000_000)).count();
        assert_eq!(burst, 200);
        let second = (0..1000).filter(|i| rate.allow(limit, 5_000_000 + i * 1000)).count();
        assert_eq!(second, 99);
        let (none, mut rate) = (RateLimit::per_s(0), Meter::default());
        assert!((0..10_000).all(|_| rate.allow(none, 1)) && !none.is_on());
    }

    #[test]
    fn so_many_at_once_and_so_many_again_in_so_long() {
        for (count, per_s) in [(5, 10), (3, 1), (7, 60), (1, 1), (100_000, 1)] {
            let limit = RateLimit::of(Rate { count, per: Duration::from_secs(per_s) });
            let mut meter = Meter::default();
            assert!((0..count).all(|_| meter.allow(limit, 0)), "{count} in {per_s} s");
            let wait_us = (per_s * 1_000_000_000 / count).div_ceil(1_000);
            assert_eq!(meter.after_one(limit, 0).unwrap_err(), wait_us, "{count} in {per_s} s");
            assert!(!meter.allow(limit, wait_us - 1) && meter.allow(limit, wait_us));
            assert!(!meter.allow(limit, wait_us), "{count} in {per_s} s");
            assert!(!meter.is_at_rest(per_s * 500_000) && meter.is_at_rest(per_s * 2_000_000));
        }
        let most = RateLimit::of(Rate { count: u64::MAX >> 1, per: Duration::from_millis(1) });
        assert!(Meter::default().allow(most, 0));
    }

    #[test]
    fn the_twenty_first_error_in_ten_seconds_is_too_many() {
        let mut window = ErrorWindow::default();
        assert!((0..20).all(|i| !window.note(i)));
        assert!(window.note(20));
        let mut slow = ErrorWindow::default();
        assert!((0..100).all(|i| !slow.note(i * 500_001)));
    }
}
