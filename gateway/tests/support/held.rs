//! What one subscription of a model subscriber holds, and what each frame must be to it.

use std::{collections::BTreeSet, rc::Rc};

use engine::topic::{
    pattern::Pattern,
    policy::{Behind, Mode},
};

use super::{
    epoch::{Epoch, Sent, Table, Topic},
    pace::{Moment, Pace},
    subscriber::{Frame, Judge},
};

/// `oldest` is early by at most an interval, or by one part in that many of how far behind the batch is.
const EARLY_PART: i64 = 16;

/// What is held of one topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Held {
    pub v: u64,
    pub lives: bool,
    pub table: Rc<Table>,
}

/// What `subscribed` promised to come next.
#[derive(Debug)]
pub struct First {
    pub patterns: Vec<Pattern>,
    pub since: Option<(String, u64)>,
    pub version: u64,
}

#[derive(Debug)]
pub struct Sub {
    pub name: String,
    pub patterns: BTreeSet<String>,
    pub interval_ms: u64,
    pub class: u64,
    /// Place of its epoch among all there were.
    pub epoch: usize,
    /// The position.
    pub version: u64,
    /// When a frame of it last came. µs, monotonic.
    pub heard_us: u64,
    pub first: Option<First>,
    pub held: Vec<Held>,
    /// Highest `v` seen of each topic.
    seen: Vec<u64>,
    /// `v` of the last update of each stream.
    stepped: Vec<u64>,
    /// Per topic known so far: whether a pattern matches it.
    pub matched: Vec<bool>,
    /// Parts so far: their `from` and `version`, and the updates.
    pub parts: Option<(Option<u64>, u64)>,
    pub updates: Vec<Sent>,
    pub pace: Pace,
}

impl Sub {
    /// `epoch`: place of its epoch among all there were.
    pub fn new(name: &str, epoch: usize) -> Self {
        Self {
            name: name.to_owned(),
            epoch,
            patterns: BTreeSet::new(),
            interval_ms: 0,
            class: 0,
            version: 0,
            heard_us: 0,
            first: None,
            held: Vec::new(),
            seen: Vec::new(),
            stepped: Vec::new(),
            matched: Vec::new(),
            parts: None,
            updates: Vec::new(),
            pace: Pace::default(),
        }
    }

    pub fn matches(&self, topic: &str) -> bool {
        self.patterns.iter().any(|p| matches(p, topic))
    }

    /// Updates of its topics after a position, up to another.
    pub fn updates(&self, epoch: &Epoch, from: u64, to: u64) -> u64 {
        self.newer(epoch, from).map(|topic| (topic.after(to) - topic.after(from)) as u64).sum()
    }

    /// The due time of the first update that it has not got. µs since the Unix epoch.
    pub fn waits_since_us(&self, epoch: &Epoch) -> Option<i64> {
        let next = |topic: &Topic| topic.entries[topic.after(self.version)].due_us;
        self.newer(epoch, self.version).map(next).min()
    }

    /// Those of its topics that have updates after a position.
    fn newer<'a>(&'a self, epoch: &'a Epoch, from: u64) -> impl Iterator<Item = &'a Topic> {
        let newer = move |topic: &&Topic| topic.entries.last().is_some_and(|entry| entry.version > from);
        let topics = epoch.topics.iter().enumerate();
        let known = |at: usize, topic: &Topic| {
            self.matched.get(at).copied().unwrap_or_else(|| self.matches(&topic.name))
        };
        topics.filter(move |(at, topic)| newer(topic) && known(*at, topic)).map(|(_, topic)| topic)
    }

    /// The `v` held of a topic, if it is there.
    pub fn holds(&self, epoch: &Epoch, topic: &str) -> Option<u64> {
        let at = epoch.topics.iter().position(|t| &*t.name == topic)?;
        self.held.get(at).filter(|held| held.lives).map(|held| held.v)
    }

    pub fn change_class(&mut self, class: u64, same: bool, judge: &mut Judge<'_>) {
        assert!(self.parts.is_none(), "an op was answered before the last part");
        assert!(self.first.is_none(), "an op was answered before the one before it was served");
        assert_eq!(class == self.class, same, "a change, and only a change, gives another class");
        self.class = class;
        self.pace.lose();
        let meaning = (self.patterns.clone(), self.interval_ms, judge.wire);
        let first = judge.registry.0.entry(class).or_insert_with(|| meaning.clone());
        assert_eq!(*first, meaning, "class {class} is used for another combination");
    }

    /// A new epoch begins for it: nothing held counts any more, what was asked for does.
    pub fn enter(&mut self, epoch: usize) {
        assert!(epoch > self.epoch, "{:?} goes back to epoch {epoch}", self.name);
        assert!(self.first.is_none(), "{:?} has an answer in two epochs", self.name);
        assert!(self.parts.is_none(), "{:?} has parts in two epochs", self.name);
        let fresh = Self::new(&self.name, epoch);
        let before = std::mem::replace(self, fresh);
        (self.patterns, self.interval_ms, self.class) = (before.patterns, before.interval_ms, before.class);
        self.heard_us = before.heard_us;
    }

    /// Learns of topics that were born since.
    pub fn grow(&mut self, epoch: &Epoch) {
        let topics = epoch.topics.len();
        self.held.resize(topics, Held::default());
        self.seen.resize(topics, 0);
        self.stepped.resize(topics, 0);
        for at in self.matched.len()..topics {
            let matched = self.matches(&epoch.topics[at].name);
            self.matched.push(matched);
        }
    }

    pub fn pretend(&mut self, epoch: &Epoch, version: u64) {
        self.grow(epoch);
        for (at, topic) in epoch.topics.iter().enumerate() {
            let newest = topic.at(version).filter(|_| self.matched[at]);
            self.held[at] = newest.map_or(Held::default(), |entry| Held {
                v: entry.v,
                lives: !entry.gone,
                table: entry.table.clone(),
            });
        }
    }

    pub fn drop_unmatched(&mut self, epoch: &Epoch) {
        self.grow(epoch);
        for at in 0..self.held.len() {
            if !self.matched[at] {
                self.held[at] = Held::default();
            }
        }
    }

    /// A whole batch or snapshot.
    pub fn apply(&mut self, frame: &Frame<'_>, moment: Moment, judge: &mut Judge<'_>) {
        let epoch = &judge.epochs[self.epoch];
        self.grow(epoch);
        self.heard_us = judge.now_us;
        let version = frame.version.unwrap_or_default();
        let first = self.first.take();
        self.check_order(frame.from, version, epoch);
        match (frame.from, &first) {
            (None, first) => self.begin_snapshot(first.as_ref(), version, epoch),
            (Some(from), Some(first)) => first.check_since(from, version, epoch),
            (Some(from), None) => {
                assert!(from <= self.version, "lost: from {from} is above {}", self.version);
                self.check_oldest(from, frame, epoch);
                self.check_pace(from, version, moment, epoch);
            }
        }
        if frame.from.is_none() || first.is_some() {
            self.pace.lose();
        }
        for sent in std::mem::take(&mut self.updates) {
            let name = &epoch.topics[sent.topic].name;
            assert!(self.matched[sent.topic], "{name} was not asked for");
            assert!(frame.from.is_some() || !sent.entry.gone, "{name} is gone, but stands in a snapshot");
            if let Some(first) = &first {
                assert!(first.covers(name), "{name} is not of this op's patterns");
                assert_eq!(sent.gap, sent.entry.skipped, "{name} has a gap right after subscribed");
            }
            self.take(&sent, frame.from, epoch);
        }
        self.move_to(version, epoch);
    }

    /// One update, which changes what is held unless it repeats it.
    fn take(&mut self, sent: &Sent, from: Option<u64>, epoch: &Epoch) {
        let (at, v) = (sent.topic, sent.entry.v);
        let topic = &epoch.topics[at];
        if let Mode::Stream(stream) = &*topic.mode {
            if stream.behind == Behind::Close {
                let name = &topic.name;
                assert_eq!(sent.gap, sent.entry.skipped, "{name}: a gap, where who is behind is closed");
            }
            if let Some(from) = from {
                // Of a topic that was not known, or not any more, nothing was missing when it came.
                let v_at = |position| {
                    let later = topic.entries[topic.after(position)..].iter();
                    let births = later.filter(|entry| entry.born && entry.v <= v).map(|entry| entry.v - 1);
                    births.chain(topic.at(position).map(|entry| entry.v)).max().unwrap_or_default()
                };
                assert!(sent.gap >= sent.entry.skipped, "{}: gap {}", topic.name, sent.gap);
                if sent.gap > sent.entry.skipped {
                    let exact = v - 1 - v_at(from);
                    assert!(
                        sent.gap == exact || sent.gap > 100,
                        "{}: gap {}, not {exact}",
                        topic.name,
                        sent.gap
                    );
                }
                let before = self.stepped[at].max(v_at(self.version));
                if v <= before {
                    return;
                }
                let missed = v - 1 - before;
                assert!(missed <= sent.gap, "{}: {missed} missing before {v}, gap {}", topic.name, sent.gap);
            }
            self.stepped[at] = v;
        } else {
            assert!(v >= self.seen[at], "v of {} goes back from {} to {v}", topic.name, self.seen[at]);
            if from.is_some() && self.held[at].lives && v <= self.held[at].v {
                return;
            }
        }
        self.seen[at] = self.seen[at].max(v);
        let held = &mut self.held[at];
        (held.v, held.lives) = (v, !sent.entry.gone);
        let keyed = matches!(*topic.mode, Mode::Keyed(_));
        match &sent.delta {
            Some((reset, set, del)) => {
                assert!(keyed && del.iter().all(|key| !set.contains_key(key)), "{}: {sent:?}", topic.name);
                assert!(from.is_some() || *reset, "{}: a table in a snapshot is whole", topic.name);
                let table = Rc::make_mut(&mut held.table);
                if *reset {
                    table.clear();
                }
                table.extend(set.clone());
                del.iter().for_each(|key| drop(table.remove(key)));
            }
            None => {
                assert!(!keyed || sent.entry.gone, "{}: a keyed topic without a table", topic.name);
                held.table = Rc::default();
            }
        }
    }

    /// Version order, each topic once unless it is a stream, nothing outside of what the frame says it covers.
    fn check_order(&self, from: Option<u64>, version: u64, epoch: &Epoch) {
        assert!(from.is_none_or(|from| from <= version), "from {from:?} above {version}");
        let mut last = 0;
        for Sent { entry, .. } in &self.updates {
            assert!(entry.version >= last, "updates out of version order");
            assert!(entry.version <= version, "an update of {} in a frame of {version}", entry.version);
            assert!(from.is_none_or(|from| entry.version > from), "an update at or below from {from:?}");
            last = entry.version;
        }
        let is_stream = |topic: usize| matches!(*epoch.topics[topic].mode, Mode::Stream(_));
        let mut topics: Vec<(usize, u64)> = self.updates.iter().map(|s| (s.topic, s.entry.v)).collect();
        topics.sort_unstable();
        for two in topics.windows(2) {
            assert!(
                two[0].0 != two[1].0 || (is_stream(two[0].0) && two[0].1 < two[1].1),
                "a topic appears twice"
            );
        }
    }

    fn begin_snapshot(&mut self, first: Option<&First>, version: u64, epoch: &Epoch) {
        if let Some(first) = first {
            assert_eq!(version, first.version, "subscribed tells the snapshot's version");
            if let Some((of, since)) = &first.since {
                // A snapshot that is shared may be of a moment at which more could be answered still.
                let answerable = epoch.floor_at(epoch.version())..=version;
                assert!(
                    **of != *epoch.name
                        || !answerable.contains(since)
                        || epoch.overran(|at| first.covers(&epoch.topics[at].name), *since, false),
                    "since {since} got a snapshot at {version} though {answerable:?} can be answered"
                );
            }
        }
        for (at, topic) in epoch.topics.iter().enumerate() {
            if first.map_or(self.matched[at], |first| first.covers(&topic.name)) {
                self.held[at] = Held::default();
            }
        }
    }

    /// `oldest` is never too late, and early by at most an interval.
    fn check_oldest(&self, from: u64, frame: &Frame<'_>, epoch: &Epoch) {
        if self.updates.is_empty() {
            assert_eq!(frame.oldest, None, "oldest without updates");
            return;
        }
        let oldest = frame.oldest.expect("a batch with updates has oldest");
        let ts = frame.ts.expect("a batch has ts");
        let fresh = self.updates.iter().filter(|sent| sent.entry.v > self.held[sent.topic].v);
        for Sent { entry, .. } in fresh {
            assert!(oldest <= entry.ts_us, "oldest {oldest} is later than an update's ts {}", entry.ts_us);
        }
        if let Some(due_us) = self.first_due_us(epoch, self.version) {
            assert!(oldest <= due_us, "oldest {oldest} is later than the first update's due time {due_us}");
        }
        let sent = self.updates.iter().map(|sent| sent.entry.ts_us.min(sent.entry.due_us));
        let exact = sent.chain(self.first_due_us(epoch, from)).min().unwrap_or(oldest);
        let early_us = exact - oldest;
        let early_max_us = (self.interval_ms as i64 * 1000).max((ts - exact) / EARLY_PART);
        assert!(early_us <= early_max_us, "oldest {oldest} is {early_us} µs early, not {early_max_us}");
    }

    fn check_pace(&mut self, from: u64, version: u64, moment: Moment, epoch: &Epoch) {
        if self.updates.is_empty() {
            self.pace.pass(moment);
        } else if self.interval_ms > 0 {
            let updates = self.updates(epoch, from, version);
            self.pace.take(self.interval_ms, (from == self.version, updates), moment);
        }
    }

    /// The due time of the first update after a position.
    fn first_due_us(&self, epoch: &Epoch, position: u64) -> Option<i64> {
        let matched = epoch.topics.iter().zip(&self.matched).filter(|(_, matched)| **matched);
        let next = matched.filter_map(|(topic, _)| topic.entries.get(topic.after(position)));
        next.min_by_key(|entry| entry.version).map(|entry| entry.due_us)
    }

    /// The position moves, and what is held is exactly the publisher's state there.
    pub fn move_to(&mut self, version: u64, epoch: &Epoch) {
        assert!(version >= self.version, "the position goes back from {} to {version}", self.version);
        self.version = version;
        self.grow(epoch);
        for (at, topic) in epoch.topics.iter().enumerate() {
            if !self.matched[at] {
                continue;
            }
            let entry = topic.at(version).filter(|entry| !entry.gone);
            let newest = entry.map(|entry| entry.v);
            if let (Mode::Keyed(_), Some(entry)) = (&*topic.mode, entry) {
                let name = &topic.name;
                assert_eq!(self.held[at].table, entry.table, "{:?} at {version}: table of {name}", self.name);
            }
            self.stepped[at] = self.stepped[at].max(topic.at(version).map_or(0, |entry| entry.v));
            let held = &self.held[at];
            let held = held.lives.then_some(held.v);
            // A snapshot without history shows nothing of a topic that has had no update since.
            let is_unshown = matches!(&*topic.mode, Mode::Stream(stream) if stream.snapshot_updates == 0);
            if held.is_none() && is_unshown {
                continue;
            }
            assert_eq!(held, newest, "{:?} at {version}: v held of {}", self.name, topic.name);
        }
    }
}

impl First {
    fn covers(&self, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern.as_str(), topic))
    }

    /// A batch right after `subscribed` answers a `since` that can be answered.
    fn check_since(&self, from: u64, version: u64, epoch: &Epoch) {
        let Some((of, since)) = &self.since else { panic!("a batch where a snapshot was due") };
        assert_eq!((from, self.version), (*since, *since), "the answer to since begins there");
        let answerable = epoch.floor_at(version)..=version;
        let can = **of == *epoch.name && answerable.contains(since);
        assert!(can, "since {of}:{since} was answered at {version}, though only {answerable:?} can be");
    }
}

/// A `*` is any one segment, at the end one or more.
fn matches(pattern: &str, topic: &str) -> bool {
    match (pattern.split_once('.'), topic.split_once('.')) {
        (None, _) => pattern == "*" || pattern == topic,
        (Some((first, below)), Some((segment, rest))) => {
            (first == "*" || first == segment) && matches(below, rest)
        }
        (Some(_), None) => false,
    }
}
