//! Patterns with a star before their end: found by the segments of a topic's name, without a look at those that
//! do not match it.

use std::collections::HashMap;

use super::pattern::is_starred;

/// The prefixes of keys, a trie by their texts: how many keys go on from each that ends behind a star or later.
#[derive(Debug, Default)]
pub struct Stars {
    prefixes: HashMap<Box<str>, u32>,
}

impl Stars {
    /// Enters the key of a pattern. One without a star before its end takes no room.
    pub fn add(&mut self, key: &str) {
        for prefix in prefixes(key) {
            match self.prefixes.get_mut(prefix) {
                Some(count) => *count += 1,
                None => _ = self.prefixes.insert(prefix.into(), 1),
            }
        }
    }

    pub fn remove(&mut self, key: &str) {
        for prefix in prefixes(key) {
            let count = self.prefixes.get_mut(prefix).expect("only a key that was added is removed");
            *count -= 1;
            if *count == 0 {
                self.prefixes.remove(prefix);
            }
        }
    }

    /// Calls `look` with the key of every pattern that matches `topic`, and with some that nobody may have: of
    /// those with a star before their end only such as share a prefix with one that was [added](Self::add).
    pub fn each_key(&self, topic: &str, look: &mut impl FnMut(&str)) {
        self.walk(&mut String::with_capacity(topic.len()), topic, look);
    }

    /// `prefix`: a choice for the segments before `rest`, which has one or more.
    fn walk(&self, prefix: &mut String, rest: &str, look: &mut impl FnMut(&str)) {
        look(prefix);
        let len = prefix.len();
        let (segment, below) =
            rest.split_once('.').map_or((rest, None), |(segment, below)| (segment, Some(below)));
        prefix.push_str(segment);
        match below {
            None => look(prefix),
            Some(below) => {
                prefix.push('.');
                if !is_starred(&prefix[..len]) || self.prefixes.contains_key(&**prefix) {
                    self.walk(prefix, below, look);
                }
                prefix.truncate(len);
                prefix.push_str("*.");
                if self.prefixes.contains_key(&**prefix) {
                    self.walk(prefix, below, look);
                }
            }
        }
        prefix.truncate(len);
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }
}

/// Those of a key that end with a dot and have a star.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    let star = key.find('*').unwrap_or(key.len());
    key.match_indices('.').map(|(dot, _)| dot).filter(move |dot| *dot > star).map(|dot| &key[..=dot])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::topic::pattern::Pattern;

    fn random(rng: &mut fastrand::Rng, alphabet: &[&str]) -> String {
        let segments: Vec<&str> =
            (0..rng.usize(1..5)).map(|_| rng.choice(alphabet).copied().unwrap()).collect();
        segments.join(".")
    }

    #[test]
    fn the_patterns_found_are_those_that_match() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut stars, mut held) = (Stars::default(), BTreeSet::new());
        for _ in 0..3000 {
            let pattern = Pattern::parse(&random(&mut rng, &["a", "b", "*", "*"])).unwrap();
            match held.contains(&pattern) {
                true => stars.remove(pattern.key()),
                false => stars.add(pattern.key()),
            }
            if !held.insert(pattern.clone()) {
                held.remove(&pattern);
            }
            let topic = random(&mut rng, &["a", "b", "c"]);
            let mut found = Vec::new();
            stars.each_key(&topic, &mut |key| found.extend(held.iter().filter(|p| p.key() == key).cloned()));
            let expected: Vec<Pattern> = held.iter().filter(|p| p.matches(&topic)).cloned().collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{topic}");
        }
        held.iter().for_each(|pattern| stars.remove(pattern.key()));
        assert!(stars.is_empty());
    }

    #[test]
    fn a_topic_does_not_look_at_patterns_of_other_topics() {
        let mut stars = Stars::default();
        for i in 0..1000 {
            stars.add(&format!("host.*.cpu.{i}"));
            stars.add(&format!("h{i}.*.cpu"));
        }
        let mut looked_at = Vec::new();
        stars.each_key("host.a.cpu.x", &mut |key| looked_at.push(key.to_owned()));
        assert_eq!(
            looked_at,
            ["", "host.", "host.a.", "host.a.cpu.", "host.a.cpu.x", "host.*.", "host.*.cpu.", "host.*.cpu.x"]
        );
    }
}
