//! Patterns of topics, as gateway/PROTOCOL.md has them.

use std::collections::HashSet;

/// A list of patterns. Of very many single topics one is found at once.
#[derive(Debug)]
pub struct Patterns {
    topics: HashSet<Box<str>>,
    /// With a star.
    wide: Vec<String>,
}

impl Patterns {
    pub fn new(patterns: &[String]) -> Self {
        let (wide, topics): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.contains('*'));
        Self {
            topics: topics.into_iter().map(|topic| topic.as_str().into()).collect(),
            wide: wide.into_iter().cloned().collect(),
        }
    }

    /// Whether any of them takes in `topic`.
    pub fn matches(&self, topic: &str) -> bool {
        self.topics.contains(topic) || matches_any(&self.wide, topic)
    }
}

/// Whether `pattern` takes in `topic`: a `*` is any one segment, at the end one or more.
pub fn matches(pattern: &str, topic: &str) -> bool {
    match (pattern.split_once('.'), topic.split_once('.')) {
        (None, _) if pattern == "*" => true,
        (None, _) => pattern == topic,
        (Some((first, below)), Some((segment, rest))) => {
            (first == "*" || first == segment) && matches(below, rest)
        }
        (Some(_), None) => false,
    }
}

/// Whether any of `patterns` takes in `topic`.
pub fn matches_any(patterns: &[String], topic: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, topic))
}

/// A refusal for what is neither a topic nor a pattern.
pub fn check(pattern: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-:/@".contains(&b);
    let is_segment = |text: &str| text == "*" || !text.is_empty() && text.bytes().all(legal);
    if pattern.split('.').all(is_segment) && pattern.len() <= 255 {
        return Ok(());
    }
    Err(format!(
        "bad pattern {pattern:?}: write a topic (a.b), or one with * for whole segments (a.*, *.b, *)"
    ))
}

/// Group and member of one of our own atomic topics, `loadgen.g<GROUP>.<MEMBER>`.
pub fn own_group(topic: &str) -> Option<(u32, u32)> {
    let (group, member) = topic.strip_prefix("loadgen.g")?.split_once('.')?;
    Some((group.parse().ok()?, member.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment_and_at_the_end_one_or_more() {
        assert!(matches("a.*", "a.b") && matches("a.*", "a.b.c"));
        assert!(!matches("a.*", "a") && !matches("a.*", "ab.c"));
        assert!(matches("*", "a") && matches("a.b", "a.b") && !matches("a.b", "a.b.c"));
        assert!(matches("a.*.c", "a.b.c") && matches("*.c", "a.c") && matches("*.*", "a.b.c"));
        assert!(!matches("a.*.c", "a.b.b.c") && !matches("a.*.c", "a.c") && !matches("*.*", "a"));
        let patterns = Patterns::new(&["a.*.c".to_owned(), "b".to_owned()]);
        assert!(patterns.matches("a.x.c") && patterns.matches("b") && !patterns.matches("a.*"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["", ".", "a..b", "a*.b", "a*", "**", ".*", "a b"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in ["*", "a", "a.*", "a.*.b", "*.*", "A-Z_0:9/@.x"] {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn our_own_topics_name_their_group() {
        assert_eq!(own_group("loadgen.g12.3"), Some((12, 3)));
        assert_eq!(own_group("loadgen.x"), None);
        assert_eq!(own_group("a.g1.2"), None);
    }
}
