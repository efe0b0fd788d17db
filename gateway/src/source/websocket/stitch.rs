//! Tables of a connection by their venue's counts: whether each change goes on from what is there, and changes that
//! wait for the whole that is asked for. No IO; time is that of the changes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use engine::{
    sequencer::{Body, Publication, seq::Seq},
    topic::changes::{Base, Changes},
};

/// The whole may be ahead of the changes by what is under way to us, and not for longer. µs.
const AHEAD_US: i64 = 10_000_000;

/// What makes up for a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing: it is told.
    None,
    /// The whole is asked for.
    Ask,
    /// A new connection brings it.
    Reconnect,
}

/// What a table needs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// To be asked for.
    Whole,
    /// A new connection, and why.
    Reconnect(String),
}

/// A table, by its topic.
#[derive(Debug, Default)]
struct Table {
    /// The count up to which it holds everything; `None`: it has none.
    at: Option<u64>,
    /// The count of the last change that came, taken or not.
    seen: Option<u64>,
    /// It holds more than what came: since when. Microseconds since the Unix epoch.
    ahead_since_us: Option<i64>,
    /// All of it came.
    is_whole: bool,
    waiting: Option<Waiting>,
}

/// Changes that wait for the whole: in order, without a gap between them.
#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Publication>,
    bytes: usize,
    /// The count of the last one that found no room: a whole that does not hold it is of no use.
    dropped: Option<u64>,
    /// They count anew since the whole was asked for, so that it may be of the counts before.
    is_anew: bool,
}

/// Bytes that a change takes up while it waits, beside its keys and values, and each of its keys beside what is in it.
const CHANGE_BYTES: usize = size_of::<Publication>() + size_of::<Changes>();
const KEY_BYTES: usize = 16;

/// Bytes that a change takes up while it waits.
fn bytes(publication: &Publication) -> usize {
    let keys = match &publication.body {
        Body::Changes(changes) => changes.len() * KEY_BYTES,
        _ => 0,
    };
    CHANGE_BYTES + keys + publication.body.bytes()
}

/// All tables of a connection.
#[derive(Debug)]
pub struct Stitch {
    tables: HashMap<Arc<str>, Table>,
    tables_max: usize,
    /// Of changes that wait.
    bytes: usize,
    bytes_max: usize,
    /// Changes that found no room to wait.
    pub dropped: u64,
}

impl Stitch {
    pub fn new(tables_max: usize, bytes_max: usize) -> Self {
        Self { tables: HashMap::new(), tables_max, bytes: 0, bytes_max, dropped: 0 }
    }

    /// The connection has ended.
    pub fn clear(&mut self) {
        self.tables.clear();
        self.bytes = 0;
    }

    pub fn knows(&self, topic: &str) -> bool {
        self.tables.contains_key(topic)
    }

    /// All of the topic came, and what came since goes on from it.
    pub fn is_whole(&self, topic: &str) -> bool {
        self.tables.get(topic).is_some_and(|table| table.is_whole && table.waiting.is_none())
    }

    /// Topics of which that is so.
    pub fn wholes(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(|topic| &**topic).filter(|topic| self.is_whole(topic))
    }

    pub fn waits(&self, topic: &str) -> bool {
        self.tables.get(topic).is_some_and(|table| table.waiting.is_some())
    }

    /// The whole of a topic is to be asked for before its first change. `false`: it is known already.
    pub fn expect(&mut self, topic: &Arc<str>) -> bool {
        if self.tables.contains_key(topic) || self.tables.len() >= self.tables_max {
            return false;
        }
        let table = Table { waiting: Some(Waiting::default()), ..Table::default() };
        self.tables.insert(topic.clone(), table).is_none()
    }

    /// Takes what came of a table; `out` gets what is to be published now. `first`: the first of a connection holds all
    /// of it, and what the table starts from then.
    pub fn take(
        &mut self,
        mut publication: Publication,
        repair: Repair,
        first: Option<Base>,
        out: &mut Vec<Publication>,
    ) -> Need {
        let is_full = self.tables.len() >= self.tables_max;
        let Some(table) = self.tables.get_mut(&publication.topic) else {
            if let Some(base) = first {
                become_whole(&mut publication, base);
            }
            let mut table = Table::default();
            let needs = repair == Repair::Ask && !is_whole(&publication);
            if is_full && needs {
                out.push(publication.lost("too many topics wait for a snapshot; raise [limits] topics"));
                return Need::Nothing;
            }
            if is_full {
                out.push(publication);
                return Need::Nothing;
            }
            let topic = publication.topic.clone();
            let count = publication.seq.map(|seq| seq.last);
            table.is_whole = is_whole(&publication);
            table.seen = count.filter(|_| !is_whole(&publication));
            match needs {
                true => {
                    table.waiting = Some(Waiting::default());
                    self.tables.insert(topic, table);
                    self.wait(publication, out);
                    return Need::Whole;
                }
                false => table.at = count,
            }
            self.tables.insert(topic, table);
            out.push(publication);
            return Need::Nothing;
        };
        if is_whole(&publication) {
            let at = publication.seq.map(|seq| seq.last);
            if at.is_none() || at < table.at {
                // What comes counts anew.
                table.seen = None;
            }
            (table.at, table.ahead_since_us, table.is_whole) = (at, None, true);
            self.bytes -= table.waiting.take().map_or(0, |waiting| waiting.bytes);
            out.push(publication);
            return Need::Nothing;
        }
        if table.waiting.is_some() {
            self.wait(publication, out);
            return Need::Nothing;
        }
        let Some(why) = publication.seq.and_then(|seq| table.step(seq, publication.due_us)) else {
            out.push(publication);
            return Need::Nothing;
        };
        self.mend(publication, why, repair, out)
    }

    /// A change does not go on from what is there.
    fn mend(
        &mut self,
        mut publication: Publication,
        why: Broken,
        repair: Repair,
        out: &mut Vec<Publication>,
    ) -> Need {
        let table = self.tables.get_mut(&publication.topic).expect("its change has come");
        match repair {
            Repair::Ask => {
                out.push(publication.lost(&why.to_string()));
                (table.waiting, table.at, table.ahead_since_us) = (Some(Waiting::default()), None, None);
                self.wait(publication, out);
                Need::Whole
            }
            Repair::Reconnect => {
                out.push(publication.lost(&why.to_string()));
                Need::Reconnect(format!("{}: {why}", publication.topic))
            }
            Repair::None => {
                table.is_whole = false;
                table.at = publication.seq.map(|seq| seq.last);
                // A step tells itself. What is not above the count that is held would be taken for a repeat.
                if !matches!(why, Broken::Step { .. }) {
                    out.push(publication.lost(&why.to_string()));
                    publication.seq_reset = true;
                }
                out.push(publication);
                Need::Nothing
            }
        }
    }

    /// Of what does not follow upon what waits the earlier is of no use: no whole could be joined to both.
    fn wait(&mut self, publication: Publication, out: &mut Vec<Publication>) {
        let Some(table) = self.tables.get_mut(&publication.topic) else { return };
        let Some(waiting) = &mut table.waiting else { return };
        let last = waiting.changes.back().and_then(|change| change.seq).map(|seq| seq.last);
        if let (Some(last), Some(seq)) = (last.or(waiting.dropped), publication.seq) {
            if seq.last == last {
                return;
            }
            if !seq.continues(last) && (seq.last < last || seq.skipped(Some(last)) > 0) {
                self.bytes -= std::mem::take(waiting).bytes;
                waiting.is_anew = seq.last < last;
            }
        }
        table.seen = publication.seq.map(|seq| seq.last);
        let bytes = bytes(&publication);
        if self.bytes + bytes > self.bytes_max {
            self.dropped += waiting.changes.len() as u64 + 1;
            self.bytes -= waiting.bytes;
            *waiting = Waiting { dropped: table.seen, is_anew: waiting.is_anew, ..Waiting::default() };
            out.push(publication.lost("no room to wait for its snapshot; raise snapshot_bytes"));
            return;
        }
        (self.bytes, waiting.bytes) = (self.bytes + bytes, waiting.bytes + bytes);
        waiting.changes.push_back(publication);
    }

    /// The whole has come that was asked for, with all up to `count`; then what waited for it goes on from it, or it is
    /// asked for once more.
    pub fn join(&mut self, mut whole: Publication, count: u64, out: &mut Vec<Publication>) -> Need {
        let Some(table) = self.tables.get_mut(&whole.topic) else { return Need::Nothing };
        let Some(mut waiting) = table.waiting.take() else { return Need::Nothing };
        if std::mem::take(&mut waiting.is_anew) {
            table.waiting = Some(waiting);
            return Need::Whole;
        }
        while let Some(seq) = waiting.changes.front().and_then(|change| change.seq)
            && seq.last <= count
            && !seq.continues(count)
        {
            let known = waiting.changes.pop_front().map_or(0, |change| bytes(&change));
            (self.bytes, waiting.bytes) = (self.bytes - known, waiting.bytes - known);
        }
        let next = waiting.changes.front().and_then(|change| change.seq);
        let lacks = waiting.dropped.is_some_and(|dropped| dropped > count);
        if lacks || next.is_some_and(|next| next.skipped(Some(count)) > 0) {
            table.waiting = Some(waiting);
            return Need::Whole;
        }
        self.bytes -= waiting.bytes;
        whole.seq = Some(Seq::one(count));
        out.push(whole);
        let last = waiting.changes.back().and_then(|change| change.seq).map(|seq| seq.last);
        (table.at, table.ahead_since_us, table.is_whole) = (last.or(Some(count)), None, true);
        out.extend(waiting.changes);
        Need::Nothing
    }
}

/// Why a change does not go on from what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Broken {
    #[error("seq stepped from {from} to {to}: {missing} updates are missing")]
    Step { from: u64, to: u64, missing: u64 },
    #[error("its venue's count went back from {from} to {to}")]
    Back { from: u64, to: u64 },
    #[error("its venue counts {to} long after a snapshot of {from}")]
    Ahead { from: u64, to: u64 },
}

impl Table {
    /// Takes the count of a change over; gives why it does not go on from what is there.
    fn step(&mut self, seq: Seq, now_us: i64) -> Option<Broken> {
        let before = self.seen.replace(seq.last);
        let Some(at) = self.at else {
            self.at = Some(seq.last);
            return None;
        };
        let (to, continues) = (seq.last, seq.continues(at));
        if let Some(from) = before.filter(|before| to < *before && !continues) {
            return Some(Broken::Back { from, to });
        }
        if to <= at && !continues {
            // Known already: the sequencer leaves it out.
            let since_us = *self.ahead_since_us.get_or_insert(now_us);
            return (to < at && now_us - since_us > AHEAD_US).then_some(Broken::Ahead { from: at, to });
        }
        match seq.skipped(Some(at)) {
            0 => {
                (self.at, self.ahead_since_us) = (Some(to), None);
                None
            }
            missing => Some(Broken::Step { from: at, to, missing }),
        }
    }
}

fn is_whole(publication: &Publication) -> bool {
    !matches!(&publication.body, Body::Changes(changes) if changes.base == Base::Held)
}

fn become_whole(publication: &mut Publication, base: Base) {
    if let Body::Changes(changes) = &mut publication.body {
        let changes = Arc::make_mut(changes);
        changes.base = base;
        changes.settle();
    }
}

#[cfg(test)]
mod tests;
