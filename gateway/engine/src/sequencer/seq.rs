//! A publisher's own count of a topic's updates: repeats are known by it, and what never arrived.

/// The highest count, of a publisher's as of the gateway's own: numbers in JSON are exact up to here.
pub const SEQ_MAX: u64 = (1 << 53) - 1;

/// Refuses a `v` or `version` of elsewhere that would be the end of counting. `name`: what it is.
pub fn check_count(name: &str, least: u64, count: u64) -> Result<(), String> {
    if (least..=SEQ_MAX).contains(&count) {
        return Ok(());
    }
    Err(format!("{name} = {count} is not a whole number from {least} to {SEQ_MAX}"))
}

/// Which of the publisher's updates one stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seq {
    /// `None`: the count leaves numbers out, a step tells nothing.
    pub first: Option<u64>,
    pub last: u64,
}

/// A connection of a source, which brings updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// From [`super::Sequencer::enroll`].
    pub source: u32,
    /// Rises with each connection of the source, from 1. 0: it connects to nothing.
    pub connection: u32,
}

impl Seq {
    pub fn one(seq: u64) -> Self {
        Self { first: Some(seq), last: seq }
    }

    /// Whether it names `held`, the last count taken, as the one that it goes on from, up or down.
    pub fn continues(self, held: u64) -> bool {
        self.first == Some(held) && self.last != held
    }

    /// Updates that are missing between `held`, the last count taken, and this.
    pub fn skipped(self, held: Option<u64>) -> u64 {
        match (held, self.first) {
            (Some(held), Some(first)) => first.saturating_sub(held.saturating_add(1)),
            _ => 0,
        }
    }

    /// This in place of `older`, which nobody saw; what was missing before either still is.
    pub fn in_place_of(self, older: Self) -> Self {
        let between = self.skipped(Some(older.last));
        Self { first: self.first.and(older.first).map(|first| first.saturating_add(between)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_what_lies_between() {
        assert_eq!(Seq::one(5).skipped(None), 0);
        assert_eq!(Seq::one(5).skipped(Some(4)), 0);
        assert_eq!(Seq::one(9).skipped(Some(4)), 4);
        assert_eq!(Seq { first: Some(3), last: 9 }.skipped(Some(4)), 0, "an overlap");
        assert_eq!(Seq { first: None, last: 900 }.skipped(Some(4)), 0);
        assert!(Seq { first: Some(4), last: 2 }.continues(4) && !Seq::one(4).continues(4));
    }

    #[test]
    fn one_that_takes_the_place_of_another_misses_what_both_missed() {
        let both = Seq::one(9).in_place_of(Seq::one(6));
        assert_eq!((both.skipped(Some(3)), both.last), (2 + 2, 9), "4 and 5, 7 and 8");
        assert_eq!(Seq::one(7).in_place_of(Seq::one(6)).skipped(Some(5)), 0);
        assert_eq!(Seq::one(7).in_place_of(Seq { first: None, last: 6 }).first, None);
    }
}
