//! `[[topic]]` entries, checked.

use std::{sync::Arc, time::Duration};

use super::{
    Limits,
    pointer::Pointer,
    policy::{
        Behind, Deadband, Glob, HELD_BYTES, KEYS_DEFAULT, KEYS_FEW, Keyed, LEVEL_BYTES, Mode, Policies,
        Policy, Stream,
    },
    read::{Named, Reader, Section},
    unit::{show_duration, show_size},
};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// A deadline that is nearer is not worth a timer.
const DEADLINE_MS_MIN: u64 = 10;
const MIB: u64 = 1 << 20;
/// Offsets into a table's text are 32 bits, and half of it may be garbage.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// Entries of one gateway: each is looked at when a topic is born.
const ENTRIES_MAX: usize = 1000;

/// Also of each entry whether the file names its `keys`.
pub(super) fn policies(reader: &mut Reader, limits: &Limits) -> (Policies, Vec<bool>) {
    let tables = reader.sections("topic");
    if tables.len() > ENTRIES_MAX {
        let (line, have) = (tables[ENTRIES_MAX].line(), tables.len());
        reader.problem(line, format!("there are {have} [[topic]] entries; the most is {ENTRIES_MAX}"));
    }
    let entries = tables.into_iter().filter_map(|table| {
        let mut section = reader.open("topic", table);
        let policy = policy(&mut section, limits);
        section.finish();
        policy
    });
    let (entries, names_keys) = entries.unzip();
    (Policies::new(entries), names_keys)
}

fn policy(section: &mut Section, limits: &Limits) -> Option<(Policy, bool)> {
    let text = section.text("pattern", "");
    let line = text.line.unwrap_or(section.line());
    let pattern = Glob::parse(&text.value).map_err(|bad| {
        let pattern = &text.value;
        section.problem(line, format!("pattern = {pattern:?}: {bad}; write a glob like \"*.trade.*\""));
    });
    let name = section.read("mode", "latest", |value| match value.as_str() {
        Some("latest") => Ok("latest"),
        Some("stream") => Ok("stream"),
        Some("keyed") => Ok("keyed"),
        _ => Err("write \"latest\", \"stream\" or \"keyed\"".to_owned()),
    });
    let (keyed, keyed_lines) = keyed(section);
    let names_keys = keyed_lines.iter().any(|(key, line)| *key == "keys" && line.is_some());
    if names_keys && name.value == "keyed" {
        check_room(section, &keyed, limits);
    }
    let table_line = keyed_lines.iter().find(|(key, _)| *key == "table_bytes").and_then(|(_, line)| *line);
    if let (Some(line), true) = (table_line, keyed.table_bytes > limits.topics_bytes) {
        let [table, topics] = [keyed.table_bytes, limits.topics_bytes].map(|bytes| show_size(bytes as u64));
        let text = format!(
            "table_bytes = \"{table}\" is above [limits] topics_bytes = \"{topics}\", which is of all topics: raise \
             that to \"{table}\", or lower this"
        );
        section.problem(line, text);
    }
    let (stream, stream_lines) = stream(section, limits);
    let (deadband, deadband_lines) = deadband(section);
    let stale_after = stale_after(section, deadband.as_ref());
    let expiry = expiry(section, deadband.as_ref(), stale_after);
    let mut foreign = |lines: Vec<(&str, Option<usize>)>, mode: &str| {
        for (key, line) in lines {
            if let (Some(line), true) = (line, name.value != mode) {
                let held = name.value;
                section.problem(
                    line,
                    format!("{key} is for mode = \"{mode}\", this entry is \"{held}\"; leave it out"),
                );
            }
        }
    };
    foreign(keyed_lines, "keyed");
    foreign(stream_lines, "stream");
    foreign(deadband_lines, "latest");
    let mode = match name.value {
        "keyed" => Mode::Keyed(keyed),
        "stream" => Mode::Stream(stream),
        _ => Mode::Latest,
    };
    let policy = Policy { pattern: pattern.ok()?, mode: Arc::new(mode), deadband, stale_after, expiry };
    Some((policy, names_keys))
}

/// A whole table of as many keys as there may be has to fit one update, the topic, what may wait for a
/// slow client, and all last values.
fn check_room(section: &mut Section, keyed: &Keyed, limits: &Limits) {
    for (limit, max, each) in [
        ("[limits] value_bytes", limits.value_bytes, LEVEL_BYTES),
        ("table_bytes", keyed.table_bytes, LEVEL_BYTES),
        ("[limits] pinned_bytes", limits.pinned_bytes, LEVEL_BYTES),
        ("[limits] topics_bytes", limits.topics_bytes, HELD_BYTES),
    ] {
        if !keyed.fits_with(each, max) {
            let (keys, whole) = (keyed.keys, show_size((keyed.keys * each) as u64));
            let fits = (max / each).max(KEYS_FEW);
            let max = show_size(max as u64);
            let text = format!(
                "keys = {keys}: a whole table of so many keys, of {each} bytes each, has {whole}, but {limit} \
                 is {max}: raise that to \"{whole}\", or lower keys to {fits}"
            );
            section.problem(section.line_of("keys"), text);
        }
    }
}

/// Each key with its line, where the file names it.
type Lines = Vec<(&'static str, Option<usize>)>;

fn keyed(section: &mut Section) -> (Keyed, Lines) {
    let keys = section.int("keys", KEYS_DEFAULT as u64, 1..=10_000_000);
    let key_tombstones = section.int("key_tombstones", 1_000, 0..=10_000_000);
    let table_bytes = section.size("table_bytes", 16 * MIB, 1024..=TABLE_BYTES_MAX);
    let lines =
        vec![("keys", keys.line), ("key_tombstones", key_tombstones.line), ("table_bytes", table_bytes.line)];
    let keyed = Keyed {
        keys: keys.value as usize,
        key_tombstones: key_tombstones.value as usize,
        table_bytes: table_bytes.value as usize,
    };
    (keyed, lines)
}

/// None where it is 0.
fn deadband(section: &mut Section) -> (Option<Deadband>, Lines) {
    let by = section.number("deadband", 0.0, 0.0..=1e15);
    let at = section.text("deadband_at", "");
    let max = section.duration("deadband_max", 1_000, DEADLINE_MS_MIN..=HOUR_MS);
    let pointer = Pointer::parse(&at.value).and_then(|pointer| match pointer.whole {
        true => Err(format!("{:?}: there is only one message; leave out the ^", at.value)),
        false => Ok(pointer),
    });
    if let (Err(bad), Some(line)) = (&pointer, at.line) {
        section.problem(line, format!("deadband_at: {bad}"));
    }
    if let (Some(line), true) = (at.line.or(max.line), by.value == 0.0) {
        section.problem(
            line,
            "there is no deadband to go with it; write by how much a number is to move, like deadband = 0.01",
        );
    }
    let deadband = pointer.ok().filter(|_| by.value > 0.0);
    let deadband = deadband.map(|at| Deadband { by: by.value, at, max: max.value });
    (deadband, vec![("deadband", by.line), ("deadband_at", at.line), ("deadband_max", max.line)])
}

/// None where it is 0.
fn stale_after(section: &mut Section, deadband: Option<&Deadband>) -> Option<Duration> {
    let stale_after = section.duration("stale_after", 0, 0..=30 * DAY_MS);
    check_deadline(section, "stale_after", &stale_after, deadband);
    Some(stale_after.value).filter(|after| !after.is_zero())
}

/// None where it is 0.
fn expiry(
    section: &mut Section,
    deadband: Option<&Deadband>,
    stale_after: Option<Duration>,
) -> Option<Duration> {
    let expiry = section.duration("expiry", 0, 0..=30 * DAY_MS);
    check_deadline(section, "expiry", &expiry, deadband);
    if let (Some(line), Some(after)) = (expiry.line, stale_after)
        && !expiry.value.is_zero()
        && expiry.value <= after
    {
        let (expiry, after) = (show_duration(expiry.value), show_duration(after));
        let text = format!(
            "expiry = \"{expiry}\": it is not above stale_after = \"{after}\", so the topic would be gone \
             before it is stale; raise it"
        );
        section.problem(line, text);
    }
    Some(expiry.value).filter(|expiry| !expiry.is_zero())
}

/// A deadline of silence: not in no time, and not while a held-back value has still to come.
fn check_deadline(section: &mut Section, key: &str, deadline: &Named<Duration>, deadband: Option<&Deadband>) {
    let problem = match deadline.value {
        Duration::ZERO => None,
        value if value < Duration::from_millis(DEADLINE_MS_MIN) => {
            Some(format!("write at least \"{DEADLINE_MS_MIN}ms\", or \"0s\" for never"))
        }
        value => deadband.filter(|deadband| value <= deadband.max).map(|deadband| {
            let max = show_duration(deadband.max);
            format!(
                "it is not above deadband_max = \"{max}\", within which a value may be held back; raise it"
            )
        }),
    };
    if let (Some(problem), Some(line)) = (problem, deadline.line) {
        section.problem(line, format!("{key} = \"{}\": {problem}", show_duration(deadline.value)));
    }
}

fn stream(section: &mut Section, limits: &Limits) -> (Stream, Lines) {
    let history = section.int("history", 1, 1..=1_000_000);
    let ring_updates = section.int("ring_updates", 1_000, 1..=10_000_000);
    let ring_bytes = section.size("ring_bytes", MIB, 1..=TABLE_BYTES_MAX);
    let history_bytes = limits.history_bytes as u64;
    if let (Some(line), true) = (ring_bytes.line, ring_bytes.value > history_bytes) {
        let [ring, history] = [ring_bytes.value, history_bytes].map(show_size);
        let text = format!(
            "ring_bytes = \"{ring}\" is above [limits] history_bytes = \"{history}\", which is of all topics: \
             write at most \"{history}\", or raise that to \"{ring}\""
        );
        section.problem(line, text);
    }
    let ring_age: Named<Duration> = section.duration("ring_age", 0, 0..=24 * HOUR_MS);
    let behind = section.read("behind", Behind::Gap, |value| match value.as_str() {
        Some("gap") => Ok(Behind::Gap),
        Some("close") => Ok(Behind::Close),
        _ => Err("write \"gap\" or \"close\"".to_owned()),
    });
    if let (Some(line), true) = (history.line.or(ring_updates.line), history.value > ring_updates.value) {
        let (history, ring) = (history.value, ring_updates.value);
        section.problem(
            line,
            format!(
                "history = {history} is above ring_updates = {ring}; write at most {ring}, or raise that"
            ),
        );
    }
    let lines = vec![
        ("history", history.line),
        ("ring_updates", ring_updates.line),
        ("ring_bytes", ring_bytes.line),
        ("ring_age", ring_age.line),
        ("behind", behind.line),
    ];
    let stream = Stream {
        history: history.value as usize,
        ring_updates: ring_updates.value as usize,
        ring_bytes: ring_bytes.or(|default| default.min(history_bytes)) as usize,
        ring_age: Some(ring_age.value).filter(|age| !age.is_zero()),
        behind: behind.value,
    };
    (stream, lines)
}
