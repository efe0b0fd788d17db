//! What the threads of a run see of each other.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{stamp::Arrival, tally::Second};

/// No such moment yet.
pub const NEVER: u64 = u64::MAX;

/// Counts and moments. Moments are µs since `origin`.
#[derive(Debug)]
pub struct Shared {
    pub origin: Instant,
    /// Connections that are established, and of those the ones that hold their first answer.
    pub established: AtomicU64,
    pub ready: AtomicU64,
    /// First connects that came to nothing.
    pub failed: AtomicU64,
    /// Connections that are open now.
    pub open: AtomicU64,
    /// When the last first connection was established.
    pub established_us: AtomicU64,
    /// The measured window.
    pub begin_us: AtomicU64,
    pub end_us: AtomicU64,
    /// Final values must have arrived.
    pub stop_us: AtomicU64,
    /// The longest interval that a `subscribed` named.
    pub interval_ms: AtomicU64,
    /// The server's clock minus ours, µs.
    offset_us: i64,
    /// One per thread, emptied by the progress line.
    pub seconds: Vec<Mutex<Second>>,
}

impl Shared {
    pub fn new(threads: usize, offset_us: i64) -> Self {
        Self {
            origin: Instant::now(),
            established: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            open: AtomicU64::new(0),
            established_us: AtomicU64::new(0),
            begin_us: AtomicU64::new(NEVER),
            end_us: AtomicU64::new(NEVER),
            stop_us: AtomicU64::new(NEVER),
            interval_ms: AtomicU64::new(0),
            offset_us,
            seconds: std::iter::repeat_with(Mutex::default).take(threads).collect(),
        }
    }

    pub fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    /// The clocks that send times are compared with, the wall clock as the server has it.
    pub fn arrival(&self) -> Arrival {
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mono_ns = mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64;
        Arrival { wall_us: wall_us().saturating_add_signed(self.offset_us), mono_ns }
    }

    pub fn is_measured(&self, now_us: u64) -> bool {
        (self.begin_us.load(Relaxed)..self.end_us.load(Relaxed)).contains(&now_us)
    }
}

/// µs since the Unix epoch.
pub fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
