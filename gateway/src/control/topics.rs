//! The gateway's topics: ids, counts, last values and the bounded memory of removed ones.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write,
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use serde::Serialize;

use super::{
    deadlines::{Band, Deadlines},
    item::{Body, Item, Why, check_value},
    state::{Kept, Saved},
    table::{self, Preview, changes_of},
};
use crate::{
    changes::{Base, Changes},
    clock::Now,
    config::{
        Limits,
        policy::{Keyed, Mode, Policies, Policy},
        unit::show_duration,
    },
    planted::{Bug, planted},
    status::State,
    table::Table,
    topic::check_topic,
    update::{Op, TopicId, Update},
};

/// A topic as `GET /topics` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub topic: Arc<str>,
    pub v: u64,
    /// Microseconds since the Unix epoch.
    pub ts: i64,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    v: u64,
    version: u64,
    ts_us: i64,
    gone: bool,
    /// As in [`Update::json`].
    json: Bytes,
    policy: Arc<Policy>,
    /// Of a keyed topic.
    table: Option<Box<Table>>,
    /// The publisher's count of the last update that had one.
    seq: Option<u64>,
    /// Where there is a deadband.
    band: Option<Box<Band>>,
    /// When an update came last, sent or held back. µs, monotonic.
    touched_us: u64,
    /// As it was told last.
    state: State,
    /// It comes from an earlier run and had no update in this one.
    is_restored: bool,
}

impl Topic {
    /// Takes over an update's count; gives the number of updates that are missing before it.
    fn count(&mut self, item: &Item, changes: Option<&Changes>) -> u64 {
        let Some(seq) = item.seq else { return 0 };
        let is_whole = changes.is_some_and(|changes| changes.base != Base::Held);
        let skipped = if is_whole { 0 } else { seq.skipped(self.seq) };
        self.seq = Some(seq.last);
        skipped
    }
}

/// What earlier items of the same group would do, none of which is applied yet.
#[derive(Debug, Default)]
pub struct Group<'a> {
    /// It has one item only, so that nothing needs to be previewed.
    is_single: bool,
    /// Topics that they bring to life.
    births: HashSet<&'a str>,
    tables: HashMap<&'a str, Preview>,
}

impl Counters {
    fn skip(&mut self, skipped: u64) {
        self.gaps += u64::from(skipped > 0);
        self.skipped += skipped;
    }
}

impl Group<'_> {
    /// Of so many items.
    pub fn of(items: usize) -> Self {
        Self { is_single: items == 1, ..Self::default() }
    }
}

/// A topic's state has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub topic: Arc<str>,
    pub state: State,
    pub reason: String,
}

/// What topics count beside their updates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Publishers' counts that stepped by more than one, and the updates missing by them.
    pub gaps: u64,
    pub skipped: u64,
    /// Updates that a deadband held back, also those that a newer one took the place of.
    pub held_back: u64,
    pub expired: u64,
    /// Changes of topics' states that were not told, since too many came at once.
    pub events_dropped: u64,
}

/// All topics by name, and the tombstones of those removed lately.
#[derive(Debug)]
pub struct Topics {
    by_name: BTreeMap<Arc<str>, Topic>,
    live: usize,
    live_max: usize,
    /// Removed topics that are still remembered, oldest first.
    tombstones: BTreeMap<(u64, TopicId), Arc<str>>,
    tombstones_max: usize,
    tombstones_dropped: u64,
    value_bytes_max: usize,
    policies: Policies,
    deadlines: Deadlines,
    events: Vec<Event>,
    counters: Counters,
    /// Keys of all tables.
    keys: usize,
    /// Ids of forgotten topics, to be given out again.
    free: Vec<TopicId>,
    ids: u32,
    /// The highest `v` of any forgotten topic: a topic that is born starts one above, so that no `v` goes back.
    v_floor: u64,
    scratch: Vec<u8>,
}

impl Topics {
    pub fn new(limits: &Limits, policies: Policies) -> Self {
        Self {
            by_name: BTreeMap::new(),
            live: 0,
            live_max: limits.topics,
            tombstones: BTreeMap::new(),
            tombstones_max: limits.tombstones,
            tombstones_dropped: 0,
            value_bytes_max: limits.value_bytes,
            policies,
            deadlines: Deadlines::default(),
            events: Vec::new(),
            counters: Counters::default(),
            keys: 0,
            free: Vec::new(),
            ids: 0,
            v_floor: 0,
            scratch: Vec::new(),
        }
    }

    /// Whether `item` may be applied, after those of its `group` before it; with what it changes where its
    /// topic is keyed.
    pub fn admit<'a>(&self, item: &'a Item, group: &mut Group<'a>) -> Result<Option<Arc<Changes>>, Why> {
        check_value(&item.topic, item.body.bytes(), self.value_bytes_max)?;
        let known = self.by_name.get(&*item.topic);
        let lives = known.is_some_and(|t| !t.gone) || group.births.contains(&*item.topic);
        if item.body.is_gone() && !lives {
            return Err(Why::Unknown { topic: item.topic.clone() });
        }
        if known.is_none() && !lives {
            check_topic(&item.topic)?;
        }
        if !lives && self.live + group.births.len() >= self.live_max {
            return Err(Why::TooMany { topic: item.topic.clone(), max: self.live_max });
        }
        let changes = match self.mode(&item.topic) {
            Mode::Keyed(bounds) => {
                let changes = changes_of(item)?;
                let table = known.and_then(|topic| topic.table.as_deref());
                check_table(table, item, &changes, bounds, group)?;
                Some(changes)
            }
            _ if matches!(item.body, Body::Changes(_)) => {
                return Err(Why::NotKeyed { topic: item.topic.clone() });
            }
            _ => None,
        };
        if !lives {
            group.births.insert(&item.topic);
        }
        Ok(changes.filter(|_| !item.body.is_gone()))
    }

    /// Whether the publisher's count says that the topic has it already.
    pub fn repeats(&self, item: &Item) -> bool {
        let (Some(seq), Some(topic)) = (item.seq, self.by_name.get(&*item.topic)) else { return false };
        seq.repeats(topic.seq)
    }

    /// Whether the topic's deadband holds an admitted item back; it keeps it then.
    pub fn hold(&mut self, item: &Item, now_us: u64) -> bool {
        let Some(topic) = self.by_name.get_mut(&*item.topic).filter(|topic| !topic.gone) else {
            return false;
        };
        let (Some(deadband), Some(band)) = (&topic.policy.deadband, &mut topic.band) else { return false };
        if !self.deadlines.hold(topic.id, band, deadband, item, now_us) {
            return false;
        }
        topic.touched_us = now_us;
        let skipped = topic.count(item, None);
        self.counters.skip(skipped);
        self.counters.held_back += 1;
        true
    }

    /// The next item that time alone brings about: a value held back until now, or the end of a topic.
    pub fn due(&mut self, now_us: u64) -> Option<Item> {
        // It was counted when it was held back.
        if let Some(item) = self.deadlines.released(now_us) {
            return Some(Item { seq: None, ..item });
        }
        self.look_for_stale(now_us);
        while let Some((id, name)) = self.deadlines.expiring(now_us) {
            let Some(topic) = self.by_name.get(&name).filter(|topic| topic.id == id && !topic.gone) else {
                continue;
            };
            let Some(expiry) = topic.policy.expiry else { continue };
            let at_us = topic.touched_us + expiry.as_micros() as u64;
            if at_us <= now_us {
                self.counters.expired += 1;
                return Some(Item { topic: name, body: Body::Gone, seq: None, ts_us: None, due_us: 0 });
            }
            self.deadlines.expire_at(at_us, id, name);
        }
        None
    }

    /// Topics without an update for their `stale_after`.
    fn look_for_stale(&mut self, now_us: u64) {
        while let Some((id, name)) = self.deadlines.aging(now_us) {
            let Some(topic) = self.by_name.get_mut(&name).filter(|topic| topic.id == id && !topic.gone)
            else {
                continue;
            };
            let Some(stale_after) = topic.policy.stale_after else { continue };
            let at_us = topic.touched_us + stale_after.as_micros() as u64;
            if at_us > now_us {
                self.deadlines.stale_at(at_us, id, name);
                continue;
            }
            // It is looked at again when an update has come.
            topic.state = State::Stale;
            let reason = format!("nothing came for {}", show_duration(stale_after));
            self.tell(&name, State::Stale, reason);
        }
    }

    /// Numbers an admitted item and appends what the shards have to do. `changes`: as admitted. `now_us`:
    /// monotonic.
    pub fn apply(
        &mut self,
        item: &Item,
        changes: Option<Arc<Changes>>,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        self.enter(item, changes, None, version, now_us, ops);
    }

    /// As [`Topics::apply`], with a `v` that another gateway gave.
    pub fn apply_as(
        &mut self,
        item: &Item,
        changes: Option<Arc<Changes>>,
        v: u64,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        self.enter(item, changes, Some(v), version, now_us, ops);
    }

    /// Everything held ends, as if there had never been a topic.
    pub fn restart(&mut self) {
        self.by_name.clear();
        self.tombstones.clear();
        self.free.clear();
        self.deadlines = Deadlines::default();
        (self.live, self.keys, self.ids, self.v_floor) = (0, 0, 0, 0);
    }

    /// Takes over a topic of an earlier run, at `version`. It is stale until an update comes.
    pub fn restore(&mut self, kept: &Kept, version: u64, now: Now, ops: &mut Vec<Op>) -> Result<(), Why> {
        let Kept { topic: name, mode, v, ts_us, seq, body } = kept;
        let (ts_us, due_us) = (Some(*ts_us), now.wall_us);
        let item = Item { topic: name.clone(), body: body.clone(), seq: None, ts_us, due_us };
        let holds = self.policies.of(name).mode.name();
        if holds != mode {
            let (topic, was) = (name.clone(), mode.clone());
            return Err(Why::OtherMode { topic, was, holds });
        }
        let changes = self.admit(&item, &mut Group::of(1))?;
        self.apply_as(&item, changes, *v, version, now.mono_us, ops);
        if let Some(topic) = self.by_name.get_mut(name) {
            (topic.seq, topic.state, topic.is_restored) = (*seq, State::Stale, true);
        }
        Ok(())
    }

    /// A topic that is born starts above it.
    pub fn set_v_floor(&mut self, v_floor: u64) {
        self.v_floor = v_floor;
    }

    /// All topics, as they are written to disk, and the `v` that a new one has to start above.
    pub fn save(&self) -> (Vec<Saved>, u64) {
        let live = self.by_name.values().filter(|topic| !topic.gone);
        let saved = live.map(|topic| Saved {
            mode: topic.policy.mode.name(),
            seq: topic.seq,
            json: topic.json.clone(),
            table: topic.table.as_ref().map(|table| table::object(table)),
        });
        let gone = self.by_name.values().filter(|topic| topic.gone).map(|topic| topic.v);
        (saved.collect(), gone.max().unwrap_or(0).max(self.v_floor))
    }

    /// Whether the topic has had the update with this `v`.
    pub fn has(&self, name: &str, v: u64) -> bool {
        self.by_name.get(name).is_some_and(|topic| topic.v >= v)
    }

    /// Whether an item changes a table that is not there.
    pub fn lacks_base(&self, item: &Item) -> bool {
        matches!(&item.body, Body::Changes(changes) if changes.base == Base::Held)
            && self.by_name.get(&*item.topic).is_none_or(|topic| topic.gone)
    }

    /// Topics that exist and are not among `names`, with their `v`.
    pub fn others(&self, names: &HashSet<&str>) -> Vec<(Arc<str>, u64)> {
        let others = self.by_name.iter().filter(|(name, topic)| !topic.gone && !names.contains(&***name));
        others.map(|(name, topic)| (name.clone(), topic.v)).collect()
    }

    fn enter(
        &mut self,
        item: &Item,
        changes: Option<Arc<Changes>>,
        v: Option<u64>,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        let is_new = !self.by_name.contains_key(&*item.topic);
        if is_new {
            self.give_birth(&item.topic, ops);
        }
        let topic = self.by_name.get_mut(&*item.topic).expect("it was born above at the latest");
        match (topic.gone, item.body.is_gone()) {
            (true, false) => {
                self.tombstones.remove(&(topic.version, topic.id));
                self.live += 1;
                if let Some(expiry) = topic.policy.expiry {
                    let at_us = now_us + expiry.as_micros() as u64;
                    self.deadlines.expire_at(at_us, topic.id, item.topic.clone());
                }
                if let Some(stale_after) = topic.policy.stale_after {
                    let at_us = now_us + stale_after.as_micros() as u64;
                    self.deadlines.stale_at(at_us, topic.id, item.topic.clone());
                }
            }
            (false, true) => {
                self.tombstones.insert((version, topic.id), item.topic.clone());
                self.live -= 1;
            }
            _ => {}
        }
        topic.gone = item.body.is_gone();
        let (seq_before, mut told) = (topic.seq, None);
        let skipped = match v {
            // Of a topic that was not known nothing is missing.
            Some(_) if is_new => 0,
            Some(v) => v - topic.v - 1,
            None => topic.count(item, changes.as_deref()),
        };
        if v.is_none() {
            self.counters.skip(skipped);
            let is_whole = changes.as_ref().is_none_or(|changes| changes.base != Base::Held);
            let state = match (topic.state, skipped) {
                (_, 1..) if !topic.gone => State::Gap,
                // A table stays incomplete until all of it comes.
                (State::Gap, _) if !is_whole => State::Gap,
                _ => State::Live,
            };
            if topic.state == State::Stale
                && let Some(stale_after) = topic.policy.stale_after
            {
                let at_us = now_us + stale_after.as_micros() as u64;
                self.deadlines.stale_at(at_us, topic.id, item.topic.clone());
            }
            if state != topic.state || skipped > 0 {
                topic.state = state;
                let reason = match (skipped, seq_before, item.seq) {
                    (1.., Some(before), Some(seq)) => {
                        format!("seq stepped from {before} to {}: {skipped} updates are missing", seq.last)
                    }
                    _ => String::new(),
                };
                told = Some((state, reason));
            }
        }
        if topic.gone {
            topic.seq = None;
        }
        // Of a stream each counts, also one that never came. A step beyond 32 bits is no count any more.
        let is_stream = matches!(*topic.policy.mode, Mode::Stream(_));
        let skipped = if is_stream { u32::try_from(skipped).unwrap_or(u32::MAX) } else { 0 };
        if let (Some(deadband), Some(band)) = (&topic.policy.deadband, &mut topic.band) {
            self.deadlines.sent(topic.id, band, deadband, item, now_us);
        }
        topic.is_restored = false;
        topic.touched_us = now_us;
        topic.v =
            v.unwrap_or(topic.v + 1 + u64::from(skipped) - u64::from(planted(Bug::VStands) && topic.v > 0));
        topic.version = version;
        topic.ts_us = item.ts_us.unwrap_or(item.due_us);
        let keys_before = topic.table.as_ref().map_or(0, |table| table.len());
        let changes = match changes {
            Some(changes) => Some(table::apply(topic.table.get_or_insert_default(), &changes)),
            None => {
                topic.table = None;
                None
            }
        };
        self.keys = self.keys + topic.table.as_ref().map_or(0, |table| table.len()) - keys_before;
        topic.json = encode(&mut self.scratch, item, changes.is_some(), topic.v, topic.ts_us);
        ops.push(Op::Update(Update {
            topic: topic.id,
            version,
            v: topic.v,
            ts_us: topic.ts_us,
            due_us: item.due_us,
            gone: topic.gone,
            skipped,
            json: topic.json.clone(),
            changes,
        }));
        if let Some((state, reason)) = told {
            self.tell(&item.topic, state, reason);
        }
        while self.tombstones.len() > self.tombstones_max {
            self.forget_oldest(ops);
        }
    }

    /// As many changes as there may be topics wait to be told; what is beyond is only counted.
    fn tell(&mut self, topic: &Arc<str>, state: State, reason: String) {
        if self.events.len() < self.live_max {
            self.events.push(Event { topic: topic.clone(), state, reason });
        } else {
            self.counters.events_dropped += 1;
        }
    }

    /// The topic's last update as JSON; `None` where there is no such topic.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        let topic = self.by_name.get(name).filter(|t| !t.gone)?;
        let mut json = match &topic.table {
            None => topic.json.clone(),
            Some(table) => [&topic.json[..], br#""data":"#, &table::object(table), b"}"].concat().into(),
        };
        if topic.is_restored {
            json = [&json[..json.len() - 1], br#","stale":true}"#].concat().into();
        }
        Some(json)
    }

    /// At most `limit` topics whose names begin with `prefix` and come after `after`, in order.
    pub fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<Row> {
        let from = if after >= prefix && !after.is_empty() {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        self.by_name
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(_, t)| !t.gone)
            .take(limit)
            .map(|(name, t)| Row { topic: name.clone(), v: t.v, ts: t.ts_us })
            .collect()
    }

    /// Changes of topics' states since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Topics that exist, and tombstones.
    pub fn count(&self) -> (usize, usize) {
        (self.live, self.tombstones.len())
    }

    /// Of a topic, be it there or not.
    pub fn mode(&self, name: &str) -> &Mode {
        self.by_name.get(name).map_or_else(|| &*self.policies.of(name).mode, |topic| &topic.policy.mode)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Values that deadbands hold back.
    pub fn held_back(&self) -> usize {
        self.deadlines.held()
    }

    /// Keys of all keyed topics.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Since the start.
    pub fn tombstones_dropped(&self) -> u64 {
        self.tombstones_dropped
    }

    fn give_birth(&mut self, name: &Arc<str>, ops: &mut Vec<Op>) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.ids += 1;
            TopicId(self.ids - 1)
        });
        // As its own tombstone it comes to life by its first update like any topic that comes back.
        let policy = self.policies.of(name).clone();
        let mode = policy.mode.clone();
        let unborn = Topic {
            id,
            v: self.v_floor,
            version: 0,
            ts_us: 0,
            gone: true,
            json: Bytes::new(),
            band: policy.deadband.as_ref().map(|_| Box::default()),
            policy,
            table: None,
            seq: None,
            state: State::Live,
            is_restored: false,
            touched_us: 0,
        };
        self.by_name.insert(name.clone(), unborn);
        ops.push(Op::Birth { topic: id, name: name.clone(), mode });
    }

    fn forget_oldest(&mut self, ops: &mut Vec<Op>) {
        let Some(((_, id), name)) = self.tombstones.pop_first() else { return };
        if let Some(topic) = self.by_name.remove(&name) {
            self.v_floor = self.v_floor.max(topic.v);
        }
        self.free.push(id);
        self.tombstones_dropped += 1;
        ops.push(Op::Forget { topic: id });
    }
}

/// Holds what `changes` would leave against the topic's bounds.
fn check_table<'a>(
    table: Option<&Table>,
    item: &'a Item,
    changes: &Changes,
    bounds: &Keyed,
    group: &mut Group<'a>,
) -> Result<(), Why> {
    let (keys, bytes) = table.map_or((0, 0), |table| (table.len(), table.bytes()));
    let fits = keys + changes.len() <= bounds.keys && bytes + changes.bytes() <= bounds.table_bytes;
    if fits && group.is_single {
        return Ok(());
    }
    let preview = group.tables.entry(&item.topic).or_insert_with(|| Preview::of(table));
    preview.enter(table, changes, &item.topic, bounds)
}

/// The update as it stands in frames, or its head before `changes`. A topic's characters need no
/// escaping. The copy is as long as the update: last values live long.
fn encode(scratch: &mut Vec<u8>, item: &Item, changes: bool, v: u64, ts_us: i64) -> Bytes {
    scratch.clear();
    let head = write!(scratch, r#"{{"topic":"{}","v":{v},"ts":{ts_us},"#, item.topic);
    head.expect("writing to memory does not fail");
    match &item.body {
        Body::Gone => scratch.extend_from_slice(br#""gone":true}"#),
        Body::Data(data) if !changes => {
            scratch.extend_from_slice(br#""data":"#);
            scratch.extend_from_slice(data);
            scratch.push(b'}');
        }
        Body::Data(_) | Body::Changes(_) => {}
    }
    let json = Bytes::copy_from_slice(scratch);
    if scratch.capacity() > SCRATCH_BYTES_MAX {
        *scratch = Vec::new();
    }
    json
}

/// A rare long update must not keep its memory for good.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;
