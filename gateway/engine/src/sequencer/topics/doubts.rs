//! Gaps that are told of topics by others than themselves.

use std::collections::{BTreeSet, HashMap};

use crate::topic::{pattern::Pattern, stars::Stars};

/// Who tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubter {
    /// By [`crate::sequencer::Sequencer::enroll`]: its venue refuses something.
    Source(u32),
    /// `POST /status`.
    Publisher,
}

#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// With the number that each was told as.
    told: HashMap<(Doubter, Vec<Pattern>), u64>,
    /// By the key of a pattern: the numbers of those that it is told with.
    keys: HashMap<Box<str>, BTreeSet<u64>>,
    /// Of `keys`.
    stars: Stars,
    /// The number of the one told last, from 1.
    last: u64,
}

impl Doubts {
    pub(super) fn set(&mut self, by: Doubter, mut topics: Vec<Pattern>, is_gap: bool) {
        topics.sort();
        topics.dedup();
        let told = (by, topics);
        if let Some(number) = self.told.remove(&told) {
            for key in told.1.iter().map(Pattern::key) {
                if let Some(numbers) = self.keys.get_mut(key)
                    && numbers.remove(&number)
                    && numbers.is_empty()
                {
                    self.keys.remove(key);
                    self.stars.remove(key);
                }
            }
        }
        if is_gap {
            self.last += 1;
            for topic in &told.1 {
                let key = topic.key();
                if !self.keys.contains_key(key) {
                    self.stars.add(key);
                }
                self.keys.entry(key.into()).or_default().insert(self.last);
            }
            self.told.insert(told, self.last);
        }
    }

    pub(super) fn end_all(&mut self, by: Doubter) {
        let of: Vec<_> = self.told.keys().filter(|(who, _)| *who == by).cloned().collect();
        of.into_iter().for_each(|(_, topics)| self.set(by, topics, false));
    }

    /// The number of the one that was told last, whether it has ended or not.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The number of the last one that is told of a topic: by a pattern that matches it.
    pub fn of(&self, topic: &str) -> Option<u64> {
        if self.keys.is_empty() {
            return None;
        }
        let mut last = None;
        let mut look =
            |key: &str| last = last.max(self.keys.get(key).and_then(|numbers| numbers.last()).copied());
        self.stars.each_key(topic, &mut look);
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_of_a_topic_by_its_name_or_by_a_level_above_it_until_all_have_ended_theirs() {
        let mut doubts = Doubts::default();
        let names =
            |names: &[&str]| names.iter().map(|name| Pattern::parse(name).unwrap()).collect::<Vec<_>>();
        let (venue, other) = (Doubter::Source(1), Doubter::Source(2));
        doubts.set(venue, names(&["x.book.*"]), true);
        doubts.set(venue, names(&["x.book.*"]), true);
        doubts.set(other, names(&["x.book.a"]), true);
        doubts.set(Doubter::Publisher, names(&["y", "x.book.a"]), true);
        let held = |doubts: &Doubts| {
            ["x.book.a", "x.book.b", "x.book", "x.books", "y", "y.a"]
                .map(|topic| u8::from(doubts.of(topic).is_some()))
        };
        assert_eq!(held(&doubts), [1, 1, 0, 0, 1, 0]);
        doubts.set(Doubter::Publisher, names(&["y"]), false);
        assert_eq!(held(&doubts), [1, 1, 0, 0, 1, 0], "one status ends as it was told");
        doubts.end_all(venue);
        assert_eq!(held(&doubts), [1, 0, 0, 0, 1, 0]);
        doubts.set(Doubter::Publisher, names(&["x.book.a", "y"]), false);
        assert_eq!(held(&doubts), [1, 0, 0, 0, 0, 0]);
        doubts.set(other, names(&["*"]), true);
        assert_eq!(held(&doubts), [1; 6]);
        doubts.end_all(other);
        doubts.set(other, names(&["*.book.*", "*.a"]), true);
        assert_eq!(held(&doubts), [1, 1, 0, 0, 0, 1]);
        doubts.end_all(other);
        assert_eq!(held(&doubts), [0; 6]);
        assert!(doubts.keys.is_empty() && doubts.told.is_empty());
        for (by, topic) in [(other, "*"), (venue, "x.*"), (other, "x.a"), (venue, "x.*")] {
            doubts.set(by, names(&[topic]), true);
        }
        let last = doubts.last();
        assert_eq!(["y", "x.a", "x.b"].map(|topic| doubts.of(topic)), [last - 3, last, last].map(Some));
        doubts.end_all(venue);
        assert_eq!(
            ["y", "x.a", "x.b"].map(|topic| doubts.of(topic)),
            [last - 3, last - 1, last - 3].map(Some)
        );
    }
}
