//! The control plane of a simulation: the real sequencer, and a memory of all it ever numbered.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bytes::Bytes;
use gateway::{
    config::Limits,
    control::sequencer::{Grouping, Item, Sequencer},
    inbox::{Inbox, Message},
    update::{Op, TopicId},
};

/// One update as it was numbered.
#[derive(Debug, Clone)]
pub struct Entry {
    pub version: u64,
    pub v: u64,
    pub ts_us: i64,
    pub due_us: i64,
    pub gone: bool,
}

#[derive(Debug)]
pub struct Topic {
    pub name: Arc<str>,
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

pub struct Publisher {
    sequencer: Arc<Sequencer>,
    /// A second shard's inbox: what was numbered is learnt from it.
    tap: Arc<Inbox>,
    pub topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
    by_id: HashMap<TopicId, usize>,
    /// Each update's bytes, and its topic and place there.
    by_json: HashMap<Bytes, (usize, usize)>,
    /// Positions between batches, rising.
    pub positions: Vec<u64>,
    /// From a position on: a position below the floor cannot be answered exactly.
    floors: Vec<(u64, u64)>,
}

impl Publisher {
    pub fn new(epoch: &str, inbox: Arc<Inbox>, limits: &Limits) -> Self {
        let tap = Inbox::new(usize::MAX, usize::MAX, ring::Waker::unconnected());
        Self {
            sequencer: Sequencer::new(epoch.into(), vec![inbox, tap.clone()], limits, Instant::now()),
            tap,
            topics: Vec::new(),
            by_name: HashMap::new(),
            by_id: HashMap::new(),
            by_json: HashMap::new(),
            positions: vec![0],
            floors: vec![(0, 0)],
        }
    }

    /// Publishes; `false`: refused, or the inbox is full.
    pub fn publish(&mut self, items: &[Item], grouping: Grouping) -> bool {
        let taken = self.sequencer.try_publish(items, grouping).is_ok();
        while let Some(message) = self.tap.pop() {
            let Message::Updates(batch) = message else { unreachable!("only updates are published") };
            self.positions.push(batch.version);
            for op in &batch.ops {
                self.note(op, batch.version);
            }
        }
        taken
    }

    fn note(&mut self, op: &Op, position: u64) {
        match op {
            Op::Birth { topic, name } => {
                let known = self.by_name.get(name).copied();
                let at = known.unwrap_or_else(|| {
                    self.topics.push(Topic { name: name.clone(), entries: Vec::new() });
                    self.by_name.insert(name.clone(), self.topics.len() - 1);
                    self.topics.len() - 1
                });
                self.by_id.insert(*topic, at);
            }
            Op::Update(update) => {
                let at = self.by_id[&update.topic];
                let entries = &mut self.topics[at].entries;
                let (version, v, ts_us, due_us) = (update.version, update.v, update.ts_us, update.due_us);
                assert!(entries.last().is_none_or(|last| last.v < v), "v of {update:?} goes back");
                entries.push(Entry { version, v, ts_us, due_us, gone: update.gone });
                self.by_json.insert(update.json.clone(), (at, entries.len() - 1));
            }
            Op::Forget { topic } => {
                let gone = self.topics[self.by_id[topic]].entries.last().expect("a tombstone is an update");
                let floor = self.floor_at(position).max(gone.version);
                self.floors.push((position, floor));
            }
        }
    }

    /// The update with exactly these bytes: its topic and the update.
    pub fn find(&self, json: &str) -> Option<(usize, &Entry)> {
        let (topic, place) = *self.by_json.get(json.as_bytes())?;
        Some((topic, &self.topics[topic].entries[place]))
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

    /// Batches in `(from, to]`.
    pub fn batches_between(&self, from: u64, to: u64) -> usize {
        let at = |position: u64| self.positions.partition_point(|p| *p <= position);
        at(to) - at(from)
    }

    /// Whether a topic exists now.
    pub fn lives(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|at| self.topics[*at].entries.last().is_some_and(|e| !e.gone))
    }
}
