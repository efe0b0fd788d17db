//! Topics and the patterns that select them (the contract, section 3).

pub mod changes;
pub mod depth;
pub mod epoch;
pub mod key;
pub mod policy;
pub mod position;
pub mod table;
pub mod template;

use std::fmt;

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

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bad pattern: {text} ({fault})")]
pub struct BadPattern {
    text: String,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum Fault {
    #[error("it is empty")]
    Empty,
    #[error("it has {bytes} bytes, the most is {TOPIC_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("{0:?} is not one of A-Z a-z 0-9 . _ - : / @")]
    Character(char),
    #[error("a segment between dots is empty")]
    EmptySegment,
    #[error("a * may only stand alone or at the end")]
    Star,
}

/// Whether `topic` may name a topic: 1 to 255 bytes of `A-Z a-z 0-9 . _ - : / @`, no segment empty.
pub fn check_topic(topic: &str) -> Result<(), BadTopic> {
    check_length(topic)
        .and_then(|()| check_segments(topic))
        .map_err(|fault| BadTopic { text: shown(topic), fault })
}

/// A checked pattern. Equal patterns have equal text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

/// What a [`Pattern`] selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selects<'a> {
    /// `*`
    All,
    /// `PREFIX.*`: every topic that begins with `PREFIX.`; the text is `PREFIX` without the dot.
    Below(&'a str),
    /// The one topic of that name.
    Topic(&'a str),
}

impl Pattern {
    /// A topic, `PREFIX.*` or `*`; at most 255 bytes.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let check = || {
            check_length(text)?;
            if text == "*" {
                return Ok(());
            }
            let name = text.strip_suffix(".*").unwrap_or(text);
            // A star out of place is the likelier mistake, so it is named before other characters are.
            if name.contains('*') { Err(Fault::Star) } else { check_segments(name) }
        };
        match check() {
            Ok(()) => Ok(Self(text.into())),
            Err(fault) => Err(BadPattern { text: shown(text), fault }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn selects(&self) -> Selects<'_> {
        match self.0.strip_suffix(".*") {
            Some(prefix) => Selects::Below(prefix),
            None if &*self.0 == "*" => Selects::All,
            None => Selects::Topic(&self.0),
        }
    }

    pub fn matches(&self, topic: &str) -> bool {
        match self.selects() {
            Selects::All => true,
            Selects::Below(prefix) => topic.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            Selects::Topic(name) => name == topic,
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_length(text: &str) -> Result<(), Fault> {
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

fn check_segments(name: &str) -> Result<(), Fault> {
    match name.chars().find(|c| !is_topic_char(*c)) {
        Some(c) => Err(Fault::Character(c)),
        None if name.split('.').any(str::is_empty) => Err(Fault::EmptySegment),
        None => Ok(()),
    }
}

/// What an error quotes: enough to recognise it by, however long it was.
fn shown(text: &str) -> String {
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

    #[test]
    fn patterns_follow_the_contract() {
        for good in ["*", "a", "a.b", "a.*", "a.b.*"] {
            assert_eq!(Pattern::parse(good).unwrap().as_str(), good);
        }
        for (bad, reason) in [
            ("a.*.b", "bad pattern: a.*.b (a * may only stand alone or at the end)"),
            ("a*", "bad pattern: a* (a * may only stand alone or at the end)"),
            ("*.a", "bad pattern: *.a (a * may only stand alone or at the end)"),
            ("**", "bad pattern: ** (a * may only stand alone or at the end)"),
            ("*.*", "bad pattern: *.* (a * may only stand alone or at the end)"),
            (".*", "bad pattern: .* (a segment between dots is empty)"),
            ("a..*", "bad pattern: a..* (a segment between dots is empty)"),
            ("", "bad pattern:  (it is empty)"),
            ("a,b", "bad pattern: a,b (',' is not one of A-Z a-z 0-9 . _ - : / @)"),
        ] {
            assert_eq!(Pattern::parse(bad).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn a_prefix_selects_what_lies_below_it_at_any_depth_and_not_itself() {
        for (pattern, topic, expected) in [
            ("*", "a", true),
            ("*", "a.b.c", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", true),
            ("a.*", "a", false),
            ("a.*", "ab.c", false),
            ("a.b.*", "a.b.c", true),
            ("a.b.*", "a.c.b", false),
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(topic), expected, "{pattern} {topic}");
        }
    }
}
