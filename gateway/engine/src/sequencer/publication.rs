//! An update on its way in, and why it may be refused.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::seq::{Feed, Seq};
use crate::{
    json,
    protocol::reply::{BAD_REQUEST, FORBIDDEN, NO_ROOM},
    topic::{
        changes::{Changes, LongKey},
        name::BadTopic,
    },
};

/// An update on its way in, not yet numbered.
#[derive(Debug, Clone)]
pub struct Publication {
    pub topic: Arc<str>,
    pub body: Body,
    pub seq: Option<Seq>,
    /// The publisher's count begins anew with it.
    pub seq_reset: bool,
    /// `None`: a publisher gave it, a client, or the gateway itself.
    pub feed: Option<Feed>,
    /// The connection of the client that wrote it: never the same twice.
    pub writer: Option<u64>,
    /// The subject who wrote it, as one segment of a topic: a client's, also one of another gateway or an earlier run.
    pub by: Option<Arc<str>>,
    /// What names it, so that it is written once though it may come again.
    pub once: Option<Box<str>>,
    /// It was held back, and counted then.
    pub is_counted: bool,
    /// The publisher's own time. Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// When it was taken in or due. Microseconds since the Unix epoch.
    pub due_us: i64,
}

impl Publication {
    /// Without a count and a time of its own.
    pub fn new(topic: impl Into<Arc<str>>, body: Body, due_us: i64) -> Self {
        Self {
            topic: topic.into(),
            body,
            seq: None,
            seq_reset: false,
            feed: None,
            writer: None,
            by: None,
            once: None,
            is_counted: false,
            ts_us: None,
            due_us,
        }
    }

    /// In its place: its topic lacks it from now on, until all of the topic comes.
    pub fn lost(&self, why: &str) -> Self {
        Self { feed: self.feed, ..Self::new(self.topic.clone(), Body::Unread(why.into()), self.due_us) }
    }

    /// What it costs to apply at least: one for itself and one for each key that it names. How much a whole table
    /// changes its topic knows.
    pub fn changes(&self) -> usize {
        match &self.body {
            Body::Changes(changes) => 1 + changes.len(),
            Body::Data(_) | Body::Gone | Body::Unread(_) => 1,
        }
    }
}

#[derive(Debug, Clone)]
pub enum Body {
    /// JSON, checked; passed on byte for byte. On a keyed topic an object, the whole table.
    Data(Bytes),
    /// For a keyed topic.
    Changes(Arc<Changes>),
    /// Removes the topic.
    Gone,
    /// An update came and cannot be read; why. It is refused in its turn, after what came before it.
    Unread(Arc<str>),
}

impl Body {
    /// Of its data or its keys and values.
    pub fn bytes(&self) -> usize {
        match self {
            Body::Data(data) => data.len(),
            Body::Changes(changes) => changes.bytes(),
            Body::Gone | Body::Unread(_) => 0,
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Body::Gone)
    }
}

/// Why a publication was refused.
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
    #[error("topic {topic}: {why}")]
    TooDeep { topic: Arc<str>, why: String },
    #[error(
        "a change of topic {topic} came, which was not taken over whole before; look at what was refused"
    )]
    NotHeld { topic: Arc<str> },
    #[error("topic {topic} was {was} when it was saved and is {holds} now ([[topic]] mode): it begins anew")]
    OtherMode { topic: Arc<str>, was: String, holds: &'static str },
    #[error(
        "the inbox of a shard had no room for so long as [limits] admin_body allows: /metrics tells which \
         (fanwire_inbox_updates, fanwire_shard_up); try again, or publish less at once"
    )]
    Late,
    #[error(
        "{max} names of once are remembered, the most ([limits] once_names): raise that, or lower once_for"
    )]
    TooManyNames { max: usize },
    #[error("there is no topic {topic}")]
    Unknown { topic: Arc<str> },
    #[error("topic {topic} is not keyed ([[topic]] mode): publish data, not set, del or reset")]
    NotKeyed { topic: Arc<str> },
    #[error("topic {topic} is keyed ([[topic]] mode): a client writes set and del, not data")]
    WholeTable { topic: Arc<str> },
    #[error("topic {topic} is keyed ([[topic]] mode): its data is to be an object; {error}")]
    NotAnObject { topic: Arc<str>, error: String },
    #[error("topic {topic}: {why}")]
    Unread { topic: Arc<str>, why: Arc<str> },
    #[error("topic {topic}: {long}")]
    LongKey { topic: Arc<str>, long: LongKey },
    #[error("topic {topic} would have {keys} keys, [[topic]] keys is {max}: delete some or raise that")]
    TooManyKeys { topic: Arc<str>, keys: usize, max: usize },
    #[error(
        "the table of topic {topic} would have {bytes} bytes, [[topic]] table_bytes is {max}: delete keys or raise that"
    )]
    TableTooLong { topic: Arc<str>, bytes: usize, max: usize },
    #[error(
        "an array is one step for every client and may have [limits] atomic_updates = {max} updates and changed \
         keys; a whole table counts with its keys and those that it takes the place of; send it in parts, or as \
         application/x-ndjson, whose lines stand each for itself"
    )]
    TooManyChanges { max: usize },
    #[error(
        "topic {topic} would bring all last values to {bytes} bytes, [limits] topics_bytes is {max}: \
         DELETE topics or raise that"
    )]
    NoRoom { topic: Arc<str>, bytes: usize, max: usize },
    #[error("topic {topic} is for no client to write ([[topic]] write)")]
    NotWritable { topic: Arc<str> },
    #[error(
        "of topic {topic} a client may write its own key only, and keys below it ([[topic]] write): {own}"
    )]
    NotOwn { topic: Arc<str>, own: String },
    #[error(
        "topic {topic} holds the number of keys of {counted} ([[topic]] count), which the gateway counts"
    )]
    IsCount { topic: Arc<str>, counted: Arc<str> },
    #[error(
        "topic {topic} has {bytes} bytes, the most is {max} where its keys are counted ([[topic]] count): .count \
         is added"
    )]
    LongCount { topic: Arc<str>, bytes: usize, max: usize },
    #[error(
        "topic {topic}: of keys that go by themselves there are {max} already, each counted with the connections \
         that wrote it: delete some or raise [limits] timed_keys"
    )]
    TooManyTimed { topic: Arc<str>, max: usize },
    #[error(
        "topic {topic}: this connection has written {max} keys already that go with it ([[topic]] bound): delete \
         some or raise [limits] timed_keys_per_connection"
    )]
    TooManyBound { topic: Arc<str>, max: usize },
}

/// Publication `index` of a publish was refused. With [`super::Grouping::Single`] all before it were published, else
/// none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("item {index}: {why}")]
pub struct Refused {
    pub index: usize,
    pub why: Why,
}

impl Why {
    /// Of the error that a client is answered with.
    pub fn code(&self) -> u16 {
        match self {
            Why::NotWritable { .. } | Why::NotOwn { .. } | Why::IsCount { .. } => FORBIDDEN,
            Why::TooMany { .. }
            | Why::TooManyKeys { .. }
            | Why::TableTooLong { .. }
            | Why::TooManyTimed { .. }
            | Why::TooManyBound { .. }
            | Why::NoRoom { .. }
            | Why::TooManyNames { .. }
            | Why::Late => NO_ROOM,
            _ => BAD_REQUEST,
        }
    }

    /// A word for the limit or the rule.
    pub fn limit(&self) -> &'static str {
        match self {
            Why::BadTopic(_) => "topic",
            Why::TooMany { .. } => "topics",
            Why::TooLong { .. } => "value_bytes",
            Why::TooDeep { .. } => "levels",
            Why::NotHeld { .. } => "not_held",
            Why::OtherMode { .. }
            | Why::NotKeyed { .. }
            | Why::WholeTable { .. }
            | Why::NotAnObject { .. } => "mode",
            Why::Unknown { .. } => "unknown",
            Why::Unread { .. } => "unread",
            Why::LongKey { .. } => "key",
            Why::TooManyKeys { .. } => "keys",
            Why::TableTooLong { .. } => "table_bytes",
            Why::TooManyChanges { .. } => "atomic_updates",
            Why::NoRoom { .. } => "topics_bytes",
            Why::TooManyNames { .. } => "once_names",
            Why::Late => "admin_body",
            Why::NotWritable { .. } | Why::NotOwn { .. } => "write",
            Why::IsCount { .. } | Why::LongCount { .. } => "count",
            Why::TooManyTimed { .. } => "timed_keys",
            Why::TooManyBound { .. } => "timed_keys_per_connection",
        }
    }
}

/// Whether a value, which counts as `bytes`, is short and flat enough. `bytes_max`: `[limits] value_bytes`.
pub fn check_value(topic: &str, body: &Body, bytes: usize, bytes_max: usize) -> Result<(), Why> {
    if bytes > bytes_max {
        return Err(Why::TooLong { topic: topic.into(), bytes, max: bytes_max });
    }
    let checked = match body {
        Body::Data(data) => json::check_levels(data, json::LEVELS_MAX),
        Body::Changes(changes) => changes
            .iter()
            .filter_map(|change| change.value)
            .try_for_each(|value| json::check_levels(value, json::LEVELS_MAX)),
        Body::Gone | Body::Unread(_) => Ok(()),
    };
    checked.map_err(|why| Why::TooDeep { topic: topic.into(), why })
}
