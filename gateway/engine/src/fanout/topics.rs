//! A shard's topic table: the last value of every topic, by number and by name.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use super::{keyed::Keyed, matching::Matching, stream::Stream};
use crate::{
    topic::policy::Mode,
    update::{TopicId, Update},
};

/// Births that are remembered, for those who look for topics meanwhile.
pub const BORN_MAX: usize = 1 << 16;

/// A topic and its last update. A tombstone is a topic whose last update is `gone`.
#[derive(Debug)]
pub struct Topic {
    pub name: Arc<str>,
    /// `None` only between birth and first update, within one batch. Its changes are in `memory`.
    pub update: Option<Update>,
    pub memory: Memory,
    /// Its places in recency lists, one per interned pattern that matches it.
    pub nodes: Vec<u32>,
}

/// What is kept of a topic beside its last update.
#[derive(Debug)]
pub enum Memory {
    Latest,
    /// Shared with frames that are being built: who changes it then changes a copy.
    Keyed(Rc<Keyed>),
    Stream(Box<Stream>),
}

impl Memory {
    fn new(mode: &Mode) -> Self {
        match mode {
            Mode::Latest => Memory::Latest,
            Mode::Keyed(policy) => Memory::Keyed(Keyed::new(policy).into()),
            Mode::Stream(policy) => Memory::Stream(Stream::new(policy).into()),
        }
    }
}

impl Memory {
    /// Bytes of the past, which are kept for those who are behind.
    pub fn history_bytes(&self) -> usize {
        match self {
            Memory::Latest => 0,
            Memory::Keyed(keyed) => keyed.history_bytes(),
            Memory::Stream(stream) => stream.history_bytes(),
        }
    }
}

impl Topic {
    /// Position of the last update; 0 before the first.
    pub fn version(&self) -> u64 {
        self.update.as_ref().map_or(0, |update| update.version)
    }
}

#[derive(Debug, Default)]
pub struct Topics {
    by_id: Vec<Option<Topic>>,
    by_name: BTreeMap<Arc<str>, TopicId>,
    /// The newest births, how many there were, and how many topics were removed.
    born: VecDeque<TopicId>,
    births: u64,
    removals: u64,
}

impl Topics {
    pub fn insert(&mut self, id: TopicId, name: Arc<str>, mode: &Mode) {
        let at = id.0 as usize;
        if at >= self.by_id.len() {
            self.by_id.resize_with(at + 1, || None);
        }
        self.by_name.insert(name.clone(), id);
        self.births += 1;
        if self.born.len() == BORN_MAX {
            self.born.pop_front();
        }
        self.born.push_back(id);
        self.by_id[at] = Some(Topic { name, update: None, memory: Memory::new(mode), nodes: Vec::new() });
    }

    pub fn remove(&mut self, id: TopicId) -> Option<Topic> {
        let topic = self.by_id.get_mut(id.0 as usize)?.take()?;
        self.by_name.remove(&topic.name);
        self.removals += 1;
        Some(topic)
    }

    pub fn get(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.by_id.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn named(&self, name: &str) -> Option<&Topic> {
        self.get(*self.by_name.get(name)?)
    }

    /// Of all topics.
    pub fn ids(&self) -> Vec<TopicId> {
        self.by_name.values().copied().collect()
    }

    /// Above all ids.
    pub fn ids_end(&self) -> u32 {
        self.by_id.len() as u32
    }

    /// What a pattern of this key selects, of the names behind `after`.
    pub fn matching<'a>(&'a self, key: &'a str, after: Option<&str>) -> Matching<'a> {
        Matching::new(&self.by_name, key, after)
    }

    /// How many topics were born, and how many were removed.
    pub fn births(&self) -> u64 {
        self.births
    }

    pub fn removals(&self) -> u64 {
        self.removals
    }

    /// Topics that were born after so many births; some may be gone. `None`: they are not remembered any more.
    pub fn born_since(&self, births: u64) -> Option<impl Iterator<Item = TopicId> + '_> {
        let count = usize::try_from(self.births - births).ok().filter(|count| *count <= self.born.len())?;
        Some(self.born.range(self.born.len() - count..).copied())
    }
}
