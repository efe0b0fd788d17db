//! Whether what a topic holds can be relied upon: the `status` op, and which subscribers it concerns.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use proto::encode::{self, Opcode};

use crate::topic::pattern::{Pattern, covering, is_starred, is_wide, overlap};

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
    /// Sorted.
    pub topics: Arc<[Pattern]>,
    pub state: State,
    /// Microseconds since the Unix epoch.
    pub since_us: i64,
    pub reason: Arc<str>,
}

impl Status {
    /// As text frames in a row, with those of its topics that have some in common with patterns of these
    /// `keys`, sorted; `None` where none has. `all`: what it gives where all have.
    pub fn frames_for(&self, keys: &[&str], frame_bytes_max: usize, all: &Bytes) -> Option<Bytes> {
        let starred: Vec<&str> = keys.iter().copied().filter(|key| is_starred(key)).collect();
        let concerns = |topic: &&Pattern| overlaps_any(keys, &starred, topic.key());
        let topics: Vec<&Pattern> = self.topics.iter().filter(concerns).collect();
        if topics.len() == self.topics.len() {
            return Some(all.clone());
        }
        (!topics.is_empty()).then(|| self.encode(&topics, frame_bytes_max).into())
    }

    /// As text frames in a row, none with a longer payload than `frame_bytes_max` unless one topic makes it so.
    pub fn frames(&self, frame_bytes_max: usize) -> Bytes {
        self.encode(&self.topics.iter().collect::<Vec<_>>(), frame_bytes_max).into()
    }

    /// Of its topics and its reason.
    pub fn bytes(&self) -> usize {
        self.topics.iter().map(|topic| topic.as_str().len() + TOPIC_BYTES).sum::<usize>() + self.reason.len()
    }

    fn encode(&self, topics: &[&Pattern], frame_bytes_max: usize) -> Vec<u8> {
        let mut end = format!(r#"],"state":"{}","since":{}"#, self.state.name(), self.since_us);
        if !self.reason.is_empty() {
            let _ = write!(end, r#","reason":{}"#, short(&self.reason, frame_bytes_max / 2));
        }
        end.push('}');
        let begin = r#"{"op":"status","topics":["#;
        let room = frame_bytes_max.saturating_sub(begin.len() + end.len());
        let (mut out, mut text) = (Vec::new(), String::new());
        for (i, topic) in topics.iter().enumerate() {
            // The characters of a pattern need no escaping.
            let _ = write!(text, r#"{}"{topic}""#, if text.is_empty() { "" } else { "," });
            let next = topics.get(i + 1).map(|next| text.len() + next.as_str().len() + r#","""#.len());
            if next.is_none_or(|next| next > room) {
                encode::frame(&mut out, Opcode::Text, format!("{begin}{text}{end}").as_bytes());
                text.clear();
            }
        }
        out
    }
}

/// What a topic takes beside its name.
pub const TOPIC_BYTES: usize = 16;

/// As a JSON string of at most `bytes_max`, cut off where it is longer.
fn short(text: &str, bytes_max: usize) -> String {
    let mut chars = text.chars().count();
    loop {
        let part: String = text.chars().take(chars).collect();
        let json = serde_json::Value::from(part).to_string();
        if json.len() <= bytes_max || chars == 0 {
            return json;
        }
        chars -= (json.len() - bytes_max).div_ceil(12).min(chars);
    }
}

/// Whether the pattern of `key` has topics in common with those of some of `keys`, which are sorted. `starred`:
/// those of them with a star before their end.
fn overlaps_any(keys: &[&str], starred: &[&str], key: &str) -> bool {
    if is_starred(key) {
        return keys.iter().any(|other| overlap(key, other));
    }
    let first = keys.partition_point(|other| *other < key);
    covering(key).any(|wider| keys.binary_search(&wider).is_ok())
        || is_wide(key) && keys.get(first).is_some_and(|narrower| narrower.starts_with(key))
        || starred.iter().any(|other| overlap(key, other))
}

/// What the control plane tells a shard of one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the status that it takes the place of.
    pub id: u64,
    /// For clients that got all changes before it.
    pub news: Status,
    /// For clients that come later; `None`: they get nothing.
    pub left: Option<Status>,
    /// For who missed some changes of it.
    pub missed: Status,
}

#[cfg(test)]
mod tests {
    use crate::protocol::status::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

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
            ("a.*.d", "a.b.*", true),
            ("a.*.d", "a.b.c", false),
            ("a.*.c.*", "a.b.c", false),
            ("*.b", "a.*", true),
        ] {
            let [a, b] = [a, b].map(pattern);
            assert_eq!((a.overlaps(&b), b.overlaps(&a)), (expected, expected), "{a} {b}");
            for (x, y) in [(&a, &b), (&b, &a)] {
                let mut held = ["a.-41", "a.b.c.d", x.as_str(), "zz.*", "zz"].map(pattern);
                held.sort_unstable_by(|a, b| a.key().cmp(b.key()));
                let any = held.iter().any(|held| held.overlaps(y));
                let keys = held.each_ref().map(Pattern::key);
                let starred: Vec<&str> = keys.into_iter().filter(|key| is_starred(key)).collect();
                assert_eq!(overlaps_any(&keys, &starred, y.key()), any, "{held:?} {y}");
            }
        }
    }

    #[test]
    fn a_frame_names_only_the_topics_that_concern() {
        let topics = ["a.b", "a.c", "d.*"].map(pattern);
        let status =
            Status { topics: topics.into(), state: State::Stale, since_us: 7, reason: "a \"b\"".into() };
        let text = |frame: Bytes| String::from_utf8(frame[2..].to_vec()).unwrap();
        let all = status.frames(1024);
        assert_eq!(
            text(status.frames_for(&["a.c", "d.e.f"], 1024, &all).unwrap()),
            r#"{"op":"status","topics":["a.c","d.*"],"state":"stale","since":7,"reason":"a \"b\""}"#
        );
        assert_eq!(status.frames_for(&["x."], 1024, &all), None);
        let shared = status.frames_for(&[""], 1024, &all).unwrap();
        assert_eq!(shared.as_ptr(), all.as_ptr(), "what concerns somebody whole is encoded once");
    }

    #[test]
    fn a_long_one_comes_in_frames_that_are_bounded() {
        let topics: Vec<Pattern> =
            (0..100).map(|i| pattern(&format!("{}.t{i}", "a".repeat(i + 1)))).collect();
        let reason = "\u{1}".repeat(1000).into();
        let status = Status { topics: topics.clone().into(), state: State::Gap, since_us: 7, reason };
        let (frames, mut told) = (status.frames(1024), Vec::<Pattern>::new());
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let (start, len) = match rest[1] {
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                len => (2, len.into()),
            };
            assert!(len <= 1024, "{len} bytes");
            let part: serde_json::Value = serde_json::from_slice(&rest[start..start + len]).unwrap();
            assert!(part["state"] == "gap" && part["reason"].as_str().unwrap().len() > 50, "{part}");
            told.extend(
                part["topics"].as_array().unwrap().iter().map(|topic| pattern(topic.as_str().unwrap())),
            );
            rest = &rest[start + len..];
        }
        assert_eq!(told, topics);
    }
}
