//! `[[source]]` name, stale_after and topics: what it is called, when it counts as dead, and of what that is told.

use std::time::Duration;

use engine::{keys, topic::pattern::Pattern};

use super::kind::Kind;
use crate::document::read::Section;

const HOUR: u64 = 3_600_000;
/// Patterns of one source.
const TOPICS_MAX: usize = 1000;

/// What is said of a source of any kind: above all, how fresh it is expected to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Freshness {
    /// What logs and metrics call it, and what a reload knows it by; no two are alike.
    pub name: String,
    /// `None`: it may be silent for as long as it likes.
    pub stale_after: Option<Duration>,
    /// Patterns of the topics that its health is the health of; never empty where it may go stale.
    pub topics: Vec<Pattern>,
}

keys! {
    /// of any kind.
    pub struct FreshnessKeys in "source" {
        /// What logs and metrics call the source, and what a reload knows it by, 1 to 64 bytes. No two have the same.
        /// Default: HOST:PORT of `url`, else the kind, of the second one with "-2", and so on.
        name: Option<String> = text_like(NAME), example("\"coinbase\"");
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
        let stale_after = Some(fresh.stale_after.unwrap_or_default());
        Self { name: Some(fresh.name.clone()), stale_after, topics }
    }
}

const NAME_BYTES_MAX: usize = 64;
const NAME: &str = "write 1 to 64 bytes of text";

/// What to write where there is no list of patterns.
const PATTERNS: &str = "write a list of patterns, like [\"coinbase.*\"]";

/// What a file says of any source.
pub struct Said {
    pub name: Option<String>,
    stale_after: Option<Duration>,
    pub topics: Option<Vec<Pattern>>,
}

pub fn read(section: &mut Section) -> Said {
    let FreshnessKeys { name, stale_after, topics } = section.keys();
    let name = section.convert("name", name, check_name);
    Said { name, stale_after, topics: section.convert("topics", topics, |texts| patterns(&texts)) }
}

/// Of a source and what the file says of it. `kind` names one that has no other name.
pub fn freshness(section: &mut Section, said: Said, source: &dyn Kind, kind: &str) -> Freshness {
    let own = source.link().map_or(kind, |link| &link.name);
    let name = said.name.unwrap_or_else(|| own.to_owned());
    let default = if source.link().is_some() { Duration::from_secs(30) } else { Duration::ZERO };
    let stale_after = Some(said.stale_after.unwrap_or(default)).filter(|after| !after.is_zero());
    let topics = said.topics.unwrap_or_else(|| source.topics());
    let line = section.named("stale_after", ()).line;
    if let (Some(line), Some(_), true) = (line, stale_after, topics.is_empty()) {
        let text = "stale_after needs to know of which topics it is told; write topics = [\"coinbase.*\"]";
        section.problem(line, text);
    }
    Freshness { name, stale_after, topics }
}

fn check_name(name: String) -> Result<String, String> {
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    if is_good { Ok(name) } else { Err(NAME.to_owned()) }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, String> {
    if !(1..=TOPICS_MAX).contains(&texts.len()) {
        return Err(format!("there are {} patterns, 1 to {TOPICS_MAX} may be; {PATTERNS}", texts.len()));
    }
    let parse = |text: &String| Pattern::parse(text).map_err(|bad| format!("{text:?}: {bad}; {PATTERNS}"));
    texts.iter().map(parse).collect()
}
