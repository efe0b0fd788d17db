//! The clocks that send times are compared with.

use std::time::{SystemTime, UNIX_EPOCH};

/// Both clocks at one arrival.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// µs since the Unix epoch.
    pub wall_us: u64,
    /// ns of `CLOCK_MONOTONIC`.
    pub mono_ns: u64,
}

impl Arrival {
    /// An arrival now; the wall clock is corrected by `offset_us`, the server's minus ours.
    pub fn now(offset_us: i64) -> Self {
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mono_ns = mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64;
        Self { wall_us: wall_us().saturating_add_signed(offset_us), mono_ns }
    }
}

/// µs since the Unix epoch.
pub fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
