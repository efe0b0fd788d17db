//! Names of topics (PROTOCOL.md, "Topics, patterns, subscriptions").

use thiserror::Error;

/// Bytes of a topic or a pattern.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Why a topic was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bad topic: {text} ({fault})")]
pub struct BadTopic {
    text: String,
    fault: Fault,
}

/// What is wrong with a name or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("it is empty")]
    Empty,
    #[error("it has {bytes} bytes, the most is {TOPIC_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("{0:?} is not one of A-Z a-z 0-9 . _ - : / @")]
    Character(char),
    #[error("a segment between dots is empty")]
    EmptySegment,
    #[error("a * may only stand for a whole segment")]
    Star,
}

/// Whether `topic` may name a topic: 1 to 255 bytes of `A-Z a-z 0-9 . _ - : / @`, no segment empty.
pub fn check_topic(topic: &str) -> Result<(), BadTopic> {
    check_length(topic)
        .and_then(|()| check_segments(topic.split('.')))
        .map_err(|fault| BadTopic { text: shown(topic), fault })
}

pub(super) fn check_length(text: &str) -> Result<(), Fault> {
    match text.len() {
        0 => Err(Fault::Empty),
        1..=TOPIC_BYTES_MAX => Ok(()),
        bytes => Err(Fault::TooLong { bytes }),
    }
}

/// One of `A-Z a-z 0-9 . _ - : / @`.
pub fn is_topic_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/' | '@')
}

pub(super) fn check_segments<'a>(mut segments: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    segments.try_for_each(|segment| match segment.chars().find(|c| !is_topic_char(*c)) {
        Some(c) => Err(Fault::Character(c)),
        None if segment.is_empty() => Err(Fault::EmptySegment),
        None => Ok(()),
    })
}

/// What an error quotes: enough to recognise it by, however long it was.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_follow_the_contract() {
        for good in ["a", "a.b", "A-Z_0:9/@x.y", "-", "/", &"x".repeat(255)] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("", "bad topic:  (it is empty)"),
            (".", "bad topic: . (a segment between dots is empty)"),
            ("a..b", "bad topic: a..b (a segment between dots is empty)"),
            ("a.", "bad topic: a. (a segment between dots is empty)"),
            (".a", "bad topic: .a (a segment between dots is empty)"),
            ("a b", "bad topic: a b (' ' is not one of A-Z a-z 0-9 . _ - : / @)"),
            ("a.*", "bad topic: a.* ('*' is not one of A-Z a-z 0-9 . _ - : / @)"),
            ("é", "bad topic: é ('é' is not one of A-Z a-z 0-9 . _ - : / @)"),
        ] {
            assert_eq!(check_topic(bad).unwrap_err().to_string(), reason);
        }
        let long = check_topic(&"x".repeat(256)).unwrap_err().to_string();
        assert!(long.ends_with("… (it has 256 bytes, the most is 255)") && long.len() < 150, "{long}");
    }
}
