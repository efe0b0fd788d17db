//! What differs between the configuration that holds and another one, and what of that may hold at once.

use std::collections::BTreeMap;

use engine::{
    settings::{Compression, Fanout, Group, Keys, Kind, Limits, Overload, Value},
    topic::policy::{Policies, Policy},
};
use toml::Value as Toml;

use super::{
    Config, Log, Server, StateSettings, Tls,
    access::AccessKeys,
    admin::{AdminKeyKeys, AdminKeys},
    audit::AuditKeys,
    server::ServerKeys,
    state::StateKeys,
    tls::CertificateKeys,
    tokens::TokenKeys,
};
use crate::{
    document::{value, written::Written},
    source::{Source, freshness::Freshness},
};

/// A key, or a table, that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `limits.stall`, or the name of a table.
    pub key: String,
    /// The same with what it was and is: `limits.stall: 30s -> 1m`.
    pub told: String,
    /// It may hold at once; else after a restart.
    pub is_reloaded: bool,
}

/// Every key whose change a reload takes, one a line.
pub fn reloadable() -> String {
    let groups = [
        Group::of::<ServerKeys>(),
        Group::of::<Fanout>(),
        Group::of::<Limits>(),
        Group::of::<Compression>(),
        Group::of::<Overload>(),
        Group::of::<AccessKeys>(),
        Group::of::<TokenKeys>(),
        Group::of::<AdminKeys>(),
        Group::of::<AdminKeyKeys>(),
        Group::of::<AuditKeys>(),
        Group::of::<Log>(),
        Group::of::<StateKeys>(),
        Group::of::<CertificateKeys>(),
    ];
    let keys = groups.iter().flat_map(|group| group.keys.iter().map(move |key| (group.section, key)));
    let keys = keys.filter(|(_, key)| key.is_reloaded);
    let lines = keys.map(|(section, key)| format!("{section}.{}\n", key.name));
    // Whatever has changed of them; of topics what no topic that is there lives by.
    let tables =
        ["access.anonymous", "access.everyone", "access.role", "access.key", "source", "topic", "raw"];
    lines.chain(tables.map(|table| format!("{table}\n"))).collect()
}

/// In the order of the reference. `suits`: whether no topic that is there is another one by these `[[topic]]`.
pub fn changes(old: &Config, new: &Config, suits: impl Fn(&Policies) -> bool) -> Vec<Change> {
    let mut changes = Changes { found: Vec::new(), written: [&old.written, &new.written] };
    changes.section(&ServerKeys::from(&old.server), &ServerKeys::from(&new.server));
    changes.section(&old.fanout, &new.fanout);
    changes.section(&old.limits, &new.limits);
    changes.section(&old.compression, &new.compression);
    changes.section(&old.overload, &new.overload);
    changes.section(&AccessKeys::from(&old.access), &AccessKeys::from(&new.access));
    let [held, said] = [&old.access.tokens, &new.access.tokens];
    changes.section(&TokenKeys::from(held), &TokenKeys::from(said));
    changes.table("access.anonymous", held.rules.anonymous != said.rules.anonymous, true);
    changes.table("access.everyone", held.rules.everyone != said.rules.everyone, true);
    changes.table("access.role", held.rules.roles != said.rules.roles, true);
    changes.table("access.key", held.keys != said.keys, true);
    changes.section(&AdminKeys::from(&old.admin), &AdminKeys::from(&new.admin));
    changes.table("admin.key", old.admin.keys != new.admin.keys, true);
    changes.section(&AuditKeys::from(&old.audit), &AuditKeys::from(&new.audit));
    changes.section(&old.log, &new.log);
    changes.section(&StateKeys::from(&old.state), &StateKeys::from(&new.state));
    let certificates =
        |config: &Config| config.server.tls.iter().flat_map(others).cloned().collect::<Vec<_>>();
    changes.table("certificate", certificates(old) != certificates(new), true);
    changes.sources(old, new);
    changes.topics(old, new, suits);
    changes.table("raw", old.raw_paths != new.raw_paths, true);
    changes.found
}

/// Certificates beside the one of `[server]`.
fn others(tls: &Tls) -> &[crate::tls::files::Files] {
    &tls.certificates[1..]
}

/// `new` where keys are reloaded, else `old`. `suits`: as for [`changes`].
pub fn merged(old: &Config, new: Config, suits: impl Fn(&Policies) -> bool) -> Config {
    let is_chained = new.is_chained();
    let (topics, checks) = match suits(&new.topics) {
        true => (new.topics, new.checks),
        false => (old.topics.clone(), old.checks.clone()),
    };
    let tls = match (&old.server.tls, new.server.tls) {
        (Some(old), Some(new)) => Some(Tls { address: old.address, ..new }),
        _ => old.server.tls.clone(),
    };
    let (sources, freshness) = match old.is_chained() || is_chained {
        true => (old.sources.clone(), old.freshness.clone()),
        false => (new.sources, new.freshness),
    };
    Config {
        server: Server {
            drain: new.server.drain,
            refusing: new.server.refusing,
            proxies: new.server.proxies,
            proxy_protocol: new.server.proxy_protocol,
            tls,
            ..old.server.clone()
        },
        fanout: merge(&old.fanout, &new.fanout),
        limits: merge(&old.limits, &new.limits),
        compression: merge(&old.compression, &new.compression),
        overload: merge(&old.overload, &new.overload),
        access: new.access,
        admin: new.admin,
        audit: new.audit,
        log: new.log,
        sources,
        freshness,
        topics,
        raw_paths: new.raw_paths,
        checks,
        state: StateSettings { path: old.state.path.clone(), ..new.state },
        written: new.written,
    }
}

fn merge<T: Keys>(old: &T, new: &T) -> T {
    let mut values = old.values().into_iter().zip(new.values());
    T::from_values(|key| {
        let (old, new) = values.next().expect("there is a value for each key");
        if key.is_reloaded { new } else { old }
    })
}

/// The first of each pattern is the one that counts.
fn by_pattern(topics: &Policies) -> BTreeMap<&str, &Policy> {
    topics.entries.iter().rev().map(|policy| (policy.pattern.as_str(), &**policy)).collect()
}

fn by_name(config: &Config) -> BTreeMap<&str, (&Source, &Freshness)> {
    let sources = config.sources.iter().zip(&config.freshness);
    sources.map(|(source, fresh)| (&*fresh.name, (source, fresh))).collect()
}

struct Changes<'a> {
    found: Vec<Change>,
    /// How the files of the old and the new one write values.
    written: [&'a Written; 2],
}

impl Changes<'_> {
    fn section<T: Keys>(&mut self, old: &T, new: &T) {
        for (key, (old, new)) in T::KEYS.iter().zip(old.values().into_iter().zip(new.values())) {
            if old == new {
                continue;
            }
            let name = format!("{}.{}", T::SECTION, key.name);
            let [held, said] = self.written;
            let shown = show(held, &name, &key.kind, &old).zip(show(said, &name, &key.kind, &new));
            let told = match shown.filter(|_| !key.is_secret) {
                Some((old, new)) => format!("{name}: {old} -> {new}"),
                None => format!("{name}: changed"),
            };
            self.found.push(Change { key: name, told, is_reloaded: key.is_reloaded });
        }
    }

    /// By pattern; only their order may have changed too.
    fn topics(&mut self, old: &Config, new: &Config, suits: impl Fn(&Policies) -> bool) {
        if old.topics == new.topics {
            // What values are held against binds no topic that is there.
            return self.table("topic", old.checks != new.checks, true);
        }
        let is_reloaded = suits(&new.topics);
        let before = self.found.len();
        self.entries("topic", &by_pattern(&old.topics), &by_pattern(&new.topics), is_reloaded);
        self.table("topic", self.found.len() == before, is_reloaded);
    }

    /// By name. A gateway that is chained to another has that alone, and its numbers.
    fn sources(&mut self, old: &Config, new: &Config) {
        let is_reloaded = !old.is_chained() && !new.is_chained();
        self.entries("source", &by_name(old), &by_name(new), is_reloaded);
    }

    /// Tables that have names.
    fn entries<T: PartialEq>(
        &mut self,
        table: &str,
        old: &BTreeMap<&str, T>,
        new: &BTreeMap<&str, T>,
        is_reloaded: bool,
    ) {
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            let what = match (old.get(name), new.get(name)) {
                (Some(held), Some(said)) if held == said => continue,
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
                (None, _) => "added",
            };
            let key = format!("{table}.{name}");
            self.found.push(Change { told: format!("{key}: {what}"), key, is_reloaded });
        }
    }

    fn table(&mut self, name: &str, has_changed: bool, is_reloaded: bool) {
        if has_changed {
            self.found.push(Change { key: name.to_owned(), told: format!("{name}: changed"), is_reloaded });
        }
    }
}

/// A value as its file has it, a text without its quotes. `None`: it follows from what the file takes from elsewhere.
fn show(written: &Written, name: &str, kind: &Kind, value: &Value) -> Option<String> {
    let Some(value) = value::write(kind, value) else { return Some("none".to_owned()) };
    let value = written.shown(name, &value)?;
    let is_text = value.starts_with('"') && value.len() > 2;
    let parsed = || format!("v = {value}").parse::<toml::Table>().ok()?.remove("v");
    Some(match parsed().filter(|_| is_text) {
        Some(Toml::String(text)) => text,
        _ => value.to_owned(),
    })
}
