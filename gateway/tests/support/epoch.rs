//! What was numbered in one epoch: positions, topics and updates compare within it only.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use engine::{
    topic::{
        changes::{Base, Changes},
        policy::{Behind, Mode},
    },
    update::{Batch, Op, TopicId},
};

/// One update as it was numbered.
#[derive(Debug, Clone)]
pub struct Entry {
    pub version: u64,
    pub v: u64,
    pub ts_us: i64,
    pub due_us: i64,
    pub gone: bool,
    /// Updates before it that the publisher counted and that never came.
    pub skipped: u64,
    /// It is the first of a topic that was unknown.
    pub born: bool,
    /// Of a keyed topic, after it.
    pub table: Rc<Table>,
    /// As it was numbered.
    pub json: Bytes,
}

/// A keyed topic's keys and values, as JSON.
pub type Table = BTreeMap<String, String>;

/// What a keyed update says.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Delta<'a> {
    #[serde(default)]
    pub reset: bool,
    #[serde(borrow)]
    pub set: BTreeMap<String, &'a serde_json::value::RawValue>,
    #[serde(default)]
    pub del: Vec<String>,
}

/// An update in a frame.
#[derive(Debug, Clone)]
pub struct Sent {
    pub topic: usize,
    pub entry: Entry,
    pub gap: u64,
    /// Of a keyed topic: `reset`, what is set, what is deleted.
    pub delta: Option<(bool, Table, Vec<String>)>,
}

#[derive(Debug)]
pub struct Topic {
    pub name: Arc<str>,
    pub mode: Arc<Mode>,
    /// In rising order of version.
    pub entries: Vec<Entry>,
}

impl Topic {
    /// The newest update at or below `version`.
    pub fn at(&self, version: u64) -> Option<&Entry> {
        self.entries[..self.after(version)].last()
    }

    /// Index of the first update above `version`.
    pub fn after(&self, version: u64) -> usize {
        self.entries.partition_point(|entry| entry.version <= version)
    }
}

/// All that was numbered since it began.
#[derive(Debug)]
pub struct Epoch {
    /// 16 lower-case hex digits.
    pub name: Arc<str>,
    pub topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
    by_id: HashMap<TopicId, usize>,
    /// Each update's bytes, and its topic and place there.
    by_json: HashMap<Bytes, (usize, usize)>,
    /// Positions between batches, rising.
    positions: Vec<u64>,
    /// From a position on: a position below the floor cannot be answered exactly.
    floors: Vec<(u64, u64)>,
    /// Topics born, whose first update has not come.
    born: Vec<usize>,
    /// Of a stream only the newest update may be kept: there is little room for those before it.
    is_forgetful: bool,
}

impl Epoch {
    /// It begins at `position`.
    pub fn new(name: Arc<str>, position: u64, is_forgetful: bool) -> Self {
        Self {
            name,
            topics: Vec::new(),
            by_name: HashMap::new(),
            by_id: HashMap::new(),
            by_json: HashMap::new(),
            positions: vec![position],
            floors: vec![(0, position)],
            born: Vec::new(),
            is_forgetful,
        }
    }

    pub fn take(&mut self, batch: &Batch) {
        self.positions.push(batch.version);
        batch.ops.iter().for_each(|op| self.note(op, batch.version));
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name).map(|at| &self.topics[*at])
    }

    fn note(&mut self, op: &Op, position: u64) {
        match op {
            Op::Birth { topic, name, mode } => {
                let known = self.by_name.get(name).copied();
                let at = known.unwrap_or_else(|| {
                    self.topics.push(Topic { name: name.clone(), mode: mode.clone(), entries: Vec::new() });
                    self.by_name.insert(name.clone(), self.topics.len() - 1);
                    self.topics.len() - 1
                });
                self.by_id.insert(*topic, at);
                self.born.push(at);
            }
            Op::Update(update) => {
                let at = self.by_id[&update.topic];
                let entries = &mut self.topics[at].entries;
                let (version, v, ts_us, due_us) = (update.version, update.v, update.ts_us, update.due_us);
                assert!(entries.last().is_none_or(|last| last.v < v), "v of {update:?} goes back");
                let mut table = entries.last().map_or_else(Rc::default, |last| last.table.clone());
                match &update.changes {
                    Some(changes) => apply(Rc::make_mut(&mut table), changes),
                    None => table = Rc::default(),
                }
                let born = self.born.iter().position(|born| *born == at);
                let born = born.map(|i| self.born.swap_remove(i)).is_some();
                let skipped = update.skipped.into();
                let (gone, json) = (update.gone, update.json.clone());
                entries.push(Entry { version, v, ts_us, due_us, gone, skipped, born, table, json });
                self.by_json.insert(update.json.clone(), (at, entries.len() - 1));
            }
            Op::Forget { topic } => {
                let gone = self.topics[self.by_id[topic]].entries.last().expect("a tombstone is an update");
                let floor = self.floor_at(position).max(gone.version);
                self.floors.push((position, floor));
            }
        }
    }

    /// The update that stands in a frame as this JSON.
    pub fn find(&self, json: &str) -> Option<Sent> {
        let sent = |place: &(usize, usize), gap, delta| {
            let entry = self.topics[place.0].entries[place.1].clone();
            Sent { topic: place.0, entry, gap, delta }
        };
        if let Some(place) = self.by_json.get(json.as_bytes()) {
            return Some(sent(place, 0, None));
        }
        if let Some((gap, rest)) = json.strip_prefix(r#"{"gap":"#).and_then(|json| json.split_once(',')) {
            let place = self.by_json.get(format!("{{{rest}").as_bytes())?;
            return Some(sent(place, gap.parse().ok()?, None));
        }
        let head = json.find(r#""reset":"#).into_iter().chain(json.find(r#""set":"#)).min()?;
        let place = self.by_json.get(&json.as_bytes()[..head])?;
        let delta: Delta<'_> = serde_json::from_str(json).ok()?;
        let set = delta.set.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect();
        Some(sent(place, 0, Some((delta.reset, set, delta.del))))
    }

    /// Whether some stream of `matches` has had more updates after `version` than its ring may hold; with
    /// `closing` of those that close.
    pub fn overran(&self, matches: impl Fn(usize) -> bool, version: u64, closing: bool) -> bool {
        self.topics.iter().enumerate().any(|(at, topic)| match &*topic.mode {
            Mode::Stream(stream) if matches(at) && (!closing || stream.behind == Behind::Close) => {
                let kept = if self.is_forgetful { 1 } else { stream.history_updates };
                topic.entries.len() - topic.after(version) > kept
            }
            _ => false,
        })
    }

    /// Newest position.
    pub fn version(&self) -> u64 {
        self.positions[self.positions.len() - 1]
    }

    /// Positions below this could not be answered exactly when the gateway stood at `position`.
    pub fn floor_at(&self, position: u64) -> u64 {
        let known = self.floors.partition_point(|(from, _)| *from <= position);
        self.floors[known - 1].1
    }

    /// Whether a topic exists now.
    pub fn lives(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|at| self.topics[*at].entries.last().is_some_and(|e| !e.gone))
    }
}

pub fn apply(table: &mut Table, changes: &Changes) {
    if changes.base != Base::Held {
        table.clear();
    }
    for change in changes.iter() {
        let key: String = serde_json::from_slice(change.key).expect("keys are JSON strings");
        match change.value {
            Some(value) => drop(table.insert(key, String::from_utf8(value.to_vec()).unwrap())),
            None => drop(table.remove(&key)),
        }
    }
}
