//! What clients ask, read from a message of `fanwire.json.v1`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    access::verify::Compact,
    json::{self, whole},
    protocol::publish::Publish,
    topic::{epoch::Epoch, pattern::Pattern},
};

/// Longest name of a subscription, bytes.
const SUB_BYTES_MAX: usize = 32;

/// The subscription that the gateway makes for a client, of what is granted as `auto`.
pub const AUTO: &str = "auto";

const OPS: &str = "subscribe, unsubscribe, publish, auth or ping";

/// Longest interval, as in the configuration: an hour.
const INTERVAL_MS_MAX: u64 = 3_600_000;

/// A client's message.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// As given: a JSON string or integer.
    pub id: Option<String>,
    pub op: Op,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Subscribe(Subscribe),
    Unsubscribe {
        sub: String,
        /// `None`: the whole subscription.
        topics: Option<Vec<Pattern>>,
    },
    Ping,
    /// Shows a token.
    Auth(Compact),
    Publish(Publish),
}

/// `subscribe`, from a message or from a URL.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Subscribe {
    pub sub: String,
    /// Never empty, none twice.
    pub topics: Vec<Pattern>,
    pub interval_ms: Option<u64>,
    pub since: Option<Since>,
    /// Only what comes from now on is wanted.
    pub skips_snapshot: bool,
}

/// `EPOCH:VERSION`.
#[derive(Debug, Clone, PartialEq)]
pub struct Since {
    pub epoch: Epoch,
    pub version: u64,
}

/// A message that is refused, with the `id` to answer where one could be read.
#[derive(Debug, PartialEq)]
pub struct BadRequest {
    pub id: Option<String>,
    pub reason: String,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    op: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    #[serde(borrow)]
    interval_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<&'a RawValue>,
}

/// Reads a text message.
pub fn parse(text: &str) -> Result<Request, BadRequest> {
    let bad = |reason| BadRequest { id: None, reason };
    let text = text.strip_prefix(json::BYTE_ORDER_MARK).unwrap_or(text);
    // serde would take an array for an object's fields in order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(bad("not a JSON object of this protocol".to_owned()));
    }
    let raw: Raw = serde_json::from_str(text)
        .map_err(|error| bad(format!("not a JSON object of this protocol: {error}")))?;
    let id = raw.id.map(read_id).transpose().map_err(bad)?;
    // Its fields are a level below it, and values of `set` one more.
    let above = if raw.set.is_some() { 2 } else { 1 };
    if let Err(reason) = json::check_levels(text.as_bytes(), json::LEVELS_MAX + above) {
        return Err(BadRequest { id, reason });
    }
    match read_op(&raw, text) {
        Ok(op) => Ok(Request { id, op }),
        Err(reason) => Err(BadRequest { id, reason }),
    }
}

fn read_id(raw: &RawValue) -> Result<String, String> {
    let text = raw.get();
    let number = text.strip_prefix('-').unwrap_or(text);
    // As long as it likes, since it is only given back.
    let is_integer = number.bytes().all(|b| b.is_ascii_digit()) || whole::is_whole(text);
    if text.starts_with('"') || is_integer {
        Ok(text.to_owned())
    } else {
        Err(format!("bad id: {} (a string or an integer)", excerpt(text)))
    }
}

/// `text`: the whole message.
fn read_op(raw: &Raw<'_>, text: &str) -> Result<Op, String> {
    let op: String = match raw.op {
        None => return Err(format!("op is missing ({OPS})")),
        Some(op) => field("op", op, "a string")?,
    };
    match op.as_str() {
        "subscribe" => {
            let topics = raw.topics.ok_or("topics is missing (an array of patterns)")?;
            let interval_ms = raw.interval_ms.map(|v| parse_interval(v.get()));
            let since = raw.since.map(|v| field::<String>("since", v, "a string EPOCH:VERSION"));
            Ok(Op::Subscribe(Subscribe {
                sub: read_sub(raw)?,
                topics: parse_topics(&field::<Vec<String>>("topics", topics, "an array of patterns")?)?,
                interval_ms: interval_ms.transpose()?,
                since: since.transpose()?.map(|text| parse_since(&text)).transpose()?,
                skips_snapshot: false,
            }))
        }
        "unsubscribe" => {
            let topics = raw.topics.map(|v| field::<Vec<String>>("topics", v, "an array of patterns"));
            Ok(Op::Unsubscribe {
                sub: read_sub(raw)?,
                topics: topics.transpose()?.map(|topics| parse_topics(&topics)).transpose()?,
            })
        }
        "ping" => Ok(Op::Ping),
        "auth" => {
            let token = raw.token.ok_or("token is missing (a string)")?;
            // What stands there is not quoted: it may be a token all the same.
            let token = serde_json::from_str(token.get()).map_err(|_| "token is not a string")?;
            Ok(Op::Auth(Compact(token)))
        }
        "publish" => Publish::parse(text).map(Op::Publish),
        other => Err(format!("unknown op: {} ({OPS})", excerpt(other))),
    }
}

fn field<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue, wanted: &str) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|_| format!("bad {name}: {} ({wanted})", excerpt(raw.get())))
}

fn read_sub(raw: &Raw<'_>) -> Result<String, String> {
    let sub: String = match raw.sub {
        None => return Ok(String::new()),
        Some(sub) => field("sub", sub, "a string")?,
    };
    if sub.len() > SUB_BYTES_MAX {
        return Err(format!("sub is {} bytes long (at most {SUB_BYTES_MAX})", sub.len()));
    }
    Ok(sub)
}

/// Parses patterns; repeats are dropped.
pub fn parse_topics(topics: &[String]) -> Result<Vec<Pattern>, String> {
    if topics.is_empty() {
        return Err("topics is empty (name at least one pattern)".into());
    }
    let mut patterns = topics
        .iter()
        .map(|text| Pattern::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|bad| bad.to_string())?;
    let mut seen = std::collections::HashSet::new();
    patterns.retain(|pattern| seen.insert(pattern.clone()));
    Ok(patterns)
}

/// Of an op or of a URL: milliseconds.
pub fn parse_interval(text: &str) -> Result<u64, String> {
    let interval_ms = whole::parse_as(text)
        .ok_or_else(|| format!("bad interval_ms: {} (milliseconds, 0 or more)", excerpt(text)))?;
    if interval_ms > INTERVAL_MS_MAX {
        return Err(format!("interval_ms is {interval_ms} (at most {INTERVAL_MS_MAX})"));
    }
    Ok(interval_ms)
}

pub fn parse_since(text: &str) -> Result<Since, String> {
    let bad = || format!("bad since: {} (16 lower-case hex digits, a colon and a version)", excerpt(text));
    let (epoch, version) = text.split_once(':').ok_or_else(bad)?;
    let Some(epoch) = Epoch::parse(epoch) else {
        return Err(bad());
    };
    Ok(Since { epoch, version: whole::parse_as(version).ok_or_else(bad)? })
}

/// At most 64 characters of what a client sent, for a reason.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(64) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(patterns: &[Pattern]) -> Vec<&str> {
        patterns.iter().map(Pattern::as_str).collect()
    }

    #[test]
    fn ids_are_echoed_as_given() {
        let digits = "7".repeat(100);
        for id in [
            "1",
            "-7",
            "18446744073709551616",
            r#""a\u0062c""#,
            "1.0",
            "1e2",
            "1E+2",
            "1e38",
            "-1.5e308",
            "1e400",
            &digits,
        ] {
            let request = parse(&format!(r#"{{"op":"ping","id":{id}}}"#)).unwrap();
            assert_eq!(request.id.as_deref(), Some(id));
        }
        for id in ["1.5", "1e-1", "true", "[1]", "{}"] {
            assert!(parse(&format!(r#"{{"op":"ping","id":{id}}}"#)).is_err(), "{id}");
        }
    }

    #[test]
    fn refusals_carry_the_id_and_a_reason() {
        for (text, part) in [
            (r#"{"id":1}"#, "op is missing"),
            (r#"{"id":1,"op":"frobnicate"}"#, "unknown op"),
            (r#"{"id":1,"op":"subscribe"}"#, "topics is missing"),
            (r#"{"id":1,"op":"subscribe","topics":[]}"#, "topics is empty"),
            (r#"{"id":1,"op":"subscribe","topics":["a*.b"]}"#, "a*.b"),
            (r#"{"id":1,"op":"auth"}"#, "token is missing"),
            (r#"{"id":1,"op":"auth","token":7}"#, "token is not a string"),
            (r#"{"id":1,"op":"subscribe","topics":["a"],"since":"x"}"#, "bad since"),
            (r#"{"id":1,"op":"subscribe","topics":["a"],"interval_ms":-1}"#, "bad interval_ms"),
            (r#"{"id":1,"op":"subscribe","topics":["a"],"sub":"123456789012345678901234567890123"}"#, "33"),
        ] {
            let bad = parse(text).unwrap_err();
            assert_eq!(bad.id.as_deref(), Some("1"), "{text}");
            assert!(bad.reason.contains(part), "{text}: {}", bad.reason);
        }
        assert_eq!(parse("nonsense").unwrap_err().id, None);
        assert!(parse("[]").is_err());
        assert!(parse(r#"["ping",1,null,null,null,null]"#).is_err());
    }

    #[test]
    fn whole_numbers_are_taken_however_they_are_written_and_a_byte_order_mark_is_skipped() {
        for number in ["100", "100.0", "1e2", "1E+2", "1000e-1"] {
            let text = format!(
                "\u{feff}{{\"op\":\"subscribe\",\"topics\":[\"a\"],\"interval_ms\":{number},\
                 \"since\":\"8f0c2a77d1e94b02:{number}\"}}"
            );
            let Op::Subscribe(subscribe) = parse(&text).unwrap().op else { panic!() };
            assert_eq!(
                (subscribe.interval_ms, subscribe.since.unwrap().version),
                (Some(100), 100),
                "{number}"
            );
        }
        for number in ["1.5", "1e-1", "-1", "1e30", "\"100\""] {
            let text = format!(r#"{{"id":1,"op":"subscribe","topics":["a"],"interval_ms":{number}}}"#);
            assert!(parse(&text).unwrap_err().reason.contains("interval_ms"), "{number}");
        }
    }

    #[test]
    fn a_field_may_be_64_levels_deep_and_no_deeper() {
        let nested = |levels: usize| {
            let value = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            parse(&format!(r#"{{"op":"ping","id":1,"more":{value}}}"#))
        };
        assert!(nested(64).is_ok());
        assert!(nested(65).unwrap_err().reason.contains("64"));
        assert!(nested(30_000).is_err());
    }

    #[test]
    fn a_subscribe_is_read_whole_and_unknown_fields_are_ignored() {
        let text = r#"{"op":"subscribe","sub":"x","topics":["a.*","b","b"],"interval_ms":250,
            "since":"8f0c2a77d1e94b02:4711","more":1}"#;
        let Op::Subscribe(subscribe) = parse(text).unwrap().op else { panic!() };
        assert_eq!(texts(&subscribe.topics), ["a.*", "b"]);
        assert_eq!((subscribe.sub.as_str(), subscribe.interval_ms), ("x", Some(250)));
        assert_eq!(
            subscribe.since,
            Some(Since { epoch: Epoch::parse("8f0c2a77d1e94b02").unwrap(), version: 4711 })
        );
    }
}
