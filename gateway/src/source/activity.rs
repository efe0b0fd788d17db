//! When a source brought something last, and whether it can.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use net::metric::{Kind, Metric};

use super::brought::Brought;

#[derive(Debug, Default)]
pub struct Activity {
    /// What logs, metrics and reasons call the source.
    pub name: String,
    /// When it brought an update or confirmed one last, or began. µs, monotonic.
    last_us: AtomicU64,
    reported: AtomicBool,
    is_down: AtomicBool,
    down: Mutex<Option<String>>,
    brought: Mutex<Brought>,
}

impl Activity {
    /// With what the time is now: microseconds, monotonic.
    pub const METRICS: &[Metric<(Arc<Self>, u64)>] = &[Metric::real(
        Kind::Gauge,
        "fanwire_source_age_seconds",
        "Since the source brought something last, or its start",
        |(activity, now_us)| activity.age_us(*now_us) as f64 / 1e6,
    )];

    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The source begins.
    pub fn begin(&self, now_us: u64) {
        self.last_us.store(now_us, Relaxed);
    }

    /// It brought an update, or confirmed one.
    pub fn touch(&self, now_us: u64) {
        self.last_us.store(now_us, Relaxed);
        self.reported.store(true, Relaxed);
        if self.is_down.swap(false, Relaxed) {
            *self.lock() = None;
        }
    }

    /// It cannot bring anything until further notice.
    pub fn go_down(&self, why: String) {
        *self.lock() = Some(why);
        self.is_down.store(true, Relaxed);
    }

    /// Why it cannot, if so.
    pub fn down(&self) -> Option<String> {
        self.lock().clone()
    }

    pub fn has_reported(&self) -> bool {
        self.reported.load(Relaxed)
    }

    /// Since it brought something, or began.
    pub fn age_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.last_us.load(Relaxed))
    }

    /// Topic by topic; of a source that connects to a venue.
    pub fn brought(&self) -> MutexGuard<'_, Brought> {
        self.brought.lock().expect("remembering a topic never panics")
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.down.lock().expect("cloning a text never panics")
    }
}
