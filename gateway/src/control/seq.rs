//! A publisher's own count of a topic's updates: repeats are known by it, and what never arrived.

/// The highest count: numbers in JSON are exact up to here.
pub const SEQ_MAX: u64 = (1 << 53) - 1;

/// Which of the publisher's updates one stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seq {
    /// `None`: the count leaves numbers out, a step tells nothing.
    pub first: Option<u64>,
    pub last: u64,
}

impl Seq {
    pub fn one(seq: u64) -> Self {
        Self { first: Some(seq), last: seq }
    }

    /// Whether `held`, the last count taken, has all of it.
    pub fn repeats(self, held: Option<u64>) -> bool {
        held.is_some_and(|held| self.last <= held)
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
        Self { first: self.first.and(older.first).map(|first| first + between), ..self }
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
        assert!(Seq::one(4).repeats(Some(4)) && !Seq::one(5).repeats(Some(4)) && !Seq::one(0).repeats(None));
    }

    #[test]
    fn one_that_takes_the_place_of_another_misses_what_both_missed() {
        let both = Seq::one(9).in_place_of(Seq::one(6));
        assert_eq!((both.skipped(Some(3)), both.last), (2 + 2, 9), "4 and 5, 7 and 8");
        assert_eq!(Seq::one(7).in_place_of(Seq::one(6)).skipped(Some(5)), 0);
        assert_eq!(Seq::one(7).in_place_of(Seq { first: None, last: 6 }).first, None);
    }
}
