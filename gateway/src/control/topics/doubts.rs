//! Gaps that are told of topics by others than themselves.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::Topics;
use crate::status::key;

/// Who tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubter {
    /// By [`crate::control::sequencer::Sequencer::enroll`]: its venue refuses something.
    Source(u32),
    /// `POST /status`.
    Publisher,
}

#[derive(Debug, Default)]
pub(super) struct Doubts {
    told: HashSet<(Doubter, Vec<Arc<str>>)>,
    /// By the key of a pattern: how often it is told.
    keys: HashMap<Box<str>, usize>,
}

impl Doubts {
    fn set(&mut self, by: Doubter, mut topics: Vec<Arc<str>>, is_gap: bool) {
        topics.sort();
        topics.dedup();
        let keys: Vec<Box<str>> = topics.iter().map(|topic| Box::from(key(topic))).collect();
        if is_gap {
            if self.told.insert((by, topics)) {
                keys.into_iter().for_each(|key| *self.keys.entry(key).or_default() += 1);
            }
        } else if self.told.remove(&(by, topics)) {
            for key in &keys {
                match self.keys.get_mut(key) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => drop(self.keys.remove(key)),
                }
            }
        }
    }

    fn end_all(&mut self, by: Doubter) {
        let of: Vec<_> = self.told.iter().filter(|(who, _)| *who == by).cloned().collect();
        of.into_iter().for_each(|(_, topics)| self.set(by, topics, false));
    }

    /// Whether one is told of a topic: by its name, by a level above it or by `*`.
    pub fn hold(&self, topic: &str) -> bool {
        if self.keys.is_empty() {
            return false;
        }
        let levels = topic.match_indices('.').map(|(at, _)| &topic[..=at]);
        levels.chain(["", topic]).any(|key| self.keys.contains_key(key))
    }
}

impl Topics {
    /// A gap of these topics or patterns is told by another, or is no more.
    pub fn doubt(&mut self, by: Doubter, topics: Vec<Arc<str>>, is_gap: bool) {
        self.doubts.set(by, topics, is_gap);
    }

    /// All that one has told ends.
    pub fn end_doubts(&mut self, by: Doubter) {
        self.doubts.end_all(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_of_a_topic_by_its_name_or_by_a_level_above_it_until_all_have_ended_theirs() {
        let mut doubts = Doubts::default();
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>();
        let (venue, other) = (Doubter::Source(1), Doubter::Source(2));
        doubts.set(venue, names(&["x.book.*"]), true);
        doubts.set(venue, names(&["x.book.*"]), true);
        doubts.set(other, names(&["x.book.a"]), true);
        doubts.set(Doubter::Publisher, names(&["y", "x.book.a"]), true);
        let held = |doubts: &Doubts| {
            ["x.book.a", "x.book.b", "x.book", "x.books", "y", "y.a"]
                .map(|topic| u8::from(doubts.hold(topic)))
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
        assert_eq!(held(&doubts), [0; 6]);
        assert!(doubts.keys.is_empty());
    }
}
