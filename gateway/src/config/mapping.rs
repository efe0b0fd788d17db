//! `[[source.map]]`: what one message of an exchange becomes.

mod gap;
mod sides;

use std::sync::Arc;

use engine::{
    json::whole,
    topic::depth::{Best, Depth},
};
use toml::de::DeValue;

use super::{
    pointer::{Pointer, Template},
    read::{Named, Section, Table},
};
pub use gap::Denied;
use gap::denied;
use sides::{best, depth};

/// Entries of one source, and what a table within one may hold.
const ENTRIES_MAX: usize = 256;
const LIST_MAX: usize = 64;
/// Bytes of what goes before a price to make a key.
const PREFIX_BYTES_MAX: usize = 32;
/// Levels of a side.
const DEPTH_MAX: u64 = 1_000_000;

/// One entry. The first whose `when` holds decides what becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// All must hold. From the whole message.
    pub when: Vec<(Pointer, Wanted)>,
    /// An array of the message. What follows applies to each of its elements.
    pub each: Option<Pointer>,
    pub order: Order,
    /// `None`: it makes no topic.
    pub topic: Option<Template>,
    /// RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since the Unix epoch.
    pub ts: Option<Pointer>,
    /// The venue's own count: of the last and the first update that the message stands for.
    pub seq: Option<Pointer>,
    pub seq_first: Option<Pointer>,
    /// The count leaves numbers out, so that a step tells nothing.
    pub seq_sparse: bool,
    pub body: Body,
}

impl Entry {
    pub fn has_levels(&self) -> bool {
        matches!(self.body, Body::Levels { .. })
    }
}

/// In which order the elements of `each` happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Order::OldestFirst => "oldest-first",
            Order::NewestFirst => "newest-first",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        let known = [Order::OldestFirst, Order::NewestFirst].into_iter().find(|order| order.name() == name);
        known.ok_or_else(|| "write \"oldest-first\" or \"newest-first\"".to_owned())
    }
}

/// What must stand where a pointer of `when` leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// `"*"`: anything.
    Present,
    Text(String),
    /// A whole number, however it is written.
    Whole(i128),
    Flag(bool),
}

/// What of a message is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// It becomes `data`, byte for byte.
    Data(Pointer),
    /// Price levels become keys of a table. `reset`: they are the whole table. `depth`: so many of each side
    /// stay after each message.
    Levels { lists: Vec<Levels>, reset: bool, depth: Option<Arc<Depth>> },
    /// Nothing: the venue says that these topics will not come. `reason`: where it says why.
    Gap { topics: Vec<Denied>, reason: Option<Pointer> },
}

/// A list of price levels, each an array or an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    pub path: Pointer,
    pub key: Key,
    /// From the level.
    pub price: Pointer,
    /// From the level. A size of 0 deletes the key.
    pub size: Pointer,
    /// Of each of its keys; `None`: where the best price is is not known.
    pub best: Vec<Option<Best>>,
}

impl Levels {
    /// What its keys begin with, and where the best price of each is.
    pub fn sides(&self) -> impl Iterator<Item = (&str, Option<Best>)> {
        let prefixes: Vec<&str> = match &self.key {
            Key::Fixed(prefix) => vec![prefix],
            Key::BySide { keys, .. } => keys.iter().map(|(_, prefix)| &**prefix).collect(),
        };
        prefixes.into_iter().zip(self.best.iter().copied())
    }
}

/// What goes before the price to make a level's key.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// The list has one side only.
    Fixed(String),
    /// By the text where `side` leads within the level: its name, and what goes before the price.
    BySide { side: Pointer, keys: Vec<(String, String)> },
}

/// Reads the `[[source.map]]` of a source; with the line of each.
pub(super) fn entries(source: &mut Section) -> Vec<(usize, Entry)> {
    let tables = source.sections("map", "source.map");
    if tables.is_empty() {
        source
            .problem(source.line(), "map is missing: no message would become a topic; write [[source.map]]");
    }
    if tables.len() > ENTRIES_MAX {
        let text = format!("there are {} [[source.map]]; the most is {ENTRIES_MAX}", tables.len());
        source.problem(source.line(), text);
    }
    let mut all_taken = None;
    let mut entries = Vec::new();
    for table in tables {
        let mut section = source.open("source.map", table);
        if let Some(line) = all_taken {
            let text =
                format!("never reached: the entry of line {line} has no `when` and takes every message");
            section.problem(section.line(), text);
        }
        let line = section.line();
        if let Some(entry) = entry(&mut section) {
            all_taken = all_taken.or(entry.when.is_empty().then_some(line));
            entries.push((line, entry));
        }
        section.finish();
    }
    entries
}

/// `None`: its problems were told.
fn entry(section: &mut Section) -> Option<Entry> {
    let when = section.read("when", Vec::new(), when).value;
    let each = pointer(section, "each");
    let order = section.read("order", Order::OldestFirst, |value| Order::parse(&text(value)?));
    let gap = section.read("gap", Vec::new(), denied);
    let reason = pointer(section, "reason");
    let topic = section.read("topic", None, |value| Template::parse(&text(value)?).map(Some));
    let [ts, seq, seq_first, data] = ["ts", "seq", "seq_first", "data"].map(|key| pointer(section, key));
    let seq_sparse = section.flag("seq_sparse", false);
    let tables = section.sections("levels", "source.map.levels");
    let reset = section.flag("reset", false);
    let levels_max = section.count("depth", 1..=DEPTH_MAX);

    let levels_line = tables.first().map(Table::line);
    let lists: Vec<Levels> = tables
        .into_iter()
        .filter_map(|table| {
            let mut section = section.open("source.map.levels", table);
            let levels = levels(&mut section);
            section.finish();
            levels
        })
        .collect();
    if let (Some(line), None) = (order.line, each.line) {
        section.problem(line, "order is of the elements of each, which is missing; leave it out");
    }
    if let (Some(line), None) = (reason.line, gap.line) {
        section
            .problem(line, "reason goes with gap; write gap = [\"venue.book.{/symbol}\"], or leave it out");
    }
    if gap.line.is_some() {
        let texts = [&ts, &seq, &seq_first, &data].map(|named| named.line);
        let others = [topic.line, seq_sparse.line, levels_line, reset.line, levels_max.line];
        let others = [&texts[..], &others].concat();
        return Some(gap::entry(section, gap, reason, (when, each, order.value), &others));
    }
    if topic.line.is_none() {
        section.problem(section.line(), "topic is missing; write topic = \"venue.ticker.{/symbol}\"");
    }
    if let (None, Some(line)) = (seq.line, seq_first.line.or(seq_sparse.line)) {
        section
            .problem(line, "there is no seq to go with it; write where the count stands, like seq = \"/u\"");
    }
    if let (Some(line), true) = (seq_first.line, seq_sparse.value) {
        section.problem(line, "seq_first tells what is missing, seq_sparse that it cannot be told; keep one");
    }
    let named = |named: &Named<Option<Pointer>>| Some((named.line?, named.value.clone()?));
    let in_topic =
        topic.value.iter().flat_map(Template::pointers).filter_map(|p| Some((topic.line?, p.clone())));
    let labels: Vec<_> = [&ts, &seq, &seq_first].into_iter().filter_map(named).chain(in_topic).collect();
    let paths = lists.iter().filter_map(|levels| Some((levels_line?, levels.path.clone())));
    let content: Vec<_> = named(&data).into_iter().chain(paths).collect();
    check_carets(section, &each, &labels, &content);
    let depth = depth(section, &levels_max, &lists);
    let levels = levels_line.map(|line| Named { value: lists, line: Some(line) });
    let body = body(section, data, levels, reset, depth);
    Some(Entry {
        when,
        each: each.value,
        order: order.value,
        topic: Some(topic.value?),
        ts: ts.value,
        seq: seq.value,
        seq_first: seq_first.value,
        seq_sparse: seq_sparse.value,
        body: body?,
    })
}

/// Where a pointer may begin at the whole message: `labels` with `each`, `content` never. Each has its line.
fn check_carets(
    section: &mut Section,
    each: &Named<Option<Pointer>>,
    labels: &[(usize, Pointer)],
    content: &[(usize, Pointer)],
) {
    if let (Some(line), Some(true)) = (each.line, each.value.as_ref().map(|p| p.whole)) {
        section.problem(line, "each begins at the message anyway; leave out the ^");
    }
    let whole = |pointers: &[(usize, Pointer)]| pointers.iter().find(|(_, pointer)| pointer.whole).cloned();
    match (each.line, whole(labels), whole(content)) {
        (Some(_), _, Some((line, pointer))) => {
            let text = format!(
                "{pointer:?} would be published once for every element of each; begin at the element, without the ^"
            );
            section.problem(line, text);
        }
        (None, Some((line, pointer)), _) | (None, _, Some((line, pointer))) => {
            let plain = &pointer.as_str()[1..];
            let text = format!("{pointer:?}: ^ leads out of `each`, of which there is none; write {plain:?}");
            section.problem(line, text);
        }
        _ => {}
    }
}

/// `None`: its problems were told.
fn body(
    section: &mut Section,
    data: Named<Option<Pointer>>,
    levels: Option<Named<Vec<Levels>>>,
    reset: Named<bool>,
    depth: Option<Arc<Depth>>,
) -> Option<Body> {
    match (data.line, levels) {
        (None, None) => {
            let text = "neither data nor levels; write data = \"\" to publish the message as it stands";
            section.problem(section.line(), text);
            None
        }
        (None, Some(levels)) => Some(Body::Levels { lists: levels.value, reset: reset.value, depth }),
        (Some(_), None) => {
            if let (Some(line), true) = (reset.line, reset.value) {
                section.problem(
                    line,
                    "reset is for levels; data replaces what was there anyway; leave reset out",
                );
            }
            data.value.map(Body::Data)
        }
        (Some(line), Some(levels)) => {
            let line = levels.line.unwrap_or(line);
            section.problem(line, "data and levels are both there; keep one, or write two entries");
            None
        }
    }
}

/// `None`: its problems were told.
fn levels(section: &mut Section) -> Option<Levels> {
    let path = pointer(section, "path");
    let key = section.read("key", None, |value| key(value).map(Some));
    let named_best = section.read("best", None, |value| sides::parse_best(value).map(Some));
    let side = pointer(section, "side");
    let [price, size] = ["price", "size"].map(|key| pointer(section, key));
    if path.line.is_none() {
        section.problem(section.line(), "path is missing; write where the levels are, like path = \"/bids\"");
    }
    if key.line.is_none() {
        let text = "key is missing; write what goes before the price, like key = \"b\", or by side key = { buy = \"b\", sell = \"a\" }";
        section.problem(section.line(), text);
    }
    for named in [&side, &price, &size] {
        if let (Some(line), Some(true)) = (named.line, named.value.as_ref().map(|p| p.whole)) {
            section.problem(line, "side, price and size begin at the level; leave out the ^");
        }
    }
    let key = match (key.value?, side.line) {
        (KeyText::Fixed(prefix), None) => Key::Fixed(prefix),
        (KeyText::Fixed(prefix), Some(line)) => {
            let text = format!(
                "side chooses between keys, but key = {prefix:?} is one; write key = {{ buy = \"b\", sell = \"a\" }} or leave side out"
            );
            section.problem(line, text);
            return None;
        }
        (KeyText::BySide(keys), _) => {
            Key::BySide { side: side.value.or_else(|| Pointer::parse("/0").ok())?, keys }
        }
    };
    // [price, size, …], or [side, price, size, …].
    let first = if matches!(key, Key::Fixed(_)) { ["/0", "/1"] } else { ["/1", "/2"] };
    let or = |named: Named<Option<Pointer>>, default| named.value.or_else(|| Pointer::parse(default).ok());
    let (path, price, size) = (path.value?, or(price, first[0])?, or(size, first[1])?);
    let best = best(section, named_best, &key, &path);
    Some(Levels { path, key, price, size, best })
}

fn pointer(section: &mut Section, key: &'static str) -> Named<Option<Pointer>> {
    section.read(key, None, |value| Pointer::parse(&text(value)?).map(Some))
}

fn when(value: DeValue<'_>) -> Result<Vec<(Pointer, Wanted)>, String> {
    const HINT: &str = "write pointers and what stands there, like { \"/type\" = \"ticker\" }";
    let DeValue::Table(table) = value else { return Err(HINT.to_owned()) };
    if table.len() > LIST_MAX {
        return Err(format!("{} pointers; the most is {LIST_MAX}", table.len()));
    }
    let wanted = |(pointer, value): (toml::Spanned<_>, toml::Spanned<_>)| {
        let pointer: std::borrow::Cow<'_, str> = pointer.into_inner();
        let pointer = Pointer::parse(&pointer)?;
        if pointer.whole {
            return Err(format!("{pointer:?}: `when` begins at the message anyway; leave out the ^"));
        }
        let wanted = match value.into_inner() {
            DeValue::String(text) if text == "*" => Wanted::Present,
            DeValue::String(text) => Wanted::Text(text.into_owned()),
            DeValue::Boolean(flag) => Wanted::Flag(flag),
            value => Wanted::Whole(wanted_number(&value).ok_or_else(|| {
                format!("{pointer:?}: write text, a whole number, true, false, or \"*\" for anything")
            })?),
        };
        Ok((pointer, wanted))
    };
    table.into_iter().map(wanted).collect()
}

/// `None`: it is not whole.
fn wanted_number(value: &DeValue<'_>) -> Option<i128> {
    match value {
        // TOML readers agree on 64 bits only.
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(i128::from)
        }
        DeValue::Float(float) => whole::parse(float.as_str()),
        _ => None,
    }
}

enum KeyText {
    Fixed(String),
    BySide(Vec<(String, String)>),
}

fn key(value: DeValue<'_>) -> Result<KeyText, String> {
    let prefix = |value| {
        let text = text(value)?;
        if text.len() > PREFIX_BYTES_MAX {
            return Err(format!("{} bytes before a price; the most is {PREFIX_BYTES_MAX}", text.len()));
        }
        Ok(text)
    };
    let DeValue::Table(table) = value else { return prefix(value).map(KeyText::Fixed) };
    if table.is_empty() || table.len() > LIST_MAX {
        return Err(format!("write 1 to {LIST_MAX} sides, like {{ buy = \"b\", sell = \"a\" }}"));
    }
    let side = |(side, value): (toml::Spanned<std::borrow::Cow<'_, str>>, toml::Spanned<_>)| {
        Ok((side.into_inner().into_owned(), prefix(value.into_inner())?))
    };
    table.into_iter().map(side).collect::<Result<_, _>>().map(KeyText::BySide)
}

fn text(value: DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        _ => Err("write text in quotes".to_owned()),
    }
}

/// Entries as a configuration file has them.
#[cfg(test)]
pub fn parse(text: &str) -> Vec<Entry> {
    let text = format!("[[source]]\n{text}");
    let mut reader = super::read::Reader::new(&text).expect("TOML");
    let table = reader.sections("source").remove(0);
    let mut section = reader.open("source", table);
    let entries = entries(&mut section).into_iter().map(|(_, entry)| entry).collect();
    section.finish();
    reader.finish(&["source"]);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
    entries
}
