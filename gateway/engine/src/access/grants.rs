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

/// Patterns in one text, a line each: they are looked at seldom, and there are very many.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Patterns(Box<str>);

impl Patterns {
    pub fn of(patterns: &[Pattern]) -> Self {
        Self(patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join("\n").into())
    }

    pub fn iter(&self) -> impl Iterator<Item = Pattern> {
        self.0.lines().map(|text| Pattern::parse(text).expect("it was a pattern before"))
    }
}

/// A token's own patterns.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Grants {
    pub subscribe: Patterns,
    pub publish: Patterns,
    pub auto: Patterns,
}

impl Grants {
    pub fn of(&self, right: Right) -> &Patterns {
        match right {
            Right::Subscribe => &self.subscribe,
            Right::Publish => &self.publish,
            Right::Auto => &self.auto,
        }
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
        let grants = |text: &str| Grants {
            subscribe: Patterns::of(&[Pattern::parse(text).unwrap(), Pattern::parse("b.*").unwrap()]),
            ..Grants::default()
        };
        let mut shared = SharedGrants::default();
        let (a, b, c) = (shared.share(grants("a")), shared.share(grants("a")), shared.share(grants("c")));
        assert!(Rc::ptr_eq(&a, &b) && shared.count() == 2);
        assert_eq!(a.subscribe.iter().map(|p| p.to_string()).collect::<Vec<_>>(), ["a", "b.*"]);
        assert_eq!(a.of(Right::Auto).iter().count(), 0);
        shared.give_back(a);
        assert_eq!(shared.count(), 2);
        shared.give_back(b);
        shared.give_back(c);
        assert_eq!(shared.count(), 0);
    }
}
