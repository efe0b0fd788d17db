//! A publication as publishers and feed files write it: a JSON object.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::seq::SEQ_MAX;
use crate::{
    json::{
        members::{Members, Text, present},
        whole,
    },
    protocol::publish::check_once,
    topic::changes::Changes,
};

/// `{"topic":"…","data":…,"ts"?:µs}` of `POST /publish`, with `at_us` of a feed file. Unknown fields are ignored.
#[derive(Debug)]
pub struct PublicationJson<'a> {
    pub topic: Cow<'a, str>,
    pub value: Value<'a>,
    /// The publisher's own count of the topic's updates, and whether it begins anew.
    pub seq: Option<u64>,
    pub seq_reset: bool,
    /// Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// Microseconds since the start of the file.
    pub at_us: Option<u64>,
    /// What names it.
    pub once: Option<Cow<'a, str>>,
}

/// What is published.
#[derive(Debug)]
pub enum Value<'a> {
    /// As it was written, byte for byte.
    Data(&'a str),
    /// Of `set`, `del` and `reset`.
    Changes(Changes),
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
    seq_reset: Option<bool>,
    #[serde(borrow)]
    at_us: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<Members<'a>>,
    #[serde(borrow)]
    del: Option<Vec<Text<'a>>>,
    reset: Option<bool>,
    #[serde(borrow)]
    once: Option<Cow<'a, str>>,
}

impl<'a> PublicationJson<'a> {
    /// The error says what is wrong in words for the publisher.
    pub fn parse(json: &'a [u8]) -> Result<Self, String> {
        // serde would take an array for an object's fields in order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(r#"not a JSON object like {"topic":"…","data":…}"#.to_owned());
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|e| format!("not an update: {e}"))?;
        let topic = raw.topic.ok_or("topic is missing")?;
        let keyed = raw.set.is_some() || raw.del.is_some() || raw.reset.is_some();
        let value = match raw.data {
            Some(_) if keyed => {
                return Err("data stands beside set, del or reset; give one or the other".into());
            }
            Some(data) => Value::Data(data.get()),
            None if keyed => Value::Changes(Changes::of_fields(raw.set, raw.del, raw.reset == Some(true))?),
            None => return Err("data is missing; write null where there is none".into()),
        };
        let seq = raw.seq.map(parse_seq).transpose()?;
        let ts_us = raw.ts.map(|ts| whole::field("ts", ts, "whole microseconds since the Unix epoch"));
        let at_us = raw.at_us.map(|at| whole::field("at_us", at, "whole microseconds from the file's start"));
        let (seq_reset, once) = (raw.seq_reset == Some(true), raw.once);
        once.as_deref().map_or(Ok(()), check_once)?;
        Ok(Self { topic, value, seq, seq_reset, ts_us: ts_us.transpose()?, at_us: at_us.transpose()?, once })
    }
}

fn parse_seq(raw: &RawValue) -> Result<u64, String> {
    let seq = whole::parse_as(raw.get()).filter(|seq| *seq <= SEQ_MAX);
    seq.ok_or_else(|| {
        let wanted = format!("a whole number from 0 to {SEQ_MAX}, one more with each update of the topic");
        whole::refusal("seq", raw, &wanted)
    })
}
