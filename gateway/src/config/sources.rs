//! Reads every `[[source]]`.

use std::{collections::HashSet, path::Path};

use super::{
    freshness::{self, Freshness},
    mapping::Entry,
    policy::{Mode, Policies},
    read::{Reader, Section},
    source::{HostKeys, KindKeys, ReplayKeys, Source, SyntheticKeys},
    websocket::{fanwire, websocket},
};

/// Sources of one gateway.
const SOURCES_MAX: usize = 64;
const KINDS: &str = "\"replay\", \"synthetic\", \"host\", \"websocket\" or \"fanwire\"";

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
        let said = freshness::read(&mut section);
        let source = source(&mut section, &kind, dir, topics, &said);
        match &source {
            Some(Source::Websocket(source)) if !names.insert(source.link.name.clone()) => {
                let text = format!("two sources are called {:?}; give each another name", source.link.name);
                section.problem(section.line(), text);
            }
            _ if kind == "fanwire" => chained = Some(section.line()),
            _ => {}
        }
        if let Some(source) = source {
            fresh.push(freshness::freshness(&mut section, said, &source));
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
    said: &freshness::Said,
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
            fanwire(section, dir, topics, said.topics.clone()).map(|source| Source::Fanwire(source.into()))
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
