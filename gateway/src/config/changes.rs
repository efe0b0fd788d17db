//! What differs between the configuration that holds and another one, and what of that may hold at once.

use std::collections::BTreeMap;

use engine::settings::{Compression, Fanout, Group, Keys, Kind, Limits, Overload, Value};
use toml::Value as Toml;

use super::{
    Config, Server, StateSettings, Tls,
    access::AccessKeys,
    admin::{AdminKeyKeys, AdminKeys},
    server::ServerKeys,
    state::StateKeys,
    tls::CertificateKeys,
};
use crate::{
    document::value,
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
        Group::of::<AdminKeys>(),
        Group::of::<AdminKeyKeys>(),
        Group::of::<StateKeys>(),
        Group::of::<CertificateKeys>(),
    ];
    let keys = groups.iter().flat_map(|group| group.keys.iter().map(move |key| (group.section, key)));
    let keys = keys.filter(|(_, key)| key.is_reloaded);
    let lines = keys.map(|(section, key)| format!("{section}.{}\n", key.name));
    // Sources by name, whatever has changed of them.
    lines.chain(["source\n".to_owned()]).collect()
}

/// In the order of the reference.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    changes.section(&ServerKeys::from(&old.server), &ServerKeys::from(&new.server));
    changes.section(&old.fanout, &new.fanout);
    changes.section(&old.limits, &new.limits);
    changes.section(&old.compression, &new.compression);
    changes.section(&old.overload, &new.overload);
    changes.section(&AccessKeys::from(&old.access), &AccessKeys::from(&new.access));
    changes.section(&AdminKeys::from(&old.admin), &AdminKeys::from(&new.admin));
    changes.table("admin.key", old.admin.keys != new.admin.keys, true);
    changes.section(&StateKeys::from(&old.state), &StateKeys::from(&new.state));
    let certificates =
        |config: &Config| config.server.tls.iter().flat_map(others).cloned().collect::<Vec<_>>();
    changes.table("certificate", certificates(old) != certificates(new), true);
    changes.sources(old, new);
    changes.table("topic", old.topics != new.topics, false);
    changes.0
}

/// Certificates beside the one of `[server]`.
fn others(tls: &Tls) -> &[crate::tls::files::Files] {
    &tls.certificates[1..]
}

/// `new` where keys are reloaded, else `old`.
pub fn merged(old: &Config, new: Config) -> Config {
    let is_chained = new.is_chained();
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
        sources,
        freshness,
        topics: old.topics.clone(),
        state: StateSettings { path: old.state.path.clone(), ..new.state },
    }
}

fn merge<T: Keys>(old: &T, new: &T) -> T {
    let mut values = old.values().into_iter().zip(new.values());
    T::from_values(|key| {
        let (old, new) = values.next().expect("there is a value for each key");
        if key.is_reloaded { new } else { old }
    })
}

fn by_name(config: &Config) -> BTreeMap<&str, (&Source, &Freshness)> {
    let sources = config.sources.iter().zip(&config.freshness);
    sources.map(|(source, fresh)| (&*fresh.name, (source, fresh))).collect()
}

struct Changes(Vec<Change>);

impl Changes {
    fn section<T: Keys>(&mut self, old: &T, new: &T) {
        for (key, (old, new)) in T::KEYS.iter().zip(old.values().into_iter().zip(new.values())) {
            if old == new {
                continue;
            }
            let name = format!("{}.{}", T::SECTION, key.name);
            let told = match key.is_secret {
                true => format!("{name}: changed"),
                false => format!("{name}: {} -> {}", show(&key.kind, &old), show(&key.kind, &new)),
            };
            self.0.push(Change { key: name, told, is_reloaded: key.is_reloaded });
        }
    }

    /// By name. A gateway that is chained to another has that alone, and its numbers.
    fn sources(&mut self, old: &Config, new: &Config) {
        let is_reloaded = !old.is_chained() && !new.is_chained();
        let (old, new) = (by_name(old), by_name(new));
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            let what = match (old.get(name), new.get(name)) {
                (Some(held), Some(said)) if held == said => continue,
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
                (None, _) => "added",
            };
            let key = format!("source.{name}");
            self.0.push(Change { told: format!("{key}: {what}"), key, is_reloaded });
        }
    }

    fn table(&mut self, name: &str, has_changed: bool, is_reloaded: bool) {
        if has_changed {
            self.0.push(Change { key: name.to_owned(), told: format!("{name}: changed"), is_reloaded });
        }
    }
}

/// A value as a file has it, a text without its quotes.
fn show(kind: &Kind, value: &Value) -> String {
    let Some(written) = value::write(kind, value) else { return "none".to_owned() };
    let is_text = written.starts_with('"') && written.len() > 2;
    let parsed = || format!("v = {written}").parse::<toml::Table>().ok()?.remove("v");
    match parsed().filter(|_| is_text) {
        Some(Toml::String(text)) => text,
        _ => written,
    }
}
