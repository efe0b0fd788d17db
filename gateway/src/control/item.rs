//! An update on its way in, and why it may be refused.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::seq::Seq;
use crate::{
    changes::{Changes, LongKey},
    topic::BadTopic,
};

/// An update on its way in, not yet numbered.
#[derive(Debug, Clone)]
pub struct Item {
    pub topic: Arc<str>,
    pub body: Body,
    pub seq: Option<Seq>,
    /// The publisher's own time. Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// When it was taken in or due. Microseconds since the Unix epoch.
    pub due_us: i64,
}

#[derive(Debug, Clone)]
pub enum Body {
    /// JSON, checked; passed on byte for byte. On a keyed topic an object, the whole table.
    Data(Bytes),
    /// For a keyed topic.
    Changes(Arc<Changes>),
    /// Removes the topic.
    Gone,
}

impl Body {
    /// Of its data or its keys and values.
    pub fn bytes(&self) -> usize {
        match self {
            Body::Data(data) => data.len(),
            Body::Changes(changes) => changes.bytes(),
            Body::Gone => 0,
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Body::Gone)
    }
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
    #[error("a change of topic {topic} came, which was not taken over before; look at what was refused")]
    NotHeld { topic: Arc<str> },
    #[error("topic {topic} was {was} when it was saved and is {holds} now ([[topic]] mode): it begins anew")]
    OtherMode { topic: Arc<str>, was: String, holds: &'static str },
    #[error("there is no topic {topic}")]
    Unknown { topic: Arc<str> },
    #[error("topic {topic} is not keyed ([[topic]] mode): publish data, not set, del or reset")]
    NotKeyed { topic: Arc<str> },
    #[error("topic {topic} is keyed ([[topic]] mode): its data is to be an object; {error}")]
    NotAnObject { topic: Arc<str>, error: String },
    #[error("topic {topic}: {long}")]
    LongKey { topic: Arc<str>, long: LongKey },
    #[error("topic {topic} would have {keys} keys, [[topic]] keys is {max}: delete some or raise that")]
    TooManyKeys { topic: Arc<str>, keys: usize, max: usize },
    #[error(
        "the table of topic {topic} could grow to {bytes} bytes, [[topic]] table_bytes is {max}: raise that"
    )]
    TableTooLong { topic: Arc<str>, bytes: usize, max: usize },
}

/// `bytes_max`: `[limits] value_bytes`.
pub fn check_value(topic: &str, bytes: usize, bytes_max: usize) -> Result<(), Why> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Why::TooLong { topic: topic.into(), bytes, max: bytes_max })
}
