//! The effective configuration as TOML.

use std::fmt::{Display, Write};

use engine::topic::depth::Best;

use super::{
    Config, Keys, Limits, Source,
    access::AccessKeys,
    freshness::{Freshness, FreshnessKeys},
    mapping::{Body, Entry, Key, Levels, Wanted},
    pointer::Pointer,
    policy::{HELD_BYTES, KEYS_DEFAULT, LEVEL_BYTES, Mode, Policy},
    server::ServerKeys,
    source::{HostKeys, ReplayKeys, SyntheticKeys},
    state::StateKeys,
    tls::CertificateKeys,
    topic::{DeadbandKeys, KeyedKeys, SilenceKeys, StreamKeys, TopicKeys},
    value::{self, json, list},
    websocket::{FanwireKeys, Link, LinkKeys, WebsocketKeys},
};

/// `connections`: the limit that holds on this machine.
pub(super) fn render(config: &Config, connections: usize) -> String {
    let mut text = Text(String::new());
    text.section("[server]");
    let has_tls = config.server.tls.is_some();
    text.keys_where(&ServerKeys::from(&config.server), |key| has_tls || !key.contains("tls"));
    text.section("[fanout]");
    text.keys(&config.fanout);
    limits(&mut text, &config.limits, connections, config.state.state_bytes);
    text.section("[compression]");
    text.keys(&config.compression);
    text.section("[access]");
    text.keys(&AccessKeys::from(&config.access));
    text.section("[state]");
    text.keys(&StateKeys::from(&config.state));
    for files in config.server.tls.iter().flat_map(|tls| &tls.certificates[1..]) {
        text.section("[[certificate]]");
        text.keys(&CertificateKeys::from(files));
    }
    for (source, fresh) in config.sources.iter().zip(&config.freshness) {
        self::source(&mut text, source, fresh);
    }
    for policy in &config.topics.entries {
        self::policy(&mut text, policy, room_of(config, policy));
    }
    text.0
}

fn limits(text: &mut Text, limits: &Limits, connections: usize, state_bytes: u64) {
    let effective = Limits {
        connections: Some(connections),
        // More than all are no more than all.
        connections_per_ip: limits.connections_per_ip.min(connections),
        ..limits.clone()
    };
    // A default above a state_bytes that is named is taken only where it is not named.
    let is_told = limits.topics_bytes as u64 <= state_bytes;
    text.section("[limits]");
    text.keys_where(&effective, |key| is_told || key != "topics_bytes");
}

fn source(text: &mut Text, source: &Source, fresh: &Freshness) {
    text.section("[[source]]");
    text.quoted("kind", source.kind());
    match source {
        Source::Replay { path, speed, repeat } => {
            text.keys(&ReplayKeys { path: path.clone(), speed: *speed, repeat: *repeat });
        }
        Source::Synthetic { symbols, updates_per_s, seed } => {
            let (symbols, updates_per_s, seed) = (*symbols, *updates_per_s, *seed);
            text.keys(&SyntheticKeys { symbols, updates_per_s, seed });
        }
        Source::Host { interval, names } => text.keys(&HostKeys { interval: *interval, names: *names }),
        Source::Websocket(source) => {
            link(text, &source.link);
            text.keys(&WebsocketKeys { send: source.send.clone(), names: source.names });
        }
        Source::Fanwire(source) => link(text, &source.link),
    }
    text.keys(&FreshnessKeys::from(fresh));
    match source {
        Source::Websocket(source) => source.map.iter().for_each(|entry| self::entry(text, entry)),
        Source::Fanwire(source) => {
            let (interval_ms, batch_bytes) = (source.interval_ms, source.batch_bytes);
            text.keys(&FanwireKeys { interval_ms, batch_bytes });
        }
        Source::Replay { .. } | Source::Synthetic { .. } | Source::Host { .. } => {}
    }
}

fn link(text: &mut Text, link: &Link) {
    text.keys_where(&LinkKeys::from(link), |key| link.ca.is_some() || key != "ca");
}

fn entry(text: &mut Text, entry: &Entry) {
    text.section("[[source.map]]");
    let wanted = |(pointer, wanted): &(Pointer, Wanted)| {
        let value = match wanted {
            Wanted::Present => json("*"),
            Wanted::Text(text) => json(text),
            Wanted::Whole(number) if i64::try_from(*number).is_ok() => number.to_string(),
            Wanted::Whole(number) => format!("{number}.0"),
            Wanted::Flag(flag) => flag.to_string(),
        };
        format!("{} = {value}", json(pointer.as_str()))
    };
    text.plain("when", table(entry.when.iter().map(wanted)));
    let mut pointer = |key, pointer: &Option<Pointer>| {
        pointer.iter().for_each(|pointer| text.plain(key, json(pointer.as_str())));
    };
    pointer("each", &entry.each);
    pointer("ts", &entry.ts);
    pointer("seq", &entry.seq);
    pointer("seq_first", &entry.seq_first);
    if entry.seq.is_some() && entry.seq_first.is_none() {
        text.plain("seq_sparse", entry.seq_sparse);
    }
    if entry.each.is_some() {
        text.quoted("order", entry.order.name());
    }
    entry.topic.iter().for_each(|topic| text.quoted("topic", topic.as_str()));
    match &entry.body {
        Body::Data(pointer) => text.plain("data", json(pointer.as_str())),
        Body::Levels { lists, reset, depth } => {
            text.plain("levels", list(lists.iter().map(|list| levels(list, depth.is_some()))));
            text.plain("reset", reset);
            depth.iter().for_each(|depth| text.plain("depth", depth.levels));
        }
        Body::Gap { topics, reason } => {
            text.plain("gap", list(topics.iter().map(|denied| json(&denied.text()))));
            reason.iter().for_each(|reason| text.plain("reason", json(reason.as_str())));
        }
    }
}

/// `has_depth`: where the best price of each side is matters.
fn levels(levels: &Levels, has_depth: bool) -> String {
    let pair = |key: &str, pointer: &Pointer| format!("{key} = {}", json(pointer.as_str()));
    let key = match &levels.key {
        Key::Fixed(prefix) => vec![format!("key = {}", json(prefix))],
        Key::BySide { side, keys } => {
            let keys = keys.iter().map(|(side, prefix)| format!("{} = {}", json(side), json(prefix)));
            vec![pair("side", side), format!("key = {}", table(keys))]
        }
    };
    let name = |best: &Option<Best>| json(best.map_or("", Best::name));
    let best = match &levels.key {
        Key::Fixed(_) => levels.best.first().map(name),
        Key::BySide { keys, .. } => {
            let sides = keys.iter().zip(&levels.best);
            Some(table(sides.map(|((side, _), best)| format!("{} = {}", json(side), name(best)))))
        }
    };
    let best = best.filter(|_| has_depth).map(|best| format!("best = {best}"));
    let pointers = [pair("path", &levels.path), pair("price", &levels.price), pair("size", &levels.size)];
    table(key.into_iter().chain(pointers).chain(best))
}

/// Bytes that a whole table of a topic can have, by all limits on its way.
fn room_of(config: &Config, policy: &Policy) -> usize {
    let books = config.sources.iter().filter_map(|source| match source {
        Source::Websocket(source) => Some(source),
        _ => None,
    });
    let fed = books.filter(|source| {
        source.map.iter().any(|entry| entry.topic.iter().any(|t| policy.pattern.matches(&t.sample())))
    });
    let message_bytes = fed.map(|source| source.link.message_bytes).min().unwrap_or(usize::MAX);
    let limits = &config.limits;
    let held = limits.topics_bytes / HELD_BYTES * LEVEL_BYTES;
    limits.value_bytes.min(limits.pinned_bytes).min(held).min(message_bytes)
}

/// `room`: as of [`room_of`].
fn policy(text: &mut Text, policy: &Policy, room: usize) {
    text.section("[[topic]]");
    let pattern = Some(policy.pattern.as_str().to_owned());
    text.keys(&TopicKeys { pattern, mode: policy.mode.name().to_owned() });
    match &*policy.mode {
        Mode::Latest => {
            let keys = DeadbandKeys::from(policy.deadband.as_ref());
            text.keys_where(&keys, |key| policy.deadband.is_some() || key == "deadband");
        }
        Mode::Keyed(keyed) => {
            // A default that does not fit other limits is taken only where it is not named.
            let is_told = keyed.keys != KEYS_DEFAULT || keyed.fits(room.min(keyed.table_bytes));
            text.keys_where(&KeyedKeys::from(keyed), |key| is_told || key != "keys");
        }
        Mode::Stream(stream) => text.keys(&StreamKeys::from(stream)),
    }
    let [stale_after, expiry] = [policy.stale_after, policy.expiry].map(Option::unwrap_or_default);
    text.keys(&SilenceKeys { stale_after, expiry });
}

fn table(pairs: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        writeln!(self.0, "{gap}{name}").expect("writing to memory does not fail");
    }

    fn keys<T: Keys>(&mut self, keys: &T) {
        self.keys_where(keys, |_| true);
    }

    /// Those that `is_told` says of. A secret's value is left out.
    fn keys_where<T: Keys>(&mut self, keys: &T, is_told: impl Fn(&str) -> bool) {
        let values = T::KEYS.iter().zip(keys.values());
        for (key, value) in values.filter(|(key, _)| is_told(key.name)) {
            match value::write(&key.kind, &value) {
                Some(_) if key.is_secret => self.plain(&format!("# {}", key.name), "(secret)"),
                Some(written) => self.plain(key.name, written),
                None => {}
            }
        }
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key} = {value}").expect("writing to memory does not fail");
    }

    fn quoted(&mut self, key: &str, value: impl Display) {
        self.plain(key, toml::Value::String(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use engine::keys;

    use super::*;

    keys! {
        /// Of nobody.
        struct Login in "login" {
            /// Who.
            name: String = text_or("me");
            /// How it is proven.
            password: Option<String> = text(), secret;
        }
    }

    #[test]
    fn a_secret_is_printed_nowhere() {
        let mut text = Text(String::new());
        text.keys(&Login { name: "a".to_owned(), password: Some("hush".to_owned()) });
        assert_eq!(text.0, "name = \"a\"\n# password = (secret)\n");
    }
}
