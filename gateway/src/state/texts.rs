//! The JSON texts of a state file, in either format: its head and its topics.

use std::sync::Arc;

use bytes::Bytes;
use engine::{
    json::members::{Members, present},
    sequencer::{
        Body,
        checkpoint::{Ended, RestoredTopic},
        seq::check_count,
    },
    topic::{
        changes::{Base, Changes},
        encoded,
        epoch::Epoch,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A head as it is written.
#[derive(Serialize, Deserialize)]
pub(super) struct HeadText {
    /// The format's number.
    pub fanwire_state: u64,
    pub epoch: String,
    pub version: u64,
    pub v_floor: u64,
    /// How many there are.
    #[serde(default)]
    pub topics: u64,
    #[serde(default)]
    pub ended: Ended,
}

/// What a head says.
#[derive(Clone)]
pub(super) struct Head {
    /// `None`: it is lost.
    pub epoch: Option<Epoch>,
    pub version: u64,
    pub v_floor: u64,
    pub topics: u64,
    pub ended: Ended,
}

#[derive(Deserialize)]
struct TopicRecord<'a> {
    mode: &'a str,
    seq: Option<u64>,
    #[serde(default)]
    gap: bool,
    #[serde(default)]
    refused: u64,
    topic: &'a str,
    v: u64,
    ts: i64,
    by: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<Members<'a>>,
}

impl HeadText {
    pub fn checked(self) -> Result<Head, String> {
        let Self { epoch, version, v_floor, topics, ended, .. } = self;
        let parsed = Epoch::parse(&epoch);
        if parsed.is_none() {
            return Err(format!("epoch {epoch:?} is not 16 lower-case hex digits"));
        }
        check_count("version", 0, version)?;
        check_count("v_floor", 0, v_floor)?;
        Ok(Head { epoch: parsed, version, v_floor, topics, ended })
    }
}

/// A topic.
pub(super) fn restored_topic(json: &[u8]) -> Result<RestoredTopic, String> {
    let line: TopicRecord = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    check_count("v", 1, line.v)?;
    check_count("seq", 0, line.seq.unwrap_or(0))?;
    check_count("refused", 0, line.refused)?;
    if let Some(by) = line.by.filter(|by| !encoded::is_segment(by)) {
        return Err(format!("by {by:?} is no segment of a topic"));
    }
    let body = match (line.data, line.set) {
        (Some(data), None) => Body::Data(Bytes::copy_from_slice(data.get().as_bytes())),
        (None, Some(set)) => {
            let mut changes = Changes::new(Base::Whole);
            for (key, value) in &set.0 {
                changes.set(key, value.get().as_bytes()).map_err(|long| long.to_string())?;
            }
            Body::Changes(changes.into())
        }
        _ => return Err("a topic has data or set".to_owned()),
    };
    let TopicRecord { seq, gap: has_gap, refused, v, ts: ts_us, .. } = line;
    Ok(RestoredTopic {
        topic: line.topic.into(),
        mode: line.mode.to_owned(),
        v,
        ts_us,
        by: line.by.map(Arc::from),
        seq,
        has_gap,
        refused,
        body,
    })
}
