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
    /// An entry has its keys counted.
    have_counts: bool,
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
    pub write: Write,
    /// Of a `keyed` topic.
    pub key_terms: KeyTerms,
}

/// What clients may write of a topic; a publisher may write all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Write {
    #[default]
    Any,
    /// Of a table: the key that is the writer's own subject, and those below it.
    OwnKey,
    None,
}

/// How long keys stay, and whether they are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyTerms {
    /// They are bound: each goes so long after the last connection that wrote it is gone.
    pub linger: Option<Duration>,
    /// A key that was not written for so long goes.
    pub expiry: Option<Duration>,
    /// Another topic, whose name [`count_topic`] gives, holds their number.
    pub are_counted: bool,
}

impl KeyTerms {
    /// Whether keys go by themselves.
    pub fn are_timed(&self) -> bool {
        self.linger.is_some() || self.expiry.is_some()
    }
}

/// What the name of a topic that holds the number of another's keys ends with.
pub const COUNT_SUFFIX: &str = ".count";

/// The topic that holds the number of a topic's keys.
pub fn count_topic(topic: &str) -> String {
    format!("{topic}{COUNT_SUFFIX}")
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
    /// With neither deadband nor expiry, for all to write.
    pub fn new(pattern: Pattern, mode: Mode) -> Self {
        Self {
            pattern,
            mode: Arc::new(mode),
            deadband: None,
            stale_after: None,
            expiry: None,
            write: Write::default(),
            key_terms: KeyTerms::default(),
        }
    }

    /// Whether it means the same for a topic that both match.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let other = Self { pattern: self.pattern.clone(), ..other.clone() };
        *self == other
    }

    /// Whether there is something to do when no update comes.
    fn has_deadlines(&self) -> bool {
        self.deadband.is_some()
            || self.stale_after.is_some()
            || self.expiry.is_some()
            || self.key_terms.are_timed()
    }
}

impl Policies {
    pub fn new(entries: Vec<Policy>) -> Self {
        let rest = Policy::new(Pattern::all(), Mode::Latest);
        let have_counts = entries.iter().any(|entry| entry.key_terms.are_counted);
        Self { entries: entries.into_iter().map(Arc::new).collect(), rest: rest.into(), have_counts }
    }

    /// Where the first entry stands that matches a topic.
    pub fn position(&self, topic: &str) -> Option<usize> {
        let at = self.entries.iter().position(|entry| entry.pattern.matches(topic));
        at.filter(|_| self.counted(topic).is_none())
    }

    /// The first entry that matches a topic; where none does, and for one that counts keys, plain `latest`.
    pub fn of(&self, topic: &str) -> &Arc<Policy> {
        self.position(topic).map_or(&self.rest, |at| &self.entries[at])
    }

    /// The topic whose keys a topic of that name counts.
    pub fn counted<'a>(&self, topic: &'a str) -> Option<&'a str> {
        if !self.have_counts {
            return None;
        }
        let counted = topic.strip_suffix(COUNT_SUFFIX)?;
        self.of(counted).key_terms.are_counted.then_some(counted)
    }

    /// Whether there are updates that nobody publishes.
    pub fn make_updates(&self) -> bool {
        self.have_deadlines() || self.have_counts
    }

    /// Whether there is something to do when no update comes.
    pub fn have_deadlines(&self) -> bool {
        self.entries.iter().any(|entry| entry.has_deadlines())
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

    #[test]
    fn a_topic_that_counts_keys_is_latest_whatever_matches_it() {
        let keyed = Mode::Keyed(Keyed { keys: 1, key_tombstones: 1, table_bytes: 1 });
        let key_terms = KeyTerms { are_counted: true, ..KeyTerms::default() };
        let entry = Policy { key_terms, ..Policy::new(Pattern::parse("room.*").unwrap(), keyed.clone()) };
        let policies = Policies::new(vec![entry]);
        assert_eq!((policies.counted("room.a.count"), policies.counted("room.a")), (Some("room.a"), None));
        assert_eq!(policies.counted("room.a.count.count"), None, "what counts is not counted");
        assert_eq!(
            (&*policies.of("room.a").mode, &*policies.of("room.a.count").mode),
            (&keyed, &Mode::Latest)
        );
        assert_eq!(policies.counted("room.count"), None, "room itself is no topic of the entry");
        assert_eq!((policies.position("room.a"), policies.position("room.a.count")), (Some(0), None));
    }
}
