//! `[[topic]]` of topics that clients write: who may write what, how long keys stay, and what texts are held against.

use std::{fs, path::Path, sync::Arc, time::Duration};

use engine::{
    json::pointer::Pointer,
    keys,
    topic::policy::{KeyTerms, Policy, Write},
    unit::show_duration,
};

use super::deadline::{DAY_MS, DEADLINE_MS_MIN};
use crate::{
    document::read::{Section, named},
    intake::{check::Check, schema::Schema},
};

keys! {
    /// of any mode: what clients may write, and what `data` of clients and of POST /publish is held against.
    pub(super) struct WriteKeys in "topic" {
        /// What clients may write that have a grant for it. "own-key": of a keyed topic the key that is the client's `as`,
        /// and keys that begin with that and a slash. "none": nothing. Publishers may write all of it.
        write: String = choice("any", &["any", "own-key", "none"]);
        /// A JSON Schema (2020-12) that `data` has to keep, of a keyed topic each value of `set`. It may refer to nothing
        /// outside itself. Default: none.
        schema: String = text_or(""), example("\"message.json\"");
        /// JSON pointers to texts in `data`, of a keyed topic in each value of `set`. Their HTML is cleaned to a few
        /// harmless tags, before `schema` is looked at.
        sanitize: Vec<String> = texts(&[], "write a list of JSON pointers, like [\"/content\"]");
    }
}

keys! {
    /// of mode = "keyed": keys that go by themselves, and how many there are.
    pub(super) struct KeyTermKeys in "topic" {
        /// A key that a client wrote goes `linger` after the last connection that wrote it is gone. What a publisher
        /// writes stays. A restored key is given a minute at least.
        bound: bool = flag(false);
        /// How long keys of a bound topic wait for their client to come back.
        linger: Duration = duration(5_000, 0..=30 * DAY_MS);
        /// A key that nobody wrote for so long goes; at least 10ms. 0: never.
        key_expiry: Duration = duration(0, 0..=30 * DAY_MS);
        /// The gateway keeps TOPIC.count: the number of keys, in the same version as the keys.
        count: bool = flag(false);
    }
}

impl WriteKeys {
    pub(super) fn of(policy: &Policy, check: Option<&Check>) -> Self {
        let write = match policy.write {
            Write::Any => "any",
            Write::OwnKey => "own-key",
            Write::None => "none",
        };
        let schema = check.and_then(|check| check.schema.as_ref());
        let sanitize = check.map_or(&[][..], |check| &check.sanitize);
        Self {
            write: write.to_owned(),
            schema: schema.map_or(String::new(), |schema| schema.path.display().to_string()),
            sanitize: sanitize.iter().map(|pointer| pointer.as_str().to_owned()).collect(),
        }
    }
}

impl From<KeyTerms> for KeyTermKeys {
    fn from(KeyTerms { linger, expiry, are_counted: count }: KeyTerms) -> Self {
        let (bound, key_expiry) = (linger.is_some(), expiry.unwrap_or_default());
        let linger = linger.unwrap_or(Duration::from_secs(5));
        Self { bound, linger, key_expiry, count }
    }
}

/// Also reads the other keys of its group.
pub(super) fn write(section: &mut Section, mode: &str) -> (Write, WriteKeys) {
    let keys: WriteKeys = section.keys();
    let write = match keys.write.as_str() {
        "own-key" => Write::OwnKey,
        "none" => Write::None,
        _ => Write::Any,
    };
    if let (Some(line), Write::OwnKey, true) = (named!(section, keys.write).line, write, mode != "keyed") {
        let text = format!(
            "write = \"own-key\" is for mode = \"keyed\", this entry is \"{mode}\"; write \"any\" or \"none\""
        );
        section.problem(line, text);
    }
    (write, keys)
}

pub(super) fn key_terms(section: &mut Section) -> KeyTerms {
    let keys: KeyTermKeys = section.keys();
    let (linger, key_expiry) = (named!(section, keys.linger), named!(section, keys.key_expiry));
    if let (Some(line), false) = (linger.line, keys.bound) {
        section.problem(line, "linger: no key is bound; write bound = true beside it, or leave it out");
    }
    let expiry = Some(keys.key_expiry).filter(|expiry| !expiry.is_zero());
    if let (Some(line), Some(short)) =
        (key_expiry.line, expiry.filter(|expiry| *expiry < Duration::from_millis(DEADLINE_MS_MIN)))
    {
        let short = show_duration(short);
        let text =
            format!("key_expiry = \"{short}\": write at least \"{DEADLINE_MS_MIN}ms\", or \"0s\" for never");
        section.problem(line, text);
    }
    KeyTerms { linger: keys.bound.then_some(keys.linger), expiry, are_counted: keys.count }
}

/// The file is relative to `dir`.
pub(super) fn check(section: &mut Section, keys: WriteKeys, dir: &Path) -> Option<Arc<Check>> {
    let schema = section.convert("schema", Some(keys.schema).filter(|file| !file.is_empty()), |file| {
        let path = dir.join(file);
        let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Schema::new(path, &text)
    });
    let pointer = |text: &String| {
        Pointer::parse(text).and_then(|pointer| match pointer.is_plain() {
            false => Err(format!("{text:?}: there is only one message; leave out the ^ or @")),
            true => Ok(pointer),
        })
    };
    let sanitize = section.convert("sanitize", Some(keys.sanitize), |texts| {
        texts.iter().map(pointer).collect::<Result<Vec<_>, _>>()
    })?;
    let check = Check { sanitize, schema };
    (check.schema.is_some() || !check.sanitize.is_empty()).then(|| check.into())
}
