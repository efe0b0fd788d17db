//! The op `publish`: what a client writes.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    json::{
        self,
        members::{Members, Text, present},
    },
    topic::{
        changes::{CHANGE_BYTES, Changes},
        name::check_topic,
    },
};

/// Bytes of `once`.
const ONCE_BYTES_MAX: usize = 64;

/// `publish`, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    pub topic: Arc<str>,
    /// What names it, where it must not be written twice.
    pub once: Option<Box<str>>,
    pub body: Body,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// JSON, byte for byte.
    Data(Bytes),
    /// Of a keyed topic.
    Changes(Arc<Changes>),
}

impl Body {
    /// As limits count it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Changes(changes) => changes.bytes(),
        }
    }

    /// Of the places of keys, beside their text.
    pub fn places_bytes(&self) -> usize {
        match self {
            Self::Data(_) => 0,
            Self::Changes(changes) => changes.len() * CHANGE_BYTES,
        }
    }
}

/// Whether a text may name what is written; the error says what may.
pub fn check_once(once: &str) -> Result<(), String> {
    match once.len() {
        1..=ONCE_BYTES_MAX => Ok(()),
        bytes => Err(format!("once has {bytes} bytes; 1 to {ONCE_BYTES_MAX} may be")),
    }
}

/// Fields that another op has too are read here again.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    once: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<Members<'a>>,
    #[serde(borrow)]
    del: Option<Vec<Text<'a>>>,
    // What only publishers and the gateway write.
    #[serde(default, borrow, deserialize_with = "present")]
    ts: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    v: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    seq: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    reset: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    by: Option<&'a RawValue>,
}

impl Publish {
    /// `text`: the whole message, which is an object. The error says what is wrong in words for the client.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| format!("not a publish: {error}"))?;
        let Raw { topic, once, data, set, del, ts, v, seq, reset, by } = raw;
        for (name, field) in [("ts", ts), ("v", v), ("seq", seq), ("reset", reset), ("by", by)] {
            if field.is_some() {
                return Err(format!("{name} is not for clients to write; leave it out"));
            }
        }
        let topic = topic.ok_or("topic is missing")?;
        check_topic(&topic).map_err(|bad| bad.to_string())?;
        once.as_deref().map_or(Ok(()), check_once)?;
        let is_keyed = set.is_some() || del.is_some();
        let body = match data {
            Some(_) if is_keyed => return Err("data stands beside set or del; give one or the other".into()),
            Some(data) => Body::Data(Bytes::copy_from_slice(data.get().as_bytes())),
            None if is_keyed => Body::Changes(Changes::of_fields(set, del, false)?.into()),
            None => return Err("data is missing (or set and del, for a keyed topic)".into()),
        };
        Ok(Self { topic: (*topic).into(), once: once.map(|once| (*once).into()), body })
    }

    /// What a client says that knows no ops: JSON is the value that it is, everything else a text.
    pub fn of_text(topic: &str, text: &str) -> Result<Self, String> {
        let json = text.strip_prefix(json::BYTE_ORDER_MARK).unwrap_or(text);
        let data = match serde_json::from_str::<&RawValue>(json) {
            Ok(value) => {
                json::check_levels(value.get().as_bytes(), json::LEVELS_MAX)?;
                value.get().to_owned()
            }
            Err(_) => serde_json::Value::from(text).to_string(),
        };
        Ok(Self { topic: topic.into(), once: None, body: Body::Data(data.into()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::publish::*;

    #[test]
    fn what_a_client_writes_is_taken_byte_for_byte_and_unknown_fields_are_ignored() {
        let parse = |text| Publish::parse(text).unwrap();
        let one = parse(r#"{"op":"publish","id":1,"topic":"a.b","once":"7","data": {"x" : 1.0} ,"more":[]}"#);
        assert_eq!((&*one.topic, one.once.as_deref()), ("a.b", Some("7")));
        let Body::Data(data) = one.body else { panic!() };
        assert_eq!(data, r#"{"x" : 1.0}"#);
        let Body::Data(null) = parse(r#"{"topic":"a","data":null}"#).body else { panic!() };
        assert_eq!(null, "null");
        let Body::Changes(changes) = parse(r#"{"topic":"a","set":{"k":1},"del":["l"]}"#).body else {
            panic!()
        };
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn what_is_json_is_the_value_that_it_is_and_all_else_a_text() {
        for (text, data) in [
            (r#" {"x" : 1.0} "#, r#"{"x" : 1.0}"#),
            ("\u{feff}[1]", "[1]"),
            ("7", "7"),
            ("\"hi\"", "\"hi\""),
            ("hi", "\"hi\""),
            ("say \"hi\"\n", r#""say \"hi\"\n""#),
            ("{broken", "\"{broken\""),
            ("", "\"\""),
        ] {
            let Body::Data(found) = Publish::of_text("a", text).unwrap().body else { panic!("{text}") };
            assert_eq!(found, data, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert!(Publish::of_text("a", &deep).unwrap_err().contains("64"));
    }

    #[test]
    fn what_is_not_for_clients_to_write_is_refused_by_name() {
        for name in ["ts", "v", "seq", "reset", "by"] {
            for value in ["1", "null", "true", "\"x\""] {
                let text = format!(r#"{{"topic":"a","data":1,"{name}":{value}}}"#);
                assert!(Publish::parse(&text).unwrap_err().starts_with(name), "{text}");
            }
        }
        for (text, part) in [
            (r#"{"data":1}"#, "topic is missing"),
            (r#"{"topic":"a"}"#, "data is missing"),
            (r#"{"topic":"a..b","data":1}"#, "a..b"),
            (r#"{"topic":"a.*","data":1}"#, "a.*"),
            (r#"{"topic":7,"data":1}"#, "not a publish"),
            (r#"{"topic":"a","data":1,"set":{}}"#, "beside"),
            (r#"{"topic":"a","set":{"k":1},"del":["k"]}"#, "in set and in del"),
            (r#"{"topic":"a","set":[1]}"#, "not a publish"),
            (r#"{"topic":"a","data":1,"once":""}"#, "once has 0 bytes"),
            (r#"{"topic":"a","data":1,"once":7}"#, "not a publish"),
        ] {
            let bad = Publish::parse(text).unwrap_err();
            assert!(bad.contains(part), "{text}: {bad}");
        }
        let once = "x".repeat(65);
        assert!(Publish::parse(&format!(r#"{{"topic":"a","data":1,"once":"{once}"}}"#)).is_err());
    }
}
