//! Reads the entries of a source.

use super::{Body, Entry, Line, book::Book, gap, labels, reset::Reset, said::Said, sides::depth};
use crate::document::read::Section;

/// Entries of one source.
const ENTRIES_MAX: usize = 256;

/// Reads the `[[source.map]]` of a source.
pub fn entries(source: &mut Section) -> Vec<Entry> {
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
    let mut entries: Vec<Entry> = Vec::new();
    for table in tables {
        let mut section = source.open("source.map", table);
        if let Some(line) = all_taken {
            let text =
                format!("never reached: the entry of line {line} has no `when` and takes every message");
            section.problem(section.line(), text);
        }
        if let Some(entry) = entry(&mut section) {
            let takes_all = entry.when.is_empty() && entry.recall.is_none() && !entry.also;
            all_taken = all_taken.or(takes_all.then_some(entry.line.0));
            entries.push(entry);
        }
        section.finish();
    }
    let remembers = entries.iter().any(|entry| matches!(entry.body, Body::Remember(_)));
    if let Some(entry) = entries.iter().find(|entry| entry.recall.is_some() && !remembers) {
        let text = "map: recall: nothing is ever remembered; write an entry with remember = \"/chanId\"";
        source.problem(entry.line.0, text);
    }
    entries
}

/// `None`: its problems were reported.
fn entry(section: &mut Section) -> Option<Entry> {
    let said = Said::read(section);
    if let (Some(line), None) = (said.order.line, said.each.line) {
        section.problem(line, "order is of the elements of each, which is missing; leave it out");
    }
    if let (Some(line), None) = (said.reason.line, said.gap.line) {
        section
            .problem(line, "reason goes with gap; write gap = [\"venue.book.{/symbol}\"], or leave it out");
    }
    labels::check(section, &said);
    if said.gap.line.is_some() || said.remember.line.is_some() {
        return gap::entry(section, said);
    }
    if said.topic.line.is_none() {
        section.problem(section.line(), "topic is missing; write topic = \"venue.ticker.{/symbol}\"");
    }
    labels::check_counts(section, &said);
    check_book(section, &said);
    let body = body(section, &said)?;
    Some(Entry {
        line: Line(section.line()),
        when: said.when.value,
        recall: said.recall.value,
        also: said.also,
        each: said.each.value,
        order: said.order.value,
        topic: Some(said.topic.value?),
        ts: said.ts.value,
        seq: said.seq.value,
        seq_first: said.seq_first.value,
        seq_prev: said.seq_prev.value,
        seq_sparse: said.seq_sparse.value,
        on_gap: said.on_gap.value,
        snapshot: said.snapshot.value,
        body,
    })
}

/// Keys that go with levels, or with one another.
fn check_book(section: &mut Section, said: &Said) {
    let (is_keyed, is_reset) =
        (said.levels.line.or(said.fields.line).is_some(), said.reset.value != Reset::Never);
    if let (Some(line), None) = (said.scale.line, said.levels.line) {
        section.problem(line, "scale is of the prices of levels; write it beside levels, or leave it out");
    }
    if let (Some(line), false) = (said.whole.line, is_reset) {
        section.problem(line, "whole goes with reset, which says that all of the topic comes; leave it out");
    }
    if let (Some(line), true, false) = (said.reset.line, is_reset, is_keyed) {
        section.problem(
            line,
            "reset is for levels and fields; data replaces what was there anyway; leave reset out",
        );
    }
    let Some(line) = said.snapshot.line else { return };
    let wrong = if said.levels.line.is_none() {
        "snapshot is of levels, which are changes of a book; write it beside levels"
    } else if said.seq.line.is_none() {
        "snapshot: there is no seq to join it by; write where the count of changes stands, like seq = \"/u\""
    } else if said.reset.value != Reset::Never {
        "snapshot: with reset the whole comes by itself; keep one"
    } else {
        return;
    };
    section.problem(line, wrong);
}

/// `None`: its problems were reported.
fn body(section: &mut Section, said: &Said) -> Option<Body> {
    let depth = depth(section, &said.depth, &said.levels.value);
    let bodies = [("data", said.data.line), ("levels", said.levels.line), ("fields", said.fields.line)];
    let named: Vec<(&str, usize)> =
        bodies.iter().filter_map(|(name, line)| Some((*name, (*line)?))).collect();
    match named[..] {
        [] => {
            let text =
                "neither data nor levels nor fields; write data = \"\" to publish the message as it stands";
            section.problem(section.line(), text);
            None
        }
        [("data", _)] => said.data.value.clone().map(Body::Data),
        [("levels", _)] => Some(Body::Levels(Book {
            lists: said.levels.value.clone(),
            reset: said.reset.value,
            whole: said.whole.value,
            scale: said.scale.value,
            depth,
        })),
        [_] => {
            let (reset, whole) = (said.reset.value, said.whole.value);
            said.fields.value.clone().map(|path| Body::Fields { path, reset, whole })
        }
        [(first, _), (second, line), ..] => {
            let text = format!(
                "{first} and {second} are both there; keep one, or write two entries with also = true"
            );
            section.problem(line, text);
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
    let entries = entries(&mut section);
    section.finish();
    reader.finish(&["source"]);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
    entries
}
