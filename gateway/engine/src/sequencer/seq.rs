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
    pub before: Before,
    pub last: u64,
}

/// What tells whether anything is missing before an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the count leaves numbers out.
    Unknown,
    /// The first one that it stands for, or the one that it goes on from.
    First(u64),
    /// The last one of the update before it, however far below.
    Previous(u64),
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
        Self { before: Before::First(seq), last: seq }
    }

    /// `first` and the others up to `last`.
    pub fn span(first: u64, last: u64) -> Self {
        Self { before: Before::First(first), last }
    }

    /// `last` comes after `previous`.
    pub fn after(previous: u64, last: u64) -> Self {
        Self { before: Before::Previous(previous), last }
    }

    /// The count leaves numbers out.
    pub fn sparse(last: u64) -> Self {
        Self { before: Before::Unknown, last }
    }

    /// A hole before it would show.
    pub fn is_counted(self) -> bool {
        self.before != Before::Unknown
    }

    /// Whether it names `held`, the last count taken, as the one that it goes on from, up or down.
    pub fn continues(self, held: u64) -> bool {
        matches!(self.before, Before::First(seq) | Before::Previous(seq) if seq == held) && self.last != held
    }

    /// Updates that are missing between `held`, the last count taken, and this; of a count that says what came before
    /// it they are as many at most.
    pub fn skipped(self, held: Option<u64>) -> u64 {
        match (held, self.before) {
            (None, _) | (_, Before::Unknown) => 0,
            (Some(held), Before::First(first)) => first.saturating_sub(held.saturating_add(1)),
            (Some(held), Before::Previous(previous)) => previous.saturating_sub(held),
        }
    }

    /// This in place of `older`, which nobody saw; what was missing before either still is.
    pub fn in_place_of(self, older: Self) -> Self {
        let between = self.skipped(Some(older.last));
        let before = match (self.before, older.before) {
            (Before::Unknown, _) | (_, Before::Unknown) => Before::Unknown,
            (_, Before::First(first)) => Before::First(first.saturating_add(between)),
            (_, Before::Previous(previous)) => Before::Previous(previous.saturating_add(between)),
        };
        Self { before, ..self }
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
        assert_eq!(Seq::span(3, 9).skipped(Some(4)), 0, "an overlap");
        assert_eq!(Seq::sparse(900).skipped(Some(4)), 0);
        assert!(Seq::span(4, 2).continues(4) && !Seq::one(4).continues(4));
    }

    #[test]
    fn a_count_that_names_the_one_before_it_misses_nothing_after_that_one_alone() {
        assert_eq!(Seq::after(4, 90).skipped(Some(4)), 0);
        assert_eq!(Seq::after(5, 90).skipped(Some(4)), 1, "a step of one is a hole");
        assert_eq!(Seq::after(3, 90).skipped(Some(4)), 0, "an overlap");
        assert!(Seq::after(10, 3).continues(10) && !Seq::after(9, 3).continues(10));
        let both = Seq::after(7, 9).in_place_of(Seq::after(3, 6));
        assert_eq!((both.skipped(Some(3)), both.last), (1, 9));
    }

    #[test]
    fn one_that_takes_the_place_of_another_misses_what_both_missed() {
        let both = Seq::one(9).in_place_of(Seq::one(6));
        assert_eq!((both.skipped(Some(3)), both.last), (2 + 2, 9), "4 and 5, 7 and 8");
        assert_eq!(Seq::one(7).in_place_of(Seq::one(6)).skipped(Some(5)), 0);
        assert_eq!(Seq::one(7).in_place_of(Seq::sparse(6)).before, Before::Unknown);
    }
}
