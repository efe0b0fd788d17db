//! The effective configuration as TOML.

use std::{
    fmt::{Display, Write},
    path::Path,
    time::Duration,
};

use engine::topic::depth::Best;

use super::{
    Compression, Config, Fanout, Limits, Server, Source, State,
    access::Access,
    freshness::Freshness,
    mapping::{Body, Entry, Key, Levels, Wanted},
    pointer::Pointer,
    policy::{Behind, HELD_BYTES, KEYS_DEFAULT, LEVEL_BYTES, Mode, Policy},
    unit::{show_duration, show_size},
    websocket::{Fanwire, Link, Websocket},
};

/// `connections`: the limit that holds on this machine.
pub(super) fn render(config: &Config, connections: usize) -> String {
    let mut text = Text(String::new());
    server(&mut text, &config.server);
    fanout(&mut text, &config.fanout);
    limits(&mut text, &config.limits, connections, config.state.state_bytes);
    compression(&mut text, &config.compression);
    access(&mut text, &config.access);
    state(&mut text, &config.state);
    for files in config.server.tls.iter().flat_map(|tls| &tls.certificates[1..]) {
        text.section("[[certificate]]");
        text.quoted("cert", files.cert.display());
        text.quoted("key", files.key.display());
    }
    for (source, fresh) in config.sources.iter().zip(&config.freshness) {
        self::source(&mut text, source, fresh);
    }
    for policy in &config.topics.entries {
        self::policy(&mut text, policy, room_of(config, policy));
    }
    text.0
}

fn server(text: &mut Text, server: &Server) {
    text.section("[server]");
    text.quoted("data", server.data);
    text.quoted("admin", server.admin.map_or(String::new(), |address| address.to_string()));
    if let Some(tls) = &server.tls {
        text.quoted("tls", tls.address);
        text.quoted("tls_cert", tls.certificates[0].cert.display());
        text.quoted("tls_key", tls.certificates[0].key.display());
        text.plain("admin_tls", server.admin_tls);
        text.quoted("tls_client_ca", tls.client_ca.as_deref().unwrap_or(Path::new("")).display());
    }
    text.plain("shards", server.shards);
    text.plain("cpus", format_args!("{:?}", server.cpus));
    text.duration("drain", server.drain);
}

fn fanout(text: &mut Text, fanout: &Fanout) {
    let menu: Vec<u128> = fanout.interval_menu.iter().map(Duration::as_millis).collect();
    text.section("[fanout]");
    text.plain("interval_ms", fanout.interval.as_millis());
    text.plain("interval_ms_min", fanout.interval_min.as_millis());
    text.plain("interval_ms_menu", format_args!("{menu:?}"));
    text.size("frame_bytes_max", fanout.frame_bytes_max);
    text.size("build_bytes", fanout.build_bytes);
    text.duration("heartbeat", fanout.heartbeat);
}

fn limits(text: &mut Text, limits: &Limits, connections: usize, state_bytes: u64) {
    text.section("[limits]");
    text.plain("connections", connections);
    // More than all are no more than all.
    text.plain("connections_per_ip", limits.connections_per_ip.min(connections));
    text.size("message_bytes", limits.message_bytes);
    text.plain("messages_per_s", limits.messages_per_s);
    text.plain("control_per_s", limits.control_per_s);
    text.plain("subscriptions", limits.subscriptions);
    text.plain("patterns", limits.patterns);
    text.plain("topics", limits.topics);
    text.size("publish_bytes", limits.publish_bytes);
    text.duration("stall", limits.stall);
    text.size("pinned_bytes", limits.pinned_bytes);
    text.duration("handshake", limits.handshake);
    text.duration("idle", limits.idle);
    text.duration("ping", limits.ping);
    text.duration("pong", limits.pong);
    text.plain("tombstones", limits.tombstones);
    text.plain("inbox_updates", limits.inbox_updates);
    text.size("inbox_bytes", limits.inbox_bytes);
    text.plain("inbox_messages", limits.inbox_messages);
    text.size("value_bytes", limits.value_bytes);
    // A default above a state_bytes that is named is taken only where it is not named.
    if limits.topics_bytes as u64 <= state_bytes {
        text.size("topics_bytes", limits.topics_bytes);
    }
    text.size("history_bytes", limits.history_bytes);
    text.plain("classes", limits.classes);
    text.plain("shard_patterns", limits.shard_patterns);
    text.plain("patterns_per_ip", limits.patterns_per_ip);
    text.plain("classes_per_ip", limits.classes_per_ip);
    text.plain("admin_connections", limits.admin_connections);
    text.plain("admin_publishes", limits.admin_publishes);
    text.duration("admin_body", limits.admin_body);
    text.duration("admin_idle", limits.admin_idle);
    text.size("admin_bytes_per_s", limits.admin_bytes_per_s);
    text.size("admin_answer_bytes", limits.admin_answer_bytes);
    text.plain("atomic_updates", limits.atomic_updates);
    text.plain("handshakes_per_turn", limits.handshakes_per_turn);
    text.size("sealed_bytes", limits.sealed_bytes);
    text.plain("statuses", limits.statuses);
    text.size("status_bytes", limits.status_bytes);
    text.size("build_bytes_per_ip", limits.build_bytes_per_ip);
}

fn compression(text: &mut Text, compression: &Compression) {
    text.section("[compression]");
    text.plain("enabled", compression.enabled);
    text.plain("level", compression.level);
    text.plain("window_bits", compression.window_bits);
    text.size("bytes_min", compression.bytes_min);
    text.size("catch_up_bytes", compression.catch_up_bytes);
    text.plain("inflate_ratio", compression.inflate_ratio);
    text.size("dictionaries", compression.dictionaries);
    text.size("dictionaries_per_ip", compression.dictionaries_per_ip);
    let agents = compression.user_agents_off.iter().cloned().map(toml::Value::String).collect();
    text.plain("user_agents_off", toml::Value::Array(agents));
}

fn access(text: &mut Text, access: &Access) {
    text.section("[access]");
    text.plain("hosts", list(access.hosts.iter().map(|host| json(&host.to_string()))));
}

fn source(text: &mut Text, source: &Source, fresh: &Freshness) {
    text.section("[[source]]");
    match source {
        Source::Replay { path, speed, repeat } => {
            text.quoted("kind", "replay");
            text.quoted("path", path.display());
            text.plain("speed", format_args!("{speed:?}"));
            text.plain("repeat", repeat);
            freshness(text, fresh);
        }
        Source::Synthetic { symbols, updates_per_s, seed } => {
            text.quoted("kind", "synthetic");
            text.plain("symbols", symbols);
            text.plain("updates_per_s", format_args!("{updates_per_s:?}"));
            text.plain("seed", seed);
            freshness(text, fresh);
        }
        Source::Host { interval, names } => {
            text.quoted("kind", "host");
            text.duration("interval", *interval);
            text.quoted("names", names.name());
            freshness(text, fresh);
        }
        Source::Websocket(source) => websocket(text, source, fresh),
        Source::Fanwire(source) => fanwire(text, source, fresh),
    }
}

fn state(text: &mut Text, state: &State) {
    text.section("[state]");
    text.quoted("path", state.path.as_ref().map_or(String::new(), |path| path.display().to_string()));
    text.duration("checkpoint", state.checkpoint);
    text.size("state_bytes", state.state_bytes as usize);
}

fn freshness(text: &mut Text, fresh: &Freshness) {
    text.duration("stale_after", fresh.stale_after.unwrap_or_default());
    if !fresh.topics.is_empty() {
        text.plain("topics", list(fresh.topics.iter().map(|pattern| json(pattern))));
    }
}

fn websocket(text: &mut Text, source: &Websocket, fresh: &Freshness) {
    text.quoted("kind", "websocket");
    link(text, &source.link);
    text.plain("send", list(source.send.iter().map(|text| json(text))));
    text.quoted("names", source.names.name());
    freshness(text, fresh);
    for entry in &source.map {
        self::entry(text, entry);
    }
}

fn fanwire(text: &mut Text, source: &Fanwire, fresh: &Freshness) {
    text.quoted("kind", "fanwire");
    link(text, &source.link);
    freshness(text, fresh);
    text.plain("interval_ms", source.interval_ms);
    text.size("batch_bytes", source.batch_bytes);
}

fn link(text: &mut Text, link: &Link) {
    text.quoted("name", &link.name);
    text.quoted("url", &link.url.text);
    if let Some(ca) = &link.ca {
        text.quoted("ca", ca.display());
    }
    text.quoted("host", &link.host);
    text.duration("backoff_min", link.backoff_min);
    text.duration("backoff_max", link.backoff_max);
    text.duration("idle", link.idle);
    text.size("message_bytes", link.message_bytes);
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
    text.quoted("pattern", policy.pattern.as_str());
    match &*policy.mode {
        Mode::Latest => {
            text.quoted("mode", "latest");
            text.plain("deadband", policy.deadband.as_ref().map_or(0.0, |deadband| deadband.by));
            if let Some(deadband) = &policy.deadband {
                text.plain("deadband_at", json(deadband.at.as_str()));
                text.duration("deadband_max", deadband.max);
            }
        }
        Mode::Keyed(keyed) => {
            text.quoted("mode", "keyed");
            // A default that does not fit other limits is taken only where it is not named.
            if keyed.keys != KEYS_DEFAULT || keyed.fits(room.min(keyed.table_bytes)) {
                text.plain("keys", keyed.keys);
            }
            text.plain("key_tombstones", keyed.key_tombstones);
            text.size("table_bytes", keyed.table_bytes);
        }
        Mode::Stream(stream) => {
            text.quoted("mode", "stream");
            text.plain("history", stream.history);
            text.plain("ring_updates", stream.ring_updates);
            text.size("ring_bytes", stream.ring_bytes);
            text.duration("ring_age", stream.ring_age.unwrap_or_default());
            text.quoted("behind", if stream.behind == Behind::Gap { "gap" } else { "close" });
        }
    }
    text.duration("stale_after", policy.stale_after.unwrap_or_default());
    text.duration("expiry", policy.expiry.unwrap_or_default());
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn table(pairs: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// A JSON string is a TOML string too, on one line and also as a key; only DEL has to be escaped besides.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        writeln!(self.0, "{gap}{name}").expect("writing to memory does not fail");
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key} = {value}").expect("writing to memory does not fail");
    }

    fn quoted(&mut self, key: &str, value: impl Display) {
        self.plain(key, toml::Value::String(value.to_string()));
    }

    fn size(&mut self, key: &str, bytes: usize) {
        self.quoted(key, show_size(bytes as u64));
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        self.quoted(key, show_duration(duration));
    }
}
