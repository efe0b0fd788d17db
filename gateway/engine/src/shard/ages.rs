//! `[limits] connection_age`: when each connection is to leave, so that clients of a gateway spread anew now and then.

use std::time::Duration;

use super::drain::spread;
use crate::clock::Now;

const TICK_US: u64 = 10_000;
/// Of who never leaves for its age.
const NEVER: u32 = u32::MAX;
/// A client that has reached it comes back within so long: it is one of few.
const RECONNECT_MS: u64 = 100;
const RECONNECT_SPREAD_MS: u64 = 400;

#[derive(Debug)]
pub(super) struct Ages {
    /// 0: there is none.
    age_us: u64,
    /// By slot, in ticks of the shard's clock; empty where there is no age.
    leave: Vec<u32>,
}

impl Ages {
    pub fn new(age: Duration) -> Self {
        Self { age_us: age.as_micros() as u64, leave: Vec::new() }
    }

    /// `true`: the age is another one, and each connection that is open opens anew.
    pub fn set(&mut self, age: Duration) -> bool {
        let new = Self::new(age);
        let has_changed = new.age_us != self.age_us;
        if has_changed {
            *self = new;
        }
        has_changed
    }

    /// A connection opens: a quarter more or less than the age is given to it.
    pub fn open(&mut self, slot: u32, now: Now) {
        if self.age_us == 0 {
            return;
        }
        let at = slot as usize;
        if at >= self.leave.len() {
            self.leave.resize(at + 1, NEVER);
        }
        let chance = u64::from(spread(slot.wrapping_add(now.mono_us as u32)) % 1001);
        let leave_us = now.mono_us + self.age_us / 2000 * (1500 + chance);
        self.leave[at] = u32::try_from(leave_us.div_ceil(TICK_US)).unwrap_or(NEVER);
    }

    /// When the connection in a slot is to leave; `u64::MAX`: never. µs, monotonic.
    pub fn leave_us(&self, slot: u32) -> u64 {
        match self.leave.get(slot as usize) {
            None | Some(&NEVER) => u64::MAX,
            Some(ticks) => u64::from(*ticks) * TICK_US,
        }
    }

    pub fn reconnect_after_ms(slot: u32) -> u64 {
        RECONNECT_MS + u64::from(spread(slot)) % RECONNECT_SPREAD_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_gets_the_age_and_a_quarter_more_or_less() {
        let mut ages = Ages::new(Duration::from_secs(100));
        let now = Now { mono_us: 5_000_000, wall_us: 0 };
        let lives_s: Vec<f64> = (0..1000)
            .map(|slot| {
                ages.open(slot, now);
                (ages.leave_us(slot) - now.mono_us) as f64 / 1e6
            })
            .collect();
        assert!(lives_s.iter().all(|life| (75.0..=125.1).contains(life)), "{lives_s:?}");
        let each_tenth = (0..10).map(|tenth| {
            let from = 75.0 + 5.0 * f64::from(tenth);
            lives_s.iter().filter(|life| (from..from + 5.0).contains(*life)).count()
        });
        assert!(
            each_tenth.clone().all(|count| (50..150).contains(&count)),
            "{:?}",
            each_tenth.collect::<Vec<_>>()
        );
        assert_eq!(ages.leave_us(1000), u64::MAX);
    }

    #[test]
    fn without_an_age_nothing_is_kept() {
        let mut ages = Ages::new(Duration::ZERO);
        ages.open(7, Now { mono_us: 1, wall_us: 0 });
        assert_eq!((ages.leave_us(7), ages.leave.capacity()), (u64::MAX, 0));
    }
}
