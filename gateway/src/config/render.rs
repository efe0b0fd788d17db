//! The effective configuration as TOML.

use engine::{
    settings::Limits,
    topic::policy::{HELD_BYTES, KEYS_DEFAULT, LEVEL_BYTES, Mode, Policy},
};

use super::{
    Config,
    access::AccessKeys,
    admin::{AdminAccess, AdminKeyKeys, AdminKeys},
    audit::AuditKeys,
    memory,
    raw::RawKeys,
    server::ServerKeys,
    state::StateKeys,
    tls::CertificateKeys,
    tokens,
    topic::{DeadbandKeys, KeyedKeys, SilenceKeys, StreamKeys, TopicKeys},
    writing::{KeyTermKeys, WriteKeys},
};
use crate::{
    document::write::Text,
    source::{
        Source,
        freshness::{Freshness, FreshnessKeys},
    },
};

/// `connections`: the limit that holds on this machine.
pub(super) fn render(config: &Config, connections: usize) -> String {
    let mut text = Text::new(config.written.clone());
    text.section("[server]");
    let has_tls = config.server.tls.is_some();
    text.keys_where(&ServerKeys::from(&config.server), |key| has_tls || !key.contains("tls"));
    text.section("[fanout]");
    text.keys(&config.fanout);
    limits(&mut text, &config.limits, connections, config.state.state_bytes);
    text.section("[compression]");
    text.keys(&config.compression);
    text.section("[overload]");
    text.keys(&config.overload);
    text.section("[access]");
    text.keys(&AccessKeys::from(&config.access));
    tokens::render(&mut text, &config.access.tokens);
    admin(&mut text, &config.admin);
    text.section("[audit]");
    text.keys(&AuditKeys::from(&config.audit));
    text.section("[log]");
    text.keys(&config.log);
    text.section("[state]");
    text.keys(&StateKeys::from(&config.state));
    for files in config.server.tls.iter().flat_map(|tls| &tls.certificates[1..]) {
        text.section("[[certificate]]");
        text.keys(&CertificateKeys::from(files));
    }
    for (source, fresh) in config.sources.iter().zip(&config.freshness) {
        self::source(&mut text, source, fresh);
    }
    for (at, policy) in config.topics.entries.iter().enumerate() {
        self::policy(&mut text, policy, room_of(config, policy));
        text.keys(&WriteKeys::of(policy, config.checks.at(at)));
    }
    for raw in &config.raw_paths {
        text.section("[[raw]]");
        text.keys(&RawKeys::from(raw));
    }
    let memory = memory::parts(config, connections);
    format!("{}\n{}", text.written(), memory::Told(&memory))
}

fn admin(text: &mut Text, admin: &AdminAccess) {
    text.section("[admin]");
    text.keys(&AdminKeys::from(admin));
    for key in admin.keys.iter().filter(|key| !key.is_first()) {
        text.section("[[admin.key]]");
        let has_file = key.file.is_some();
        text.keys_where(&AdminKeyKeys::from(key), |name| has_file || name != "key_file");
    }
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
    let settings = source.settings();
    text.keys(&FreshnessKeys::from(fresh));
    settings.write(text);
    settings.write_tables(text);
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
            let is_bound = policy.key_terms.linger.is_some();
            text.keys_where(&KeyTermKeys::from(policy.key_terms), |key| is_bound || key != "linger");
        }
        Mode::Stream(stream) => text.keys(&StreamKeys::from(stream)),
    }
    let [stale_after, expiry] = [policy.stale_after, policy.expiry].map(Option::unwrap_or_default);
    text.keys(&SilenceKeys { stale_after, expiry });
}
