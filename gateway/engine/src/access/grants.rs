//! The patterns that a token grants by itself, and equal ones kept once.

use std::{collections::HashSet, rc::Rc};

use crate::topic::pattern::Pattern;

/// What may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Subscribe,
    Publish,
    /// What is subscribed for the client.
    Auto,
}

/// A token's own patterns, in one text with a line for each: they are looked at seldom, and there are very many.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Grants {
    text: Box<str>,
    /// Bytes of it up to the last that may be subscribed to, and up to the last that may be published.
    ends: [u32; 2],
}

const _: () = assert!(size_of::<Grants>() <= 24);

impl Grants {
    /// In the order of [`Right`].
    pub fn new(patterns: [&[Pattern]; 3]) -> Self {
        let (mut text, mut ends) = (String::new(), [0; 3]);
        for (patterns, end) in patterns.into_iter().zip(&mut ends) {
            for pattern in patterns {
                text.push_str(pattern.as_str());
                text.push('\n');
            }
            *end = text.len().try_into().expect("a token is shorter than 4 GiB");
        }
        let [subscribe, publish, _] = ends;
        Self { text: text.into(), ends: [subscribe, publish] }
    }

    pub fn of(&self, right: Right) -> impl Iterator<Item = Pattern> {
        let [subscribe, publish] = self.ends.map(|end| end as usize);
        let text = match right {
            Right::Subscribe => &self.text[..subscribe],
            Right::Publish => &self.text[subscribe..publish],
            Right::Auto => &self.text[publish..],
        };
        text.lines().map(|text| Pattern::parse(text).expect("it was a pattern before"))
    }
}

/// Grants of all tokens of a shard, equal ones once.
#[derive(Debug, Default)]
pub struct SharedGrants(HashSet<Rc<Grants>>);

impl SharedGrants {
    pub fn share(&mut self, grants: Grants) -> Rc<Grants> {
        match self.0.get(&grants) {
            Some(held) => held.clone(),
            None => {
                let grants = Rc::new(grants);
                self.0.insert(grants.clone());
                grants
            }
        }
    }

    /// To be called when a token that shares them is gone.
    pub fn give_back(&mut self, grants: Rc<Grants>) {
        // The set's own and this one.
        if Rc::strong_count(&grants) == 2 {
            self.0.remove(&grants);
            if self.0.is_empty() {
                self.0 = HashSet::new();
            }
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::access::grants::*;

    #[test]
    fn equal_grants_are_kept_once_and_as_long_as_somebody_has_them() {
        let pattern = |text: &str| Pattern::parse(text).unwrap();
        let grants = |text: &str| Grants::new([&[pattern(text), pattern("b.*")], &[], &[pattern("own")]]);
        let mut shared = SharedGrants::default();
        let (a, b, c) = (shared.share(grants("a")), shared.share(grants("a")), shared.share(grants("c")));
        assert!(Rc::ptr_eq(&a, &b) && shared.count() == 2);
        let texts = |right| a.of(right).map(|pattern| pattern.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(Right::Subscribe), ["a", "b.*"]);
        assert_eq!((texts(Right::Publish), texts(Right::Auto)), (vec![], vec!["own".to_owned()]));
        shared.give_back(a);
        assert_eq!(shared.count(), 2);
        shared.give_back(b);
        shared.give_back(c);
        assert_eq!(shared.count(), 0);
    }
}
