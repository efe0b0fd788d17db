//! Tells subscribers the state of their topics: on change, and right after they subscribed.

use bytes::Bytes;
use net::Sockets;

use super::Shard;
use crate::{
    client::{Client, Phase},
    clock::Now,
    fanout::{PatternId, line::Lane},
    settings::Settings,
    status::{Change, Status},
    wire::{self, Encoding},
};

/// Clients looked at before the shard looks at its sockets again.
const SLICE: usize = 512;

/// A longer one that is made for one client counts among what is pinned.
const OWN_BYTES: usize = 4096;

/// What is not live, and what became live lately.
#[derive(Debug)]
pub struct Statuses {
    /// In the order of their last change.
    held: Vec<Held>,
    /// Changes so far. A client remembers how many it was told of.
    changes: u64,
    max: usize,
    bytes_max: usize,
    frame_bytes_max: usize,
    /// The next client to be looked at, while changes are told.
    walk: Option<usize>,
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

/// What a client that subscribed to more is still to be told: of these patterns, the statuses after one
/// change and up to another. One is told at a time.
#[derive(Debug)]
pub struct Untold {
    patterns: Box<[PatternId]>,
    after: u64,
    until: u64,
}

impl Statuses {
    pub fn new(settings: &Settings<'_>) -> Self {
        let (max, bytes_max) = (settings.limits.statuses, settings.limits.status_bytes);
        let frame_bytes_max = settings.fanout.frame_bytes_max;
        Self { held: Vec::new(), changes: 0, max, bytes_max, frame_bytes_max, walk: None }
    }

    fn take(&mut self, change: Change) {
        self.changes += 1;
        let known = self.held.iter().position(|held| held.change.id == change.id);
        let before = known.map(|i| self.held.remove(i).at).unwrap_or(0);
        let news = change.news.frames(self.frame_bytes_max);
        let encode = |status: &Status| match *status == change.news {
            true => news.clone(),
            false => status.frames(self.frame_bytes_max),
        };
        let (missed, left) = (encode(&change.missed), change.left.as_ref().map(encode));
        self.held.push(Held { at: self.changes, before, change, news, missed, left });
        self.drop_live();
        self.walk = Some(0);
    }

    /// Those that became live are kept for who is slow, as long as there is room.
    fn drop_live(&mut self) {
        let live = || self.held.iter().filter(|held| held.change.left.is_none());
        let (mut count, mut bytes) = (live().count(), live().map(Held::bytes).sum::<usize>());
        self.held.retain(|held| {
            let drops = held.change.left.is_none() && (count > self.max || bytes > self.bytes_max);
            if drops {
                (count, bytes) = (count - 1, bytes - held.bytes());
            }
            !drops
        });
    }

    /// The first after one change and up to another.
    fn between(&self, after: u64, until: u64) -> impl Iterator<Item = &Held> {
        let first = self.held.partition_point(|held| held.at <= after);
        self.held[first..].iter().take_while(move |held| held.at <= until)
    }
}

impl Held {
    fn bytes(&self) -> usize {
        self.news.len() + self.missed.len()
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

    /// The next status that a client is to be told, one at a time.
    pub(super) fn owed_status(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        if self.at(slot).subs.is_empty() {
            return None;
        }
        self.owed_answer(slot, now).or_else(|| self.owed_change(slot, now))
    }

    /// What was not live when it subscribed to more.
    fn owed_answer(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        let untold = self.at(slot).waiting.as_mut()?.untold.take()?;
        let keys: Vec<&str> =
            untold.patterns.iter().map(|pattern| self.fanout.pattern_key(*pattern)).collect();
        let max = self.statuses.frame_bytes_max;
        let next = self.statuses.between(untold.after, untold.until).find_map(|held| {
            let (left, all) = (held.change.left.as_ref()?, held.left.as_ref()?);
            let frames = left.frames_for(&keys, max, all)?;
            Some((held.at, frames.as_ptr() != all.as_ptr(), frames))
        });
        let (at, own, frames) = next?;
        let given = self.give(slot, frames, own, now);
        let after = if given.is_some() { at } else { untold.after };
        self.at(slot).waiting().untold = Some(Box::new(Untold { after, ..*untold }));
        given
    }

    /// The next change that concerns a client which was not told of it. Who was told nothing yet is told
    /// what is not live.
    fn owed_change(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        let changes = self.statuses.changes;
        let client = self.clients[slot as usize].as_ref()?;
        if client.told == changes {
            self.at(slot).greeted = true;
            return None;
        }
        let next = self
            .statuses
            .between(client.told, changes)
            .find_map(|held| Some((held.at, self.frames_of(held, client)?)));
        let Some((at, (frames, own))) = next else {
            (self.at(slot).told, self.at(slot).greeted) = (changes, true);
            return None;
        };
        let given = self.give(slot, frames, own, now)?;
        self.at(slot).told = at;
        Some(given)
    }

    /// What a client has to be told of a change, if anything, and whether it was made for it alone.
    fn frames_of(&self, held: &Held, client: &Client) -> Option<(Bytes, bool)> {
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
            let news = client.told >= held.before;
            return Some((if news { held.news.clone() } else { held.missed.clone() }, false));
        }
        // Of several topics only those that concern the client.
        let all = held.left.as_ref()?;
        let mut keys = Vec::new();
        for sub in &client.subs {
            let patterns = &self.fanout.classes.get(sub.class).key.patterns;
            keys.extend(patterns.iter().map(|pattern| self.fanout.pattern_key(*pattern)));
        }
        let frames = status.frames_for(&keys, self.statuses.frame_bytes_max, all)?;
        let own = frames.as_ptr() != all.as_ptr();
        Some((frames, own))
    }

    /// In the client's encoding; `None`: there is no room for what is its `own`, and it waits for some.
    fn give(&mut self, slot: u32, frames: Bytes, own: bool, now: Now) -> Option<Bytes> {
        let is_packed = self.at(slot).wire.encoding == Encoding::Msgpack;
        if frames.len() <= OWN_BYTES || !own && !is_packed {
            return Some(self.at(slot).wire.encoding.frames(frames));
        }
        if !self.fanout.fits(frames.len()) {
            self.note_need(frames.len());
            self.wait(slot, Lane::Long, now);
            return None;
        }
        let frames = if is_packed { wire::packed(&frames) } else { frames.into() };
        Some(self.fanout.pinned.hold(frames))
    }

    /// After `subscribed` and what follows it: the topics of `patterns` that are not live. Of a first
    /// subscription [`Shard::owed_status`] tells it.
    pub(super) fn answer_statuses(&mut self, slot: u32, patterns: &[String]) {
        let until = self.statuses.changes;
        let any = self.statuses.held.iter().any(|held| held.left.is_some());
        if !any || self.at(slot).phase != Phase::Open || !self.at(slot).greeted {
            return;
        }
        let patterns = self.fanout.pattern_ids(patterns);
        self.at(slot).waiting().untold = Some(Box::new(Untold { patterns, after: 0, until }));
    }
}
