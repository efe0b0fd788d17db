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

impl BadPattern {
    /// Without the pattern.
    pub fn reason(&self) -> String {
        self.fault.to_string()
    }
}

/// A checked pattern: a topic's name in which `*` stands for any one segment, at the end for one or more.
/// Equal patterns have equal text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// At most 255 bytes.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let check = || {
            check_length(text)?;
            // A star out of place is the likelier mistake, so it is named before other characters are.
            if text.split('.').any(|segment| segment.contains('*') && segment != "*") {
                return Err(Fault::Star);
            }
            check_segments(text.split('.').filter(|segment| *segment != "*"))
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

    /// The pattern without a star at its end.
    pub fn key(&self) -> &str {
        key_of(&self.0)
    }

    pub fn matches(&self, topic: &str) -> bool {
        let key = self.key();
        match is_starred(key) {
            false if is_wide(key) => topic.starts_with(key),
            false => topic == key,
            // A topic is a pattern that matches itself alone.
            true => overlap(key, topic),
        }
    }

    /// Whether a topic may match both.
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(self.key(), other.key())
    }

    /// Whether every topic that matches `other` matches this one too.
    pub fn covers(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.key().split('.'), other.key().split('.'));
        loop {
            match (own.next(), others.next()) {
                // A wide key ends with an empty segment: here go one or more.
                (Some(""), other) => return other.is_some(),
                (Some(own), Some(other)) if own == other || own == "*" && !other.is_empty() => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

/// The key of a pattern's text.
pub fn key_of(text: &str) -> &str {
    text.strip_suffix('*').unwrap_or(text)
}

/// Whether a pattern of this key ends with a star.
pub fn is_wide(key: &str) -> bool {
    key.is_empty() || key.ends_with('.')
}

/// Whether a pattern of this key has a star before its end.
pub fn is_starred(key: &str) -> bool {
    key.contains('*')
}

/// The key up to its first star: what the names of its topics are, or begin with where it [is wide](is_wide).
pub fn stem(key: &str) -> &str {
    key.find('*').map_or(key, |star| &key[..star])
}

/// Whether a topic may match the patterns of both keys.
pub fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            // A wide key is split into its segments and an empty one: here go one or more.
            (Some(""), other) | (other, Some("")) => return other.is_some(),
            (Some(x), Some(y)) if x == y || x == "*" || y == "*" => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Keys of the patterns that match all that the one of `key` does: its own, and those of wider ones. Of keys
/// that are not [starred](is_starred).
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
        for good in ["*", "a", "a.b", "a.*", "a.b.*", "a.*.b", "*.a", "*.*", "a.*.*", "*.b.*"] {
            assert_eq!(Pattern::parse(good).unwrap().as_str(), good);
        }
        for (bad, reason) in [
            ("a*", "bad pattern: a* (a * may only stand for a whole segment)"),
            ("**", "bad pattern: ** (a * may only stand for a whole segment)"),
            ("a.b*.c", "bad pattern: a.b*.c (a * may only stand for a whole segment)"),
            ("a.**", "bad pattern: a.** (a * may only stand for a whole segment)"),
            ("*.*.", "bad pattern: *.*. (a segment between dots is empty)"),
            ("*..b", "bad pattern: *..b (a segment between dots is empty)"),
            (".*", "bad pattern: .* (a segment between dots is empty)"),
            ("a..*", "bad pattern: a..* (a segment between dots is empty)"),
            ("", "bad pattern:  (it is empty)"),
            ("a,b", "bad pattern: a,b (',' is not one of A-Z a-z 0-9 . _ - : / @)"),
        ] {
            assert_eq!(Pattern::parse(bad).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn a_star_is_one_segment_and_at_the_end_one_or_more() {
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
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.c", false),
            ("a.*.c", "a.b.b.c", false),
            ("a.*.c", "a.b.c.d", false),
            ("*.c", "a.c", true),
            ("*.c", "a.b.c", false),
            ("*.c", "c", false),
            ("*.*", "a", false),
            ("*.*", "a.b", true),
            ("*.*", "a.b.c", true),
            ("a.*.*", "a.b", false),
            ("a.*.*", "a.b.c.d", true),
            ("*.trade.*", "a.trade.b.c", true),
            ("*.trade.*", "a.trade", false),
            ("*.trade.*", "a.b.trade.c", false),
            ("a.*.b.*.c", "a.x.b.y.c", true),
            ("a.*.b.*.c", "a.x.y.b.c", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn patterns_overlap_where_some_topic_matches_both() {
        let texts = |alphabet: &[&str], most: usize| {
            let (mut all, mut last) = (Vec::new(), vec![String::new()]);
            for _ in 0..most {
                let longer = last
                    .iter()
                    .flat_map(|text| alphabet.iter().map(move |segment| format!("{text}.{segment}")));
                last = longer.collect();
                all.extend(last.iter().map(|text| text[1..].to_owned()));
            }
            all
        };
        let topics = texts(&["a", "b"], 4);
        let patterns: Vec<Pattern> =
            texts(&["a", "b", "*"], 3).iter().map(|p| Pattern::parse(p).unwrap()).collect();
        for (x, y) in patterns.iter().flat_map(|x| patterns.iter().map(move |y| (x, y))) {
            let both = topics.iter().any(|topic| x.matches(topic) && y.matches(topic));
            assert_eq!(x.overlaps(y), both, "{x} {y}");
            // Topics have a segment more than patterns, so that a wide one is told from a narrow one.
            let all = topics.iter().all(|topic| !y.matches(topic) || x.matches(topic));
            assert_eq!(x.covers(y), all, "{x} {y}");
        }
    }
}
