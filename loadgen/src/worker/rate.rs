//! Things done at a rate, each due at its own time: what is late stays due.

/// Due times of one thread's share.
#[derive(Debug)]
pub struct Rate {
    per_s: f64,
    /// Of a step between two due times, so that threads take turns.
    phase: f64,
    done: u64,
}

impl Rate {
    /// The share of `thread` of `per_s` for all `threads`; 0: never.
    pub fn new(per_s: f64, thread: usize, threads: usize) -> Self {
        Self { per_s: per_s / threads as f64, phase: (thread + 1) as f64 / threads as f64, done: 0 }
    }

    /// When the next one is due, µs into the window.
    pub fn next_us(&self) -> u64 {
        if self.per_s > 0.0 { ((self.done as f64 + self.phase) / self.per_s * 1e6) as u64 } else { u64::MAX }
    }

    /// Takes the next one if it is due `now_us` into the window; gives its due time.
    pub fn take(&mut self, now_us: u64) -> Option<u64> {
        let due_us = self.next_us();
        (due_us <= now_us).then(|| {
            self.done += 1;
            due_us
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_a_rate_and_lateness_loses_nothing() {
        let mut rates: Vec<Rate> = (0..2).map(|thread| Rate::new(10.0, thread, 2)).collect();
        let mut due: Vec<u64> =
            rates.iter_mut().flat_map(|rate| std::iter::from_fn(|| rate.take(1_000_000))).collect();
        due.sort_unstable();
        assert_eq!(due, (1..=10).map(|n| n * 100_000).collect::<Vec<_>>());
        assert_eq!(rates[0].take(1_000_000), None);
    }

    #[test]
    fn a_rate_of_nothing_is_never_due() {
        let mut rate = Rate::new(0.0, 0, 1);
        assert_eq!((rate.take(u64::MAX - 1), rate.next_us()), (None, u64::MAX));
    }
}
