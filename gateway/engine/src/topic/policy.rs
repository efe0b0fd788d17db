//! What `[[topic]]` says of the topics it names: how their updates are kept and conflated.

use std::{sync::Arc, time::Duration};

use crate::{
    json::pointer::Pointer,
    topic::{pattern::Pattern, table::KEY_BYTES},
};

/// `[[topic]]` entries in order; the first that matches a topic holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    pub entries: Vec<Arc<Policy>>,
    /// Of topics that no entry matches.
    rest: Arc<Policy>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub pattern: Pattern,
    pub mode: Arc<Mode>,
    /// Of a `latest` topic.
    pub deadband: Option<Deadband>,
    /// A topic without an update for so long is stale, or gone.
    pub stale_after: Option<Duration>,
    pub expiry: Option<Duration>,
}

/// An update passes when a number in it moved by more than `by`, or `max` after the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadband {
    pub by: f64,
    /// Where the number stands in `data`.
    pub at: Pointer,
    pub max: Duration,
}

/// What an update of a topic is to those before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// It replaces them.
    Latest,
    /// It changes keys of a table.
    Keyed(Keyed),
    /// It comes after them: each counts.
    Stream(Stream),
}

/// Keys of a topic whose entry does not say how many.
pub const KEYS_DEFAULT: usize = 10_000;

/// What a key of a whole table is taken to have with its value: `"b97000.10":"0.12345678",` and some more.
pub const LEVEL_BYTES: usize = 32;

/// The same with its place, as `[limits] topics_bytes` counts it.
pub const HELD_BYTES: usize = LEVEL_BYTES + KEY_BYTES;

/// What a topic takes of the control plane beside its name and its value, as `[limits] topics_bytes` counts
/// it: its place among all, and the frame of its last update.
pub const TOPIC_PLACE_BYTES: usize = 512;

/// What a table takes in addition, beside its keys.
pub const TABLE_PLACE_BYTES: usize = 256;

/// A table of so few keys is hardly a book.
pub const KEYS_FEW: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub struct Keyed {
    /// Keys of a topic.
    pub keys: usize,
    /// Deleted keys of a topic that are remembered.
    pub key_tombstones: usize,
    /// Keys and values of a topic.
    pub table_bytes: usize,
}

impl Keyed {
    /// Of a whole table of as many keys as there may be.
    pub fn whole_bytes(&self) -> usize {
        self.keys.saturating_mul(LEVEL_BYTES)
    }

    /// Whether a limit in bytes has room for a whole table. Of a few keys nothing can be assumed.
    pub fn fits(&self, bytes_max: usize) -> bool {
        self.fits_with(LEVEL_BYTES, bytes_max)
    }

    /// Whether `table_bytes` has room for a table of so many keys.
    pub fn fits_depth(&self, keys: usize) -> bool {
        Self { keys, ..*self }.fits(self.table_bytes)
    }

    /// As [`Keyed::fits`] where each key counts as `key_bytes`.
    pub fn fits_with(&self, key_bytes: usize, bytes_max: usize) -> bool {
        self.keys <= KEYS_FEW || self.keys.saturating_mul(key_bytes) <= bytes_max
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Updates of a topic in a snapshot (`history`).
    pub snapshot_updates: usize,
    /// Updates of a topic that are kept for those who are behind, and their bytes (`ring_updates`, `ring_bytes`).
    pub history_updates: usize,
    pub history_bytes: usize,
    /// How old they may be when a newer one comes (`ring_age`); `None`: any age.
    pub history_age: Option<Duration>,
    pub behind: Behind,
}

/// What a subscriber gets who is further behind than a stream's history reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The number of updates missed.
    Gap,
    /// Close 4004.
    Close,
}

impl Mode {
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Latest => "latest",
            Mode::Keyed(_) => "keyed",
            Mode::Stream(_) => "stream",
        }
    }
}

impl Policy {
    /// With neither deadband nor expiry.
    pub fn new(pattern: Pattern, mode: Mode) -> Self {
        Self { pattern, mode: Arc::new(mode), deadband: None, stale_after: None, expiry: None }
    }
}

impl Policy {
    /// Whether it means the same for a topic that both match.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let terms = |policy: &Self| (policy.deadband.clone(), policy.stale_after, policy.expiry);
        self.mode == other.mode && terms(self) == terms(other)
    }
}

impl Policies {
    pub fn new(entries: Vec<Policy>) -> Self {
        let rest = Policy::new(Pattern::all(), Mode::Latest);
        Self { entries: entries.into_iter().map(Arc::new).collect(), rest: rest.into() }
    }

    /// Where the first entry stands that matches a topic.
    pub fn position(&self, topic: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.pattern.matches(topic))
    }

    /// The first entry that matches a topic; where none does, plain `latest`.
    pub fn of(&self, topic: &str) -> &Arc<Policy> {
        self.position(topic).map_or(&self.rest, |at| &self.entries[at])
    }

    /// Whether there is something to do when no update comes.
    pub fn have_deadlines(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.deadband.is_some() || entry.stale_after.is_some() || entry.expiry.is_some())
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use crate::topic::policy::*;

    #[test]
    fn the_first_entry_that_matches_holds() {
        let entry = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
        let keyed = Mode::Keyed(Keyed { keys: 1, key_tombstones: 1, table_bytes: 1 });
        let policies = Policies::new(vec![entry("a.b", Mode::Latest), entry("a.*", keyed.clone())]);
        assert_eq!(*policies.of("a.b").mode, Mode::Latest);
        assert_eq!(*policies.of("a.c").mode, keyed);
        assert_eq!(*policies.of("b").mode, Mode::Latest);
    }
}
