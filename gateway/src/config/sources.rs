//! `[[source]]`: where updates come from.

use std::{collections::HashSet, path::Path};

use engine::{keys, topic::policy::Policies};

use crate::{
    document::{
        read::{Reader, Section},
        value::or,
    },
    source::{
        Declaration, Source,
        fanwire::keys::Fanwire,
        freshness::{self, Freshness},
        kind::{Declared, Given},
    },
};

/// Sources of one gateway.
const SOURCES_MAX: usize = 64;

keys! {
    /// Where updates come from, one entry each, at most 64. A reload adds, changes and removes them by their names.
    pub(super) struct KindKeys in "source" {
        /// What the source is.
        kind: Option<String> = choice_needed(&Source::NAMES), example("\"replay\"");
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
        let said = freshness::read(&mut section);
        let given =
            Given { dir, name: said.name.as_deref(), policies: topics, topics: said.topics.as_deref() };
        chained = (kind.name == Fanwire::NAME).then_some(section.line()).or(chained);
        if let Some(source) = (kind.read)(&mut section, &given) {
            let settings = source.settings();
            let has_own = said.name.is_some() || settings.link().is_some();
            let mut said = freshness::freshness(&mut section, said, &*settings, kind.name);
            if !has_own {
                said.name = free_name(kind.name, &names);
            }
            if !names.insert(said.name.clone()) {
                let text = format!("two sources are called {:?}; give each another name", said.name);
                section.problem(section.line(), text);
            }
            fresh.push(said);
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

/// The kind, or of one more of it `KIND-2`, and so on.
fn free_name(kind: &str, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|n| format!("{kind}-{n}"));
    let mut names = [kind.to_owned()].into_iter().chain(numbered);
    names.find(|name| !taken.contains(name)).expect("there are more names than sources")
}

/// `None`: its problem was reported.
fn kind(section: &mut Section) -> Option<&'static Declaration> {
    let KindKeys { kind } = section.keys();
    if section.named("kind", ()).line.is_none() {
        let kinds = or(&Source::NAMES);
        section.problem(section.line(), format!("kind is missing; write kind = {kinds}"));
    }
    let kind = kind?;
    Source::KINDS.iter().find(|declared| declared.name == kind)
}
