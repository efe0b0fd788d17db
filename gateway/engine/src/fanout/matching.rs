//! Topics that a pattern selects, looked up in the order of their names.

use std::{
    collections::{BTreeMap, btree_map::Range},
    ops::Bound,
    sync::Arc,
};

use crate::{
    topic::pattern::{is_starred, is_wide, stem},
    update::TopicId,
};

/// Names that are passed one by one before the next one is looked up, which takes about as long.
const STEPS: usize = 8;

/// The names that are looked at, in order: the number of the topic where the pattern selects it, else `None`.
#[derive(Debug)]
pub struct Matching<'a> {
    by_name: &'a BTreeMap<Arc<str>, TopicId>,
    names: Range<'a, Arc<str>, TopicId>,
    key: &'a str,
    /// No name before it is selected.
    next: String,
    /// The one that was looked at last.
    last: Option<&'a Arc<str>>,
}

/// What a name is to a pattern with a star before its end.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Selected,
    /// It has too few segments.
    Short,
    /// The next one to look at is given.
    Before,
}

impl<'a> Matching<'a> {
    /// `key`: [of the pattern](crate::topic::pattern::Pattern::key). `after`: names up to that one are left out.
    pub fn new(by_name: &'a BTreeMap<Arc<str>, TopicId>, key: &'a str, after: Option<&str>) -> Self {
        let begin = after.map_or(Bound::Included(stem(key)), Bound::Excluded);
        let names = by_name.range::<str, _>((begin, Bound::Unbounded));
        Self { by_name, names, key, next: String::new(), last: None }
    }

    /// The name that was looked at last.
    pub fn last_name(&self) -> Option<&'a Arc<str>> {
        self.last
    }

    /// Goes to the first name that is not before `next`.
    fn skip(&mut self) {
        for _ in 0..STEPS {
            let mut ahead = self.names.clone();
            match ahead.next() {
                Some((name, _)) if **name < *self.next => self.names = ahead,
                _ => return,
            }
        }
        self.names = self.by_name.range::<str, _>((Bound::Included(&*self.next), Bound::Unbounded));
    }
}

impl Iterator for Matching<'_> {
    type Item = Option<TopicId>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, id) = self.names.next()?;
        self.last = Some(name);
        let key = self.key;
        if !is_starred(key) {
            let is_selected = if is_wide(key) { name.starts_with(key) } else { **name == *key };
            return is_selected.then_some(Some(*id));
        }
        if !name.starts_with(stem(key)) {
            return None;
        }
        match place(key, name, &mut self.next) {
            Place::Selected => return Some(Some(*id)),
            Place::Short => {}
            Place::Before => self.skip(),
        }
        Some(None)
    }
}

/// `name` begins with the stem of `key`.
fn place(key: &str, name: &str, next: &mut String) -> Place {
    let begin = stem(key).len();
    let mut parts = key[begin..].split('.').peekable();
    // Where the next segment begins, and where the one of the last star ends.
    let (mut at, mut star_end) = (begin, begin);
    while let Some(part) = parts.next() {
        if at > name.len() {
            return Place::Short;
        }
        if part.is_empty() {
            return Place::Selected;
        }
        let end = name[at..].find('.').map_or(name.len(), |dot| at + dot);
        if part == "*" {
            star_end = end;
        } else if name[at..end] != *part {
            next.clear();
            next.push_str(&name[..at]);
            next.push_str(part);
            // `-` stands before the dot: `a-b` comes between `a` and `a.b`.
            if *name >= **next && parts.peek().is_some() {
                next.push('.');
            }
            if *name >= **next {
                behind(&name[..star_end], next);
            }
            return Place::Before;
        }
        at = end + 1;
    }
    if at > name.len() {
        return Place::Selected;
    }
    behind(&name[..at - 1], next);
    Place::Before
}

/// Behind all names that lie below one.
fn behind(name: &str, next: &mut String) {
    next.clear();
    next.push_str(name);
    next.push((b'.' + 1).into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::pattern::Pattern;

    fn table(names: impl Iterator<Item = String>) -> BTreeMap<Arc<str>, TopicId> {
        names.zip(0..).map(|(name, at)| (name.into(), TopicId(at))).collect()
    }

    #[test]
    fn a_pattern_selects_the_topics_that_match_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        let random = |rng: &mut fastrand::Rng, alphabet: &[&str], most: usize| {
            let segments: Vec<&str> =
                (0..rng.usize(1..=most)).map(|_| rng.choice(alphabet).copied().unwrap()).collect();
            segments.join(".")
        };
        for _ in 0..300 {
            let topics = table((0..200).map(|_| random(&mut rng, &["a", "b", "a-", "a/", "c", "-"], 5)));
            for _ in 0..20 {
                let pattern = Pattern::parse(&random(&mut rng, &["a", "b", "a-", "*", "*"], 4)).unwrap();
                let found: Vec<TopicId> = Matching::new(&topics, pattern.key(), None).flatten().collect();
                let expected: Vec<TopicId> =
                    topics.iter().filter(|(name, _)| pattern.matches(name)).map(|(_, id)| *id).collect();
                assert_eq!(found, expected, "{pattern} of {topics:?}");
            }
        }
    }

    #[test]
    fn long_runs_of_other_names_are_passed_over() {
        let below = |i: usize| (0..1000).map(move |j| format!("host.h{i}.disk.{j}"));
        let topics = table((0..100).flat_map(|i| below(i).chain([format!("host.h{i}.net")])));
        for (key, selected) in
            [("host.*.net", 100), ("host.*.cpu", 0), ("host.*.disk", 0), ("host.*.z.*.", 0)]
        {
            let looked_at: Vec<_> = Matching::new(&topics, key, None).collect();
            assert_eq!(looked_at.iter().flatten().count(), selected, "{key}");
            assert!(looked_at.len() <= 300, "{key}: {}", looked_at.len());
        }
    }
}
