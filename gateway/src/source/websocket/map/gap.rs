//! Entries that make no topic: `gap`, what a venue says that it will not bring, and `remember`, what it says once.

use super::{Body, Entry, Line, OnGap, said::Said};
use crate::document::read::Section;

/// `None`: its problems were reported.
pub(super) fn entry(section: &mut Section, said: Said) -> Option<Entry> {
    let others = [
        said.topic.line,
        said.ts.line,
        said.seq.line,
        said.seq_first.line,
        said.seq_prev.line,
        said.seq_sparse.line,
        said.on_gap.line,
        said.data.line,
        said.fields.line,
        said.levels.line,
        said.reset.line,
        said.whole.line,
        said.scale.line,
        said.depth.line,
        said.snapshot.line,
    ];
    let (own, remembers) = match (said.gap.line, said.remember.line) {
        (Some(_), Some(line)) => {
            section.problem(line, "gap and remember are both there; write two entries with also = true");
            return None;
        }
        (_, remember) => (
            match remember {
                Some(_) => "when, recall, also and remember",
                None => "when, recall, also, each, order, gap and reason",
            },
            remember,
        ),
    };
    let others = others.into_iter().chain(remembers.and(said.each.line).map(Some)).flatten();
    if let Some(line) = others.min() {
        let key = if remembers.is_some() { "remember" } else { "gap" };
        section.problem(line, format!("an entry with {key} makes no topic; leave out all but {own}"));
    }
    let body = match said.remember.value {
        Some(id) => Body::Remember(id),
        None if remembers.is_some() => return None,
        None => Body::Gap { topics: said.gap.value, reason: said.reason.value },
    };
    Some(Entry {
        line: Line(section.line()),
        when: said.when.value,
        recall: said.recall.value,
        also: said.also,
        each: said.each.value,
        order: said.order.value,
        topic: None,
        ts: None,
        seq: None,
        seq_first: None,
        seq_prev: None,
        seq_sparse: false,
        on_gap: OnGap::Tell,
        snapshot: None,
        body,
    })
}
