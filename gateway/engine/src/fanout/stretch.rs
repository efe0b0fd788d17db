//! Intervals of a shard that cannot keep up: some times as long, up to a bound.

/// How many times as long intervals are.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    factor: u64,
    /// Up to here; longer ones stay as they are. Microseconds.
    us_max: u64,
}

impl Default for Stretch {
    fn default() -> Self {
        Self::new(1, 0)
    }
}

impl Stretch {
    pub fn new(factor: u32, us_max: u64) -> Self {
        Self { factor: factor.into(), us_max }
    }

    /// How long an interval is now. Interval 0 stays what it is.
    pub fn of(self, interval_us: u64) -> u64 {
        interval_us.saturating_mul(self.factor).min(self.us_max).max(interval_us)
    }
}
