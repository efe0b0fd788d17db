//! A timer wheel: one deadline for each key, in three numbers.

/// Steps in a turn. A deadline further off fires early, after a turn, and is set again.
const STEPS: u64 = 8192;
/// How far [`Wheel::next_us`] looks ahead.
const AHEAD_US: u64 = 1_000_000;

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
    /// Its step's place on the wheel; `NONE`: not set.
    place: u32,
}

const UNSET: Link = Link { newer: NONE, older: NONE, place: NONE };

#[derive(Debug)]
pub struct Wheel {
    /// Deadlines are rounded up to whole steps.
    step_us: u64,
    heads: Box<[u32]>,
    links: Vec<Link>,
    /// First step not yet fired.
    step: u64,
    set: usize,
}

impl Wheel {
    /// `keys`: how many timers there will be, numbered from 0; more find room too.
    pub fn new(keys: usize, step_us: u64, now_us: u64) -> Self {
        let heads = vec![NONE; STEPS as usize].into_boxed_slice();
        Self { step_us, heads, links: Vec::with_capacity(keys), step: now_us / step_us, set: 0 }
    }

    /// Sets the one timer of `key`, in place of what was set.
    pub fn set(&mut self, key: u32, at_us: u64) {
        self.clear(key);
        if key as usize >= self.links.len() {
            self.links.resize(key as usize + 1, UNSET);
        }
        let step = at_us.div_ceil(self.step_us).clamp(self.step, self.step + STEPS - 1);
        let place = (step % STEPS) as u32;
        let head = self.heads[place as usize];
        self.links[key as usize] = Link { newer: NONE, older: head, place };
        if head != NONE {
            self.links[head as usize].newer = key;
        }
        self.heads[place as usize] = key;
        self.set += 1;
    }

    /// Sets the timer of `key`, unless it is set to an earlier moment.
    pub fn hasten(&mut self, key: u32, at_us: u64) {
        let place = self.links.get(key as usize).map_or(NONE, |link| link.place);
        let steps_left = (u64::from(place) + STEPS - self.step % STEPS) % STEPS;
        if place == NONE || self.step + steps_left > at_us.div_ceil(self.step_us) {
            self.set(key, at_us);
        }
    }

    pub fn clear(&mut self, key: u32) {
        let Some(&Link { newer, older, place }) = self.links.get(key as usize) else { return };
        if place == NONE {
            return;
        }
        match newer {
            NONE => self.heads[place as usize] = older,
            n => self.links[n as usize].older = older,
        }
        if older != NONE {
            self.links[older as usize].newer = newer;
        }
        self.links[key as usize] = UNSET;
        self.set -= 1;
    }

    /// Takes one timer that is due, until none is.
    pub fn pop(&mut self, now_us: u64) -> Option<u32> {
        let end = now_us / self.step_us;
        while self.step <= end {
            let head = self.heads[(self.step % STEPS) as usize];
            if head != NONE {
                self.clear(head);
                return Some(head);
            }
            if self.set == 0 {
                self.step = end;
            }
            if self.step == end {
                return None;
            }
            self.step += 1;
        }
        None
    }

    /// When [`Wheel::pop`] will next have something. Looks ahead at most a second; then it is worth looking again.
    pub fn next_us(&self) -> Option<u64> {
        if self.set == 0 {
            return None;
        }
        let ahead = AHEAD_US / self.step_us;
        let found = (0..ahead).find(|i| self.heads[((self.step + i) % STEPS) as usize] != NONE);
        Some((self.step + found.unwrap_or(ahead)) * self.step_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_US: u64 = 10_000;

    #[test]
    fn timers_fire_once_in_their_step_and_can_be_moved() {
        let mut wheel = Wheel::new(10, STEP_US, 0);
        wheel.set(3, 50_000);
        wheel.set(4, 50_000);
        wheel.set(5, 20_000);
        wheel.set(5, 90_000);
        wheel.set(6, 30_000);
        wheel.clear(6);
        assert_eq!(wheel.next_us(), Some(50_000));
        assert_eq!(wheel.pop(49_000), None);
        let mut due = vec![wheel.pop(50_000).unwrap(), wheel.pop(50_000).unwrap()];
        due.sort();
        assert_eq!(due, [3, 4]);
        assert_eq!(wheel.pop(80_000), None);
        assert_eq!(wheel.pop(10_000_000), Some(5));
        assert_eq!(wheel.pop(10_000_000), None);
        assert_eq!(wheel.next_us(), None);
    }

    #[test]
    fn a_timer_is_hastened_and_never_put_off_by_that() {
        let mut wheel = Wheel::new(10, STEP_US, 0);
        wheel.hasten(1, 50_000);
        wheel.hasten(1, 90_000);
        wheel.set(2, 90_000);
        wheel.hasten(2, 20_000);
        wheel.set(3, 30_000_000);
        wheel.hasten(3, 40_000);
        let fired = [20_000, 40_000, 50_000, 60_000_000].map(|now_us| wheel.pop(now_us));
        assert_eq!(fired, [Some(2), Some(3), Some(1), None]);
    }

    #[test]
    fn random_timers_never_fire_early_within_a_turn_nor_get_lost() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut wheel = Wheel::new(100, STEP_US, 0);
        let mut set = [None; 100];
        let mut now_us = 0;
        for _ in 0..100_000 {
            let key = rng.usize(..100);
            match rng.u8(..4) {
                0 => {
                    let at_us = now_us + rng.u64(..40_000_000);
                    wheel.set(key as u32, at_us);
                    set[key] = Some(at_us);
                }
                1 => {
                    wheel.clear(key as u32);
                    set[key] = None;
                }
                _ => {
                    now_us += rng.u64(..100_000);
                    while let Some(key) = wheel.pop(now_us) {
                        let at_us = set[key as usize].take().expect("was set");
                        assert!(at_us <= now_us, "early: {at_us} at {now_us}");
                    }
                    let late = set.iter().flatten().find(|at| **at + 2 * STEP_US < now_us);
                    assert_eq!(late, None, "late at {now_us}");
                }
            }
        }
    }
}
