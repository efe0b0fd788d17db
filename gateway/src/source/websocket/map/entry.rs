//! Reads the entries of a source.

use std::sync::Arc;

use engine::{
    json::pointer::Pointer,
    topic::{depth::Depth, template::Template},
};

use super::{
    Body, Entry, Levels, Order,
    gap::{self, denied},
    levels::levels,
    pointers::{check_carets, pointer, text},
    sides::depth,
};
use crate::document::{
    read::{Named, Section, Table},
    when::when,
};

/// Entries of one source.
const ENTRIES_MAX: usize = 256;
/// Levels of a side.
pub(super) const DEPTH_MAX: u64 = 1_000_000;

/// Reads the `[[source.map]]` of a source; with the line of each.
pub fn entries(source: &mut Section) -> Vec<(usize, Entry)> {
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

/// `None`: its problems were reported.
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

/// `None`: its problems were reported.
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

/// Entries as a configuration file has them.
#[cfg(test)]
pub fn parse(text: &str) -> Vec<Entry> {
    use crate::document::{
        environment::{Environment, Layered},
        read::Reader,
    };
    let environment = Environment::default();
    let layered = Layered::new(&format!("[[source]]\n{text}"), &environment).expect("no variable");
    let mut reader = Reader::new(&layered, &environment).expect("TOML");
    let table = reader.sections("source").remove(0);
    let mut section = reader.open("source", table);
    let entries = entries(&mut section).into_iter().map(|(_, entry)| entry).collect();
    section.finish();
    reader.finish(&["source"]);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
    entries
}
