//! Tells subscribers the state of their topics: on change, and right after they subscribed.

use bytes::Bytes;
use ring::Sockets;

use super::Shard;
use crate::{
    client::Phase,
    clock::Now,
    status::{Change, Status},
};

/// Clients looked at before the shard looks at its sockets again.
const SLICE: usize = 512;

/// What is not live, and what became live lately.
#[derive(Debug, Default)]
pub struct Statuses {
    /// In the order of their last change.
    held: Vec<Held>,
    /// Changes so far. A client remembers how many it was told of.
    changes: u64,
    max: usize,
    /// The next client to be looked at, while changes are told.
    walk: Option<usize>,
    /// Statuses that became live: kept for who is slow, up to `max`.
    live: usize,
}

#[derive(Debug)]
struct Held {
    /// Number of its last change, and of the one before.
    at: u64,
    before: u64,
    change: Change,
    /// Of `change.news` and `change.missed`, encoded once for everyone.
    news: Bytes,
    missed: Bytes,
}

impl Statuses {
    /// `max`: `[limits] statuses`.
    pub fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    fn take(&mut self, change: Change) {
        self.changes += 1;
        let known = self.held.iter().position(|held| held.change.id == change.id);
        let before = known.map(|i| self.held.remove(i).at).unwrap_or(0);
        let news = change.news.frame();
        let missed = if change.missed == change.news { news.clone() } else { change.missed.frame() };
        self.held.push(Held { at: self.changes, before, change, news, missed });
        self.live = self.held.iter().filter(|held| held.change.left.is_none()).count();
        while self.live > self.max {
            let oldest = self.held.iter().position(|held| held.change.left.is_none());
            oldest.map(|i| self.held.remove(i));
            self.live -= 1;
        }
        self.walk = Some(0);
    }

    /// What is not live.
    fn left(&self) -> impl Iterator<Item = &Status> {
        self.held.iter().filter_map(|held| held.change.left.as_ref())
    }
}

impl Shard {
    pub(super) fn take_status(&mut self, change: Change) {
        self.statuses.take(change);
    }

    /// Tells one slice of the clients what changed. `true`: there are more.
    pub(super) fn tell_statuses(&mut self, net: &mut impl Sockets, now: Now) -> bool {
        let Some(walk) = self.statuses.walk else { return false };
        let end = (walk + SLICE).min(self.clients.len());
        for slot in walk..end {
            // Who is busy is told when it is not.
            if self.clients[slot].as_ref().is_some_and(|client| client.ready() && !client.subs.is_empty()) {
                self.advance(slot as u32, net, now);
            }
        }
        self.statuses.walk = (end < self.clients.len()).then_some(end);
        self.statuses.walk.is_some()
    }

    /// The next change that concerns a client which was not told of it.
    pub(super) fn owed_status(&mut self, slot: u32) -> Option<Bytes> {
        let told = self.at(slot).told;
        if told == self.statuses.changes {
            return None;
        }
        let client = self.clients[slot as usize].as_ref()?;
        let mut told = told;
        let mut frame = None;
        for held in self.statuses.held.iter().filter(|held| held.at > client.told) {
            told = held.at;
            let mut classes = client.subs.iter().map(|sub| sub.class);
            if classes.any(|class| self.fanout.any_pattern(class, |key| held.change.missed.concerns(key))) {
                frame =
                    Some(if client.told >= held.before { held.news.clone() } else { held.missed.clone() });
                break;
            }
        }
        let told = if frame.is_some() { told } else { self.statuses.changes };
        self.at(slot).told = told;
        frame
    }

    /// After `subscribed` and what follows it: the topics of `patterns` that are not live.
    pub(super) fn answer_statuses(&mut self, slot: u32, patterns: &[String]) {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let frames: Vec<Bytes> =
            self.statuses.left().filter_map(|status| status.frame_for(&patterns)).collect();
        self.stats.frames_out += frames.len() as u64;
        let changes = self.statuses.changes;
        let client = self.at(slot);
        if client.phase != Phase::Open {
            return;
        }
        if client.subs.len() == 1 && client.told == 0 {
            client.told = changes;
        }
        frames.into_iter().for_each(|frame| client.queue(frame));
    }
}
