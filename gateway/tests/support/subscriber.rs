//! A model of one subscriber: it holds what it was sent and checks every frame against what the
//! publisher numbered. Whatever it asserts is a promise of the contract, sections 3 and 4.

use std::collections::{BTreeSet, HashMap, VecDeque};

use gateway::{config, topic::Pattern};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::publisher::{Entry, Publisher};

/// Batches that a class may fall behind before `oldest` may be coarser than one interval.
const EXACT_BATCHES: usize = 32;

/// A text frame from the gateway.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    pub op: &'a str,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    pub sub: Option<&'a str>,
    pub class: Option<u64>,
    pub topics: Option<Vec<&'a str>>,
    pub interval_ms: Option<u64>,
    pub epoch: Option<&'a str>,
    pub ts: Option<i64>,
    pub from: Option<u64>,
    pub version: Option<u64>,
    pub oldest: Option<i64>,
    #[serde(default)]
    pub more: bool,
    #[serde(borrow)]
    pub updates: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub code: Option<&'a RawValue>,
}

/// What a client asked, answered in order.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: Option<u64>,
    pub op: AskedOp,
}

#[derive(Debug, Clone)]
pub enum AskedOp {
    Subscribe {
        sub: String,
        topics: Vec<String>,
        interval_ms: Option<u64>,
        since: Option<(String, u64)>,
    },
    Unsubscribe {
        sub: String,
        topics: Option<Vec<String>>,
    },
    Ping,
    /// Anything that is to be refused with `error`.
    Bad,
}

/// What is held of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Held {
    v: u64,
    lives: bool,
}

/// What `subscribed` promised to come next.
#[derive(Debug)]
struct First {
    patterns: Vec<Pattern>,
    since: Option<(String, u64)>,
    version: u64,
}

#[derive(Debug)]
pub struct Sub {
    pub name: String,
    pub patterns: BTreeSet<String>,
    pub interval_ms: u64,
    pub class: u64,
    /// The position.
    pub version: u64,
    /// When a frame of it last came. µs, monotonic.
    pub heard_us: u64,
    first: Option<First>,
    held: Vec<Held>,
    /// Highest `v` seen of each topic.
    seen: Vec<u64>,
    /// Per topic known so far: whether a pattern matches it.
    matched: Vec<bool>,
    /// Parts so far: their `from` and `version`, and the updates.
    parts: Option<(Option<u64>, u64)>,
    updates: Vec<(usize, Entry)>,
}

/// Which class number stood for what, over all connections of a gateway.
#[derive(Debug, Default)]
pub struct Registry(HashMap<u64, (BTreeSet<String>, u64)>);

/// What a frame is judged by.
pub struct Judge<'a> {
    pub publisher: &'a Publisher,
    pub registry: &'a mut Registry,
    pub fanout: &'a config::Fanout,
    pub epoch: &'a str,
    pub now_us: u64,
}

#[derive(Debug, Default)]
pub struct Subscriber {
    pub subs: Vec<Sub>,
    pub asked: VecDeque<Asked>,
    pub errors: usize,
    pub draining: bool,
    /// Subscriptions of the connection before, to resume from: name, patterns, version.
    pub batches: u64,
    pub snapshots: u64,
    pub heartbeats: u64,
    pub resumed: u64,
    pub parts: u64,
}

impl Subscriber {
    pub fn sub(&self, name: &str) -> Option<&Sub> {
        self.subs.iter().find(|sub| sub.name == name)
    }

    /// Takes one text frame; panics where it breaks a promise.
    pub fn take(&mut self, text: &str, judge: &mut Judge<'_>) {
        let frame: Frame = serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"));
        match frame.op {
            "snapshot" | "batch" => self.on_data(&frame, text.len(), judge),
            "subscribed" => self.on_subscribed(&frame, judge),
            "unsubscribed" => self.on_unsubscribed(&frame, judge),
            "error" => {
                let asked = self.answered(&frame);
                assert!(matches!(asked, AskedOp::Bad), "{asked:?} was refused: {text}");
                assert_eq!(frame.code.map(RawValue::get), Some("4000"));
                self.errors += 1;
            }
            "pong" => assert!(matches!(self.answered(&frame), AskedOp::Ping) && frame.ts.is_some(), "{text}"),
            "notice" => {
                assert_eq!(frame.code.map(RawValue::get), Some("\"draining\""), "{text}");
                self.draining = true;
            }
            other => panic!("an unknown op {other}: {text}"),
        }
    }

    fn answered(&mut self, frame: &Frame<'_>) -> AskedOp {
        let asked = self.asked.pop_front().unwrap_or_else(|| panic!("{} answers nothing", frame.op));
        let id = frame.id.map(|id| id.get().parse().expect("ids are integers here"));
        assert_eq!(id, asked.id, "{} answers out of turn: {asked:?}", frame.op);
        asked.op
    }

    fn on_subscribed(&mut self, frame: &Frame<'_>, judge: &mut Judge<'_>) {
        let asked = self.answered(frame);
        let AskedOp::Subscribe { sub, topics, interval_ms, since } = asked else {
            panic!("subscribed answers {asked:?}")
        };
        assert_eq!(frame.sub, Some(&*sub));
        assert_eq!(frame.epoch, Some(judge.epoch));
        let class = frame.class.expect("subscribed has a class");
        let version = frame.version.expect("subscribed has a version");
        let at = self.subs.iter().position(|s| s.name == sub).unwrap_or_else(|| {
            self.subs.push(Sub::new(&sub));
            self.subs.len() - 1
        });
        let held = &mut self.subs[at];
        let (before, fresh) = ((held.patterns.clone(), held.interval_ms), held.patterns.is_empty());
        held.patterns.extend(topics.iter().cloned());
        if interval_ms.is_some() || fresh {
            held.interval_ms = offered(judge.fanout, interval_ms);
        }
        let told: BTreeSet<String> = frame.topics.iter().flatten().map(|t| t.to_string()).collect();
        assert_eq!(told, held.patterns, "subscribed tells the whole set");
        assert_eq!(frame.interval_ms, Some(held.interval_ms));
        held.change_class(class, before == (held.patterns.clone(), held.interval_ms), judge);
        held.matched.clear();
        held.heard_us = judge.now_us;
        let patterns: Vec<Pattern> = topics.iter().map(|t| Pattern::parse(t).unwrap()).collect();
        if let (true, Some((epoch, since))) = (fresh, &since)
            && epoch == judge.epoch
            && *since == version
        {
            // As if it had been held since then.
            held.version = version;
            held.pretend(judge.publisher, version);
        }
        if fresh {
            held.version = version;
        }
        held.first = Some(First { patterns, since, version });
        self.check_classes();
    }

    fn on_unsubscribed(&mut self, frame: &Frame<'_>, judge: &mut Judge<'_>) {
        let asked = self.answered(frame);
        let AskedOp::Unsubscribe { sub, topics } = asked else { panic!("unsubscribed answers {asked:?}") };
        assert_eq!(frame.sub, Some(&*sub));
        let told: BTreeSet<String> = frame.topics.iter().flatten().map(|t| t.to_string()).collect();
        let Some(at) = self.subs.iter().position(|s| s.name == sub) else {
            assert_eq!((told.len(), frame.class), (0, None), "nothing was subscribed as {sub:?}");
            return;
        };
        let held = &mut self.subs[at];
        let removed: BTreeSet<String> = match topics {
            None => held.patterns.clone(),
            Some(topics) => topics.into_iter().filter(|t| held.patterns.contains(t)).collect(),
        };
        assert_eq!(told, removed, "unsubscribed tells what was removed");
        let version = frame.version.expect("unsubscribed has a version");
        held.move_to(version, judge.publisher);
        held.heard_us = judge.now_us;
        held.patterns.retain(|p| !removed.contains(p));
        held.matched.clear();
        if held.patterns.is_empty() {
            assert_eq!(frame.class, None, "{sub:?} has ended");
            self.subs.remove(at);
        } else {
            let class = frame.class.expect("what is left has a class");
            held.change_class(class, removed.is_empty(), judge);
            held.drop_unmatched(judge.publisher);
        }
        self.check_classes();
    }

    fn check_classes(&self) {
        let classes: BTreeSet<u64> = self.subs.iter().map(|sub| sub.class).collect();
        assert_eq!(classes.len(), self.subs.len(), "two live subscriptions share a class");
    }

    fn on_data(&mut self, frame: &Frame<'_>, bytes: usize, judge: &mut Judge<'_>) {
        let class = frame.class.expect("every frame has a class");
        let Some(sub) = self.subs.iter_mut().find(|sub| sub.class == class) else {
            panic!("a {} of class {class}, which is no live subscription", frame.op)
        };
        let updates = frame.updates.as_ref().expect("every frame has updates");
        let single = updates.len() == 1;
        assert!(bytes <= judge.fanout.frame_bytes_max || single, "a frame of {bytes} bytes");
        assert!(frame.ts.is_some(), "every frame has a ts");
        assert_eq!(frame.op == "batch", frame.from.is_some(), "batches have a from, snapshots have none");
        let version = frame.version.expect("every frame has a version");
        match sub.parts.replace((frame.from, version)) {
            Some(first) => assert_eq!(first, (frame.from, version), "parts differ"),
            None => sub.updates.clear(),
        }
        for update in updates {
            let Some((topic, entry)) = judge.publisher.find(update.get()) else {
                panic!("nobody published {}", update.get())
            };
            sub.updates.push((topic, entry.clone()));
        }
        if frame.more {
            self.parts += 1;
            assert_eq!(frame.oldest, None, "oldest stands on the last part");
            return;
        }
        sub.parts = None;
        match frame.from {
            Some(_) if sub.updates.is_empty() => self.heartbeats += 1,
            Some(_) => self.batches += 1,
            None => self.snapshots += 1,
        }
        self.resumed +=
            u64::from(sub.first.as_ref().is_some_and(|f| f.since.is_some()) && frame.from.is_some());
        sub.apply(frame, judge);
    }

    /// Every subscription holds exactly the newest state.
    pub fn check_newest(&self, publisher: &Publisher) {
        for sub in &self.subs {
            assert!(sub.first.is_none() && sub.parts.is_none(), "{:?} still waits", sub.name);
            for (at, topic) in publisher.topics.iter().enumerate() {
                let newest = topic.entries.last().filter(|entry| !entry.gone).map(|entry| entry.v);
                let held = sub.held.get(at).filter(|held| held.lives).map(|held| held.v);
                if sub.matches(&topic.name) {
                    assert_eq!(held, newest, "{:?} at {} of {}", sub.name, sub.version, topic.name);
                }
            }
        }
    }
}

impl Sub {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            patterns: BTreeSet::new(),
            interval_ms: 0,
            class: 0,
            version: 0,
            heard_us: 0,
            first: None,
            held: Vec::new(),
            seen: Vec::new(),
            matched: Vec::new(),
            parts: None,
            updates: Vec::new(),
        }
    }

    pub fn matches(&self, topic: &str) -> bool {
        self.patterns.iter().any(|p| matches(p, topic))
    }

    /// The `v` held of a topic, if it is there.
    pub fn holds(&self, publisher: &Publisher, topic: &str) -> Option<u64> {
        let at = publisher.topics.iter().position(|t| &*t.name == topic)?;
        self.held.get(at).filter(|held| held.lives).map(|held| held.v)
    }

    fn change_class(&mut self, class: u64, same: bool, judge: &mut Judge<'_>) {
        assert!(self.parts.is_none(), "an op was answered before the last part");
        assert!(self.first.is_none(), "an op was answered before the one before it was served");
        assert_eq!(class == self.class, same, "a change, and only a change, gives another class");
        self.class = class;
        let meaning = (self.patterns.clone(), self.interval_ms);
        let first = judge.registry.0.entry(class).or_insert_with(|| meaning.clone());
        assert_eq!(*first, meaning, "class {class} is used for another combination");
    }

    /// Learns of topics that were born since.
    fn grow(&mut self, publisher: &Publisher) {
        let topics = publisher.topics.len();
        self.held.resize(topics, Held::default());
        self.seen.resize(topics, 0);
        for at in self.matched.len()..topics {
            let matched = self.matches(&publisher.topics[at].name);
            self.matched.push(matched);
        }
    }

    fn pretend(&mut self, publisher: &Publisher, version: u64) {
        self.grow(publisher);
        for (at, topic) in publisher.topics.iter().enumerate() {
            let newest = topic.at(version).filter(|_| self.matched[at]);
            self.held[at] = newest.map_or(Held::default(), |entry| Held { v: entry.v, lives: !entry.gone });
        }
    }

    fn drop_unmatched(&mut self, publisher: &Publisher) {
        self.grow(publisher);
        for at in 0..self.held.len() {
            if !self.matched[at] {
                self.held[at] = Held::default();
            }
        }
    }

    /// A whole batch or snapshot.
    fn apply(&mut self, frame: &Frame<'_>, judge: &mut Judge<'_>) {
        self.grow(judge.publisher);
        self.heard_us = judge.now_us;
        let version = frame.version.unwrap_or_default();
        let first = self.first.take();
        self.check_order(frame.from, version);
        match (frame.from, &first) {
            (None, first) => self.begin_snapshot(first.as_ref(), version, judge),
            (Some(from), Some(first)) => first.check_since(from, version, judge),
            (Some(from), None) => {
                assert!(from <= self.version, "lost: from {from} is above {}", self.version);
                self.check_oldest(from, version, frame.oldest, judge);
            }
        }
        for i in 0..self.updates.len() {
            let (topic, ref entry) = self.updates[i];
            let (v, lives) = (entry.v, !entry.gone);
            let name = &judge.publisher.topics[topic].name;
            assert!(self.matched[topic], "{name} was not asked for");
            assert!(v >= self.seen[topic], "v of {name} goes back from {} to {v}", self.seen[topic]);
            assert!(frame.from.is_some() || lives, "{name} is gone, but stands in a snapshot");
            if let Some(first) = &first {
                assert!(first.covers(name), "{name} is not of this op's patterns");
            }
            self.seen[topic] = v;
            self.held[topic] = Held { v, lives };
        }
        self.move_to(version, judge.publisher);
    }

    /// Version order, each topic once, nothing outside of what the frame says it covers.
    fn check_order(&self, from: Option<u64>, version: u64) {
        assert!(from.is_none_or(|from| from <= version), "from {from:?} above {version}");
        let mut last = 0;
        for (_, entry) in &self.updates {
            assert!(entry.version >= last, "updates out of version order");
            assert!(entry.version <= version, "an update of {} in a frame of {version}", entry.version);
            assert!(from.is_none_or(|from| entry.version > from), "an update at or below from {from:?}");
            last = entry.version;
        }
        let mut topics: Vec<usize> = self.updates.iter().map(|(topic, _)| *topic).collect();
        topics.sort_unstable();
        assert!(topics.windows(2).all(|two| two[0] != two[1]), "a topic appears twice");
    }

    fn begin_snapshot(&mut self, first: Option<&First>, version: u64, judge: &Judge<'_>) {
        if let Some(first) = first {
            assert_eq!(version, first.version, "subscribed tells the snapshot's version");
            if let Some((epoch, since)) = &first.since {
                let answerable = judge.publisher.floor_at(version)..=version;
                assert!(
                    epoch != judge.epoch || !answerable.contains(since),
                    "since {since} got a snapshot at {version} though {answerable:?} can be answered"
                );
            }
        }
        for (at, topic) in judge.publisher.topics.iter().enumerate() {
            if first.map_or(self.matched[at], |first| first.covers(&topic.name)) {
                self.held[at] = Held::default();
            }
        }
    }

    /// `oldest` is never too late, and early by at most an interval.
    fn check_oldest(&self, from: u64, version: u64, oldest: Option<i64>, judge: &Judge<'_>) {
        if self.updates.is_empty() {
            assert_eq!(oldest, None, "oldest without updates");
            return;
        }
        let oldest = oldest.expect("a batch with updates has oldest");
        let publisher = judge.publisher;
        let fresh = self.updates.iter().filter(|(topic, entry)| entry.v > self.held[*topic].v);
        for (_, entry) in fresh {
            assert!(oldest <= entry.ts_us, "oldest {oldest} is later than an update's ts {}", entry.ts_us);
        }
        if let Some(due_us) = self.first_due_us(publisher, self.version) {
            assert!(oldest <= due_us, "oldest {oldest} is later than the first update's due time {due_us}");
        }
        if publisher.batches_between(from, version) <= EXACT_BATCHES {
            let sent = self.updates.iter().map(|(_, entry)| entry.ts_us.min(entry.due_us));
            let exact = sent.chain(self.first_due_us(publisher, from)).min().unwrap_or(oldest);
            let early_us = exact - oldest;
            assert!(early_us <= self.interval_ms as i64 * 1000, "oldest {oldest} is {early_us} µs early");
        }
    }

    /// The due time of the first update after a position.
    fn first_due_us(&self, publisher: &Publisher, position: u64) -> Option<i64> {
        let matched = publisher.topics.iter().zip(&self.matched).filter(|(_, matched)| **matched);
        let next = matched.filter_map(|(topic, _)| topic.entries.get(topic.after(position)));
        next.min_by_key(|entry| entry.version).map(|entry| entry.due_us)
    }

    /// The position moves, and what is held is exactly the publisher's state there.
    fn move_to(&mut self, version: u64, publisher: &Publisher) {
        assert!(version >= self.version, "the position goes back from {} to {version}", self.version);
        self.version = version;
        self.grow(publisher);
        for (at, topic) in publisher.topics.iter().enumerate() {
            if !self.matched[at] {
                continue;
            }
            let newest = topic.at(version).filter(|entry| !entry.gone).map(|entry| entry.v);
            let held = self.held[at];
            let held = held.lives.then_some(held.v);
            assert_eq!(held, newest, "{:?} at {version}: v held of {}", self.name, topic.name);
        }
    }
}

impl First {
    fn covers(&self, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(topic))
    }

    /// A batch right after `subscribed` answers a `since` that can be answered.
    fn check_since(&self, from: u64, version: u64, judge: &Judge<'_>) {
        let Some((epoch, since)) = &self.since else { panic!("a batch where a snapshot was due") };
        assert_eq!((from, self.version), (*since, *since), "the answer to since begins there");
        let answerable = judge.publisher.floor_at(version)..=version;
        let can = epoch == judge.epoch && answerable.contains(since);
        assert!(can, "since {epoch}:{since} was answered at {version}, though only {answerable:?} can be");
    }
}

fn matches(pattern: &str, topic: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => topic.len() > prefix.len() && topic.starts_with(prefix),
        None => pattern == topic,
    }
}

/// The contract's rounding of intervals.
fn offered(fanout: &config::Fanout, asked_ms: Option<u64>) -> u64 {
    let ms = |duration: std::time::Duration| duration.as_millis() as u64;
    let asked = asked_ms.unwrap_or(ms(fanout.interval)).max(ms(fanout.interval_min));
    let mut menu = fanout.interval_menu.iter().map(|entry| ms(*entry));
    menu.clone().find(|entry| *entry >= asked).or(menu.next_back()).unwrap_or(asked)
}
