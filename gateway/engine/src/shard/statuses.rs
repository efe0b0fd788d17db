//! Statuses that a shard holds: what is not live, and what became live lately.
//!
//! Changes are numbered. Each topic of a status stands in the change that spoke of it last, and only there: so
//! who was told all up to one number is owed what stands above it, however often that changed meanwhile, and a
//! change costs as much as it names.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
};

use bytes::Bytes;

use super::named::{Named, is_loose};
use crate::{
    invariant,
    protocol::{
        encoding::Encoding,
        fragment::FRAGMENT_BYTES,
        status::{Change, Status, TOPIC_BYTES, TopicState},
    },
    settings::Settings,
    topic::pattern::{Pattern, is_starred, overlap, stem},
};

/// To look up a pattern takes so many times as long as to look at one entry.
const PATTERN_COST: usize = 16;
/// Topics that are told at once; a change that names more is told whole.
const TOLD_TOPICS: usize = 1000;
/// What a change takes beside its topics.
const CHANGE_BYTES: usize = 256;
/// Of frames that the members of a class share.
const SHARED_BYTES: usize = 1 << 20;

/// What is not live, and what became live lately.
#[derive(Debug)]
pub(super) struct Statuses {
    /// By number: changes of which something still holds.
    held: BTreeMap<u64, Held>,
    /// By status: the numbers of its changes.
    by_id: HashMap<u64, BTreeSet<u64>>,
    named: Named,
    /// Changes that only slow clients still have to get.
    passing: BTreeSet<u64>,
    passing_bytes: usize,
    /// What members of a class are told, by its number and the last change that they were told.
    shared: HashMap<(u64, u64), Told>,
    shared_bytes: usize,
    /// Changes so far. A client remembers how many it was told of.
    pub changes: u64,
    /// The newest change that names other than single topics.
    pub wide: u64,
    bytes_max: usize,
    frame_bytes_max: usize,
    pub fragment_bytes: usize,
    /// Slot of the next client to be looked at, and how many are left, while changes are told.
    pub walk: Option<(usize, usize)>,
}

/// A change, as far as it still holds.
#[derive(Debug)]
struct Held {
    id: u64,
    /// Also of topics that stand in a later change by now.
    status: Status,
    is_whole: bool,
    lasts: bool,
    /// Topics that stand here, and the bytes of all this.
    topics: usize,
    bytes: usize,
    /// Of those topics, made once for everyone of an [`Encoding`].
    frames: [OnceCell<Bytes>; Encoding::WHOLE],
}

/// What of changes is told first, as one: the last of these changes, and the topics of all.
struct First<'a> {
    at: u64,
    held: &'a Held,
    topics: Vec<&'a Pattern>,
    is_merged: bool,
}

/// Whom something is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hearer {
    pub encoding: Encoding,
    /// As the answer to a subscription: only what lasts, and only its own topics.
    pub is_answer: bool,
}

/// What a client is told next.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// It has been told all changes up to that then.
    pub until: u64,
    /// Whole frames in a row; `None`: nothing concerns it.
    pub frames: Option<Bytes>,
    /// They were made for it alone.
    pub is_own: bool,
    /// What it took to find.
    pub cost: usize,
}

impl Statuses {
    pub fn new(settings: &Settings<'_>) -> Self {
        Self {
            held: BTreeMap::new(),
            by_id: HashMap::new(),
            named: Named::default(),
            passing: BTreeSet::new(),
            passing_bytes: 0,
            shared: HashMap::new(),
            shared_bytes: 0,
            changes: 0,
            wide: 0,
            bytes_max: settings.limits.status_bytes,
            frame_bytes_max: settings.fanout.frame_bytes_max,
            fragment_bytes: FRAGMENT_BYTES,
            walk: None,
        }
    }

    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Takes a change in; gives its number.
    pub fn take(&mut self, change: Change) -> u64 {
        self.changes += 1;
        let at = self.changes;
        self.shared.clear();
        self.shared_bytes = 0;
        let Change { id, status, is_whole, lasts } = change;
        if is_whole {
            self.by_id.remove(&id).into_iter().flatten().for_each(|at| self.end(at));
        }
        let topics = status.topics.clone();
        invariant!(topics.is_sorted_by(|a, b| a < b), "the topics of a status are in order: {topics:?}");
        if topics.is_empty() {
            return at;
        }
        let bytes = status.bytes() + CHANGE_BYTES;
        if !lasts {
            self.passing.insert(at);
            self.passing_bytes += bytes;
        }
        let frames = Default::default();
        self.held.insert(at, Held { id, status, is_whole, lasts, topics: topics.len(), bytes, frames });
        self.by_id.entry(id).or_default().insert(at);
        for topic in &*topics {
            if is_loose(topic.key()) {
                self.wide = at;
            }
            if let Some(before) = self.named.put(topic, id, at) {
                self.leave(before, topic);
            }
        }
        while self.passing_bytes > self.bytes_max
            && let Some(oldest) = self.passing.first().copied()
        {
            self.end(oldest);
        }
        at
    }

    /// A topic of that change stands in a later one now.
    fn leave(&mut self, at: u64, topic: &Pattern) {
        let held = self.held.get_mut(&at).expect("a topic stands in a change that is held");
        let bytes = topic.as_str().len() + TOPIC_BYTES;
        (held.topics, held.bytes) = (held.topics - 1, held.bytes - bytes);
        held.frames = Default::default();
        if held.topics * 2 < held.status.topics.len() {
            let stands = |topic: &&Pattern| self.named.stands_in(topic, at);
            held.status.topics = held.status.topics.iter().filter(stands).cloned().collect();
        }
        if !held.lasts {
            self.passing_bytes -= bytes;
        }
        if held.topics == 0 {
            self.end(at);
        }
    }

    /// Nothing of a change holds any more.
    fn end(&mut self, at: u64) {
        let held = self.held.remove(&at).expect("a change ends once, while it is held");
        for topic in &*held.status.topics {
            if self.named.stands_in(topic, at) {
                self.named.remove(topic, held.id);
            }
        }
        if self.passing.remove(&at) {
            self.passing_bytes -= held.bytes;
        }
        if let Some(changes) = self.by_id.get_mut(&held.id) {
            changes.remove(&at);
            if changes.is_empty() {
                self.by_id.remove(&held.id);
            }
        }
    }

    /// Whether something is not live.
    pub fn is_any_held(&self) -> bool {
        self.held.len() > self.passing.len()
    }

    /// What is told first of those `changes` to a client that has subscribed to these patterns.
    pub fn next(&self, patterns: &[&Pattern], changes: RangeInclusive<u64>, to: Hearer) -> Told {
        let mut cost = patterns.len() * PATTERN_COST;
        let mut found: BTreeMap<u64, Vec<&Pattern>> = BTreeMap::new();
        for pattern in patterns {
            let find = |at, named| found.entry(at).or_default().push(named);
            self.named.beside(pattern.key(), &changes, find);
        }
        let below: Vec<&str> =
            patterns.iter().map(|pattern| pattern.key()).filter(|key| is_loose(key)).collect();
        let in_order: Box<dyn Iterator<Item = u64>> = match below.is_empty() {
            true => Box::new(found.keys().copied().collect::<Vec<_>>().into_iter()),
            false => Box::new(self.held.range(changes.clone()).map(|(at, _)| *at)),
        };
        let mut first: Option<First> = None;
        for at in in_order {
            let held = &self.held[&at];
            cost += 1;
            if to.is_answer && !held.lasts {
                continue;
            }
            if let Some(first) = first.as_ref().filter(|first| first.topics.len() >= TOLD_TOPICS) {
                return self.told(Some(first), first.at, to, cost);
            }
            let mut topics = found.remove(&at).unwrap_or_default();
            below.iter().for_each(|key| topics.extend(held.below(key, at, &self.named)));
            if topics.is_empty() {
                continue;
            }
            topics.sort_unstable();
            topics.dedup();
            cost += topics.len();
            match &mut first {
                None => first = Some(First { at, held, topics, is_merged: false }),
                Some(first) if first.held.goes_on_in(held) => {
                    first.topics.extend(topics);
                    (first.at, first.held, first.is_merged) = (at, held, true);
                }
                Some(first) => return self.told(Some(first), first.at, to, cost),
            }
        }
        self.told(first.as_ref(), *changes.end(), to, cost)
    }

    fn told(&self, first: Option<&First>, until: u64, to: Hearer, cost: usize) -> Told {
        let Some(First { at, held, topics, is_merged }) = first else {
            return Told { until, frames: None, is_own: false, cost };
        };
        let is_all = held.is_whole && !to.is_answer || topics.len() == held.topics;
        if is_all && !is_merged {
            return Told { until, frames: Some(self.frames(*at, held, to.encoding)), is_own: false, cost };
        }
        let mut topics = topics.clone();
        topics.sort_unstable();
        let frames = self.encode(&held.status, &topics, to.encoding);
        Told { until, frames: Some(frames), is_own: true, cost }
    }

    /// Of all that stands in change `at`.
    fn frames(&self, at: u64, held: &Held, encoding: Encoding) -> Bytes {
        let encode = || {
            let stands = |topic: &&Pattern| self.named.stands_in(topic, at);
            let topics: Vec<&Pattern> = held.status.topics.iter().filter(stands).collect();
            self.encode(&held.status, &topics, encoding)
        };
        encoding.whole().map_or_else(encode, |at| held.frames[at].get_or_init(encode).clone())
    }

    fn encode(&self, status: &Status, topics: &[&Pattern], encoding: Encoding) -> Bytes {
        status.frames_of(topics, encoding, self.frame_bytes_max, self.fragment_bytes).into()
    }

    /// What another member of the class was told that stood at the same change.
    pub fn shared(&self, class: u64, told: u64) -> Option<Told> {
        self.shared.get(&(class, told)).cloned()
    }

    /// Keeps what a member of a class is told for the others, as long as there is room and nothing changes.
    pub fn share(&mut self, class: u64, told: u64, next: Told) -> Told {
        let bytes = next.frames.as_ref().map_or(0, Bytes::len) + CHANGE_BYTES;
        if self.shared_bytes + bytes > SHARED_BYTES {
            return next;
        }
        self.shared_bytes += bytes;
        let next = Told { is_own: false, cost: 0, ..next };
        self.shared.insert((class, told), next.clone());
        next
    }
}

impl Held {
    /// Topics that stand here, in change `at`, begin with the stem of `key` and may match its pattern.
    fn below<'a>(&'a self, key: &str, at: u64, named: &Named) -> impl Iterator<Item = &'a Pattern> {
        let (topics, stem) = (&self.status.topics, stem(key));
        let (is_full, is_starred) = (self.topics == topics.len(), is_starred(key));
        let first = topics.partition_point(|topic| topic.as_str() < stem);
        let below = topics[first..].iter().take_while(move |topic| topic.as_str().starts_with(stem));
        let below = below.filter(move |topic| !is_starred || overlap(topic.key(), key));
        below.filter(move |topic| is_full || named.stands_in(topic, at))
    }

    /// Whether a later change tells more of the same, so that the two are told as one.
    fn goes_on_in(&self, later: &Held) -> bool {
        let (status, then) = (&self.status, &later.status);
        let is_part = !self.is_whole && !later.is_whole && self.id == later.id;
        let is_same = status.state == then.state && status.reason == then.reason && self.lasts == later.lasts;
        is_part && is_same && (status.since_us == then.since_us || status.state == TopicState::Live)
    }
}

#[cfg(test)]
mod tests;
