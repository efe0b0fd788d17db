//! `[[source]]` stale_after and topics: when a source counts as dead, and of what that is told.

use std::time::Duration;

use engine::{keys, topic::Pattern};

use super::{
    read::Section,
    source::Source,
    template::{Part, Template},
};

const HOUR: u64 = 3_600_000;
/// Patterns of one source.
const TOPICS_MAX: usize = 1000;

/// How fresh a source is expected to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Freshness {
    /// `None`: it may be silent for as long as it likes.
    pub stale_after: Option<Duration>,
    /// Patterns of the topics that its health is the health of; never empty where it may go stale.
    pub topics: Vec<String>,
}

keys! {
    /// of any kind.
    pub(super) struct FreshnessKeys in "source" {
        /// A source that brought nothing for so long that made an update or confirmed one is stale: who subscribed to
        /// its topics is told, and a connection is made anew. 0: never. Default: 30s of kinds "websocket" and
        /// "fanwire", else never.
        stale_after: Option<Duration> = duration_found(0..=24 * HOUR), example("\"30s\"");
        /// Patterns of the topics that its health is the health of. Default: of those that it publishes. Of kind
        /// "fanwire": of those that it takes over, by default all.
        topics: Option<Vec<String>> = texts_found(PATTERNS), example("[\"coinbase.*\"]");
    }
}

impl From<&Freshness> for FreshnessKeys {
    fn from(fresh: &Freshness) -> Self {
        let topics = Some(fresh.topics.clone()).filter(|topics| !topics.is_empty());
        Self { stale_after: Some(fresh.stale_after.unwrap_or_default()), topics }
    }
}

/// What to write where there is no list of patterns.
const PATTERNS: &str = "write a list of patterns, like [\"coinbase.*\"]";

/// What is read of every source.
pub(super) fn read(section: &mut Section) -> FreshnessKeys {
    let mut keys: FreshnessKeys = section.keys();
    keys.topics = section.convert("topics", keys.topics, patterns);
    keys
}

/// Of a source and its keys.
pub(super) fn freshness(section: &mut Section, keys: FreshnessKeys, source: &Source) -> Freshness {
    let default = if source.link().is_some() { Duration::from_secs(30) } else { Duration::ZERO };
    let stale_after = Some(keys.stale_after.unwrap_or(default)).filter(|after| !after.is_zero());
    let topics = match source {
        // Its `topics` are what it takes over.
        Source::Fanwire(source) => source.topics.clone(),
        _ => keys.topics.unwrap_or_else(|| topics_of(source)),
    };
    let line = section.named("stale_after", ()).line;
    if let (Some(line), Some(_), true) = (line, stale_after, topics.is_empty()) {
        let text = "stale_after needs to know of which topics it is told; write topics = [\"coinbase.*\"]";
        section.problem(line, text);
    }
    Freshness { stale_after, topics }
}

/// Patterns of what a source publishes; empty where that is not known.
fn topics_of(source: &Source) -> Vec<String> {
    let mut topics: Vec<String> = match source {
        Source::Synthetic { .. } => vec!["tick.*".to_owned()],
        Source::Host { .. } => vec!["host.*".to_owned()],
        Source::Websocket(source) => {
            source.map.iter().filter_map(|entry| Some(pattern_of(entry.topic.as_ref()?))).collect()
        }
        Source::Replay { .. } | Source::Fanwire(_) => Vec::new(),
    };
    topics.sort();
    topics.dedup();
    topics
}

/// The narrowest pattern of all topics that a template makes.
fn pattern_of(template: &Template) -> String {
    let mut fixed = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => fixed.push_str(text),
            Part::Value(_) => {
                let segments = fixed.rfind('.').map_or(0, |dot| dot + 1);
                return format!("{}*", &fixed[..segments]);
            }
        }
    }
    fixed
}

/// A list of patterns, checked.
fn patterns(patterns: Vec<String>) -> Result<Vec<String>, String> {
    if !(1..=TOPICS_MAX).contains(&patterns.len()) {
        return Err(format!("there are {} patterns, 1 to {TOPICS_MAX} may be; {PATTERNS}", patterns.len()));
    }
    match patterns.iter().find_map(|pattern| Pattern::parse(pattern).err().map(|bad| (pattern, bad))) {
        Some((pattern, bad)) => Err(format!("{pattern:?}: {bad}; {PATTERNS}")),
        None => Ok(patterns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_stands_for_what_lies_below_its_fixed_segments() {
        for (template, pattern) in
            [("a.b", "a.b"), ("a.b.{/s}", "a.b.*"), ("a.b-{/s}.c", "a.*"), ("{/s}", "*")]
        {
            assert_eq!(pattern_of(&Template::parse(template).unwrap()), pattern);
        }
    }
}
