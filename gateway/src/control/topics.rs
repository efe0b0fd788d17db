//! The gateway's topics: ids, counts, last values and the bounded memory of removed ones.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;

use crate::{
    config::Limits,
    topic::{BadTopic, check_topic},
    update::{Op, TopicId, Update},
};

/// An update on its way in, not yet numbered.
#[derive(Debug, Clone)]
pub struct Item {
    pub topic: Arc<str>,
    /// JSON, checked; passed on byte for byte. Unused when `gone`.
    pub data: Bytes,
    /// The publisher's own time. Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// When it was taken in or due. Microseconds since the Unix epoch.
    pub due_us: i64,
    /// Removes the topic.
    pub gone: bool,
}

/// Why an item was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    #[error(transparent)]
    BadTopic(#[from] BadTopic),
    #[error(
        "topic {topic} would be one too many: there are {max} already; raise [limits] topics or DELETE some"
    )]
    TooMany { topic: Arc<str>, max: usize },
    #[error(
        "data of topic {topic} has {bytes} bytes, [limits] value_bytes is {max}: divide it or raise that"
    )]
    TooLong { topic: Arc<str>, bytes: usize, max: usize },
    #[error("there is no topic {topic}")]
    Unknown { topic: Arc<str> },
}

/// `bytes_max`: `[limits] value_bytes`.
pub fn check_value(topic: &str, data: &[u8], bytes_max: usize) -> Result<(), Why> {
    if data.len() <= bytes_max {
        return Ok(());
    }
    Err(Why::TooLong { topic: topic.into(), bytes: data.len(), max: bytes_max })
}

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
    json: Bytes,
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
    /// Ids of forgotten topics, to be given out again.
    free: Vec<TopicId>,
    ids: u32,
    /// The highest `v` of any forgotten topic: a topic that is born starts one above, so that no `v` goes back.
    v_floor: u64,
    scratch: Vec<u8>,
}

impl Topics {
    pub fn new(limits: &Limits) -> Self {
        Self {
            by_name: BTreeMap::new(),
            live: 0,
            live_max: limits.topics,
            tombstones: BTreeMap::new(),
            tombstones_max: limits.tombstones,
            tombstones_dropped: 0,
            value_bytes_max: limits.value_bytes,
            free: Vec::new(),
            ids: 0,
            v_floor: 0,
            scratch: Vec::new(),
        }
    }

    /// Whether `item` may be applied. `births` are the topics that earlier items of the same group bring to life.
    pub fn admit<'a>(&self, item: &'a Item, births: &mut HashSet<&'a str>) -> Result<(), Why> {
        check_value(&item.topic, &item.data, self.value_bytes_max)?;
        let known = self.by_name.get(&*item.topic);
        if known.is_some_and(|t| !t.gone) || births.contains(&*item.topic) {
            return Ok(());
        }
        if item.gone {
            return Err(Why::Unknown { topic: item.topic.clone() });
        }
        if known.is_none() {
            check_topic(&item.topic)?;
        }
        if self.live + births.len() >= self.live_max {
            return Err(Why::TooMany { topic: item.topic.clone(), max: self.live_max });
        }
        births.insert(&item.topic);
        Ok(())
    }

    /// Numbers an admitted item and appends what the shards have to do.
    pub fn apply(&mut self, item: &Item, version: u64, ops: &mut Vec<Op>) {
        if !self.by_name.contains_key(&*item.topic) {
            self.give_birth(&item.topic, ops);
        }
        let topic = self.by_name.get_mut(&*item.topic).expect("it was born above at the latest");
        match (topic.gone, item.gone) {
            (true, false) => {
                self.tombstones.remove(&(topic.version, topic.id));
                self.live += 1;
            }
            (false, true) => {
                self.tombstones.insert((version, topic.id), item.topic.clone());
                self.live -= 1;
            }
            _ => {}
        }
        topic.gone = item.gone;
        topic.v += 1;
        topic.version = version;
        topic.ts_us = item.ts_us.unwrap_or(item.due_us);
        topic.json = encode(&mut self.scratch, item, topic.v, topic.ts_us);
        ops.push(Op::Update(Update {
            topic: topic.id,
            version,
            v: topic.v,
            ts_us: topic.ts_us,
            due_us: item.due_us,
            gone: topic.gone,
            json: topic.json.clone(),
        }));
        while self.tombstones.len() > self.tombstones_max {
            self.forget_oldest(ops);
        }
    }

    /// The topic's last update as JSON; `None` where there is no such topic.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.by_name.get(name).filter(|t| !t.gone).map(|t| t.json.clone())
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

    /// Topics that exist, and tombstones.
    pub fn count(&self) -> (usize, usize) {
        (self.live, self.tombstones.len())
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
        let unborn = Topic { id, v: self.v_floor, version: 0, ts_us: 0, gone: true, json: Bytes::new() };
        self.by_name.insert(name.clone(), unborn);
        ops.push(Op::Birth { topic: id, name: name.clone() });
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

/// The update as it stands in frames. A topic's characters need no escaping. The copy is as long as
/// the update: last values live long.
fn encode(scratch: &mut Vec<u8>, item: &Item, v: u64, ts_us: i64) -> Bytes {
    scratch.clear();
    let head = write!(scratch, r#"{{"topic":"{}","v":{v},"ts":{ts_us},"#, item.topic);
    head.expect("writing to memory does not fail");
    if item.gone {
        scratch.extend_from_slice(br#""gone":true}"#);
    } else {
        scratch.extend_from_slice(br#""data":"#);
        scratch.extend_from_slice(&item.data);
        scratch.push(b'}');
    }
    let json = Bytes::copy_from_slice(scratch);
    if scratch.capacity() > SCRATCH_BYTES_MAX {
        *scratch = Vec::new();
    }
    json
}

/// A rare long update must not keep its memory for good.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;
