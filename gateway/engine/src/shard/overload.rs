//! Whether a shard keeps up, and how far up the ladder it stands while it does not.
//!
//! A shard looks at itself a few times in each `after`. Where every look of that time finds it behind, it goes one
//! step up; where every look of `calm` finds that it keeps up, one step down. What lies between the two leaves it
//! where it is. One that is behind again soon after it came down waits twice as long before the next try.

use crate::settings;

/// Looks in an `after`.
const LOOKS: u64 = 5;
/// The least between two. Microseconds.
const LOOK_US_MIN: u64 = 1_000;
/// It is behind where one frame in that many comes late, and keeps up where at most one in that many does.
const BEHIND_PART: u64 = 4;
const CALM_PART: u64 = 20;
/// Doublings of `calm`.
const TRIES_MAX: u32 = 4;
/// A frame that waits no longer is not late, however short its interval is. Microseconds.
const LATE_US_MIN: u64 = 20_000;

/// A step of the ladder, with all that those below it leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// What holds beside longer intervals: see [`Overload::sends_plain`] and [`Overload::refuses`].
    rung: u8,
    /// How many times as long intervals are.
    factor: u32,
}

/// From this rung on new clients are refused.
pub const RUNG_REFUSES: u8 = 3;

const STEPS: [Step; 6] = [
    Step { rung: 0, factor: 1 },
    Step { rung: 1, factor: 2 },
    Step { rung: 1, factor: 4 },
    Step { rung: 1, factor: 8 },
    Step { rung: 2, factor: 8 },
    Step { rung: 3, factor: 8 },
];

/// What was seen since the last look.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    /// Handed to members of classes with an interval, and those of them that came late.
    frames: u64,
    late: u64,
    /// Without anything to do. Microseconds.
    rested_us: u64,
}

/// How a shard kept up lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Behind,
    Calm,
    /// Neither: it stays where it is.
    Between,
}

/// The ladder and where a shard stands on it.
#[derive(Debug)]
pub struct Overload {
    after_us: u64,
    calm_us: u64,
    busy_percent: u64,
    interval_us_max: u64,
    /// The highest step that it may take.
    step_max: usize,
    /// Of [`STEPS`].
    step: usize,
    seen: Seen,
    looked_us: u64,
    state: Load,
    /// Since when every look found that, or since the last step.
    since_us: u64,
    /// When it last came down, and how often it had to go up again soon after.
    came_down_us: Option<u64>,
    tries: u32,
}

/// A step was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub is_up: bool,
    pub rung: u8,
    pub factor: u32,
    /// Frames of the last look that came late, and its share of time with something to do.
    pub late_percent: u64,
    pub busy_percent: u64,
}

impl Overload {
    pub fn new(settings: &settings::Overload, now_us: u64) -> Self {
        let us = |duration: std::time::Duration| duration.as_micros() as u64;
        Self {
            after_us: us(settings.after),
            calm_us: us(settings.calm),
            busy_percent: u64::from(settings.busy_percent),
            interval_us_max: us(settings.interval_max),
            step_max: STEPS.iter().rposition(|step| step.rung <= settings.rungs).unwrap_or(0),
            step: 0,
            seen: Seen::default(),
            looked_us: now_us,
            state: Load::Between,
            since_us: now_us,
            came_down_us: None,
            tries: 0,
        }
    }

    /// Comes down at once to a step that may still be taken.
    pub fn set(&mut self, settings: &settings::Overload) {
        let new = Self::new(settings, self.looked_us);
        (self.after_us, self.calm_us) = (new.after_us, new.calm_us);
        (self.busy_percent, self.interval_us_max) = (new.busy_percent, new.interval_us_max);
        self.step_max = new.step_max;
        self.step = self.step.min(self.step_max);
    }

    /// A class was handed its frame: so many members, so long after it was due. `interval_us`: as lengthened.
    pub fn note_flush(&mut self, members: usize, late_us: u64, interval_us: u64) -> bool {
        let is_late = late_us > interval_us.max(LATE_US_MIN);
        self.seen.frames += members as u64;
        self.seen.late += if is_late { members as u64 } else { 0 };
        is_late
    }

    /// The shard had nothing to do for so long.
    pub fn note_rest(&mut self, us: u64) {
        self.seen.rested_us += us;
    }

    /// Looks, where it is time to, and gives the step that was taken.
    pub fn look(&mut self, now_us: u64) -> Option<Change> {
        let passed_us = now_us - self.looked_us;
        if self.step_max == 0 || passed_us < self.look_us() {
            return None;
        }
        let seen = std::mem::take(&mut self.seen);
        self.looked_us = now_us;
        let late_percent = (seen.late * 100).checked_div(seen.frames).unwrap_or(0);
        let busy_percent = passed_us.saturating_sub(seen.rested_us) * 100 / passed_us;
        // It slept, or the process stood still, which tells nothing.
        let is_whole = passed_us < 3 * self.look_us();
        let state = if is_whole { self.judge(seen, busy_percent) } else { Load::Between };
        if state != self.state {
            (self.state, self.since_us) = (state, now_us - passed_us);
        }
        let lasted_us = now_us - self.since_us;
        let is_up = match state {
            Load::Behind if lasted_us >= self.after_us && self.step < self.step_max => true,
            Load::Calm if lasted_us >= self.calm_us << self.tries && self.step > 0 => false,
            _ => return None,
        };
        self.take_step(is_up, now_us);
        let Step { rung, factor } = STEPS[self.step];
        Some(Change { is_up, rung, factor, late_percent, busy_percent })
    }

    fn judge(&self, seen: Seen, busy_percent: u64) -> Load {
        let is_busy = self.busy_percent > 0 && busy_percent >= self.busy_percent;
        if is_busy || seen.late * BEHIND_PART > seen.frames {
            Load::Behind
        } else if seen.late * CALM_PART <= seen.frames {
            Load::Calm
        } else {
            Load::Between
        }
    }

    fn take_step(&mut self, is_up: bool, now_us: u64) {
        self.since_us = now_us;
        if !is_up {
            self.step -= 1;
            self.came_down_us = Some(now_us);
            return;
        }
        self.step += 1;
        if let Some(came_down_us) = self.came_down_us.take() {
            let is_soon = now_us - came_down_us < self.after_us + (self.calm_us << self.tries);
            self.tries = if is_soon { TRIES_MAX.min(self.tries + 1) } else { 0 };
        }
    }

    fn look_us(&self) -> u64 {
        (self.after_us / LOOKS).max(LOOK_US_MIN)
    }

    /// When it has to look without an event, so that it comes down; `None`: never. Microseconds, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        (self.step > 0).then(|| self.looked_us + self.look_us())
    }

    /// 0: nothing is left out.
    pub fn rung(&self) -> u8 {
        STEPS[self.step].rung
    }

    /// How many times as long intervals are, up to [`Overload::interval_us_max`].
    pub fn factor(&self) -> u32 {
        STEPS[self.step].factor
    }

    /// Longer ones stay as they are.
    pub fn interval_us_max(&self) -> u64 {
        self.interval_us_max
    }

    /// Frames go out uncompressed.
    pub fn sends_plain(&self) -> bool {
        self.rung() >= 2
    }

    /// New clients are refused.
    pub fn refuses(&self) -> bool {
        self.rung() >= RUNG_REFUSES
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Keys;

    const MS: u64 = 1_000;
    const INTERVAL_US: u64 = 100 * MS;

    /// One that looks each 100 ms.
    struct Driven {
        overload: Overload,
        now_us: u64,
    }

    impl Driven {
        fn new(rungs: u8, busy_percent: u8) -> Self {
            let (after, calm) = (Duration::from_millis(500), Duration::from_millis(1000));
            let settings =
                settings::Overload { rungs, busy_percent, after, calm, ..settings::Overload::defaults() };
            Self { overload: Overload::new(&settings, 0), now_us: 0 }
        }

        /// Passes so many looks, in each of which so many of 100 frames are late and so much of the time is
        /// rest; gives when which rung was reached.
        fn pass(&mut self, looks: u64, late: usize, rested_ms: u64) -> Vec<(u64, u8)> {
            let mut steps = Vec::new();
            for _ in 0..looks {
                self.now_us += 100 * MS;
                self.overload.note_flush(late, INTERVAL_US + 1, INTERVAL_US);
                self.overload.note_flush(100 - late, INTERVAL_US, INTERVAL_US);
                self.overload.note_rest(rested_ms * MS);
                let change = self.overload.look(self.now_us);
                steps.extend(change.map(|change| (self.now_us / MS, change.rung)));
            }
            steps
        }
    }

    #[test]
    fn who_stays_behind_goes_up_one_step_at_a_time_and_no_further_than_it_may() {
        let mut driven = Driven::new(3, 0);
        assert_eq!(driven.pass(30, 30, 0), [(500, 1), (1000, 1), (1500, 1), (2000, 2), (2500, 3)]);
        assert!(driven.overload.sends_plain() && driven.overload.refuses());
        let mut driven = Driven::new(1, 0);
        assert_eq!(driven.pass(30, 100, 0), [(500, 1), (1000, 1), (1500, 1)]);
        assert_eq!((driven.overload.factor(), driven.overload.sends_plain()), (8, false));
        assert!(Driven::new(0, 50).pass(30, 100, 0).is_empty(), "it is off");
    }

    #[test]
    fn a_moment_of_lateness_is_not_overload() {
        let mut driven = Driven::new(3, 0);
        for _ in 0..10 {
            assert!(driven.pass(4, 100, 0).is_empty() && driven.pass(1, 25, 0).is_empty());
        }
        assert!(driven.pass(50, 25, 0).is_empty(), "a fourth is not more than a fourth");
    }

    #[test]
    fn who_keeps_up_comes_down_to_the_ground_and_is_woken_for_it() {
        let mut driven = Driven::new(3, 0);
        assert_eq!(driven.overload.next_us(), None);
        driven.pass(25, 100, 0);
        assert_eq!(driven.overload.next_us(), Some(2600 * MS));
        assert!(driven.pass(30, 10, 0).is_empty(), "what lies between changes nothing");
        let down = driven.pass(50, 5, 0);
        assert_eq!(down, [(6500, 2), (7500, 1), (8500, 1), (9500, 1), (10_500, 0)]);
        assert_eq!((driven.overload.factor(), driven.overload.next_us()), (1, None));
    }

    #[test]
    fn who_is_behind_again_soon_waits_longer_before_it_comes_down_again() {
        let mut driven = Driven::new(1, 0);
        driven.pass(5, 100, 0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let up_us = driven.now_us;
            while driven.pass(1, 0, 0).is_empty() {}
            waits.push((driven.now_us - up_us) / MS);
            driven.pass(5, 100, 0);
        }
        assert_eq!(waits, [1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
        while driven.pass(1, 0, 0).is_empty() {}
        driven.pass(200, 0, 0);
        driven.pass(5, 100, 0);
        assert_eq!(driven.pass(10, 0, 0).len(), 1, "long after, it begins anew");
    }

    #[test]
    fn a_shard_without_rest_is_behind_only_where_that_is_asked_for() {
        assert!(Driven::new(3, 0).pass(50, 0, 0).is_empty());
        let mut driven = Driven::new(3, 90);
        assert!(driven.pass(50, 0, 11).is_empty(), "busy 89 %");
        assert_eq!(driven.pass(5, 0, 10).len(), 1, "busy 90 %");
    }

    #[test]
    fn a_pause_tells_nothing() {
        let mut driven = Driven::new(3, 90);
        driven.pass(4, 100, 0);
        driven.now_us += 400 * MS;
        assert!(driven.pass(1, 100, 0).is_empty() && driven.pass(4, 100, 0).is_empty());
        assert_eq!(driven.pass(1, 100, 0).len(), 1);
    }

    #[test]
    fn a_short_wait_is_not_late_however_short_the_interval_is() {
        let mut overload = Driven::new(3, 0).overload;
        assert!(!overload.note_flush(1, 20 * MS, MS) && overload.note_flush(1, 20 * MS + 1, MS));
    }
}
