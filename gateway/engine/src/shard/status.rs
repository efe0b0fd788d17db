//! Tells subscribers the state of their topics: on change, and right after they subscribed.

use std::rc::Rc;

use bytes::Bytes;
use net::Sockets;

use super::{Shard, client::Client, named::Part, pending::Untold, statuses::Held};
use crate::{
    clock::Now,
    fanout::{ClassId, PatternId, line::Lane},
    protocol::{
        encoding::{self, Encoding},
        fragment,
        status::Change,
    },
    topic::pattern::Pattern,
};

/// Clients looked at before the shard looks at its sockets again.
const SLICE: usize = 512;

/// A longer one that is made for one client counts among what is pinned.
const OWN_BYTES: usize = 4096;

/// Numbers of changes kept until the next change: for classes, and of what a client is still to be told.
const CONCERNS_MAX: usize = 1 << 20;
const UNTOLD_MAX: usize = 64;
/// What a class takes beside its numbers.
const CLASS_COST: usize = 16;

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
            if self.clients[slot]
                .as_ref()
                .is_some_and(|client| client.connection.is_free() && !client.subs.is_empty())
            {
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
        self.at(slot).pending()?.untold.as_ref()?;
        if !self.may_look_up(slot, now) {
            return None;
        }
        let mut untold = self.at(slot).pend(|pending| pending.untold.take())?;
        let (keys, mut cost) = (self.fanout.keys_of(&[&untold.patterns]), untold.patterns.len());
        let mut numbers = std::mem::take(&mut untold.numbers);
        let looks_up = numbers.is_empty();
        if looks_up {
            let (found, looked_at) = self.statuses.concerning(&keys, Part::Left);
            cost += looked_at;
            let due = found.into_iter().filter(|at| (untold.after + 1..=untold.until).contains(at));
            numbers.extend(due.take(UNTOLD_MAX));
            numbers.reverse();
            untold.after = numbers.first().copied().unwrap_or(untold.until);
        }
        let max = self.statuses.frame_bytes_max;
        let next = std::iter::from_fn(|| numbers.pop()).find_map(|at| {
            // One that has changed since is told as a change.
            Some((at, self.statuses.find(at)?.left_for(&keys, max)?))
        });
        self.spend_looked_up(slot, cost + next.as_ref().map_or(0, |(_, (.., topics))| *topics), now);
        let Some((at, (frames, own, _))) = next else {
            if looks_up {
                return None;
            }
            // There may be more than were looked up.
            self.at(slot).pend(|pending| pending.untold = Some(untold));
            return self.owed_answer(slot, now);
        };
        let given = self.give(slot, frames, own, now);
        if given.is_none() {
            numbers.push(at);
        }
        untold.numbers = numbers;
        self.at(slot).pend(|pending| pending.untold = Some(untold));
        given
    }

    /// The next change that concerns a client which was not told of it. Who was told nothing yet is told
    /// what is not live.
    fn owed_change(&mut self, slot: u32, now: Now) -> Option<Bytes> {
        let changes = self.statuses.changes;
        let client = self.clients[slot as usize].as_ref()?;
        let (told, greeted) = (client.told, client.greeted);
        if told == changes {
            self.at(slot).greeted = true;
            return None;
        }
        let classes: Vec<ClassId> = client.subs.iter().map(|sub| sub.class).collect();
        let parts: &[Part] = if greeted { &[Part::Missed] } else { &[Part::Left, Part::Missed] };
        let mut numbers = Vec::new();
        for (class, part) in classes.iter().flat_map(|class| parts.iter().map(move |part| (*class, *part))) {
            let all = self.concerns(slot, class, part, now)?;
            let is_left = |at: &u64| self.statuses.find(*at).is_some_and(|held| held.left.is_some());
            let new = &all[all.partition_point(|at| *at <= told)..];
            numbers.extend(new.iter().filter(|at| greeted || is_left(at) == (part == Part::Left)));
        }
        numbers.sort_unstable();
        if !greeted && !numbers.is_empty() && !self.may_look_up(slot, now) {
            return None;
        }
        let mut cost = 0;
        let next = numbers.into_iter().find_map(|at| {
            let (held, client) = (self.statuses.find(at)?, self.clients[slot as usize].as_ref()?);
            Some((at, self.frames_of(held, client, &mut cost)?))
        });
        self.spend_looked_up(slot, cost, now);
        let Some((at, (frames, own))) = next else {
            (self.at(slot).told, self.at(slot).greeted) = (changes, true);
            return None;
        };
        let given = self.give(slot, frames, own, now)?;
        self.at(slot).told = at;
        Some(given)
    }

    /// What a client has to be told of a change that concerns it, if anything, and whether it was made for it
    /// alone.
    fn frames_of(&self, held: &Held, client: &Client, cost: &mut usize) -> Option<(Bytes, bool)> {
        if held.change.left.is_some() && !client.greeted {
            // Of several topics only those that concern the client.
            let patterns: Vec<&[PatternId]> =
                client.subs.iter().map(|sub| &*self.fanout.classes.get(sub.class).key.patterns).collect();
            let keys = self.fanout.keys_of(&patterns);
            let (frames, own, topics) = held.left_for(&keys, self.statuses.frame_bytes_max)?;
            *cost += keys.len() + topics;
            return Some((frames, own));
        }
        let news = client.told >= held.before;
        if !client.greeted && (!news || held.before == 0) {
            // It was not told of the one that has ended, unless while it was greeted.
            return None;
        }
        Some((if news { held.news.clone() } else { held.missed.clone() }, false))
    }

    /// Numbers of the changes that concern a class. `None`: the client that wants them waits for its turn.
    fn concerns(&mut self, slot: u32, class: ClassId, part: Part, now: Now) -> Option<Rc<[u64]>> {
        let class = self.fanout.classes.get(class);
        let (number, patterns) = (class.number, class.key.clone());
        if let Some(numbers) = self.statuses.concerns.get(&(number, part)) {
            return Some(numbers.clone());
        }
        if !self.may_look_up(slot, now) {
            return None;
        }
        let (numbers, cost) = self.statuses.concerning(&self.fanout.keys_of(&[&patterns.patterns]), part);
        self.spend_looked_up(slot, cost, now);
        let kept = numbers.len() + CLASS_COST;
        if self.statuses.concerns_kept + kept > CONCERNS_MAX {
            self.statuses.drop_concerns();
        }
        self.statuses.concerns_kept += kept;
        let numbers: Rc<[u64]> = numbers.into();
        self.statuses.concerns.insert((number, part), numbers.clone());
        Some(numbers)
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

    /// In the client's encoding; `None`: there is no room for what is its `own`, and it waits for some.
    fn give(&mut self, slot: u32, frames: Bytes, own: bool, now: Now) -> Option<Bytes> {
        let fragment_bytes = self.statuses.fragment_bytes;
        let is_packed = self.at(slot).connection.wire().encoding == Encoding::Msgpack;
        if frames.len() <= OWN_BYTES || !own && !is_packed {
            return Some(self.at(slot).connection.wire().encoding.frames(frames, fragment_bytes));
        }
        if !self.fanout.fits(frames.len()) {
            self.note_need(frames.len());
            self.wait(slot, Lane::Long, now);
            return None;
        }
        let frames = if is_packed {
            encoding::packed(&frames, fragment_bytes)
        } else {
            fragment::fragmented(&frames, fragment_bytes).unwrap_or_else(|| frames.into())
        };
        Some(self.fanout.pinned.hold(frames))
    }

    /// After `subscribed` and what follows it: the topics of `patterns` that are not live. Of a first
    /// subscription [`Shard::owed_status`] tells it.
    pub(super) fn answer_statuses(&mut self, slot: u32, patterns: &[Pattern]) {
        let until = self.statuses.changes;
        let any = self.statuses.held.iter().any(|held| held.left.is_some());
        if !any || !self.at(slot).connection.is_open() || !self.at(slot).greeted {
            return;
        }
        let patterns = self.fanout.pattern_ids(patterns);
        let untold = Box::new(Untold { patterns, after: 0, until, numbers: Vec::new() });
        self.at(slot).pend(|pending| pending.untold = Some(untold));
    }
}
