//! `[[source]]` stale_after and topics: when a source counts as dead, and of what that is told.

use std::time::Duration;

use engine::topic::Pattern;
use toml::de::DeValue;

use super::{
    Source,
    pointer::{Part, Template},
    read::Section,
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

/// Of a source whose other keys are read.
pub(super) fn freshness(section: &mut Section, source: &Source) -> Freshness {
    let default_ms = if source.link().is_some() { 30_000 } else { 0 };
    let stale_after = section.duration("stale_after", default_ms, 0..=24 * HOUR);
    let is_stale_after = Some(stale_after.value).filter(|after| !after.is_zero());
    let topics = match source {
        // Its `topics` are what it takes over.
        Source::Fanwire(source) => source.topics.clone(),
        _ => {
            let named = section.read("topics", Vec::new(), patterns);
            if named.line.is_some() { named.value } else { topics_of(source) }
        }
    };
    if let (Some(line), Some(_), true) = (stale_after.line, is_stale_after, topics.is_empty()) {
        let text = "stale_after needs to know of which topics it is told; write topics = [\"coinbase.*\"]";
        section.problem(line, text);
    }
    Freshness { stale_after: is_stale_after, topics }
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
pub(super) fn patterns(value: DeValue<'_>) -> Result<Vec<String>, String> {
    const HINT: &str = "write a list of patterns, like [\"coinbase.*\"]";
    let DeValue::Array(array) = value else { return Err(HINT.to_owned()) };
    let text = |value: &toml::Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
    let patterns: Vec<String> = array.iter().map(text).collect::<Option<_>>().ok_or(HINT)?;
    if !(1..=TOPICS_MAX).contains(&patterns.len()) {
        return Err(format!("there are {} patterns, 1 to {TOPICS_MAX} may be; {HINT}", patterns.len()));
    }
    match patterns.iter().find_map(|pattern| Pattern::parse(pattern).err().map(|bad| (pattern, bad))) {
        Some((pattern, bad)) => Err(format!("{pattern:?}: {bad}; {HINT}")),
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
