//! Rates of one client, each in a few bytes.

use std::collections::VecDeque;

/// A rate with a burst of two seconds' worth. 0 per second: no limit.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// µs per event.
    cost_us: u64,
}

/// How long a burst may be, in time.
const BURST_US: u64 = 2_000_000;

impl RateLimit {
    pub fn per_s(rate: u32) -> Self {
        Self { cost_us: 1_000_000u64.checked_div(u64::from(rate)).unwrap_or(0) }
    }
}

/// Where a client stands with one limit: the generic cell rate algorithm's "theoretical arrival
/// time" (ITU-T I.371), µs, monotonic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    arrival_us: u64,
}

impl Rate {
    /// Counts one event; `false`: over the rate.
    pub fn allow(&mut self, limit: RateLimit, now_us: u64) -> bool {
        let arrival_us = self.arrival_us.max(now_us) + limit.cost_us;
        if arrival_us > now_us + BURST_US {
            return false;
        }
        self.arrival_us = arrival_us;
        true
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
        let (limit, mut rate) = (RateLimit::per_s(100), Rate::default());
        let burst = (0..1000).filter(|_| rate.allow(limit, 5_000_000)).count();
        assert_eq!(burst, 200);
        let second = (0..1000).filter(|i| rate.allow(limit, 5_000_000 + i * 1000)).count();
        assert_eq!(second, 99);
        let (none, mut rate) = (RateLimit::per_s(0), Rate::default());
        assert!((0..10_000).all(|_| rate.allow(none, 1)));
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
