//! `POST /publish`: from a request's body to numbered updates.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    line::{Line, Value},
    seq::Seq,
    sequencer::{Body, Grouping, Item, Refused, Sequencer},
};
use crate::json;

/// Lines of NDJSON taken in one step.
const LINES: usize = 4096;
/// A publisher's time may be this far from the gateway's.
const TS_OFF_US_MAX: i64 = 24 * 3_600 * 1_000_000;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object, or an array that is one atomic publish.
    Json,
    /// Objects line by line.
    Ndjson,
}

impl Form {
    /// Of a `Content-Type`; its parameters are ignored.
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Some(Form::Json)
        } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
            Some(Form::Ndjson)
        } else {
            None
        }
    }
}

/// A body that was not taken whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Items published before the bad one.
    pub accepted: usize,
    /// Of the bad item, from 0; blank lines are not counted.
    pub index: usize,
    pub reason: String,
}

/// Publishes a body, waiting for room where an inbox is full. Gives the number of items.
pub async fn publish(sequencer: &Sequencer, form: Form, body: &Bytes) -> Result<usize, Rejected> {
    let due_us = sequencer.now().wall_us;
    let body = &body.slice_ref(json::skip_byte_order_mark(body));
    match form {
        Form::Ndjson => publish_lines(sequencer, body, due_us).await,
        Form::Json => {
            let items = parse_json(body, due_us).inspect_err(|_| sequencer.count_refused())?;
            let grouping = if is_array(body) { Grouping::Atomic } else { Grouping::Single };
            match sequencer.publish(&items, grouping).await {
                Ok(_) => Ok(items.len()),
                Err(Refused { index, why }) => Err(Rejected { accepted: 0, index, reason: why.to_string() }),
            }
        }
    }
}

async fn publish_lines(sequencer: &Sequencer, body: &Bytes, due_us: i64) -> Result<usize, Rejected> {
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut accepted = 0;
    loop {
        let mut items = Vec::new();
        let mut bad = None;
        for line in lines.by_ref().take(LINES) {
            match item(body, line, due_us) {
                Ok(item) => items.push(item),
                Err(reason) => {
                    bad = Some(reason);
                    break;
                }
            }
        }
        if let Err(Refused { index, why }) = sequencer.publish(&items, Grouping::Single).await {
            let at = accepted + index;
            return Err(Rejected { accepted: at, index: at, reason: why.to_string() });
        }
        accepted += items.len();
        if let Some(reason) = bad {
            sequencer.count_refused();
            return Err(Rejected { accepted, index: accepted, reason });
        }
        if items.is_empty() {
            return Ok(accepted);
        }
    }
}

fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

fn parse_json(body: &Bytes, due_us: i64) -> Result<Vec<Item>, Rejected> {
    let rejected = |index, reason| Rejected { accepted: 0, index, reason };
    if !is_array(body) {
        return Ok(vec![parse_item(body, due_us).map_err(|reason| rejected(0, reason))?]);
    }
    // Each element is checked as it is read, so that an error of the array knows its index too.
    let mut members = Vec::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Members(&mut members).deserialize(&mut json).and_then(|()| json.end());
    let items: Result<Vec<Item>, Rejected> = members
        .iter()
        .enumerate()
        .map(|(index, member)| {
            item(body, member.get().as_bytes(), due_us).map_err(|reason| rejected(index, reason))
        })
        .collect();
    let items = items?;
    read.map_err(|e| rejected(items.len(), format!("not a JSON array: {e}")))?;
    Ok(items)
}

/// One update of a body that is nothing else. The error says what is wrong in words for the publisher.
pub fn parse_item(body: &Bytes, due_us: i64) -> Result<Item, String> {
    item(body, body, due_us)
}

fn item(body: &Bytes, json: &[u8], due_us: i64) -> Result<Item, String> {
    let line = Line::parse(json)?;
    if let Some(ts_us) = line.ts_us {
        check_ts(ts_us, due_us)?;
    }
    let body = match line.value {
        Value::Data(data) => Body::Data(body.slice_ref(data.as_bytes())),
        Value::Changes(changes) => Body::Changes(changes.into()),
    };
    let (seq, seq_reset) = (line.seq.map(Seq::one), line.seq_reset);
    Ok(Item { seq, seq_reset, ts_us: line.ts_us, ..Item::new(&*line.topic, body, due_us) })
}

fn check_ts(ts_us: i64, now_us: i64) -> Result<(), String> {
    let near = |us: Option<i64>| us.is_some_and(|us| us.abs_diff(now_us) <= TS_OFF_US_MAX as u64);
    if near(Some(ts_us)) {
        return Ok(());
    }
    let unit = if near(ts_us.checked_mul(1_000_000)) {
        "; this one looks like seconds"
    } else if near(ts_us.checked_mul(1_000)) {
        "; this one looks like milliseconds"
    } else if near(Some(ts_us / 1_000)) {
        "; this one looks like nanoseconds"
    } else {
        ""
    };
    Err(format!(
        "ts = {ts_us} is more than 24 h from the gateway's {now_us}: it is in microseconds since the Unix epoch{unit}"
    ))
}

/// Collects an array's elements; those before an error stay.
struct Members<'m, 'a>(&'m mut Vec<&'a RawValue>);

impl<'de> DeserializeSeed<'de> for Members<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of updates")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(member) = seq.next_element()? {
            self.0.push(member);
        }
        Ok(())
    }
}
