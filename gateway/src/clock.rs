//! The program's clock: its readings are the arguments of what decides.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::clock::Now;

/// Wall time more than this far from the monotonic clock's opinion is a step and is followed at once.
const STEP_US: i64 = 50_000;

/// Reads time: wall time is monotonic time plus an offset, so that small corrections of the
/// system's clock never make it run backwards.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
    offset_us: i64,
    checked_us: u64,
    steps: u64,
}

impl Clock {
    /// `start` is shared by all threads of the process, so that their monotonic times compare.
    pub fn new(start: Instant) -> Self {
        let mono_us = start.elapsed().as_micros() as u64;
        Self { start, offset_us: system_wall_us() - mono_us as i64, checked_us: mono_us, steps: 0 }
    }

    /// The present moment. Compares with the system's clock once a second.
    pub fn now(&mut self) -> Now {
        let mono_us = self.start.elapsed().as_micros() as u64;
        if mono_us >= self.checked_us + 1_000_000 {
            self.checked_us = mono_us;
            self.follow(system_wall_us(), mono_us);
        }
        Now { mono_us, wall_us: mono_us as i64 + self.offset_us }
    }

    /// How often the wall clock was found to have been set.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn follow(&mut self, system_us: i64, mono_us: u64) {
        let offset_us = system_us - mono_us as i64;
        if (offset_us - self.offset_us).abs() > STEP_US {
            self.offset_us = offset_us;
            self.steps += 1;
        } else if offset_us > self.offset_us {
            // Slewing forward is harmless; backwards it would make time run back.
            self.offset_us = offset_us;
        }
    }
}

fn system_wall_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_followed_and_a_small_step_back_is_not() {
        let mut clock = Clock { start: Instant::now(), offset_us: 1_000_000, checked_us: 0, steps: 0 };
        clock.follow(1_000_000 - 1_000, 0);
        assert_eq!((clock.offset_us, clock.steps), (1_000_000, 0));
        clock.follow(1_000_000 + 1_000, 0);
        assert_eq!((clock.offset_us, clock.steps), (1_001_000, 0));
        clock.follow(500_000, 0);
        assert_eq!((clock.offset_us, clock.steps), (500_000, 1));
    }
}
