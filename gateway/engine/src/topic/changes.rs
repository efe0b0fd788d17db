//! What one publish does to a keyed topic's table.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use thiserror::Error;

use crate::{
    json::members::{Members, Text},
    topic::{depth::Depth, key::write_key},
};

/// Bytes of a key before it is escaped.
pub const KEY_BYTES_MAX: usize = 255;

/// What the changes start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Base {
    /// The table as it is.
    #[default]
    Held,
    /// An empty one: the publisher resets it.
    Empty,
    /// They are the whole table; what differs from the one held counts as changed.
    Whole,
}

/// A key longer than [`KEY_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a key has {bytes} bytes, the most is {KEY_BYTES_MAX}")]
pub struct LongKey {
    bytes: usize,
}

/// Keys with their new values, in order; all in one text, since most changes are of a few bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub base: Base,
    /// Keys beyond it go once the changes are made.
    pub depth: Option<Arc<Depth>>,
    /// Keys end with prices: one that is deleted may be held as it was written otherwise.
    pub has_prices: bool,
    /// More of the same topic follows from the same message; what is beyond the depth goes after that.
    pub goes_on: bool,
    text: Vec<u8>,
    spans: Vec<Span>,
    long: Option<LongKey>,
}

/// What a change takes beside its text.
pub const CHANGE_BYTES: usize = size_of::<Span>();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    key_bytes: u16,
    deleted: bool,
}

/// One key's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// A JSON string as [`Changes::set`] writes it: equal keys have equal bytes.
    pub key: &'a [u8],
    /// JSON; `None`: the key is deleted.
    pub value: Option<&'a [u8]>,
}

impl Changes {
    pub fn new(base: Base) -> Self {
        Self { base, ..Self::default() }
    }

    /// Of an update as it is written: members with their new values, and keys that go. `is_reset`: from an empty table.
    pub fn of_fields(
        set: Option<Members<'_>>,
        del: Option<Vec<Text<'_>>>,
        is_reset: bool,
    ) -> Result<Self, String> {
        let base = if is_reset { Base::Empty } else { Base::Held };
        let (set, del) = (set.map_or_else(Vec::new, |set| set.0), del.unwrap_or_default());
        if !del.is_empty() {
            let set: HashSet<&str> = set.iter().map(|(key, _)| &**key).collect();
            if let Some(Text(key)) = del.iter().find(|key| set.contains(&*key.0)) {
                return Err(format!("key {key:?} stands in set and in del; give it in one of them"));
            }
        }
        let mut changes = Self::new(base);
        let mut write = || {
            set.iter().try_for_each(|(key, value)| changes.set(key, value.get().as_bytes()))?;
            del.iter().try_for_each(|Text(key)| changes.del(key))
        };
        // It is refused in its turn, after what came before it.
        write().unwrap_or_else(|long| changes.refuse(long));
        Ok(changes)
    }

    /// `value` is JSON, taken byte for byte.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<(), LongKey> {
        self.name(key, false)?;
        self.text.push(b':');
        self.text.extend_from_slice(value);
        Ok(())
    }

    pub fn del(&mut self, key: &str) -> Result<(), LongKey> {
        self.name(key, true)
    }

    /// They are to be refused for a key that could not be written.
    pub fn refuse(&mut self, long: LongKey) {
        self.long = Some(long);
    }

    /// What they are to be refused for.
    pub fn long(&self) -> Option<&LongKey> {
        self.long.as_ref()
    }

    /// Of a whole table: of a key given twice the last change counts, and what is deleted is left out.
    pub fn settle(&mut self) {
        if self.spans.iter().all(|span| !span.deleted) {
            return;
        }
        let last: HashMap<&[u8], usize> =
            self.iter().enumerate().map(|(nth, change)| (change.key, nth)).collect();
        let mut left = Self { depth: self.depth.clone(), long: self.long.clone(), ..Self::new(self.base) };
        (left.goes_on, left.has_prices) = (self.goes_on, self.has_prices);
        let is_left =
            |(nth, change): &(usize, Change<'_>)| change.value.is_some() && last[change.key] == *nth;
        self.iter().enumerate().filter(is_left).for_each(|(_, change)| left.push(change));
        *self = left;
    }

    /// A change of other changes.
    pub fn push(&mut self, change: Change<'_>) {
        let (key_bytes, deleted) = (change.key.len() as u16, change.value.is_none());
        self.spans.push(Span { start: self.text.len(), key_bytes, deleted });
        self.text.extend_from_slice(change.key);
        if let Some(value) = change.value {
            self.text.push(b':');
            self.text.extend_from_slice(value);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.spans.iter().enumerate().map(|(i, span)| {
            let end = self.spans.get(i + 1).map_or(self.text.len(), |next| next.start);
            let (key, value) = self.text[span.start..end].split_at(span.key_bytes.into());
            Change { key, value: value.get(1..).filter(|_| !span.deleted) }
        })
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Of keys and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    fn name(&mut self, key: &str, deleted: bool) -> Result<(), LongKey> {
        if key.len() > KEY_BYTES_MAX {
            return Err(LongKey { bytes: key.len() });
        }
        let start = self.text.len();
        write_key(&mut self.text, key);
        self.spans.push(Span { start, key_bytes: (self.text.len() - start) as u16, deleted });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::topic::changes::*;

    #[test]
    fn changes_come_back_as_they_went_in_and_keys_are_json() {
        let mut changes = Changes::new(Base::Held);
        changes.set("b1.5", b"{\"a\": 1}").unwrap();
        changes.del("a\"\\\n").unwrap();
        changes.set("", b"0").unwrap();
        let seen: Vec<_> = changes.iter().map(|c| (c.key.to_vec(), c.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(seen[0], (b"\"b1.5\"".to_vec(), Some(b"{\"a\": 1}".to_vec())));
        assert_eq!(serde_json::from_slice::<String>(&seen[1].0).unwrap(), "a\"\\\n");
        assert_eq!((seen[1].1.as_ref(), seen[2].1.as_deref()), (None, Some(&b"0"[..])));
        let mut copy = Changes::new(Base::Held);
        changes.iter().for_each(|change| copy.push(change));
        assert_eq!(copy, changes);
        changes.set("b1.5", b"2").unwrap();
        changes.del("").unwrap();
        changes.settle();
        let left: Vec<_> = changes.iter().map(|c| (c.key.to_vec(), c.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(left, [(b"\"b1.5\"".to_vec(), Some(b"2".to_vec()))]);
        assert!(
            changes.set(&"k".repeat(256), b"1").is_err() && changes.set(&"\u{1}".repeat(255), b"1").is_ok()
        );
    }
}
