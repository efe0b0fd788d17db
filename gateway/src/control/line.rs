//! One update as publishers and feed files write it: a JSON object.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

/// `{"topic":"…","data":…,"ts"?:µs}` of `POST /publish`, with `at_us` of a feed file. Unknown fields are ignored.
#[derive(Debug)]
pub struct Line<'a> {
    pub topic: Cow<'a, str>,
    /// As it was written, byte for byte.
    pub data: &'a str,
    /// Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// Microseconds since the start of the file.
    pub at_us: Option<u64>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    ts: Option<i64>,
    at_us: Option<u64>,
    set: Option<IgnoredAny>,
    del: Option<IgnoredAny>,
    reset: Option<IgnoredAny>,
}

impl<'a> Line<'a> {
    /// The error says what is wrong in words for the publisher.
    pub fn parse(json: &'a [u8]) -> Result<Self, String> {
        // serde would take an array for an object's fields in order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(r#"not a JSON object like {"topic":"…","data":…}"#.to_owned());
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|e| format!("not an update: {e}"))?;
        if raw.set.is_some() || raw.del.is_some() || raw.reset.is_some() {
            return Err("set, del and reset are not available in this version; publish data".to_owned());
        }
        let topic = raw.topic.ok_or("topic is missing")?;
        let data = raw.data.ok_or("data is missing; write null where there is none")?.get();
        Ok(Self { topic, data, ts_us: raw.ts, at_us: raw.at_us })
    }
}

/// `null` is a value; only an absent field is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
