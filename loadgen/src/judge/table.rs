//! Keyed topics: what a client's tables hold, key by key, as far as the judge tells two of them apart.
//!
//! A key and a value are each held as a hash, 16 bytes a key and a little more; the sum over a table is
//! the same for the same keys and values in any order, so that tables of thousands of clients are
//! compared by a number each.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Keys that all tables of a run may have together. Beyond, tables are not judged, and the report says so.
pub const KEYS_MAX: u64 = 50_000_000;

/// How many keys the tables of a run have, over all its threads.
#[derive(Debug, Default)]
pub struct KeyBudget {
    keys: AtomicU64,
    overrun: AtomicBool,
}

impl KeyBudget {
    /// Whether there were more than [`KEYS_MAX`] keys at any time.
    pub fn is_overrun(&self) -> bool {
        self.overrun.load(Relaxed)
    }

    /// A table had `before` keys and has `after` now.
    fn changed(&self, before: usize, after: usize) {
        let grown = (after as u64).wrapping_sub(before as u64);
        if self.keys.fetch_add(grown, Relaxed).wrapping_add(grown) > KEYS_MAX {
            self.overrun.store(true, Relaxed);
        }
    }
}

/// What an update does to a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    pub reset: bool,
    /// Hashes of keys and their values.
    pub set: Vec<(u64, u64)>,
    pub del: Vec<u64>,
}

/// A client's tables, by the words of its catalog.
#[derive(Debug)]
pub struct Tables {
    by_word: BTreeMap<u32, Table>,
    budget: Arc<KeyBudget>,
}

#[derive(Debug, Default)]
struct Table {
    keys: HashMap<u64, u64>,
    sum: u64,
}

impl Tables {
    pub fn new(budget: Arc<KeyBudget>) -> Self {
        Self { by_word: BTreeMap::new(), budget }
    }

    pub fn apply(&mut self, word: u32, delta: &Delta) {
        if self.budget.is_overrun() {
            return self.by_word.clear();
        }
        let table = self.by_word.entry(word).or_default();
        let before = table.keys.len();
        if delta.reset {
            (table.keys, table.sum) = (HashMap::new(), 0);
        }
        for key in &delta.del {
            if let Some(value) = table.keys.remove(key) {
                table.sum = table.sum.wrapping_sub(mix(*key, value));
            }
        }
        for (key, value) in &delta.set {
            if let Some(old) = table.keys.insert(*key, *value) {
                table.sum = table.sum.wrapping_sub(mix(*key, old));
            }
            table.sum = table.sum.wrapping_add(mix(*key, *value));
        }
        self.budget.changed(before, table.keys.len());
    }

    pub fn remove(&mut self, word: u32) {
        if let Some(table) = self.by_word.remove(&word) {
            self.budget.changed(table.keys.len(), 0);
        }
    }

    pub fn clear(&mut self) {
        while let Some((&word, _)) = self.by_word.first_key_value() {
            self.remove(word);
        }
    }

    /// Words with their tables' sums.
    pub fn sums(&self) -> impl Iterator<Item = (u32, u64)> {
        self.by_word.iter().map(|(word, table)| (*word, table.sum))
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.clear();
    }
}

fn mix(key: u64, value: u64) -> u64 {
    hash(&(key, value))
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Of a key, unescaped.
pub fn key(text: &str) -> u64 {
    hash(&text)
}

/// An object's members as hashes: of a key its text, of a value its bytes.
#[derive(Debug, Default)]
pub struct Members(pub Vec<(u64, u64)>);

impl Members {
    /// What [`Tables::sums`] gives of a table that holds just these.
    pub fn sum(&self) -> u64 {
        // Of a key given twice the last value counts.
        let last: HashMap<u64, u64> = self.0.iter().copied().collect();
        last.iter().fold(0, |sum: u64, (key, value)| sum.wrapping_add(mix(*key, *value)))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of keys and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(text), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((key(&text), hash(&value.get())));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// serde borrows a text only where an attribute asks for it.
#[derive(Debug, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> Members {
        serde_json::from_str(json).unwrap()
    }

    fn sum(deltas: &[(bool, &str, &[&str])]) -> u64 {
        let mut tables = Tables::new(Arc::default());
        for (reset, set, del) in deltas {
            let del = del.iter().map(|text| key(text)).collect();
            tables.apply(3, &Delta { reset: *reset, set: members(set).0, del });
        }
        tables.sums().next().unwrap().1
    }

    #[test]
    fn the_same_table_has_the_same_sum_however_it_came_about() {
        let whole = members(r#"{"a":1,"b":{"x":2}}"#).sum();
        assert_eq!(sum(&[(true, r#"{"b":{"x":2},"a":1}"#, &[])]), whole);
        assert_eq!(
            sum(&[(true, r#"{"c":1,"\u0061":7}"#, &[]), (false, r#"{"a":1,"b":{"x":2}}"#, &["c", "d"])]),
            whole
        );
        assert_eq!(sum(&[(false, r#"{"z":1}"#, &[]), (true, r#"{"a":1,"b":{"x":2}}"#, &[])]), whole);
        for other in [
            r#"{"a":1}"#,
            r#"{"a":1,"b":{"x": 2}}"#,
            r#"{"a":1,"b":{"x":2},"c":1}"#,
            r#"{"b":1,"a":{"x":2}}"#,
        ] {
            assert_ne!(members(other).sum(), whole, "{other}");
        }
    }

    #[test]
    fn beyond_the_budget_no_table_of_the_run_is_held_and_the_next_run_begins_anew() {
        let budget = Arc::new(KeyBudget::default());
        let delta = Delta { set: members(r#"{"a":1}"#).0, ..Delta::default() };
        let mut tables = Tables::new(budget.clone());
        tables.apply(3, &delta);
        budget.changed(0, KEYS_MAX as usize);
        assert!(budget.is_overrun());
        budget.changed(KEYS_MAX as usize, 0);
        tables.apply(3, &delta);
        assert!(budget.is_overrun() && tables.sums().next().is_none(), "what was missed is missing for good");
        let mut next = Tables::new(Arc::default());
        next.apply(3, &delta);
        assert!(next.sums().next().is_some() && !next.budget.is_overrun());
    }
}
