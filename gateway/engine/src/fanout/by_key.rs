//! Patterns in a table by their keys.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

use crate::topic::pattern::Pattern;

/// A pattern that is found by its key, and shares its text with the one that is interned.
#[derive(Debug)]
pub struct ByKey(pub Pattern);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        self.0.key()
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for ByKey {}
