//! Which statuses name what a pattern matches: found by the pattern, without a look at the others.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    protocol::status::Change,
    topic::pattern::{Pattern, covering, is_starred, is_wide, key_of, overlap, stem},
};

/// Which topics of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// Of `left`.
    Left,
    /// Of `missed`.
    Missed,
    /// Of both, in the index only.
    Both,
}

/// The text of every pattern that a change names, with the change's number.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeSet<(Arc<str>, u64, Part)>);

impl Named {
    pub fn add(&mut self, change: &Change, at: u64) {
        self.0.extend(entries(change, at));
    }

    pub fn remove(&mut self, change: &Change, at: u64) {
        entries(change, at).for_each(|entry| _ = self.0.remove(&entry));
    }

    /// Numbers of the changes, in order, of which a part has topics in common with patterns of these `keys`,
    /// which are sorted; and how many entries were looked at.
    pub fn concerning(&self, keys: &[&str], part: Part) -> (Vec<u64>, usize) {
        let (mut found, mut wider_seen, mut widest, mut looked_at) =
            (HashSet::new(), HashSet::new(), None, 0);
        for &key in keys {
            // Below its stem a starred key has topics in common with some only.
            let (stem, starred) = (stem(key), is_starred(key));
            if widest.is_some_and(|widest| key.starts_with(widest)) {
                continue;
            }
            let mut look = |begin: &str, holds: &dyn Fn(&str) -> bool, fits: &dyn Fn(&str) -> bool| {
                let begin = (Arc::from(begin), 0, Part::Left);
                for (pattern, at, of) in self.0.range(begin..).take_while(|(pattern, ..)| holds(pattern)) {
                    looked_at += 1;
                    if (*of == part || *of == Part::Both) && fits(key_of(pattern)) {
                        found.insert(*at);
                    }
                }
            };
            let own = |other: &str| overlap(key, other);
            for wider in covering(stem) {
                if !is_wide(wider) {
                    look(wider, &|pattern| pattern == wider, &|_| true);
                    continue;
                }
                // `a.*` itself, and those that have their first star there.
                let text = format!("{wider}*");
                if wider_seen.insert(wider) {
                    look(&text, &|pattern| pattern == text, &|_| true);
                }
                look(&format!("{text}."), &|pattern| pattern.starts_with(&text), &own);
            }
            if is_wide(stem) {
                look(stem, &|pattern| pattern.starts_with(stem), if starred { &own } else { &|_| true });
            }
            if is_wide(stem) && !starred {
                widest = Some(key);
            }
        }
        let mut found: Vec<u64> = found.into_iter().collect();
        found.sort_unstable();
        (found, looked_at)
    }
}

fn entries(change: &Change, at: u64) -> impl Iterator<Item = (Arc<str>, u64, Part)> {
    let left = change.left.as_ref().map(|left| &left.topics);
    let same = left.is_some_and(|left| Arc::ptr_eq(left, &change.missed.topics));
    let missed = if same { Part::Both } else { Part::Missed };
    let of = move |part| move |pattern: &Pattern| (pattern.clone().into(), at, part);
    let left = left.filter(|_| !same).into_iter().flat_map(move |topics| topics.iter().map(of(Part::Left)));
    change.missed.topics.iter().map(of(missed)).chain(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::status::{State, Status};

    fn status(topics: &[&str]) -> Status {
        let topics = topics.iter().map(|topic| Pattern::parse(topic).unwrap()).collect();
        Status { topics, state: State::Gap, since_us: 0, reason: "".into() }
    }

    #[test]
    fn a_look_costs_nothing_for_topics_that_others_ask_for() {
        let mut named = Named::default();
        for at in 0..100 {
            let topics: Vec<String> = (0..100).map(|i| format!("theirs.s{at}.t{i}")).collect();
            let missed = status(&topics.iter().map(String::as_str).collect::<Vec<_>>());
            let change = Change { id: at, news: missed.clone(), left: Some(missed.clone()), missed };
            named.add(&change, at);
        }
        let own: Vec<String> = (100..999).map(|i| format!("theirs.s1.t{i}")).collect();
        let mut keys: Vec<&str> =
            own.iter().map(String::as_str).chain(["theirs.s7.", "theirs.s9.t5"]).collect();
        keys.sort_unstable();
        assert_eq!(named.concerning(&keys, Part::Left), (vec![7, 9], 101));
    }

    #[test]
    fn what_is_found_by_patterns_is_what_overlaps_them() {
        let names = [
            "*", "a", "a.*", "a.-41", "a.b", "a.b.*", "a.b.c", "a.bc", "ab.*", "ab.c", "b", "*.c", "a.*.c",
            "a.*.*", "*.b.*", "*.*",
        ];
        let mut named = Named::default();
        let mut changes = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let (missed, left) = (status(&[name]), status(&["b", "z"]));
            let left = [None, Some(left), Some(missed.clone())][at % 3].clone();
            let change = Change { id: 0, news: missed.clone(), left, missed };
            named.add(&change, at as u64);
            changes.push(change);
        }
        for (x, y) in names.iter().flat_map(|x| names.iter().map(move |y| (x, y))) {
            let asked = [*x, *y, "none"].map(|text| Pattern::parse(text).unwrap());
            let mut keys = asked.each_ref().map(Pattern::key);
            keys.sort_unstable();
            let concerns = |status: &Status| {
                status.topics.iter().any(|topic| asked.iter().any(|asked| asked.overlaps(topic)))
            };
            for part in [Part::Left, Part::Missed] {
                let of = |change: &Change| match part {
                    Part::Left => change.left.as_ref().is_some_and(concerns),
                    _ => concerns(&change.missed),
                };
                let expected: Vec<u64> =
                    (0..).zip(&changes).filter(|(_, change)| of(change)).map(|(at, _)| at).collect();
                assert_eq!(named.concerning(&keys, part).0, expected, "{keys:?} {part:?}");
            }
        }
        (0..).zip(&changes).for_each(|(at, change)| named.remove(change, at));
        assert!(named.0.is_empty());
    }
}
