//! Where each pattern that a status names stands: in the change that spoke of it last.

use std::{
    collections::{BTreeSet, HashMap},
    ops::{Bound, RangeInclusive},
};

use crate::topic::pattern::{Pattern, covering, is_starred, is_wide, overlap, stem};

/// Number of the change of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Of the status.
    id: u64,
    at: u64,
}

/// Of one pattern: mostly one status speaks of it.
#[derive(Debug)]
struct Places {
    first: Place,
    others: Vec<Place>,
}

/// The patterns that statuses name, each with its newest change of each status.
#[derive(Debug, Default)]
pub(super) struct Named {
    places: HashMap<Pattern, Places>,
    /// Those of them that may match several topics.
    loose: BTreeSet<Pattern>,
}

/// Whether a pattern of this key may match several topics.
pub(super) fn is_loose(key: &str) -> bool {
    is_wide(key) || is_starred(key)
}

impl Named {
    /// The pattern now stands in change `at` of the status; gives where it stood.
    pub fn put(&mut self, pattern: &Pattern, id: u64, at: u64) -> Option<u64> {
        let Some(places) = self.places.get_mut(pattern.as_str()) else {
            if is_loose(pattern.key()) {
                self.loose.insert(pattern.clone());
            }
            let places = Places { first: Place { id, at }, others: Vec::new() };
            self.places.insert(pattern.clone(), places);
            return None;
        };
        let known = places.all_mut().find(|place| place.id == id);
        let before = known.map(|place| std::mem::replace(&mut place.at, at));
        if before.is_none() {
            places.others.push(Place { id, at });
        }
        before
    }

    /// The status names the pattern no more.
    pub fn remove(&mut self, pattern: &Pattern, id: u64) {
        let places =
            self.places.get_mut(pattern.as_str()).expect("a pattern that stands in a change is named");
        if let Some(i) = places.others.iter().position(|place| place.id == id) {
            places.others.swap_remove(i);
        } else if places.first.id == id {
            match places.others.pop() {
                Some(other) => places.first = other,
                None => {
                    self.loose.remove(pattern.as_str());
                    self.places.remove(pattern.as_str());
                }
            }
        }
    }

    /// Whether the pattern stands in change `at`.
    pub fn stands_in(&self, pattern: &Pattern, at: u64) -> bool {
        self.places.get(pattern.as_str()).is_some_and(|places| places.all().any(|place| place.at == at))
    }

    /// Calls `found` with each named pattern that has topics in common with the one of `key` and is not below its
    /// stem, or is the same topic; and with its changes, of those in `changes`.
    pub fn beside<'a>(
        &'a self,
        key: &str,
        changes: &RangeInclusive<u64>,
        mut found: impl FnMut(u64, &'a Pattern),
    ) {
        let mut look = |text: &str| {
            if let Some((pattern, places)) = self.places.get_key_value(text) {
                let due = places.all().filter(|place| changes.contains(&place.at));
                due.for_each(|place| found(place.at, pattern));
            }
        };
        if !is_loose(key) {
            look(key);
        }
        if self.loose.is_empty() {
            return;
        }
        for wider in covering(stem(key)).filter(|wider| is_wide(wider)) {
            // `a.*` itself, and those that have their first star there.
            let begin = format!("{wider}*");
            let from = (Bound::Included(begin.as_str()), Bound::Unbounded);
            let starred = self.loose.range::<str, _>(from);
            let starred = starred.take_while(|pattern| pattern.as_str().starts_with(&begin));
            starred.filter(|pattern| overlap(pattern.key(), key)).for_each(|pattern| look(pattern.as_str()));
        }
    }
}

impl Places {
    fn all(&self) -> impl Iterator<Item = &Place> {
        [&self.first].into_iter().chain(&self.others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        [&mut self.first].into_iter().chain(&mut self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_pattern_stands_where_each_status_spoke_of_it_last() {
        let mut named = Named::default();
        let [a, wide] = ["a.b", "a.*"].map(pattern);
        assert_eq!([named.put(&a, 1, 1), named.put(&a, 2, 2), named.put(&wide, 1, 1)], [None; 3]);
        assert_eq!(named.put(&a, 1, 3), Some(1));
        let seen = |named: &Named, key: &str, changes| {
            let mut seen = Vec::new();
            named.beside(key, &changes, |at, pattern| seen.push((at, pattern.to_string())));
            seen.sort();
            seen
        };
        let of = |at, text: &str| (at, text.to_owned());
        assert_eq!(seen(&named, "a.b", 1..=9), [of(1, "a.*"), of(2, "a.b"), of(3, "a.b")]);
        assert_eq!(seen(&named, "a.b", 2..=2), [of(2, "a.b")]);
        assert_eq!(seen(&named, "a.", 1..=9), [of(1, "a.*")], "what is below is looked for in the changes");
        assert_eq!(seen(&named, "b", 1..=9), []);
        assert!(named.stands_in(&a, 3) && !named.stands_in(&a, 1));
        [1, 2].into_iter().for_each(|id| named.remove(&a, id));
        named.remove(&wide, 1);
        assert!(named.places.is_empty() && named.loose.is_empty());
    }
}
