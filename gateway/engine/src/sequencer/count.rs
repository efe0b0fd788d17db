//! What a topic knows of its publishers' count: which update is a repeat, and where a count begins anew.

use super::{
    publication::Publication,
    seq::{Before, Feed},
};

/// A topic's count, and who brought what it counts.
#[derive(Debug, Default)]
pub struct Count {
    /// The last one taken.
    pub last: Option<u64>,
    /// The source that brought the topic's last update; `None`: a publisher did.
    source: Option<u32>,
    /// By source: the connection that brought the whole of the topic last. As many as bring this topic.
    wholes: Box<[Feed]>,
    /// `last` is of an earlier run, and no source has brought an update since.
    is_restored: bool,
}

/// What an update holds of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The whole table.
    Table,
    /// The one value that there is.
    Value,
    /// A change of a table, or one of many that each count.
    Part,
}

/// What an update is to a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The topic has it already.
    Repeat,
    /// It goes on from the last one; so many are missing between.
    On { skipped: u64 },
    /// The count begins with it, if it has one.
    Anew,
}

impl Count {
    /// A count of an earlier run.
    pub fn restored(last: Option<u64>) -> Self {
        Self { last, is_restored: true, ..Self::default() }
    }

    /// What an update is to it. `has_gap`: what the topic holds is incomplete.
    pub fn step(&self, publication: &Publication, extent: Extent, has_gap: bool) -> Step {
        let (Some(seq), Some(held), false) = (publication.seq, self.last, publication.seq_reset) else {
            return Step::Anew;
        };
        if seq.last > held || seq.continues(held) {
            let skipped = if extent == Extent::Table { 0 } else { seq.skipped(Some(held)) };
            return Step::On { skipped };
        }
        match publication.feed {
            Some(_) if self.is_restored => Step::Anew,
            Some(feed) if self.is_begun_by(feed, seq.last < held, extent, has_gap) => Step::Anew,
            _ => Step::Repeat,
        }
    }

    /// Whether an update whose count is not above the last one is news all the same: its source has
    /// begun to count anew, or it makes up for what is missing.
    fn is_begun_by(&self, feed: Feed, is_below: bool, extent: Extent, has_gap: bool) -> bool {
        let is_own = self.source == Some(feed.source);
        let is_news = is_own && (is_below || !self.wholes.contains(&feed));
        match extent {
            Extent::Table => has_gap || is_news,
            // Another source's older value makes up for nothing.
            Extent::Value => (has_gap && is_own) || is_news,
            Extent::Part => false,
        }
    }

    pub fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// Whether nothing can be missing between the last one and an update, also where its source has counted
    /// elsewhere meanwhile.
    pub fn is_followed_by(&self, publication: &Publication) -> bool {
        let (Some(seq), Some(held)) = (publication.seq, self.last) else { return false };
        seq.before == Before::First(held + 1) || seq.continues(held)
    }

    /// Takes over an update, also one that is a repeat.
    pub fn take(&mut self, publication: &Publication, extent: Extent, step: Step) {
        let whole_of = publication.feed.filter(|_| extent != Extent::Part);
        if let Some(feed) = whole_of.filter(|feed| feed.connection > 0 && !self.wholes.contains(feed)) {
            let others = self.wholes.iter().filter(|whole| whole.source != feed.source);
            self.wholes = others.copied().chain([feed]).collect();
        }
        if step == Step::Repeat {
            return;
        }
        self.source = publication.feed.map(|feed| feed.source);
        self.is_restored &= publication.feed.is_none();
        let is_forgotten = publication.seq_reset || whole_of.is_some();
        self.last = publication.seq.map(|seq| seq.last).or(self.last.filter(|_| !is_forgotten));
    }
}
