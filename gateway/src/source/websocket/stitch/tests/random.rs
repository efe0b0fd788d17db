//! A venue that loses changes, counts anew, and answers late, early and from before: when it is quiet its book is held,
//! or it is told that it is not.

use super::*;

const SECOND_US: i64 = 1_000_000;

/// Counts from further below in each of its lives, so that no two share a count.
struct Made {
    life: u64,
    count: u64,
    /// What it answers: of its own life, or of one before.
    answers: Vec<(u64, u64)>,
}

/// What is held of it where all are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    life: u64,
    count: u64,
    is_whole: bool,
}

fn publication_of(base: Base, life: u64, seq: Seq, at_us: i64) -> Publication {
    let mut changes = Changes::new(base);
    changes.set("k", life.to_string().as_bytes()).unwrap();
    Publication { seq: Some(seq), ..Publication::new("t", Body::Changes(changes.into()), at_us) }
}

fn begin(life: u64) -> u64 {
    1_000_000 - life * 1_000
}

impl Held {
    /// As the sequencer takes it.
    fn take(&mut self, publication: &Publication) {
        let Body::Changes(changes) = &publication.body else {
            self.is_whole = false;
            return;
        };
        let value = changes.iter().next().and_then(|change| change.value).unwrap();
        let life: u64 = std::str::from_utf8(value).unwrap().parse().unwrap();
        let seq = publication.seq.unwrap();
        if changes.base != Base::Held {
            *self = Self { life, count: seq.last, is_whole: true };
        } else if publication.seq_reset || seq.last > self.count {
            let goes_on = !publication.seq_reset && seq.skipped(Some(self.count)) == 0;
            // A change of another life that is taken for one of this one would be wrong in silence.
            assert!(!self.is_whole || !goes_on || life == self.life, "{publication:?} after {self:?}");
            *self = Self { life, count: seq.last, is_whole: self.is_whole && goes_on };
        }
    }
}

struct Run {
    rng: fastrand::Rng,
    venue: Made,
    stitch: Stitch,
    repair: Repair,
    held: Held,
    asked: bool,
    now_us: i64,
}

impl Run {
    /// Numbers of changes: one, or several at once; by their first one, or by the one before.
    fn change(&mut self, is_lost: bool) {
        let (before, first) = (self.venue.count, self.venue.count + 1);
        self.venue.count += self.rng.u64(1..4);
        let last = self.venue.count;
        let seq = if self.rng.bool() { Seq::span(first, last) } else { Seq::after(before, last) };
        self.venue.answers.push((self.venue.life, last));
        if is_lost {
            return;
        }
        let change = publication_of(Base::Held, self.venue.life, seq, self.now_us);
        let mut out = Vec::new();
        match self.stitch.take(change, self.repair, None, &mut out) {
            Need::Whole => self.asked = true,
            Need::Reconnect(_) => panic!("nobody said so"),
            Need::Nothing => {}
        }
        out.iter().for_each(|publication| self.held.take(publication));
    }

    fn answer(&mut self, nth_from_last: usize) {
        let at = self.venue.answers.len().saturating_sub(1 + nth_from_last);
        let (life, count) = self.venue.answers[at];
        let whole = publication_of(Base::Whole, life, Seq::one(count), self.now_us);
        let mut out = Vec::new();
        self.asked = self.stitch.join(whole, count, &mut out) == Need::Whole;
        out.iter().for_each(|publication| self.held.take(publication));
    }

    fn step(&mut self) {
        self.now_us += SECOND_US;
        match self.rng.u8(0..20) {
            0 => self.change(true),
            1 => {
                self.venue.life += 1;
                self.venue.count = begin(self.venue.life);
            }
            2..5 if self.asked => {
                // Sometimes from a cache, as before the count began anew.
                let back = if self.rng.u8(0..4) == 0 { self.rng.usize(0..30) } else { self.rng.usize(0..3) };
                self.answer(back);
            }
            _ => self.change(false),
        }
    }
}

#[test]
fn whatever_a_venue_does_its_book_is_held_in_the_end_or_told_to_lack_something() {
    for seed in 0..2_000 {
        let mut run = Run {
            rng: fastrand::Rng::with_seed(seed),
            venue: Made { life: 1, count: begin(1), answers: vec![(1, begin(1))] },
            stitch: Stitch::new(1, 1 << 20),
            repair: Repair::Ask,
            held: Held { life: 0, count: 0, is_whole: false },
            asked: false,
            now_us: 0,
        };
        (0..200).for_each(|_| run.step());
        // Quiet: nothing is lost any more, and answers are new.
        for _ in 0..60 {
            run.now_us += SECOND_US;
            run.change(false);
            if run.asked {
                run.answer(0);
            }
        }
        let expected = Held { life: run.venue.life, count: run.venue.count, is_whole: true };
        assert_eq!(run.held, expected, "seed {seed}");
    }
}
