//! Whether what a topic holds can be relied upon: the `status` op, and which subscribers it concerns.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use proto::encode::{self, Opcode};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Live,
    /// Nothing came for too long, or the source is gone.
    Stale,
    /// Updates are missing.
    Gap,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Stale => "stale",
            State::Gap => "gap",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [State::Live, State::Stale, State::Gap].into_iter().find(|state| state.name() == name)
    }
}

/// The state of some topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Checked patterns, sorted.
    pub topics: Arc<[Arc<str>]>,
    pub state: State,
    /// Microseconds since the Unix epoch.
    pub since_us: i64,
    pub reason: Arc<str>,
}

impl Status {
    /// As one text frame; `None` where none of its patterns has a topic in common with `patterns`. Only
    /// those that have stand in it.
    pub fn frame_for(&self, patterns: &[&str]) -> Option<Bytes> {
        let topics: Vec<&str> = self
            .topics
            .iter()
            .map(|topic| &**topic)
            .filter(|topic| patterns.iter().any(|pattern| overlap(key(topic), key(pattern))))
            .collect();
        (!topics.is_empty()).then(|| self.encode(&topics))
    }

    /// As one text frame.
    pub fn frame(&self) -> Bytes {
        let topics: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
        self.encode(&topics)
    }

    /// Whether it concerns a subscriber to `pattern`, a key as in [`overlap`].
    pub fn concerns(&self, pattern: &str) -> bool {
        self.topics.iter().any(|topic| overlap(key(topic), pattern))
    }

    fn encode(&self, topics: &[&str]) -> Bytes {
        let mut text = String::from(r#"{"op":"status","topics":["#);
        for (i, topic) in topics.iter().enumerate() {
            // The characters of a pattern need no escaping.
            let _ = write!(text, r#"{}"{topic}""#, if i > 0 { "," } else { "" });
        }
        let _ = write!(text, r#"],"state":"{}","since":{}"#, self.state.name(), self.since_us);
        if !self.reason.is_empty() {
            let reason = serde_json::Value::from(&*self.reason);
            let _ = write!(text, r#","reason":{reason}"#);
        }
        text.push('}');
        let mut out = Vec::with_capacity(text.len() + encode::HEADER_BYTES_MAX);
        encode::frame(&mut out, Opcode::Text, text.as_bytes());
        out.into()
    }
}

/// A pattern without its star: what the names of its topics are or begin with.
pub fn key(pattern: &str) -> &str {
    pattern.strip_suffix('*').unwrap_or(pattern)
}

/// Whether two patterns have topics in common; by their keys.
pub fn overlap(a: &str, b: &str) -> bool {
    let is_wide = |key: &str| key.is_empty() || key.ends_with('.');
    a == b || is_wide(a) && b.starts_with(a) || is_wide(b) && a.starts_with(b)
}

/// What a shard is told of one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the status that it takes the place of.
    pub id: u64,
    /// For who was told all changes before it.
    pub news: Status,
    /// For who comes later; `None`: nothing is to be told any more.
    pub left: Option<Status>,
    /// For who missed some changes of it.
    pub missed: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_a_topic_may_match_both() {
        for (a, b, expected) in [
            ("*", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.*", true),
            ("a.*", "a", false),
            ("a.*", "ab.c", false),
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b.*", "a.c.*", false),
            ("*", "*", true),
        ] {
            let (x, y) = (key(a), key(b));
            assert_eq!((overlap(x, y), overlap(y, x)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn a_frame_names_only_the_topics_that_concern() {
        let topics: [Arc<str>; 3] = ["a.b".into(), "a.c".into(), "d.*".into()];
        let status =
            Status { topics: topics.into(), state: State::Stale, since_us: 7, reason: "a \"b\"".into() };
        let text = |frame: Bytes| String::from_utf8(frame[2..].to_vec()).unwrap();
        assert_eq!(
            text(status.frame_for(&["a.c", "d.e.f"]).unwrap()),
            r#"{"op":"status","topics":["a.c","d.*"],"state":"stale","since":7,"reason":"a \"b\""}"#
        );
        assert_eq!(status.frame_for(&["x.*"]), None);
    }
}
