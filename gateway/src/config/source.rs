//! `[[source]]`: where updates come from.

use std::{collections::HashSet, path::Path, path::PathBuf, sync::Arc, time::Duration};

use engine::{
    keys,
    settings::{Field, Value},
};

use super::{
    freshness::{self, Freshness, FreshnessKeys},
    mapping::Entry,
    policy::{Mode, Policies},
    read::{Reader, Section},
    websocket::{Fanwire, Link, Websocket, fanwire, websocket},
};
use crate::names::Names;

/// Sources of one gateway.
const SOURCES_MAX: usize = 64;
const KINDS: &str = "\"replay\", \"synthetic\", \"host\", \"websocket\" or \"fanwire\"";

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Replay { path: PathBuf, speed: f64, repeat: bool },
    Synthetic { symbols: usize, updates_per_s: f64, seed: u64 },
    Host { interval: Duration, names: Names },
    Websocket(Arc<Websocket>),
    Fanwire(Arc<Fanwire>),
}

keys! {
    /// Where updates come from, one entry each, at most 64.
    pub(super) struct KindKeys in "source" {
        /// What the source is.
        kind: Option<String> = choice_needed(&["replay", "synthetic", "host", "websocket", "fanwire"]), example("\"replay\"");
    }
}

keys! {
    /// of kind = "replay": a recorded feed, one update a line.
    pub(super) struct ReplayKeys in "source" {
        /// Relative to the configuration file. A `NAME.gz` is unpacked on the way.
        path: PathBuf = text_or("feed.ndjson");
        /// How many times as fast as recorded. 0: as fast as it is taken.
        speed: f64 = number(1.0, 0.0..=1e6);
        /// At the end the file begins again, with `v` going on. false: the last values stay.
        repeat: bool = flag(true);
    }
}

keys! {
    /// of kind = "synthetic": made-up topics tick.S0000, tick.S0001, … with bid, ask, last, size and n.
    pub(super) struct SyntheticKeys in "source" {
        /// How many topics.
        symbols: usize = count(100, 1..=1_000_000);
        /// Updates a second of all of them together.
        updates_per_s: f64 = number(1000.0, 0.001..=1e7);
        /// The same seed gives the same walk.
        seed: u64 = count(1, 0..=u64::MAX);
    }
}

keys! {
    /// of kind = "host": this machine, as topics host.cpu, host.memory, host.load, host.net.<if>, host.disk.<dev>,
    /// host.process.top.
    pub(super) struct HostKeys in "source" {
        /// From reading to reading.
        interval: Duration = duration(1_000, 100..=3_600_000);
        /// What becomes of bytes of interfaces' and disks' names that no topic may hold. "encode": `@x` and two
        /// hexadecimal digits. "replace": `_`.
        names: Names = choice("encode", &["encode", "replace"]);
    }
}

impl Field for Names {
    fn from_value(value: Value) -> Self {
        Names::parse(&String::from_value(value)).expect("its key has the same choice")
    }

    fn to_value(&self) -> Value {
        Value::Text(self.name().to_owned())
    }
}

impl Source {
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Replay { .. } => "replay",
            Source::Synthetic { .. } => "synthetic",
            Source::Host { .. } => "host",
            Source::Websocket(_) => "websocket",
            Source::Fanwire(_) => "fanwire",
        }
    }

    /// Of one that connects to a server.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Source::Websocket(source) => Some(&source.link),
            Source::Fanwire(source) => Some(&source.link),
            Source::Replay { .. } | Source::Synthetic { .. } | Source::Host { .. } => None,
        }
    }
}

/// `topics` with whether the file names the `keys` of each.
pub(super) fn sources(
    reader: &mut Reader,
    dir: &Path,
    topics: &(Policies, Vec<bool>),
) -> (Vec<Source>, Vec<Freshness>) {
    let (mut sources, mut fresh) = (Vec::new(), Vec::new());
    let mut chained = None;
    let mut names = HashSet::new();
    for table in reader.sections("source") {
        let mut section = reader.open("source", table);
        let Some(kind) = kind(&mut section) else { continue };
        let freshness_keys = freshness::read(&mut section);
        let source = source(&mut section, &kind, dir, topics, &freshness_keys);
        match &source {
            Some(Source::Websocket(source)) if !names.insert(source.link.name.clone()) => {
                let text = format!("two sources are called {:?}; give each another name", source.link.name);
                section.problem(section.line(), text);
            }
            _ if kind == "fanwire" => chained = Some(section.line()),
            _ => {}
        }
        if let Some(source) = source {
            fresh.push(freshness::freshness(&mut section, freshness_keys, &source));
            sources.push(source);
        }
        section.finish();
    }
    if let (Some(line), true) = (chained, sources.len() > 1) {
        let text = "a gateway of kind = \"fanwire\" takes its numbers from upstream and has no other source; \
                    give the others to the upstream";
        reader.problem(line, format!("[source] {text}"));
    }
    if sources.len() > SOURCES_MAX {
        reader.problem(1, format!("there are {} sources; the most is {SOURCES_MAX}", sources.len()));
    }
    (sources, fresh)
}

/// `None`: its problem was told.
fn kind(section: &mut Section) -> Option<String> {
    let keys: KindKeys = section.keys();
    if section.named("kind", ()).line.is_none() {
        section.problem(section.line(), format!("kind is missing; write kind = {KINDS}"));
    }
    keys.kind
}

/// `None`: its problems were told.
fn source(
    section: &mut Section,
    kind: &str,
    dir: &Path,
    topics: &(Policies, Vec<bool>),
    freshness: &FreshnessKeys,
) -> Option<Source> {
    match kind {
        "replay" => Some(replay(section, dir)),
        "synthetic" => {
            let SyntheticKeys { symbols, updates_per_s, seed } = section.keys();
            Some(Source::Synthetic { symbols, updates_per_s, seed })
        }
        "host" => {
            let HostKeys { interval, names } = section.keys();
            Some(Source::Host { interval, names })
        }
        "websocket" => {
            let source = websocket(section, dir, topics)?;
            let is_keyed = topics.0.entries.iter().any(|policy| matches!(*policy.mode, Mode::Keyed(_)));
            if source.map.iter().any(Entry::has_levels) && !is_keyed {
                let text = "levels become keys of a keyed topic, of which there is none; add a [[topic]] with \
                            pattern and mode = \"keyed\"";
                section.problem(section.line(), text);
            }
            Some(Source::Websocket(source.into()))
        }
        _ => {
            if topics.0.have_deadlines() {
                let text = "the upstream numbers all updates, so nothing is held back or expires here; \
                            leave deadband and expiry to its [[topic]]";
                section.problem(section.line(), text);
            }
            fanwire(section, dir, topics, freshness).map(|source| Source::Fanwire(source.into()))
        }
    }
}

fn replay(section: &mut Section, dir: &Path) -> Source {
    let ReplayKeys { path, speed, repeat } = section.keys();
    let path = dir.join(&path);
    if !path.exists() {
        let line = section.named("path", ()).line.unwrap_or(section.line_of("kind"));
        let text =
            format!("path: there is no file {}; paths are relative to the config file", path.display());
        section.problem(line, text);
    }
    Source::Replay { path, speed, repeat }
}
