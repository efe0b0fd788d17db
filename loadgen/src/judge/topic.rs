//! Patterns of topics, as the contract's section 3 has them.

use std::collections::HashSet;

/// A list of patterns. Of very many single topics one is found at once.
#[derive(Debug)]
pub struct Patterns {
    topics: HashSet<Box<str>>,
    wide: Vec<String>,
}

impl Patterns {
    pub fn new(patterns: &[String]) -> Self {
        let (wide, topics): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.ends_with('*'));
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

/// Whether `pattern` (a topic, a prefix ending in `.*`, or `*`) takes in `topic`.
pub fn matches(pattern: &str, topic: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) if prefix.ends_with('.') => topic.len() > prefix.len() && topic.starts_with(prefix),
        _ => pattern == topic,
    }
}

/// Whether any of `patterns` takes in `topic`.
pub fn matches_any(patterns: &[String], topic: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, topic))
}

/// A refusal for what is neither a topic nor a pattern.
pub fn check(pattern: &str) -> Result<(), String> {
    if pattern == "*" {
        return Ok(());
    }
    let stem = pattern.strip_suffix(".*").unwrap_or(pattern);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-:/@".contains(&b);
    let segments_ok = stem.split('.').all(|segment| !segment.is_empty() && segment.bytes().all(legal));
    if segments_ok && pattern.len() <= 255 {
        return Ok(());
    }
    Err(format!("bad pattern {pattern:?}: write a topic (a.b), a prefix (a.*) or * alone"))
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
    fn a_prefix_takes_in_what_lies_below_it_but_not_itself() {
        assert!(matches("a.*", "a.b") && matches("a.*", "a.b.c"));
        assert!(!matches("a.*", "a") && !matches("a.*", "a.") && !matches("a.*", "ab.c"));
        assert!(matches("*", "a") && matches("a.b", "a.b") && !matches("a.b", "a.b.c"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["", ".", "a..b", "a.*.b", "a*", ".*", "a b"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in ["*", "a", "a.*", "A-Z_0:9/@.x"] {
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
