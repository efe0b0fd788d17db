//! Globs: what a `[[topic]]` entry names topics by.

use super::{name::check_topic, pattern::Pattern};

/// A checked pattern of topics: `*` is one segment, at the end one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// That of every topic.
    pub fn all() -> Self {
        Self("*".into())
    }

    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_topic(&text.replace('*', "x")).map_err(|bad| bad.to_string())?;
        match text.split('.').find(|segment| segment.contains('*') && *segment != "*") {
            Some(segment) => Err(format!("in {segment} the * is not a whole segment")),
            None => Ok(Self(text.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The narrowest pattern of all topics that it matches.
    pub fn pattern(&self) -> Pattern {
        let fixed = self.0.find('*').map_or(&*self.0, |star| &self.0[..=star]);
        Pattern::parse(fixed).expect("a glob up to its first star is a pattern")
    }

    pub fn matches(&self, topic: &str) -> bool {
        let mut segments = topic.split('.');
        let mut globs = self.0.split('.').peekable();
        while let Some(glob) = globs.next() {
            let Some(segment) = segments.next() else { return false };
            if glob == "*" && globs.peek().is_none() {
                return true;
            }
            if glob != "*" && glob != segment {
                return false;
            }
        }
        segments.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment_and_at_the_end_one_or_more() {
        for (glob, topic, expected) in [
            ("*.trade.*", "a.trade.b", true),
            ("*.trade.*", "a.trade.b.c", true),
            ("*.trade.*", "a.trade", false),
            ("*.trade.*", "a.b.trade.c", false),
            ("*", "a.b", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.b.c", false),
            ("a.*.c", "a.b.c.d", false),
            ("a", "a", true),
            ("a", "a.b", false),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().matches(topic), expected, "{glob} {topic}");
        }
        assert!(Glob::parse("a*").is_err() && Glob::parse("a..b").is_err() && Glob::parse("").is_err());
    }
}
