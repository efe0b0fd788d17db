//! Tells subscribers the state of their topics: on change, and right after they subscribed.

use bytes::Bytes;
use ring::Sockets;

use super::Shard;
use crate::{
    client::{Client, Phase},
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
    /// Of `change.news`, `change.missed` and `change.left`, encoded once for everyone.
    news: Bytes,
    missed: Bytes,
    left: Option<Bytes>,
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
        let left = change.left.as_ref().map(Status::frame);
        self.held.push(Held { at: self.changes, before, change, news, missed, left });
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

    /// The next change that concerns a client which was not told of it. Who was told nothing yet is told
    /// what is not live.
    pub(super) fn owed_status(&mut self, slot: u32) -> Option<Bytes> {
        let changes = self.statuses.changes;
        let client = self.clients[slot as usize].as_ref()?;
        if client.subs.is_empty() {
            return None;
        }
        if client.told == changes {
            self.at(slot).greeted = true;
            return None;
        }
        let held = &self.statuses.held;
        let unseen = &held[held.partition_point(|held| held.at <= client.told)..];
        let owed = unseen.iter().find_map(|held| Some((held.at, self.frame_of(held, client)?)));
        self.at(slot).told = owed.as_ref().map_or(changes, |(at, _)| *at);
        let greeted = owed.is_none() || self.at(slot).greeted;
        self.at(slot).greeted = greeted;
        let encoding = self.at(slot).wire.encoding;
        owed.map(|(_, frame)| encoding.frame(frame))
    }

    /// What a client has to be told of a change, if anything.
    fn frame_of(&self, held: &Held, client: &Client) -> Option<Bytes> {
        let status = match (&held.change.left, client.greeted) {
            (Some(left), false) => left,
            (None, false) if client.told < held.before || held.before == 0 => return None,
            // It was told of that one while it was greeted.
            _ => &held.change.missed,
        };
        let mut classes = client.subs.iter().map(|sub| sub.class);
        if !classes.any(|class| self.fanout.any_pattern(class, |key| status.concerns(key))) {
            return None;
        }
        if client.greeted || held.change.left.is_none() {
            return Some(if client.told >= held.before { held.news.clone() } else { held.missed.clone() });
        }
        if let Some(left) = held.left.as_ref().filter(|_| status.topics.len() == 1) {
            return Some(left.clone());
        }
        // Of several topics only those that concern the client.
        let mut patterns = Vec::new();
        client.subs.iter().for_each(|sub| patterns.extend(self.pattern_texts(sub.class)));
        status.frame_for(&patterns.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// After `subscribed` and what follows it: the topics of `patterns` that are not live. Of a first
    /// subscription [`Shard::owed_status`] tells it.
    pub(super) fn answer_statuses(&mut self, slot: u32, patterns: &[String]) {
        if self.at(slot).phase != Phase::Open || !self.at(slot).greeted {
            return;
        }
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let frames: Vec<Bytes> =
            self.statuses.left().filter_map(|status| status.frame_for(&patterns)).collect();
        self.stats.frames_out += frames.len() as u64;
        frames.into_iter().for_each(|frame| self.at(slot).queue_message(frame));
    }
}
