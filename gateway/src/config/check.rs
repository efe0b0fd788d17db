//! From a TOML document to a checked [`Config`]: ranges key by key, then the relations between keys.

use std::{collections::HashSet, path::Path, time::Duration};

use engine::shard::inbox::MESSAGES;

use super::{
    Config, Fanout, Limits, Server, Source, State,
    access::access,
    compression::compression,
    freshness::{self, Freshness},
    mapping::Entry,
    policy::{Mode, Policies, TOPIC_PLACE_BYTES},
    read::{Named, Problem, Reader, Section, to_int},
    tls::{self, tls},
    topic::policies,
    unit::{show_duration, show_size},
    websocket::{fanwire, read_names, websocket},
};
use crate::system::Machine;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Sources of one gateway.
const SOURCES_MAX: usize = 64;
const KINDS: &str = "\"replay\", \"synthetic\", \"host\", \"websocket\" or \"fanwire\"";

/// Paths in `text` are relative to `dir`.
pub(super) fn check(text: &str, dir: &Path, machine: &Machine) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader::new(text).map_err(|problem| vec![problem])?;
    let (mut server, tls_keys) = server(reader.section("server"), machine);
    server.tls = tls(&mut reader, tls_keys, dir);
    let (fanout, frame_bytes) = fanout(reader.section("fanout"));
    let (limits, topics_bytes) = limits(reader.section("limits"), &frame_bytes, server.shards, machine);
    let compression = compression(reader.section("compression"));
    let access = access(reader.section("access"));
    let topics = policies(&mut reader, &limits);
    let (sources, freshness) = sources(&mut reader, dir, &topics);
    let chained = sources.iter().any(|source| matches!(source, Source::Fanwire(_)));
    let state = state(reader.section("state"), dir, chained, &topics_bytes);
    reader.finish(&[
        "server",
        "fanout",
        "limits",
        "compression",
        "access",
        "certificate",
        "source",
        "topic",
        "state",
    ]);
    let mut problems = reader.problems;
    if problems.is_empty() {
        let (topics, _) = topics;
        return Ok(Config { server, fanout, limits, compression, access, sources, freshness, topics, state });
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

fn server(mut section: Section, machine: &Machine) -> (Server, tls::Keys) {
    let data = section.address("data", "127.0.0.1:9001");
    let admin = section.address("admin", "127.0.0.1:9002");
    let keys = tls::Keys {
        address: section.address("tls", ""),
        cert: section.text("tls_cert", ""),
        key: section.text("tls_key", ""),
        client_ca: section.text("tls_client_ca", ""),
        admin: section.flag("admin_tls", false),
    };
    section.unavailable("refuse", "http");
    let shards = section.int("shards", machine.cpus.len() as u64, 1..=1024).value as usize;
    let cpus = section.ints("cpus", machine.cpus.iter().map(|cpu| *cpu as u64).collect());
    let drain = section.duration("drain", 10 * SECOND, 1..=HOUR).value;

    if let (None, Some(line)) = (data.value, data.line) {
        section.problem(line, "data = \"\": clients need a listener; write an address and a port");
    }
    let (data_address, data_line) = (data.value.unwrap_or(([127, 0, 0, 1], 9001).into()), data.line);
    if let (Some(line), true) =
        (admin.line.or(data_line), admin.value == Some(data_address) && data_address.port() != 0)
    {
        section.problem(line, format!("data and admin are both {data_address}; give admin another port"));
    }
    if let (Some(tls), Some(line)) = (keys.address.value, keys.address.line)
        && tls.port() != 0
        && (tls == data_address || Some(tls) == admin.value)
    {
        section.problem(line, format!("tls is {tls}, like another listener; give it another port"));
    }
    let cpus: Vec<usize> = match cpus.line {
        None => machine.cpus.clone(),
        Some(line) => {
            let chosen: Vec<usize> = cpus.value.iter().map(|cpu| *cpu as usize).collect();
            if chosen.is_empty() {
                section.problem(line, "cpus = []: name at least one CPU or leave it out");
            }
            if let Some(cpu) = chosen.iter().find(|cpu| !machine.cpus.contains(cpu)) {
                let allowed = &machine.cpus;
                section.problem(
                    line,
                    format!("cpus: this process may not run on CPU {cpu}; choose of {allowed:?}"),
                );
            }
            chosen
        }
    };
    section.finish();
    let admin_tls = keys.admin.value;
    (Server { data: data_address, admin: admin.value, tls: None, admin_tls, shards, cpus, drain }, keys)
}

/// Also `frame_bytes_max` as it was named, which `[limits]` is compared with.
fn fanout(mut section: Section) -> (Fanout, Named<u64>) {
    let interval = section.int("interval_ms", 100, 0..=HOUR);
    let min = section.int("interval_ms_min", 0, 0..=HOUR);
    let menu = section.ints("interval_ms_menu", Vec::new());
    let frame_bytes = section.size("frame_bytes_max", 256 * KIB, KIB..=64 * MIB);
    let build_bytes = section.size("build_bytes", MIB, KIB..=GIB).value as usize;
    let heartbeat = section.duration("heartbeat", 5 * SECOND, 100..=HOUR).value;

    if let (Some(line), Some(_), true) = (interval.line, min.line, interval.value < min.value) {
        let (interval, min) = (interval.value, min.value);
        section.problem(
            line,
            format!("interval_ms = {interval} is below interval_ms_min = {min}; raise it to {min}"),
        );
    }
    if let Some(line) = menu.line {
        if let Some(pair) = menu.value.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (a, b) = (pair[0], pair[1]);
            section.problem(line, format!("interval_ms_menu: {b} comes after {a}; write rising numbers"));
        }
        if let Some(most) = menu.value.iter().find(|ms| **ms > HOUR) {
            section.problem(line, format!("interval_ms_menu: {most} is out of range; write 0 to {HOUR}"));
        }
        if let (Some(first), Some(_), true) =
            (menu.value.first(), min.line, menu.value.first() < Some(&min.value))
        {
            let min = min.value;
            section.problem(
                line,
                format!("interval_ms_menu: {first} is below interval_ms_min = {min}; drop it"),
            );
        }
        if let (Some(last), Some(line), true) =
            (menu.value.last(), interval.line, menu.value.last() < Some(&interval.value))
        {
            let interval = interval.value;
            section.problem(
                line,
                format!("interval_ms = {interval} is above the menu's last, {last}; write at most {last}"),
            );
        }
    }
    section.finish();
    // Where only one side of a relation is named, the other side's default follows it.
    let highest = menu.value.last().copied().unwrap_or(HOUR);
    let interval = interval.or(|default| default.min(highest).max(min.value));
    let fanout = Fanout {
        interval: Duration::from_millis(interval),
        interval_min: Duration::from_millis(min.value),
        interval_menu: menu.value.iter().map(|ms| Duration::from_millis(*ms)).collect(),
        frame_bytes_max: frame_bytes.value as usize,
        build_bytes,
        heartbeat,
    };
    (fanout, frame_bytes)
}

/// Also `topics_bytes` as it was named, which `[state]` is compared with.
fn limits(
    mut section: Section,
    frame_bytes: &Named<u64>,
    shards: usize,
    machine: &Machine,
) -> (Limits, Named<u64>) {
    let room = machine.clients_max(shards);
    let connections = section.read("connections", None, |value| to_int(&value).map(Some));
    let pinned = section.size("pinned_bytes", 64 * MIB, KIB..=64 * GIB);
    let publish = section.size("publish_bytes", 16 * MIB, KIB..=GIB);
    let value = section.size("value_bytes", MIB, 16..=GIB);
    let topics_bytes = section.size("topics_bytes", 512 * MIB, KIB..=1024 * GIB);
    let ping = section.duration("ping", 30 * SECOND, 100..=HOUR);
    let pong = section.duration("pong", 10 * SECOND, 100..=HOUR);

    if let (Some(line), Some(wanted)) = (connections.line, connections.value) {
        if wanted == 0 {
            section.problem(line, "connections = 0: nobody could connect; write at least 1");
        } else if wanted > room as u64 {
            section.problem(line, too_many_connections(wanted, shards, machine));
        }
    }
    if let (Some(_), Some(line)) = (contradicts(frame_bytes, &pinned), pinned.line) {
        let (pinned, frame) = (show_size(pinned.value), show_size(frame_bytes.value));
        let text = format!(
            "pinned_bytes = \"{pinned}\" is below [fanout] frame_bytes_max = \"{frame}\": one frame to a slow client would have it reset; raise it to at least \"{frame}\""
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&value, &publish) {
        let (publish, value) = (show_size(publish.value), show_size(value.value));
        let text = format!(
            "value_bytes = \"{value}\" is above publish_bytes = \"{publish}\": no body could hold such a value; write at most \"{publish}\""
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&value, &topics_bytes) {
        let (topics, value) = (show_size(topics_bytes.value), show_size(value.value));
        let text = format!(
            "value_bytes = \"{value}\" is above topics_bytes = \"{topics}\", which is of all values: write at most \"{topics}\""
        );
        section.problem(line, text);
    }
    if let (Some(_), Some(line)) = (contradicts(&value, &pinned), pinned.line) {
        let (pinned, value) = (show_size(pinned.value), show_size(value.value));
        let text = format!(
            "pinned_bytes = \"{pinned}\" is below value_bytes = \"{value}\": one such value to a slow client would have it reset; raise it to at least \"{value}\""
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&pong, &ping) {
        let (ping, pong) = (show_duration(ping.value), show_duration(pong.value));
        let text = format!(
            "pong = \"{pong}\" is longer than ping = \"{ping}\": a ping would be due before the last one is given up; write at most \"{ping}\""
        );
        section.problem(line, text);
    }
    // Where only one side of a relation is named, the other side's default follows it.
    let named = |limit: &Named<u64>| limit.line.map_or(u64::MAX, |_| limit.value);
    let highest = named(&publish).min(named(&pinned)).min(named(&topics_bytes));
    let value = value.or(|default| default.min(highest));
    let topics = section.int("topics", 200_000, 1..=10_000_000).value;
    // As many topics as there may be have room for their places, and as much again for names and values.
    let least = (value + TOPIC_PLACE_BYTES as u64).max(topics * 2 * TOPIC_PLACE_BYTES as u64);
    let topics_bytes =
        Named { line: topics_bytes.line, value: topics_bytes.or(|default| default.max(least)) };
    let patterns = section.int("patterns", 1_000, 1..=100_000);
    // A class carries the slot of its subscription, of which the contract has eight.
    let subscriptions = section.int("subscriptions", 8, 1..=8);
    let shard_patterns = section.int("shard_patterns", 1_000_000, 1..=100_000_000);
    let classes = section.int("classes", 100_000, 1..=10_000_000);
    let [patterns, shard_patterns, patterns_per_ip] =
        shares(&mut section, "patterns_per_ip", ("patterns", patterns), ("shard_patterns", shard_patterns));
    let [subscriptions, classes, classes_per_ip] =
        shares(&mut section, "classes_per_ip", ("subscriptions", subscriptions), ("classes", classes));
    let per_ip = section.int("connections_per_ip", 0, 0..=10_000_000);
    if let (Some(line), Some(all)) = (per_ip.line, connections.value)
        && per_ip.value > all
    {
        let text = format!(
            "connections_per_ip = {} is above connections = {all}: an address could take all of them; write at most {all}, or 0 for no limit",
            per_ip.value
        );
        section.problem(line, text);
    }
    let limits = Limits {
        connections: connections.value.map(|n| n as usize),
        connections_per_ip: per_ip.value as usize,
        message_bytes: section.size("message_bytes", 64 * KIB, 128..=64 * MIB).value as usize,
        messages_per_s: section.int("messages_per_s", 100, 1..=1_000_000).value as u32,
        control_per_s: section.int("control_per_s", 20, 1..=1_000_000).value as u32,
        subscriptions: subscriptions as usize,
        patterns: patterns as usize,
        topics: topics as usize,
        publish_bytes: publish.or(|default| default.max(value)) as usize,
        stall: section.duration("stall", 30 * SECOND, 100..=HOUR).value,
        pinned_bytes: pinned.or(|default| default.max(frame_bytes.value).max(value)) as usize,
        handshake: section.duration("handshake", 5 * SECOND, 100..=HOUR).value,
        idle: section.duration("idle", 60 * SECOND, 100..=24 * HOUR).value,
        ping: ping.value,
        pong: pong.value,
        tombstones: section.int("tombstones", 10_000, 0..=10_000_000).value as usize,
        inbox_updates: section.int("inbox_updates", 65_536, 1..=16_000_000).value as usize,
        inbox_bytes: section.size("inbox_bytes", 64 * MIB, KIB..=64 * GIB).value as usize,
        inbox_messages: section.int("inbox_messages", MESSAGES as u64, 64..=1_000_000).value as usize,
        value_bytes: value as usize,
        history_bytes: section.size("history_bytes", GIB, KIB..=1024 * GIB).value as usize,
        topics_bytes: topics_bytes.value as usize,
        classes: classes as usize,
        shard_patterns: shard_patterns as usize,
        patterns_per_ip: patterns_per_ip as usize,
        classes_per_ip: classes_per_ip as usize,
        admin_connections: section.int("admin_connections", 256, 1..=65_536).value as usize,
        admin_publishes: section.int("admin_publishes", 32, 1..=65_536).value as usize,
        admin_body: section.duration("admin_body", 60 * SECOND, 100..=HOUR).value,
        handshakes_per_turn: section.int("handshakes_per_turn", 8, 1..=10_000).value as usize,
        sealed_bytes: section.size("sealed_bytes", 64 * MIB, 16 * KIB..=64 * GIB).value as usize,
        statuses: section.int("statuses", 1_000, 1..=1_000_000).value as usize,
        admin_bytes_per_s: section.size("admin_bytes_per_s", 16 * KIB, 0..=GIB).value as usize,
        admin_answer_bytes: section.size("admin_answer_bytes", 64 * MIB, KIB..=64 * GIB).value as usize,
        atomic_updates: section.int("atomic_updates", 10_000, 1..=10_000_000).value as usize,
        status_bytes: section.size("status_bytes", 16 * MIB, KIB..=GIB).value as usize,
        admin_idle: section.duration("admin_idle", 30 * SECOND, 100..=HOUR).value,
        build_bytes_per_ip: section.size("build_bytes_per_ip", 0, 0..=64 * GIB).value as usize,
        head_bytes: 16 * KIB as usize,
    };
    section.finish();
    (limits, topics_bytes)
}

/// What one connection may have of a table, the table, and an address's share `key`, 0 for no limit: at least
/// what one connection may have, at most the table.
fn shares(
    section: &mut Section,
    key: &'static str,
    (of_connection, least): (&str, Named<u64>),
    (table, most): (&str, Named<u64>),
) -> [u64; 3] {
    let share = section.int(key, 0, 0..=100_000_000);
    let value = share.value;
    if value > 0
        && let Some(line) = contradicts(&least, &share).and(share.line)
    {
        let least = least.value;
        let text = format!(
            "{key} = {value} is below {of_connection} = {least}: one connection could not have as many; write at least {least}, or 0 for no limit"
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&share, &most).and(share.line) {
        let most = most.value;
        let text = format!(
            "{key} = {value} is above {table} = {most}: an address could take all of it; write less than {most}, or 0 for no limit"
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&least, &most) {
        let (least, most) = (least.value, most.value);
        let text = format!(
            "{of_connection} = {least} is above {table} = {most}: no connection could have as many; write at most {most}, or raise {table} to {least}"
        );
        section.problem(line, text);
    }
    // Where only one side of a relation is named, the other side's default follows it.
    let named = |limit: &Named<u64>| limit.line.map(|_| limit.value).filter(|value| *value > 0);
    let highest = named(&share).unwrap_or(u64::MAX).min(named(&most).unwrap_or(u64::MAX));
    let lowest = named(&least).unwrap_or(0).max(value);
    [least.or(|default| default.min(highest)), most.or(|default| default.max(lowest)), value]
}

/// Where the file names both and the lower one is the higher: the line of the lower one.
pub(super) fn contradicts<T: PartialOrd>(lower: &Named<T>, higher: &Named<T>) -> Option<usize> {
    let line = higher.line.and(lower.line)?;
    (lower.value > higher.value).then_some(line)
}

fn too_many_connections(wanted: u64, shards: usize, machine: &Machine) -> String {
    let (nofile, room) = (machine.nofile_hard, machine.clients_max(shards));
    let each = machine.clients_max(1);
    let remedy = match wanted.checked_div(each as u64) {
        None => "raise it (ulimit -Hn, LimitNOFILE=)".to_owned(),
        Some(_) => format!("raise [server] shards to {}, or the limit", wanted.div_ceil(each as u64)),
    };
    format!(
        "connections = {wanted} does not fit: the hard limit nofile is {nofile}, {shards} shards give room for {room} clients; {remedy}"
    )
}

/// Files are relative to `dir`.
fn state(mut section: Section, dir: &Path, chained: bool, topics_bytes: &Named<u64>) -> State {
    let path = section.text("path", "");
    let checkpoint = section.duration("checkpoint", 10 * SECOND, 100..=HOUR).value;
    let state_bytes = section.size("state_bytes", GIB, KIB..=1024 * GIB);
    if let (Some(_), Some(line)) = (contradicts(topics_bytes, &state_bytes), state_bytes.line) {
        let (state, topics) = (show_size(state_bytes.value), show_size(topics_bytes.value));
        let text = format!(
            "state_bytes = \"{state}\" is below [limits] topics_bytes = \"{topics}\": a state of so many bytes would never be written; raise it to \"{topics}\", or lower that"
        );
        section.problem(line, text);
    }
    let state_bytes = state_bytes.or(|default| default.max(topics_bytes.value));
    let file = (!path.value.is_empty()).then(|| dir.join(&path.value));
    if let (Some(line), Some(file)) = (path.line, &file) {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if file.is_dir() {
            section.problem(line, format!("path: {} is a directory; write a file in it", file.display()));
        } else if !parent.is_dir() {
            section.problem(line, format!("path: there is no directory {}; make it", parent.display()));
        }
        if chained {
            let text =
                "path: a gateway of kind = \"fanwire\" gets everything from its upstream; leave it out";
            section.problem(line, text);
        }
    }
    section.finish();
    State { path: file, checkpoint, state_bytes }
}

/// `line`: of its kind.
fn replay(section: &mut Section, dir: &Path, line: Option<usize>) -> Source {
    let path = section.text("path", "feed.ndjson");
    let file = dir.join(&path.value);
    if !file.exists() {
        let (shown, line) = (file.display(), path.line.or(line).unwrap_or(0));
        let text = format!("path: there is no file {shown}; paths are relative to the config file");
        section.problem(line, text);
    }
    let speed = section.number("speed", 1.0, 0.0..=1e6).value;
    Source::Replay { path: file, speed, repeat: section.flag("repeat", true).value }
}

/// `topics` with whether the file names the `keys` of each.
fn sources(reader: &mut Reader, dir: &Path, topics: &(Policies, Vec<bool>)) -> (Vec<Source>, Vec<Freshness>) {
    let keyed = topics.0.entries.iter().any(|policy| matches!(*policy.mode, Mode::Keyed(_)));
    let (mut sources, mut fresh) = (Vec::new(), Vec::new());
    let mut chained = None;
    let mut names = HashSet::new();
    for table in reader.sections("source") {
        let mut section = reader.open("source", table);
        let kind = section.read("kind", "", |value| match value.as_str() {
            Some("replay") => Ok("replay"),
            Some("synthetic") => Ok("synthetic"),
            Some("host") => Ok("host"),
            Some("websocket") => Ok("websocket"),
            Some("fanwire") => Ok("fanwire"),
            _ => Err(format!("write {KINDS}")),
        });
        match kind.value {
            "replay" => sources.push(replay(&mut section, dir, kind.line)),
            "synthetic" => sources.push(Source::Synthetic {
                symbols: section.int("symbols", 100, 1..=1_000_000).value as usize,
                updates_per_s: section.number("updates_per_s", 1000.0, 0.001..=1e7).value,
                seed: section.int("seed", 1, 0..=i64::MAX as u64).value,
            }),
            "host" => {
                let interval = section.duration("interval", SECOND, 100..=HOUR).value;
                sources.push(Source::Host { interval, names: read_names(&mut section) });
            }
            "websocket" => {
                let source = websocket(&mut section, dir, topics);
                let name = source.as_ref().map(|source| source.link.name.clone());
                if let Some(name) = name.filter(|name| !names.insert(name.clone())) {
                    let text = format!("two sources are called {name:?}; give each another name");
                    section.problem(section.line(), text);
                }
                if source.iter().any(|source| source.map.iter().any(Entry::has_levels)) && !keyed {
                    let text = "levels become keys of a keyed topic, of which there is none; add a [[topic]] with \
                                pattern and mode = \"keyed\"";
                    section.problem(section.line(), text);
                }
                sources.extend(source.map(|source| Source::Websocket(source.into())));
            }
            "fanwire" => {
                chained = Some(section.line());
                if topics.0.have_deadlines() {
                    let text = "the upstream numbers all updates, so nothing is held back or expires here; \
                                leave deadband and expiry to its [[topic]]";
                    section.problem(section.line(), text);
                }
                sources
                    .extend(fanwire(&mut section, dir, topics).map(|source| Source::Fanwire(source.into())));
            }
            _ => {
                if kind.line.is_none() {
                    section.problem(section.line(), format!("kind is missing; write kind = {KINDS}"));
                }
                continue;
            }
        }
        if let Some(source) = sources.get(fresh.len()) {
            fresh.push(freshness::freshness(&mut section, source));
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
