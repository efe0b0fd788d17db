//! One line a second on stderr.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use crate::{shared::Shared, tally::Second};

/// Prints what came since the last line.
#[derive(Debug)]
pub struct Progress {
    last: Instant,
    second: Second,
}

impl Progress {
    pub fn new() -> Self {
        Self { last: Instant::now(), second: Second::default() }
    }

    /// Prints a line when the last one is a second old. `what` names the stage of the run.
    pub fn tick(&mut self, shared: &Shared, requested: u64, what: &str) {
        let seconds = self.last.elapsed().as_secs_f64();
        if seconds < 1.0 {
            return;
        }
        for slot in &shared.seconds {
            self.second.take(&mut slot.lock().expect("no thread panics with it"));
        }
        let elapsed_s = shared.now_us() / 1_000_000;
        let (open, failed) = (shared.open.load(Relaxed), shared.failed.load(Relaxed));
        let (frames, updates) = (self.second.frames as f64 / seconds, self.second.updates as f64 / seconds);
        let p99 = self.second.visible.quantile_ms(0.99).map_or("-".into(), |ms| format!("{ms:.1} ms"));
        eprintln!(
            "{elapsed_s:>4}s {what:<9} connections {open}/{requested} failed {failed} \
             frames {frames:.0}/s updates {updates:.0}/s p99 {p99}"
        );
        self.second = Second::default();
        self.last = Instant::now();
    }
}
