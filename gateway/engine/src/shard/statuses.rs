//! Statuses that a shard holds: what is not live, and what became live lately.

use std::{collections::HashMap, rc::Rc};

use bytes::Bytes;

use super::named::{Named, Part};
use crate::{
    protocol::{
        fragment::{self, FRAGMENT_BYTES},
        status::{Change, Status},
    },
    settings::Settings,
};

/// To look up a pattern takes so many times as long as to look at one entry.
const PATTERN_COST: usize = 16;

/// What is not live, and what became live lately.
#[derive(Debug)]
pub(super) struct Statuses {
    /// In the order of their last change.
    pub held: Vec<Held>,
    named: Named,
    /// Numbers of the changes that concern a class, by its own number.
    pub concerns: HashMap<(u64, Part), Rc<[u64]>>,
    pub concerns_kept: usize,
    /// Changes so far. A client remembers how many it was told of.
    pub changes: u64,
    max: usize,
    bytes_max: usize,
    pub frame_bytes_max: usize,
    pub fragment_bytes: usize,
    /// The next client to be looked at, while changes are told.
    pub walk: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Held {
    /// Number of its last change, and of the one before.
    pub at: u64,
    pub before: u64,
    pub change: Change,
    /// Of `change.news`, `change.missed` and `change.left`, encoded once for everyone.
    pub news: Bytes,
    pub missed: Bytes,
    pub left: Option<Bytes>,
}

impl Statuses {
    pub fn new(settings: &Settings<'_>) -> Self {
        let (max, bytes_max) = (settings.limits.statuses, settings.limits.status_bytes);
        let frame_bytes_max = settings.fanout.frame_bytes_max;
        let (held, named, concerns) = (Vec::new(), Named::default(), HashMap::new());
        Self {
            held,
            named,
            concerns,
            concerns_kept: 0,
            changes: 0,
            max,
            bytes_max,
            frame_bytes_max,
            fragment_bytes: FRAGMENT_BYTES,
            walk: None,
        }
    }

    pub fn take(&mut self, change: Change) {
        self.changes += 1;
        let known = self.held.iter().position(|held| held.change.id == change.id);
        let known = known.map(|i| self.held.remove(i));
        let before = known.as_ref().map_or(0, |known| known.at);
        if let Some(known) = known {
            self.named.remove(&known.change, known.at);
        }
        self.named.add(&change, self.changes);
        self.drop_concerns();
        let news = self.frames(&change.news);
        let encode = |status: &Status| match *status == change.news {
            true => news.clone(),
            false => self.frames(status),
        };
        let (missed, left) = (encode(&change.missed), change.left.as_ref().map(encode));
        self.held.push(Held { at: self.changes, before, change, news, missed, left });
        self.drop_live();
        self.walk = Some(0);
    }

    fn frames(&self, status: &Status) -> Bytes {
        let frames = status.frames(self.frame_bytes_max);
        fragment::fragmented(&frames, self.fragment_bytes).map_or(frames, Bytes::from)
    }

    pub fn drop_concerns(&mut self) {
        self.concerns.clear();
        self.concerns_kept = 0;
    }

    /// Those that became live are kept for who is slow, as long as there is room.
    fn drop_live(&mut self) {
        let live = || self.held.iter().filter(|held| held.change.left.is_none());
        let (mut count, mut bytes) = (live().count(), live().map(Held::bytes).sum::<usize>());
        self.held.retain(|held| {
            let drops = held.change.left.is_none() && (count > self.max || bytes > self.bytes_max);
            if drops {
                (count, bytes) = (count - 1, bytes - held.bytes());
                self.named.remove(&held.change, held.at);
            }
            !drops
        });
    }

    /// The one whose last change has that number.
    pub fn find(&self, at: u64) -> Option<&Held> {
        self.held.binary_search_by_key(&at, |held| held.at).ok().map(|i| &self.held[i])
    }

    /// Numbers of the changes of which `part` concerns patterns of these `keys`, sorted, and what it took.
    pub fn concerning(&self, keys: &[&str], part: Part) -> (Vec<u64>, usize) {
        if keys.first() == Some(&"") {
            let has = |held: &&Held| part == Part::Missed || held.left.is_some();
            return (self.held.iter().filter(has).map(|held| held.at).collect(), self.held.len());
        }
        let (numbers, looked_at) = self.named.concerning(keys, part);
        (numbers, looked_at + keys.len() * PATTERN_COST)
    }
}

impl Held {
    fn bytes(&self) -> usize {
        self.news.len() + self.missed.len()
    }

    /// What is not live, of those topics that have some in common with patterns of these `keys`, sorted;
    /// whether it was made for them alone, and how many topics were looked at.
    pub fn left_for(&self, keys: &[&str], frame_bytes_max: usize) -> Option<(Bytes, bool, usize)> {
        let (left, all) = (self.change.left.as_ref()?, self.left.as_ref()?);
        let frames = left.frames_for(keys, frame_bytes_max, all)?;
        let own = frames.as_ptr() != all.as_ptr();
        Some((frames, own, left.topics.len()))
    }
}
