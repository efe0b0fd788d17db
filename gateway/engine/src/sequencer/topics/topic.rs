//! One topic, as the control plane keeps it.

use std::sync::Arc;

use bytes::Bytes;

use super::size::{table_size, topic_size};
use crate::{
    protocol::status::TopicState,
    sequencer::{
        count::{Count, Extent, Step},
        deadlines::Band,
        publication::{Body, Publication},
        seq::SEQ_MAX,
        table,
    },
    topic::{
        changes::{Base, Changes},
        policy::{Mode, Policy},
        table::Table,
    },
};

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) v: u64,
    pub(super) version: u64,
    pub(super) ts_us: i64,
    pub(super) gone: bool,
    /// As in `Update::json`.
    pub(super) json: Bytes,
    /// With its name and its value or table; 0 when it is gone.
    pub(super) bytes: usize,
    pub(super) policy: Arc<Policy>,
    /// Of a keyed topic.
    pub(super) table: Option<Box<Table>>,
    pub(super) count: Count,
    /// Of a table or a value: it is incomplete or out of date until a whole one comes. Of a table that was
    /// removed: one that a source's changes bring back is.
    pub(super) has_gap: bool,
    /// Why it lacks what was before, where it was begun anew and no source has gone on from that yet.
    pub(super) lost: Option<Lost>,
    /// It was whole once, or an earlier run had it.
    pub(super) was_whole: bool,
    /// Others told a gap of it when its count was compared last.
    pub(super) is_doubted: bool,
    /// What others had told before its last whole table or value came ended with that: the number of the last one.
    pub(super) settled: u64,
    /// Of a stream: updates that were refused since the last one that was taken.
    pub(super) refused: u64,
    /// Where there is a deadband.
    pub(super) band: Option<Box<Band>>,
    /// When an update came last, sent or held back. µs, monotonic.
    pub(super) touched_us: u64,
    /// As it was told last.
    pub(super) state: TopicState,
    /// It comes from an earlier run and had no update in this one.
    pub(super) is_restored: bool,
}

/// Why a table that is born of a change lacks what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Refused,
    Removed,
    /// Names were lost, and it may have had one of them.
    Unknown,
}

impl Lost {
    fn reason(self) -> &'static str {
        match self {
            Lost::Refused => "was refused before",
            Lost::Removed => "was removed before",
            Lost::Unknown => "may have been lost before",
        }
    }

    /// Whether it is so for an update. What was removed a publisher may begin anew with changes.
    fn holds_for(self, publication: &Publication) -> bool {
        self == Lost::Refused || publication.feed.is_some()
    }
}

/// What is missing before an update.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hole {
    /// By the publisher's count, and the last one before it.
    pub(super) skipped: u64,
    seq_before: Option<u64>,
    /// Refused, where the count does not tell them.
    refused: u64,
    /// Why nobody knows what the table lacks that it changes.
    unknown: Option<&'static str>,
    /// The count begins anew with the update.
    pub(super) is_anew: bool,
}

impl Hole {
    /// Updates that never came.
    pub(super) fn updates(&self) -> u64 {
        self.skipped.max(self.refused)
    }

    fn is_some(&self) -> bool {
        self.updates() > 0 || self.unknown.is_some()
    }

    fn reason(&self, publication: &Publication) -> String {
        match (self, publication.seq, self.seq_before) {
            (Hole { skipped: skipped @ 1.., .. }, Some(seq), Some(before)) => {
                format!("seq stepped from {before} to {}: {skipped} updates are missing", seq.last)
            }
            (Hole { refused: refused @ 1.., .. }, ..) => format!("{refused} updates were refused"),
            (Hole { unknown: Some(why), .. }, ..) => format!("it {why} and did not come whole since"),
            _ => String::new(),
        }
    }
}

impl Topic {
    /// One that had no update yet. As its own tombstone it comes to life by its first one like any that comes
    /// back; its first `v` is one above `v`.
    pub(super) fn unborn(name: Arc<str>, policy: Arc<Policy>, v: u64) -> Self {
        Self {
            name,
            v,
            version: 0,
            ts_us: 0,
            gone: true,
            json: Bytes::new(),
            bytes: 0,
            band: policy.deadband.as_ref().map(|_| Box::default()),
            policy,
            table: None,
            count: Count::default(),
            has_gap: false,
            lost: None,
            was_whole: false,
            is_doubted: false,
            settled: 0,
            refused: 0,
            state: TopicState::Live,
            is_restored: false,
            touched_us: 0,
        }
    }

    pub(super) fn extent(&self, publication: &Publication) -> Extent {
        match (&*self.policy.mode, &publication.body) {
            (Mode::Latest, _) => Extent::Value,
            (Mode::Stream(_), _) => Extent::Part,
            (Mode::Keyed(_), Body::Changes(changes)) if changes.base == Base::Held => Extent::Part,
            (Mode::Keyed(_), _) => Extent::Table,
        }
    }

    fn step(&self, publication: &Publication) -> Step {
        // That of a stream, or of a value by its count, ends with the next update whatever it is.
        let has_gap = self.has_gap || self.state == TopicState::Gap || self.is_doubted;
        self.count.step(publication, self.extent(publication), has_gap)
    }

    /// Whether the topic has an update already, by its count. It is noted that it came.
    pub(super) fn repeats(&mut self, publication: &Publication) -> bool {
        let repeats = self.step(publication) == Step::Repeat;
        if repeats {
            self.count.take(publication, self.extent(publication), Step::Repeat);
        }
        repeats
    }

    /// What is missing before an update. `v`: given by another gateway, or by an earlier run, which tells it.
    pub(super) fn hole_before(&mut self, publication: &Publication, v: Option<u64>) -> Hole {
        match v {
            Some(_) => {
                (self.refused, self.lost) = (0, None);
                Hole::default()
            }
            None if publication.is_counted => Hole::default(),
            None => self.count(publication),
        }
    }

    /// Takes the next `v`, or the one that is given. Of a stream each counts, also one that never came: gives
    /// how many are missing. `is_new`: the topic was not known.
    pub(super) fn advance(&mut self, given: Option<u64>, hole: Hole, is_new: bool) -> u32 {
        let missing = match given {
            _ if !matches!(*self.policy.mode, Mode::Stream(_)) => 0,
            Some(_) if is_new => 0,
            Some(v) => v.saturating_sub(self.v + 1),
            // What is missing must not bring `v` to its end.
            None => hole.updates().min((SEQ_MAX / 2).saturating_sub(self.v)),
        };
        // A step beyond 32 bits is no count any more.
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        self.v = given.unwrap_or(self.v + 1 + u64::from(missing));
        missing
    }

    /// Takes over an update's count; gives what is missing before it.
    pub(super) fn count(&mut self, publication: &Publication) -> Hole {
        let (extent, step, seq_before) = (self.extent(publication), self.step(publication), self.count.last);
        let is_table = matches!(*self.policy.mode, Mode::Keyed(_));
        let is_change = is_table && extent == Extent::Part;
        let unknown = match publication.feed {
            _ if !is_change => None,
            Some(_) if self.count.is_restored() && !self.count.is_followed_by(publication) => {
                Some("was restored from an earlier run")
            }
            _ => self.lost.filter(|lost| lost.holds_for(publication)).map(Lost::reason),
        };
        if unknown.is_some() || !(is_change || publication.body.is_gone()) {
            self.lost = None;
        }
        self.count.take(publication, extent, step);
        let (skipped, is_told) = match step {
            Step::On { skipped } => (skipped, publication.seq.is_some_and(|seq| seq.is_counted())),
            Step::Anew | Step::Repeat => (0, false),
        };
        let refused = std::mem::take(&mut self.refused);
        let is_anew = step == Step::Anew && seq_before.is_some() && publication.seq.is_some();
        Hole { skipped, seq_before, refused: if is_told { 0 } else { refused }, unknown, is_anew }
    }

    pub(super) fn keys(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.len())
    }

    /// What it counts as after `publication` was applied.
    pub(super) fn size(&self, publication: &Publication) -> usize {
        let value = match &self.table {
            Some(table) => table_size(table.len(), table.bytes()),
            None => publication.body.bytes(),
        };
        if self.gone { 0 } else { topic_size(&publication.topic, value) }
    }

    /// Changes its table, or ends it; gives what the shards have to change.
    pub(super) fn apply(&mut self, changes: Option<Arc<Changes>>) -> Option<Arc<Changes>> {
        let Some(changes) = changes else {
            self.table = None;
            return None;
        };
        Some(table::apply(self.table.get_or_insert_default(), &changes))
    }

    /// Its state after an update; gives what is to be told, if anything.
    pub(super) fn change_state(
        &mut self,
        publication: &Publication,
        hole: Hole,
    ) -> Option<(TopicState, String)> {
        let is_table = matches!(*self.policy.mode, Mode::Keyed(_));
        let is_change = is_table && self.extent(publication) == Extent::Part;
        // A table stays incomplete until all of it comes, also where it was removed meanwhile.
        self.has_gap = match self.gone {
            true => is_table && (self.has_gap || self.was_whole || self.lost.is_some()),
            false => is_change && (self.has_gap || hole.is_some()),
        };
        self.was_whole |= is_table && !is_change && !self.gone;
        let state = match self.gone {
            false if self.has_gap || hole.is_some() => TopicState::Gap,
            _ => TopicState::Live,
        };
        if state == self.state && !hole.is_some() {
            return None;
        }
        self.state = state;
        Some((state, hole.reason(publication)))
    }

    /// An update that a source brought was refused; gives whether that is to be told.
    pub(super) fn miss(&mut self) -> bool {
        match *self.policy.mode {
            Mode::Stream(_) => self.refused += 1,
            Mode::Latest | Mode::Keyed(_) => self.has_gap = true,
        }
        std::mem::replace(&mut self.state, TopicState::Gap) != TopicState::Gap
    }
}
