//! Updates of a live source on their way out, while the shards have room for them and while not.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::control::sequencer::{Grouping, Item, NotPublished, Refused, Sequencer};

/// Items handed to the sequencer at once.
const CHUNK: usize = 4096;

/// While an inbox is full only the newest update of each topic is kept, and every one where each counts.
#[derive(Debug, Default)]
pub struct Live {
    fresh: Vec<(Item, Counts)>,
    newest: HashMap<Arc<str>, Item>,
    /// Topics of `newest`, in the order in which they began to wait.
    waiting: VecDeque<Arc<str>>,
    every: VecDeque<Item>,
    /// Of the data in `newest` and `every`.
    bytes: usize,
}

/// Which updates of a topic may not be left out while they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    Newest,
    #[allow(dead_code, reason = "keyed topics need it")]
    Every,
}

/// What became of a [`Live::publish`].
#[derive(Debug, Default)]
pub struct Outcome {
    /// Updates that a newer one replaced.
    pub conflated: u64,
    /// Updates that were left out, each alone.
    pub refused: Vec<Refused>,
}

impl Live {
    /// All items of a topic are pushed with the same `counts`, or their order is lost.
    pub fn push(&mut self, item: Item, counts: Counts) {
        self.fresh.push((item, counts));
    }

    /// Publishes in order as far as there is room, and keeps the rest.
    pub fn publish(&mut self, sequencer: &Sequencer) -> Outcome {
        let mut outcome = Outcome::default();
        self.publish_waiting(sequencer, &mut outcome.refused);
        let fresh = std::mem::take(&mut self.fresh);
        let (fresh, counts): (Vec<Item>, Vec<Counts>) = fresh.into_iter().unzip();
        let done = if self.is_idle() { publish_some(sequencer, &fresh, &mut outcome.refused) } else { 0 };
        for (item, counts) in fresh.into_iter().zip(counts).skip(done) {
            match counts {
                Counts::Newest => outcome.conflated += u64::from(self.keep_newest(item)),
                Counts::Every => {
                    self.bytes += item.data.len();
                    self.every.push_back(item);
                }
            }
        }
        outcome
    }

    /// Nothing waits.
    pub fn is_idle(&self) -> bool {
        self.every.is_empty() && self.waiting.is_empty()
    }

    /// Updates of which each counts are waiting.
    pub fn every_waits(&self) -> bool {
        !self.every.is_empty()
    }

    /// Updates that wait.
    pub fn len(&self) -> usize {
        self.every.len() + self.waiting.len()
    }

    /// Bytes of their data.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn publish_waiting(&mut self, sequencer: &Sequencer, refused: &mut Vec<Refused>) {
        while !self.every.is_empty() {
            let chunk: Vec<Item> = self.every.iter().take(CHUNK).cloned().collect();
            let done = publish_some(sequencer, &chunk, refused);
            self.bytes -= self.every.drain(..done).map(|item| item.data.len()).sum::<usize>();
            if done < chunk.len() {
                return;
            }
        }
        while !self.waiting.is_empty() {
            let topics = self.waiting.iter().take(CHUNK);
            let chunk: Vec<Item> = topics.filter_map(|topic| self.newest.get(topic).cloned()).collect();
            let done = publish_some(sequencer, &chunk, refused);
            for topic in self.waiting.drain(..done) {
                self.bytes -= self.newest.remove(&topic).map_or(0, |item| item.data.len());
            }
            if done < chunk.len() {
                return;
            }
        }
    }

    /// `true`: it replaced an older one, from which it takes over the due time, so that no wait is hidden.
    fn keep_newest(&mut self, item: Item) -> bool {
        self.bytes += item.data.len();
        if let Some(held) = self.newest.get_mut(&item.topic) {
            self.bytes -= held.data.len();
            *held = Item { due_us: held.due_us, ..item };
            return true;
        }
        self.waiting.push_back(item.topic.clone());
        self.newest.insert(item.topic.clone(), item);
        false
    }
}

/// How many of `items`, from the first on, are settled: published or refused. The others found no room.
fn publish_some(sequencer: &Sequencer, items: &[Item], refused: &mut Vec<Refused>) -> usize {
    let mut done = 0;
    while done < items.len() {
        match sequencer.try_publish(&items[done..], Grouping::Single) {
            Ok(published) => done += published.accepted,
            Err(NotPublished::Full) => break,
            Err(NotPublished::Refused(why)) => {
                done += why.index + 1;
                refused.push(why);
            }
        }
    }
    done
}
