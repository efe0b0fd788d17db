//! Something that is told once a minute, however often it happens and on whichever thread.

use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE_US: u64 = 60_000_000;

#[derive(Debug, Default)]
pub struct Minutely {
    /// From then on it may be told again. µs, monotonic.
    next_us: AtomicU64,
    left_out: AtomicU64,
}

impl Minutely {
    /// It happened. Some: it is to be told, with how often it was not since it last was.
    pub fn happened(&self, now_us: u64) -> Option<u64> {
        let is_due = |next_us: u64| (now_us >= next_us).then_some(now_us + MINUTE_US);
        if self.next_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due).is_ok() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_with_what_was_left_out() {
        let minutely = Minutely::default();
        let told: Vec<_> = [5, 6, 7, MINUTE_US, MINUTE_US + 5, 3 * MINUTE_US, 4 * MINUTE_US - 1]
            .map(|now_us| minutely.happened(now_us))
            .into();
        assert_eq!(told, [Some(0), None, None, None, Some(3), Some(0), None]);
    }
}
