//! The topics of one list of patterns, numbered, so that what a client holds is a row of words.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    table::KeyBudget,
    topic::{self, Patterns},
};

/// A row of a client never grows beyond this many words (8 bytes each).
pub const WORDS_MAX: usize = 1 << 20;

/// The fault of an update that nobody asked for.
pub const NOT_SUBSCRIBED: &str = "update of a topic that was not subscribed";

/// What a word of a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `v` of a topic where steps above 1 are conflation.
    Latest,
    /// `v` of a topic where every update counts.
    Stream,
    /// `g` of one of our own atomic topics, whose `v` is the word before.
    Figure,
}

/// Numbers of topics, shared by all clients of one thread that hold the same patterns.
#[derive(Debug)]
pub struct Catalog {
    patterns: Patterns,
    stream: Patterns,
    numbers: HashMap<Box<str>, u32>,
    words: Vec<Word>,
    /// Per word the highest `v` that was received by anyone, and [`fingerprint`] of its value.
    highest: Vec<Highest>,
    /// Our own atomic groups: numbers of the words that must be equal.
    groups: Vec<Vec<u32>>,
    group_numbers: HashMap<u32, u32>,
    /// The gateway's life that `highest` speaks of.
    epoch: u64,
    key_budget: Arc<KeyBudget>,
}

/// The newest value of a topic that anyone received; `v` 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Highest {
    pub v: u64,
    pub value: u64,
}

/// Stands for the value of a keyed topic: tables are compared by themselves.
pub const KEYED: u64 = u64::MAX;

/// Tells values apart: the same for the same `data` on every thread, `None` being that of a `gone`.
/// Clients hold only `v`, but each frame is parsed once for all that received the same bytes, so
/// what is noted here of a `v` is what all of them were given under it.
pub fn fingerprint(data: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// Where a topic stands in a row.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub word: u32,
    /// Of our own atomic groups, the one that it belongs to.
    pub group: Option<u32>,
}

impl Catalog {
    /// `stream`: patterns of topics in which every update counts; `key_budget`: of all the tables that
    /// clients hold of its topics.
    pub fn new(patterns: &[String], stream: &[String], key_budget: Arc<KeyBudget>) -> Self {
        Self {
            patterns: Patterns::new(patterns),
            stream: Patterns::new(stream),
            numbers: HashMap::new(),
            words: Vec::new(),
            highest: Vec::new(),
            groups: Vec::new(),
            group_numbers: HashMap::new(),
            epoch: 0,
            key_budget,
        }
    }

    /// The place of `topic`, new or known. An error names the broken promise: the topic matches no
    /// pattern, or there are more topics than can be followed.
    pub fn place(&mut self, topic: &str) -> Result<Place, &'static str> {
        let own = topic::own_group(topic).map(|(group, _)| group);
        if let Some(&word) = self.numbers.get(topic) {
            let group = own.and_then(|group| self.group_numbers.get(&group).copied());
            return Ok(Place { word, group });
        }
        if !self.patterns.matches(topic) {
            return Err(NOT_SUBSCRIBED);
        }
        if self.words.len() + 2 > WORDS_MAX {
            return Err("more topics than loadgen can follow");
        }
        let word = self.words.len() as u32;
        let kind = if self.stream.matches(topic) { Word::Stream } else { Word::Latest };
        self.words.push(kind);
        let group = own.map(|group| {
            self.words.push(Word::Figure);
            let number = *self.group_numbers.entry(group).or_insert(self.groups.len() as u32);
            if number as usize == self.groups.len() {
                self.groups.push(Vec::new());
            }
            self.groups[number as usize].push(word + 1);
            number
        });
        self.highest.resize(self.words.len(), Highest::default());
        self.numbers.insert(topic.into(), word);
        Ok(Place { word, group })
    }

    /// Numbers all of `topics`, which its patterns match, beforehand. Gives their words.
    pub fn number(&mut self, topics: &[String]) -> Vec<u32> {
        topics.iter().filter_map(|topic| self.place(topic).ok()).map(|place| place.word).collect()
    }

    pub fn word(&self, word: u32) -> Word {
        self.words[word as usize]
    }

    /// Words that must be equal after every whole batch.
    pub fn group(&self, number: u32) -> &[u32] {
        &self.groups[number as usize]
    }

    /// A `v` was received, with a value of that [`fingerprint`], by a client that lives in `epoch`.
    /// `false`: the same `v` came with another value before. Another life begins anew.
    pub fn saw(&mut self, word: u32, v: u64, value: u64, epoch: u64) -> bool {
        if epoch != self.epoch {
            return true;
        }
        let highest = &mut self.highest[word as usize];
        if v > highest.v {
            *highest = Highest { v, value };
        }
        v < highest.v || highest.value == value
    }

    /// A client learned of the gateway's present life.
    pub fn entered(&mut self, epoch: u64) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.highest.fill(Highest::default());
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn key_budget(&self) -> &Arc<KeyBudget> {
        &self.key_budget
    }

    /// Topics with their words and the newest that was seen of them so far.
    pub fn topics(&self) -> impl Iterator<Item = (&str, u32, Highest)> {
        self.numbers.iter().map(|(topic, &word)| (&**topic, word, self.highest[word as usize]))
    }
}
