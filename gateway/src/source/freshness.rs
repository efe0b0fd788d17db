//! `[[source]]` stale_after and topics: when a source counts as dead, and of what that is told.

use std::time::Duration;

use engine::{keys, topic::pattern::Pattern};

use super::kind::Kind;
use crate::document::read::Section;

const HOUR: u64 = 3_600_000;
/// Patterns of one source.
const TOPICS_MAX: usize = 1000;

/// How fresh a source is expected to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Freshness {
    /// `None`: it may be silent for as long as it likes.
    pub stale_after: Option<Duration>,
    /// Patterns of the topics that its health is the health of; never empty where it may go stale.
    pub topics: Vec<Pattern>,
}

keys! {
    /// of any kind.
    pub struct FreshnessKeys in "source" {
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
        let topics = fresh.topics.iter().map(Pattern::to_string).collect::<Vec<_>>();
        let topics = Some(topics).filter(|topics| !topics.is_empty());
        Self { stale_after: Some(fresh.stale_after.unwrap_or_default()), topics }
    }
}

/// What to write where there is no list of patterns.
const PATTERNS: &str = "write a list of patterns, like [\"coinbase.*\"]";

/// What a file says of any source.
pub struct Said {
    stale_after: Option<Duration>,
    pub topics: Option<Vec<Pattern>>,
}

pub fn read(section: &mut Section) -> Said {
    let FreshnessKeys { stale_after, topics } = section.keys();
    Said { stale_after, topics: section.convert("topics", topics, |texts| patterns(&texts)) }
}

/// Of a source and what the file says of it.
pub fn freshness(section: &mut Section, said: Said, source: &dyn Kind) -> Freshness {
    let default = if source.link().is_some() { Duration::from_secs(30) } else { Duration::ZERO };
    let stale_after = Some(said.stale_after.unwrap_or(default)).filter(|after| !after.is_zero());
    let topics = said.topics.unwrap_or_else(|| source.topics());
    let line = section.named("stale_after", ()).line;
    if let (Some(line), Some(_), true) = (line, stale_after, topics.is_empty()) {
        let text = "stale_after needs to know of which topics it is told; write topics = [\"coinbase.*\"]";
        section.problem(line, text);
    }
    Freshness { stale_after, topics }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, String> {
    if !(1..=TOPICS_MAX).contains(&texts.len()) {
        return Err(format!("there are {} patterns, 1 to {TOPICS_MAX} may be; {PATTERNS}", texts.len()));
    }
    let parse = |text: &String| Pattern::parse(text).map_err(|bad| format!("{text:?}: {bad}; {PATTERNS}"));
    texts.iter().map(parse).collect()
}
