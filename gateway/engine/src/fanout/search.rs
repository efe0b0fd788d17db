//! The topics of new patterns, looked for in steps: there may be many to look at.

use std::sync::Arc;

use super::{pattern_id::PatternId, topics::Topics};
use crate::{topic::pattern::Pattern, update::TopicId};

/// Topics that are looked at in one step, about half a millisecond: then others have their turn.
pub const STEP_LOOKS: usize = 4096;

/// Patterns of an op that become interned before it is answered, in their order.
#[derive(Debug, Default)]
pub struct Interning {
    /// Those that are; each has a user more until it is released.
    pub ids: Vec<PatternId>,
    /// Of the next one.
    pub search: Option<Box<Search>>,
}

/// What a pattern selects, as far as it is known.
#[derive(Debug)]
pub struct Search {
    pub pattern: Pattern,
    /// The last name that was looked at.
    looked_to: Option<Arc<str>>,
    found: Vec<TopicId>,
    pub looked_at: usize,
    /// Births and removals that there had been when it began.
    births: u64,
    removals: u64,
}

impl Search {
    pub fn new(pattern: &Pattern, topics: &Topics) -> Self {
        Self {
            pattern: pattern.clone(),
            looked_to: None,
            found: Vec::new(),
            looked_at: 0,
            births: topics.births(),
            removals: topics.removals(),
        }
    }

    /// Looks at so many topics more. `true`: there is none left.
    pub fn step(&mut self, topics: &Topics, most: usize) -> bool {
        if topics.born_since(self.births).is_none() {
            // It began so long ago that it is not known any more what was born since.
            *self = Self { looked_at: self.looked_at, ..Self::new(&self.pattern, topics) };
        }
        let mut matching = topics.matching(self.pattern.key(), self.looked_to.as_deref());
        for found in matching.by_ref().take(most) {
            self.looked_at += 1;
            self.found.extend(found);
        }
        let last = matching.last_name().cloned();
        let is_over = matching.next().is_none();
        self.looked_to = last.or(self.looked_to.take());
        is_over
    }

    /// How many it has found, some of which may be gone.
    pub fn found(&self) -> usize {
        self.found.len()
    }

    /// The topics that the pattern selects now, by their versions.
    pub fn finish(self, topics: &Topics) -> Vec<(u64, TopicId)> {
        let mut found = self.found;
        let looked_at = found.len();
        found.extend(topics.born_since(self.births).into_iter().flatten());
        if found.len() > looked_at || topics.removals() != self.removals {
            // Some may be gone, or be another topic by now, and some have been found twice.
            let selected =
                |id: &TopicId| topics.get(*id).is_some_and(|topic| self.pattern.matches(&topic.name));
            found.retain(selected);
            found.sort_unstable();
            found.dedup();
        }
        let version = |id: TopicId| topics.get(id).map_or(0, |topic| topic.version());
        let mut found: Vec<(u64, TopicId)> = found.into_iter().map(|id| (version(id), id)).collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::policy::Mode;

    fn names(topics: &Topics, found: &[(u64, TopicId)]) -> Vec<String> {
        let mut names: Vec<String> =
            found.iter().map(|(_, id)| topics.get(*id).unwrap().name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_search_in_steps_finds_what_there_is_at_its_end() {
        let mut rng = fastrand::Rng::with_seed(7);
        for round in 0..300 {
            let pattern = ["*", "a.*", "*.b", "*.*.c", "a.*.c", "a.b.c"][round % 6];
            let pattern = Pattern::parse(pattern).unwrap();
            let mut topics = Topics::default();
            let mut free: Vec<u32> = (0..400).rev().collect();
            let mut held = Vec::new();
            let mut change = |topics: &mut Topics, rng: &mut fastrand::Rng| {
                if rng.bool() || held.is_empty() {
                    let letters = ["a", "b", "c", "d-"];
                    let name: Vec<&str> =
                        (0..rng.usize(1..4)).map(|_| letters[rng.usize(..letters.len())]).collect();
                    let name: Arc<str> = format!("{}{}", name.join("."), ["", ".x"][rng.usize(..2)]).into();
                    if !held.iter().any(|(_, known)| *known == name) {
                        // Numbers are used again.
                        let id = TopicId(free.pop().unwrap());
                        topics.insert(id, name.clone(), &Mode::Latest);
                        held.push((id, name));
                    }
                } else {
                    let (id, _) = held.swap_remove(rng.usize(..held.len()));
                    topics.remove(id);
                    free.push(id.0);
                }
            };
            (0..60).for_each(|_| change(&mut topics, &mut rng));
            let mut search = Search::new(&pattern, &topics);
            while !search.step(&topics, rng.usize(1..10)) {
                (0..rng.usize(0..4)).for_each(|_| change(&mut topics, &mut rng));
            }
            let found = search.finish(&topics);
            let expected: Vec<String> = held
                .iter()
                .filter(|(_, name)| pattern.matches(name))
                .map(|(_, name)| name.to_string())
                .collect();
            let mut expected = expected;
            expected.sort();
            assert_eq!(names(&topics, &found), expected, "{pattern}, round {round}");
        }
    }

    #[test]
    fn one_that_began_too_long_ago_begins_anew() {
        let pattern = Pattern::parse("a.*").unwrap();
        let mut topics = Topics::default();
        topics.insert(TopicId(0), "a.first".into(), &Mode::Latest);
        let mut search = Search::new(&pattern, &topics);
        assert!(!search.step(&topics, 0));
        for at in 1..=super::super::topics::BORN_MAX as u32 + 1 {
            topics.insert(TopicId(at), format!("a.{at:06}").into(), &Mode::Latest);
        }
        assert!(topics.born_since(0).is_none());
        while !search.step(&topics, STEP_LOOKS) {}
        assert_eq!(search.finish(&topics).len(), topics.ids().len());
    }
}
