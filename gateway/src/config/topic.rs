//! `[[topic]]` entries, checked.

use std::{path::Path, sync::Arc, time::Duration};

use engine::{
    json::pointer::Pointer,
    keys,
    settings::{Key, Keys, Limits},
    topic::{
        pattern::Pattern,
        policy::{
            Behind, Deadband, HELD_BYTES, KEYS_DEFAULT, KEYS_FEW, Keyed, LEVEL_BYTES, Mode, Policies, Policy,
            Stream,
        },
    },
    unit::{show_duration, show_size},
};

use super::{
    deadline::{DAY_MS, DEADLINE_MS_MIN, HOUR_MS},
    writing::{self, KeyTermKeys},
};
use crate::{
    document::read::{Named, Reader, Section, named},
    intake::check::{Check, Checks},
};

const MIB: u64 = 1 << 20;
/// Offsets into a table's text are 32 bits, and half of it may be garbage.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// Entries of one gateway: each is looked at when a topic is born.
const ENTRIES_MAX: usize = 1000;

keys! {
    /// What an update of a topic is to those before it. The first entry whose pattern matches a topic holds.
    pub(super) struct TopicKeys in "topic" {
        /// In a pattern `*` is one segment, at the end one or more. A topic that no entry matches is "latest".
        pattern: Option<String> = text(), example("\"*.book.*\"");
        /// "latest": an update replaces those before it. "keyed": it changes keys of a table. "stream": each counts.
        mode: String = choice("latest", &["latest", "stream", "keyed"]);
    }
}

keys! {
    /// of mode = "latest".
    pub(super) struct DeadbandKeys in "topic" {
        /// An update passes when its number moved by more than this from what went out. 0: each passes.
        deadband: f64 = number(0.0, 0.0..=1e15);
        /// JSON pointer to the number in `data`. Default: `data` is the number.
        deadband_at: String = text_or(""), example("\"/price\"");
        /// Or when so long has passed; the newest one held back goes out then. Below `stale_after` and `expiry`.
        deadband_max: Duration = duration(1_000, DEADLINE_MS_MIN..=HOUR_MS);
    }
}

keys! {
    /// of mode = "keyed".
    pub(super) struct KeyedKeys in "topic" {
        /// Keys of a topic. An update that would make more is refused. A whole table, of 32 bytes a key, has to fit
        /// `value_bytes`, `table_bytes` and the `message_bytes` of its source, where more than 100 are named.
        keys: usize = count(KEYS_DEFAULT as u64, 1..=10_000_000);
        /// Deleted keys of a topic that the gateway remembers. A client that was away for longer gets the whole table.
        key_tombstones: usize = count(1_000, 0..=10_000_000);
        /// Bytes of the keys and values of a topic. An update that could make more is refused.
        table_bytes: usize = size(16 * MIB, 1024..=TABLE_BYTES_MAX);
    }
}

keys! {
    /// of mode = "stream".
    pub(super) struct StreamKeys in "topic" {
        /// Updates of a topic in a snapshot. At most `ring_updates`. 0: none.
        history: usize = count(1, 0..=1_000_000);
        /// Updates of a topic that are kept for clients that are behind.
        ring_updates: usize = count(1_000, 1..=10_000_000);
        /// Their bytes. At most `history_bytes`.
        ring_bytes: usize = size(MIB, 1..=TABLE_BYTES_MAX);
        /// Their age. Older ones are dropped when a newer one comes. 0: any age.
        ring_age: Duration = duration(0, 0..=24 * HOUR_MS);
        /// A client that is further behind: "gap": is told how much is missing. "close": is closed with 4004.
        behind: String = choice("gap", &["gap", "close"]);
    }
}

keys! {
    /// of any mode.
    pub(super) struct SilenceKeys in "topic" {
        /// A topic without an update for so long is told to be stale; at least 10ms. 0: never.
        stale_after: Duration = duration(0, 0..=30 * DAY_MS);
        /// A topic without an update for so long is gone; at least 10ms, above `stale_after`. 0: never.
        expiry: Duration = duration(0, 0..=30 * DAY_MS);
    }
}

impl From<Option<&Deadband>> for DeadbandKeys {
    fn from(deadband: Option<&Deadband>) -> Self {
        match deadband {
            Some(Deadband { by, at, max }) => {
                Self { deadband: *by, deadband_at: at.as_str().to_owned(), deadband_max: *max }
            }
            None => Self::defaults(),
        }
    }
}

impl From<&Keyed> for KeyedKeys {
    fn from(keyed: &Keyed) -> Self {
        let Keyed { keys, key_tombstones, table_bytes } = *keyed;
        Self { keys, key_tombstones, table_bytes }
    }
}

impl From<&Stream> for StreamKeys {
    fn from(stream: &Stream) -> Self {
        let Stream { snapshot_updates, history_updates, history_bytes, history_age, behind } = *stream;
        let ring_age = history_age.unwrap_or_default();
        let behind = if behind == Behind::Gap { "gap" } else { "close" }.to_owned();
        Self {
            history: snapshot_updates,
            ring_updates: history_updates,
            ring_bytes: history_bytes,
            ring_age,
            behind,
        }
    }
}

/// Of each entry also what texts are held against, and whether the file names its `keys`. Files are relative to `dir`.
pub(super) fn policies(reader: &mut Reader, limits: &Limits, dir: &Path) -> ((Policies, Vec<bool>), Checks) {
    let tables = reader.sections("topic");
    if tables.len() > ENTRIES_MAX {
        let (line, have) = (tables[ENTRIES_MAX].line(), tables.len());
        reader.problem(line, format!("there are {have} [[topic]] entries; the most is {ENTRIES_MAX}"));
    }
    let entries = tables.into_iter().filter_map(|table| {
        let mut section = reader.open("topic", table);
        let policy = policy(&mut section, limits, dir);
        section.finish();
        policy
    });
    let (entries, others): (_, Vec<_>) = entries.unzip();
    let (names_keys, checks) = others.into_iter().unzip();
    let policies = Policies::new(entries);
    let checks = Checks::new(policies.clone(), checks);
    ((policies, names_keys), checks)
}

type Others = (bool, Option<Arc<Check>>);

fn policy(section: &mut Section, limits: &Limits, dir: &Path) -> Option<(Policy, Others)> {
    let keys: TopicKeys = section.keys();
    let (text, mode) = (keys.pattern.unwrap_or_default(), keys.mode.as_str());
    let pattern = Pattern::parse(&text).map_err(|bad| {
        let problem = format!("pattern = {text:?}: {}; write one like \"*.trade.*\"", bad.reason());
        section.problem(section.line_of("pattern"), problem);
    });
    let keyed = keyed(section, limits, mode);
    let names_keys = named!(section, keyed.keys).line.is_some();
    let stream = stream(section, limits);
    let deadband = deadband(section);
    let silence: SilenceKeys = section.keys();
    let stale_after = stale_after(section, &silence, deadband.as_ref());
    let expiry = expiry(section, &silence, deadband.as_ref(), stale_after);
    let (write, keys) = writing::write(section, mode);
    let check = writing::check(section, keys, dir);
    let key_terms = writing::key_terms(section);
    check_foreign(section, KeyedKeys::KEYS, "keyed", mode);
    check_foreign(section, KeyTermKeys::KEYS, "keyed", mode);
    check_foreign(section, StreamKeys::KEYS, "stream", mode);
    check_foreign(section, DeadbandKeys::KEYS, "latest", mode);
    let mode = match mode {
        "keyed" => Mode::Keyed(keyed),
        "stream" => Mode::Stream(stream),
        _ => Mode::Latest,
    };
    let (pattern, mode) = (pattern.ok()?, Arc::new(mode));
    let policy = Policy { pattern, mode, deadband, stale_after, expiry, write, key_terms };
    Some((policy, (names_keys, check)))
}

/// Keys that are for `mode` only stand in no entry of another.
fn check_foreign(section: &mut Section, keys: &[Key], mode: &str, held: &str) {
    for key in keys.iter().map(|key| key.name) {
        if let (Some(line), true) = (section.named(key, ()).line, held != mode) {
            let text = format!("{key} is for mode = \"{mode}\", this entry is \"{held}\"; leave it out");
            section.problem(line, text);
        }
    }
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

fn keyed(section: &mut Section, limits: &Limits, mode: &str) -> Keyed {
    let KeyedKeys { keys, key_tombstones, table_bytes } = section.keys();
    let keyed = Keyed { keys, key_tombstones, table_bytes };
    if named!(section, keyed.keys).line.is_some() && mode == "keyed" {
        check_room(section, &keyed, limits);
    }
    if let (Some(line), true) =
        (named!(section, keyed.table_bytes).line, keyed.table_bytes > limits.topics_bytes)
    {
        let [table, topics] = [keyed.table_bytes, limits.topics_bytes].map(|bytes| show_size(bytes as u64));
        let text = format!(
            "table_bytes = \"{table}\" is above [limits] topics_bytes = \"{topics}\", which is of all topics: raise \
             that to \"{table}\", or lower this"
        );
        section.problem(line, text);
    }
    keyed
}

/// None where it is 0.
fn deadband(section: &mut Section) -> Option<Deadband> {
    let keys: DeadbandKeys = section.keys();
    let (at, max) = (named!(section, keys.deadband_at), named!(section, keys.deadband_max));
    let pointer = Pointer::parse(&at.value).and_then(|pointer| match pointer.is_plain() {
        false => Err(format!("{:?}: there is only one message; leave out the ^ or @", at.value)),
        true => Ok(pointer),
    });
    if let (Err(bad), Some(line)) = (&pointer, at.line) {
        section.problem(line, format!("deadband_at: {bad}"));
    }
    if let (Some(line), true) = (at.line.or(max.line), keys.deadband == 0.0) {
        section.problem(
            line,
            "there is no deadband to go with it; write by how much a number is to move, like deadband = 0.01",
        );
    }
    let at = pointer.ok().filter(|_| keys.deadband > 0.0)?;
    Some(Deadband { by: keys.deadband, at, max: max.value })
}

/// None where it is 0.
fn stale_after(section: &mut Section, keys: &SilenceKeys, deadband: Option<&Deadband>) -> Option<Duration> {
    check_deadline(section, "stale_after", &named!(section, keys.stale_after), deadband);
    Some(keys.stale_after).filter(|after| !after.is_zero())
}

/// None where it is 0.
fn expiry(
    section: &mut Section,
    keys: &SilenceKeys,
    deadband: Option<&Deadband>,
    stale_after: Option<Duration>,
) -> Option<Duration> {
    let expiry = named!(section, keys.expiry);
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

fn stream(section: &mut Section, limits: &Limits) -> Stream {
    let keys: StreamKeys = section.keys();
    let (history, ring_updates) = (named!(section, keys.history), named!(section, keys.ring_updates));
    let ring_bytes = named!(section, keys.ring_bytes);
    if let (Some(line), true) = (ring_bytes.line, ring_bytes.value > limits.history_bytes) {
        let [ring, history] = [ring_bytes.value, limits.history_bytes].map(|bytes| show_size(bytes as u64));
        let text = format!(
            "ring_bytes = \"{ring}\" is above [limits] history_bytes = \"{history}\", which is of all topics: \
             write at most \"{history}\", or raise that to \"{ring}\""
        );
        section.problem(line, text);
    }
    if let (Some(line), true) = (history.line.or(ring_updates.line), history.value > ring_updates.value) {
        let (history, ring) = (history.value, ring_updates.value);
        section.problem(
            line,
            format!(
                "history = {history} is above ring_updates = {ring}; write at most {ring}, or raise that"
            ),
        );
    }
    Stream {
        snapshot_updates: keys.history,
        history_updates: keys.ring_updates,
        history_bytes: ring_bytes.or(|default| default.min(limits.history_bytes)),
        history_age: Some(keys.ring_age).filter(|age| !age.is_zero()),
        behind: if keys.behind == "close" { Behind::Close } else { Behind::Gap },
    }
}
