//! The reference: every key of a configuration file with its default, its range and what it decides.

use engine::settings::{Compression, Fanout, Group, Key, Limits, Overload};

use super::{
    Log,
    access::AccessKeys,
    admin::{AdminKeyKeys, AdminKeys},
    audit::AuditKeys,
    grants::{GrantedKeys, ROLE},
    raw::RawKeys,
    server::ServerKeys,
    sources::KindKeys,
    state::StateKeys,
    tls::CertificateKeys,
    tokens::{KeyKeys, TokenKeys},
    topic::{DeadbandKeys, KeyedKeys, SilenceKeys, StreamKeys, TopicKeys},
    writing::{KeyTermKeys, WriteKeys},
};
use crate::{
    document::value,
    source::{Source, freshness::FreshnessKeys},
};

const HEAD: &str = "\
# Every key of the gateway's configuration with its default. `gateway --print-reference` prints it.
# A key that is commented out has no default, or one that is found at the start; its value is an
# example. A change takes effect when the gateway starts again; where a key says so, also when the
# configuration is reloaded, by SIGHUP or POST /reload.
";
const COLUMNS_MAX: usize = 100;

/// A file that [`Config::parse`](super::Config::parse) takes and that means the same as an empty one.
pub fn reference() -> String {
    let mut out = Out(HEAD.to_owned());
    out.section(Group::of::<ServerKeys>());
    out.section(Group::of::<Fanout>());
    out.section(Group::of::<Limits>());
    out.section(Group::of::<Compression>());
    out.section(Group::of::<Overload>());
    out.section(Group::of::<AccessKeys>());
    out.more(Group::of::<TokenKeys>());
    out.table(Group::of::<GrantedKeys>());
    out.entry(ROLE);
    out.entry(Group::of::<KeyKeys>());
    out.section(Group::of::<AdminKeys>());
    out.entry(Group::of::<AdminKeyKeys>());
    out.section(Group::of::<AuditKeys>());
    out.section(Group::of::<Log>());
    out.section(Group::of::<StateKeys>());
    out.entry(Group::of::<CertificateKeys>());
    out.entry(Group::of::<KindKeys>());
    out.group(Group::of::<FreshnessKeys>());
    let mut told: Vec<&[&str]> = Vec::new();
    for group in Source::KINDS.iter().flat_map(|kind| kind.groups) {
        // Kinds share some.
        if !told.contains(&group.doc) {
            told.push(group.doc);
            out.group(*group);
        }
    }
    out.entry(Group::of::<TopicKeys>());
    out.group(Group::of::<SilenceKeys>());
    out.group(Group::of::<WriteKeys>());
    out.group(Group::of::<DeadbandKeys>());
    out.group(Group::of::<KeyedKeys>());
    out.group(Group::of::<KeyTermKeys>());
    out.group(Group::of::<StreamKeys>());
    out.entry(Group::of::<RawKeys>());
    out.0
}

struct Out(String);

impl Out {
    /// `[name]`: its keys have their defaults.
    fn section(&mut self, group: Group) {
        self.line("");
        self.comment(group.doc);
        self.line(&format!("[{}]", group.section));
        for key in group.keys {
            self.key(key, key.example.is_some());
        }
    }

    /// More keys of the section before.
    fn more(&mut self, group: Group) {
        self.line("");
        self.comment(&[&["--"], group.doc].concat());
        group.keys.iter().for_each(|key| self.key(key, key.example.is_some()));
    }

    /// `[name]`, of which there is none by default.
    fn table(&mut self, group: Group) {
        self.tables(&format!("[{}]", group.section), group);
    }

    /// `[[name]]`, of which there is none by default.
    fn entry(&mut self, group: Group) {
        self.tables(&format!("[[{}]]", group.section), group);
    }

    fn tables(&mut self, heading: &str, group: Group) {
        self.line("");
        self.comment(group.doc);
        self.line(&format!("# {heading}"));
        group.keys.iter().for_each(|key| self.key(key, true));
    }

    /// More keys of such an entry: of a kind, or a mode.
    fn group(&mut self, group: Group) {
        self.line("");
        let heading = format!("[[{}]]", group.section);
        self.comment(&[&["--", &heading], group.doc].concat());
        group.keys.iter().for_each(|key| self.key(key, true));
    }

    fn key(&mut self, key: &Key, is_comment: bool) {
        self.line("");
        self.comment(key.doc);
        let ranges = value::range(&key.kind);
        let reloads = key.is_reloaded.then(|| "A reload takes it.".to_owned());
        for line in ranges.into_iter().map(|range| format!("{range}.")).chain(reloads) {
            self.comment(&[&line]);
        }
        let default = value::write(&key.kind, &key.kind.default());
        let value = key.example.map(str::to_owned).or(default).unwrap_or_default();
        let mark = if is_comment { "# " } else { "" };
        self.line(&format!("{mark}{} = {value}", key.name));
    }

    /// Wrapped.
    fn comment(&mut self, lines: &[&str]) {
        let mut line = "#".to_owned();
        for word in lines.iter().flat_map(|line| line.split_whitespace()) {
            if line.len() + 1 + word.len() > COLUMNS_MAX {
                self.line(&std::mem::replace(&mut line, "#".to_owned()));
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}
