//! What the threads of a run see of each other.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::{
    judge::table::KeyBudget,
    measure::{arrival::Arrival, tally::Second},
};

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
    /// Of the tables that connections hold.
    pub key_budget: Arc<KeyBudget>,
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
            key_budget: Arc::default(),
            seconds: std::iter::repeat_with(Mutex::default).take(threads).collect(),
        }
    }

    pub fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    /// An arrival now, the wall clock as the server has it.
    pub fn arrival(&self) -> Arrival {
        Arrival::now(self.offset_us)
    }

    pub fn is_measured(&self, now_us: u64) -> bool {
        (self.begin_us.load(Relaxed)..self.end_us.load(Relaxed)).contains(&now_us)
    }
}
