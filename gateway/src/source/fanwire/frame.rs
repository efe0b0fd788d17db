//! What another gateway sends, read. No IO, no state.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use engine::{
    json::{
        members::{Members, Text, present},
        skip_byte_order_mark,
    },
    sequencer::{Body, Publication, UpstreamUpdate, seq::check_count},
    topic::{
        changes::{Base, Changes},
        encoded,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Any message; fields that its op does not have are absent.
#[derive(Deserialize)]
pub struct UpstreamFrame<'a> {
    #[serde(borrow)]
    pub op: Cow<'a, str>,
    /// Which subscription is answered.
    #[serde(borrow)]
    pub sub: Option<Cow<'a, str>>,
    pub class: Option<u64>,
    #[serde(borrow)]
    pub epoch: Option<Cow<'a, str>>,
    pub version: Option<u64>,
    /// Of a batch.
    pub from: Option<u64>,
    pub oldest: Option<i64>,
    #[serde(default)]
    pub more: bool,
    #[serde(default, borrow)]
    updates: Vec<FrameUpdate<'a>>,
    /// Of a status, and of what is subscribed.
    #[serde(default, borrow)]
    pub topics: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub state: Option<Cow<'a, str>>,
    /// Of an error or a status.
    #[serde(borrow)]
    pub reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct FrameUpdate<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    v: u64,
    ts: i64,
    #[serde(borrow)]
    by: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    gone: bool,
    #[serde(default)]
    reset: bool,
    #[serde(borrow)]
    set: Option<Members<'a>>,
    #[serde(borrow)]
    del: Option<Vec<Text<'a>>>,
}

impl<'a> UpstreamFrame<'a> {
    /// The error says what is wrong with it.
    pub fn parse(message: &'a [u8]) -> Result<Self, String> {
        let message = skip_byte_order_mark(message);
        let frame: Self =
            serde_json::from_slice(message).map_err(|e| format!("not a message of fanwire.json.v1: {e}"))?;
        frame.version.map_or(Ok(()), |version| check_count("version", 0, version))?;
        for update in &frame.updates {
            check_count("v", 1, update.v).map_err(|bad| format!("topic {}: {bad}", update.topic))?;
        }
        Ok(frame)
    }

    /// Its updates as publications, and how many bytes they hold. `due_us`: when it was taken in, µs since the
    /// Unix epoch.
    pub fn upstream_updates(&self, due_us: i64) -> Result<(Vec<UpstreamUpdate>, usize), String> {
        let updates: Vec<UpstreamUpdate> =
            self.updates.iter().map(|update| update.upstream_update(due_us)).collect::<Result<_, _>>()?;
        let bytes = updates.iter().map(|f| f.publication.topic.len() + f.publication.body.bytes()).sum();
        Ok((updates, bytes))
    }
}

impl FrameUpdate<'_> {
    fn upstream_update(&self, due_us: i64) -> Result<UpstreamUpdate, String> {
        let body = match self.data {
            _ if self.gone => Body::Gone,
            Some(data) => Body::Data(Bytes::copy_from_slice(data.get().as_bytes())),
            None if self.set.is_some() || self.del.is_some() || self.reset => {
                Body::Changes(self.changes()?.into())
            }
            None => return Err(format!("an update of {} with neither data, set, del nor gone", self.topic)),
        };
        if let Some(by) = self.by.as_ref().filter(|by| !encoded::is_segment(by)) {
            return Err(format!("an update of {} by {by:?}, which is no segment of a topic", self.topic));
        }
        let publication = Publication {
            ts_us: Some(self.ts),
            by: self.by.as_deref().map(Arc::from),
            ..Publication::new(&*self.topic, body, due_us)
        };
        Ok(UpstreamUpdate { publication, v: self.v })
    }

    /// With `reset` the whole table, of which only what differs is news here.
    fn changes(&self) -> Result<Changes, String> {
        let mut changes = Changes::new(if self.reset { Base::Whole } else { Base::Held });
        let (set, del) = (self.set.iter().flat_map(|set| &set.0), self.del.iter().flatten());
        for (key, value) in set {
            changes
                .set(key, value.get().as_bytes())
                .map_err(|long| format!("topic {}: {long}", self.topic))?;
        }
        for Text(key) in del.filter(|_| !self.reset) {
            changes.del(key).map_err(|long| format!("topic {}: {long}", self.topic))?;
        }
        Ok(changes)
    }
}
