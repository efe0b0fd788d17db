//! Patterns: what selects topics (PROTOCOL.md, "Topics, patterns, subscriptions").

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::name::{Fault, check_length, check_segments, check_topic, shown};

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bad pattern: {text} ({fault})")]
pub struct BadPattern {
    text: String,
    fault: Fault,
}

/// A checked pattern: a topic, `PREFIX.*` or `*`. Equal patterns have equal text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// At most 255 bytes.
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

    /// `*`
    pub fn all() -> Self {
        Self("*".into())
    }

    /// `segment.*`
    ///
    /// # Panics
    /// Where it is no segment.
    pub fn below(segment: &'static str) -> Self {
        Self::parse(&format!("{segment}.*")).expect("a segment may stand before .*")
    }

    /// The one that selects the topic of a checked name alone.
    pub fn of_topic(name: Arc<str>) -> Self {
        debug_assert!(check_topic(&name).is_ok(), "{name} is no topic's name");
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern without its star: what the names of its topics are, or begin with where it [is
    /// wide](is_wide).
    pub fn key(&self) -> &str {
        self.0.strip_suffix('*').unwrap_or(&self.0)
    }

    pub fn matches(&self, topic: &str) -> bool {
        let key = self.key();
        if is_wide(key) { topic.starts_with(key) } else { topic == key }
    }

    /// Whether the two have topics in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.key(), other.key());
        a == b || is_wide(a) && b.starts_with(a) || is_wide(b) && a.starts_with(b)
    }
}

/// Whether a pattern of this key ends with a star.
pub fn is_wide(key: &str) -> bool {
    key.is_empty() || key.ends_with('.')
}

/// Keys of the patterns that match all that the one of `key` does: its own, and those of wider ones.
pub fn covering(key: &str) -> impl Iterator<Item = &str> {
    let prefixes = key.char_indices().filter(|(_, c)| *c == '.').map(|(i, _)| &key[..=i]);
    [""].into_iter().chain(prefixes).chain((!is_wide(key)).then_some(key))
}

impl Borrow<str> for Pattern {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<Pattern> for Arc<str> {
    fn from(pattern: Pattern) -> Self {
        pattern.0
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

#[cfg(test)]
mod tests {
    use super::*;

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
