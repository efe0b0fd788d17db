//! The time of a small piece of work: the best of several rounds, so that a disturbed one does not count.

use std::{hint::black_box, time::Instant};

const ROUNDS: usize = 15;

/// Nanoseconds that `work` takes, at best of all rounds, each of `repeats` calls.
pub fn best_ns<T>(repeats: usize, mut work: impl FnMut() -> T) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..repeats {
                black_box(work());
            }
            began.elapsed().as_nanos() as f64 / repeats as f64
        })
        .fold(f64::INFINITY, f64::min)
}
