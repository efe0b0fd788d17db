//! Whether what a topic holds can be relied upon: the `status` op.

use std::{fmt::Write, sync::Arc};

use super::encoding::Encoding;
use crate::topic::pattern::Pattern;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicState {
    Live,
    /// Nothing came for too long, or the source is gone.
    Stale,
    /// Updates are missing.
    Gap,
}

impl TopicState {
    pub fn name(self) -> &'static str {
        match self {
            TopicState::Live => "live",
            TopicState::Stale => "stale",
            TopicState::Gap => "gap",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [TopicState::Live, TopicState::Stale, TopicState::Gap].into_iter().find(|state| state.name() == name)
    }
}

/// The state of some topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Sorted.
    pub topics: Arc<[Pattern]>,
    pub state: TopicState,
    /// Microseconds since the Unix epoch.
    pub since_us: i64,
    pub reason: Arc<str>,
}

impl Status {
    /// Messages in a row about some of its topics, as JSON none longer than `frame_bytes_max` unless one topic makes
    /// it so, in frames with at most `fragment_bytes` of payload each.
    pub fn frames_of(
        &self,
        topics: &[&Pattern],
        encoding: Encoding,
        frame_bytes_max: usize,
        fragment_bytes: usize,
    ) -> Vec<u8> {
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
                encoding.frame(format!("{begin}{text}{end}").as_bytes(), fragment_bytes, &mut out);
                text.clear();
            }
        }
        out
    }

    /// Of its topics and its reason.
    pub fn bytes(&self) -> usize {
        self.topics.iter().map(|topic| topic.as_str().len() + TOPIC_BYTES).sum::<usize>() + self.reason.len()
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

/// What the control plane tells a shard of one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the status that it changes.
    pub id: u64,
    /// What clients get.
    pub status: Status,
    /// It takes the place of all that was told with this `id`; else of what was told of its topics.
    pub is_whole: bool,
    /// Clients that subscribe later get it.
    pub lasts: bool,
}

impl Change {
    /// A status, or that it is live again.
    pub fn whole(id: u64, status: Status) -> Self {
        let lasts = status.state != TopicState::Live;
        Self { id, status, is_whole: true, lasts }
    }

    /// Some topics of a status.
    pub fn part(id: u64, status: Status) -> Self {
        Self { is_whole: false, ..Self::whole(id, status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::fragment::FRAGMENT_BYTES;

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
        }
    }

    #[test]
    fn a_frame_names_only_the_topics_that_are_told() {
        let topics = ["a.b", "a.c", "d.*"].map(pattern);
        let status =
            Status { topics: topics.into(), state: TopicState::Stale, since_us: 7, reason: "a \"b\"".into() };
        let text = |frame: Vec<u8>| String::from_utf8(frame[2..].to_vec()).unwrap();
        assert_eq!(
            text(status.frames_of(
                &[&status.topics[1], &status.topics[2]],
                Encoding::Json,
                1024,
                FRAGMENT_BYTES
            )),
            r#"{"op":"status","topics":["a.c","d.*"],"state":"stale","since":7,"reason":"a \"b\""}"#
        );
    }

    #[test]
    fn a_long_one_comes_in_frames_that_are_bounded() {
        let topics: Vec<Pattern> =
            (0..100).map(|i| pattern(&format!("{}.t{i}", "a".repeat(i + 1)))).collect();
        let reason = "\u{1}".repeat(1000).into();
        let status = Status { topics: topics.clone().into(), state: TopicState::Gap, since_us: 7, reason };
        let all: Vec<&Pattern> = status.topics.iter().collect();
        let frames = status.frames_of(&all, Encoding::Json, 1024, FRAGMENT_BYTES);
        let mut told = Vec::<Pattern>::new();
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
