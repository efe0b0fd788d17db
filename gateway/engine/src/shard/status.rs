//! Tells subscribers the state of their topics: on change, and right after they subscribed.

use std::ops::RangeInclusive;

use bytes::Bytes;
use net::Sockets;

use super::{
    Shard,
    client::Client,
    pending::Untold,
    statuses::{Hearer, Statuses, Told},
};
use crate::{
    clock::Now,
    fanout::{Fanout, PatternId, line::Lane},
    protocol::{encoding::Encoding, status::Change},
    topic::pattern::Pattern,
};

/// Clients looked at before the shard looks at its sockets again.
const SLICE: usize = 512;

/// A longer one that is made for one client counts among what is pinned.
const OWN_BYTES: usize = 4096;

impl Shard {
    pub(super) fn take_status(&mut self, change: Change) {
        let topics = change.status.topics.clone();
        let at = self.statuses.take(change);
        topics.iter().for_each(|topic| self.fanout.note_status(topic.as_str(), at));
        // Everyone is looked at from here on, whoever is next.
        let next = self.statuses.walk.map_or(0, |(next, _)| next);
        self.statuses.walk = Some((next, self.clients.len()));
    }

    /// Tells one slice of the clients what changed. `true`: there are more.
    pub(super) fn tell_statuses(&mut self, net: &mut impl Sockets, now: Now) -> bool {
        let Some((mut next, left)) = self.statuses.walk else { return false };
        let slice = left.min(SLICE);
        for _ in 0..slice {
            next = if next < self.clients.len() { next } else { 0 };
            // A busy client gets its status once it is free.
            let is_free = |client: &Client| client.connection.is_free() && !client.subs.is_empty();
            if self.clients[next].as_ref().is_some_and(is_free) && self.is_owed_change(next as u32) {
                self.advance(next as u32, net, now);
            }
            next += 1;
        }
        self.statuses.walk = (left > slice).then_some((next, left - slice));
        self.statuses.walk.is_some()
    }

    /// The next status that a client is to be told, one at a time.
    pub(super) fn owed_status(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        if self.at(slot).subs.is_empty() || self.encoding_of(slot) == Encoding::Raw {
            return None;
        }
        self.owed_answer(slot, now).or_else(|| self.owed_change(slot, now))
    }

    /// What was not live when it subscribed.
    fn owed_answer(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        let untold = self.at(slot).pending()?.untold.as_ref()?;
        let changes = untold.after + 1..=untold.until;
        if !self.may_look_up(slot, now) {
            return None;
        }
        let mut untold = self.at(slot).pend(|pending| pending.untold.take())?;
        let to = Hearer { encoding: self.encoding_of(slot), is_answer: true };
        let told = next_of(&self.statuses, &self.fanout, &[&untold.patterns], changes, to);
        self.spend_looked_up(slot, told.cost, now);
        let frames = told.frames?;
        let given = self.give(slot, frames, told.is_own, now);
        if given.is_some() {
            untold.after = told.until;
        }
        if untold.after < untold.until {
            self.at(slot).pend(|pending| pending.untold = Some(untold));
        }
        given
    }

    /// The next change that concerns a client which was not told of it.
    fn owed_change(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        if !self.is_owed_change(slot) {
            return None;
        }
        let subs = &self.at(slot).subs;
        let (first, is_single) = (subs[0].class, subs.len() == 1);
        let told = self.at(slot).told;
        // Members of a class that have the same statuses so far share the next one.
        let class = self.fanout.classes.get(first);
        let class = (is_single && class.members.len() > 1).then_some(class.number);
        let shared = class.and_then(|class| self.statuses.shared(class, told));
        let next = match shared {
            Some(next) => next,
            None if !self.may_look_up(slot, now) => return None,
            None => {
                let changes = told + 1..=self.statuses.changes;
                let to = Hearer { encoding: self.encoding_of(slot), is_answer: false };
                let next = next_of(&self.statuses, &self.fanout, &self.patterns_at(slot), changes, to);
                self.spend_looked_up(slot, next.cost, now);
                match class {
                    Some(class) => self.statuses.share(class, told, next),
                    None => next,
                }
            }
        };
        let given = match next.frames {
            Some(frames) => Some(self.give(slot, frames, next.is_own, now)?),
            None => None,
        };
        self.at(slot).told = next.until;
        given
    }

    /// Whether a change that a client was not told of may concern it. One that does not counts as told.
    fn is_owed_change(&mut self, slot: u32) -> bool {
        let Some(client) = self.clients[slot as usize].as_mut() else { return false };
        let (told, changes) = (client.told, self.statuses.changes);
        let fanout = &self.fanout;
        let concerns = |pattern: &PatternId| fanout.status_of(*pattern) > told;
        let mut classes = client.subs.iter().map(|sub| fanout.classes.get(sub.class));
        let is_owed = told < changes
            && (self.statuses.wide > told || classes.any(|class| class.key.patterns.iter().any(concerns)));
        if !is_owed {
            client.told = changes;
        }
        is_owed
    }

    /// Those of each of a client's subscriptions.
    fn patterns_at(&self, slot: u32) -> Vec<&[PatternId]> {
        let client = self.clients[slot as usize].as_ref();
        let subs = client.into_iter().flat_map(|client| &client.subs);
        subs.map(|sub| &*self.fanout.classes.get(sub.class).key.patterns).collect()
    }

    /// Whether patterns may be looked up for a client now; if not, it waits for its turn.
    fn may_look_up(&mut self, slot: u32, now: Now) -> bool {
        let payer = self.payer_of(slot);
        let may = self.may_build(payer, now);
        if !may {
            self.wait(slot, Lane::Short, now);
        }
        may
    }

    fn spend_looked_up(&mut self, slot: u32, cost: usize, now: Now) {
        let (payer, before) = (self.payer_of(slot), self.fanout.budget.spent());
        self.fanout.budget.spend_collected(cost);
        self.charge(payer, before, now);
    }

    /// `None`: there is no room for what is the client's `own`, and it waits for some.
    fn give(&mut self, slot: u32, frames: Bytes, own: bool, now: Now) -> Option<Bytes> {
        if frames.len() <= OWN_BYTES || !own {
            return Some(frames);
        }
        if !self.fanout.fits(frames.len()) {
            self.note_need(frames.len());
            self.wait(slot, Lane::Long, now);
            return None;
        }
        Some(self.fanout.pinned.hold(frames.into()))
    }

    /// After `subscribed` and what follows it: the topics of `patterns` that are not live. Changes that the client
    /// was not told of yet are still to come, also those of what it has subscribed to now.
    pub(super) fn answer_statuses(&mut self, slot: u32, patterns: &[Pattern], is_first: bool) {
        if is_first {
            self.at(slot).told = self.statuses.changes;
        }
        let until = self.at(slot).told;
        let hears = self.at(slot).connection.is_open() && self.encoding_of(slot) != Encoding::Raw;
        if until == 0 || !self.statuses.is_any_held() || !hears {
            return;
        }
        let patterns = self.fanout.pattern_ids(patterns);
        let untold = Box::new(Untold { patterns, after: 0, until });
        self.at(slot).pend(|pending| pending.untold = Some(untold));
    }
}

/// [`Statuses::next`] of interned patterns.
fn next_of(
    statuses: &Statuses,
    fanout: &Fanout,
    patterns: &[&[PatternId]],
    changes: RangeInclusive<u64>,
    to: Hearer,
) -> Told {
    let patterns: Vec<&Pattern> =
        patterns.iter().copied().flatten().map(|pattern| fanout.pattern(*pattern)).collect();
    statuses.next(&patterns, changes, to)
}
