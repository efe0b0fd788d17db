//! What names and orders the updates of an entry: its topic, its names, its counts.

use engine::{
    json::pointer::{Pointer, Root},
    topic::template::Template,
};

use super::{
    OnGap,
    pointers::{Placed, Roots},
    said::Said,
};
use crate::document::read::{Named, Section};

/// Where pointers begin, and that each name stands for something.
pub fn check(section: &mut Section, said: &Said) {
    let roots = Roots { has_each: said.each.line.is_some(), has_recall: said.recall.line.is_some() };
    let placed = |named: &Named<Option<Pointer>>| Some((named.line?, named.value.clone()?));
    let all = |named: &[&Named<Option<Pointer>>]| -> Vec<Placed> {
        named.iter().filter_map(|named| placed(named)).collect()
    };
    roots.check_labels(
        section,
        &all(&[&said.ts, &said.seq, &said.seq_first, &said.seq_prev, &said.reason]),
        false,
    );
    roots.check_labels(section, &in_topics(said), true);
    let wanted = said.when.value.pointers().filter(|pointer| pointer.root == Root::Remembered);
    let wanted: Vec<Placed> = wanted.filter_map(|pointer| Some((said.when.line?, pointer.clone()))).collect();
    roots.check_labels(section, &wanted, true);
    let paths = said.levels.value.iter().filter_map(|list| Some((said.levels.line?, list.path.clone())));
    let content: Vec<Placed> = all(&[&said.data, &said.fields]).into_iter().chain(paths).collect();
    roots.check_content(section, &content);
    for (line, pointer) in all(&[&said.recall, &said.remember]).iter().filter(|(_, p)| !p.is_plain()) {
        section.problem(*line, format!("{pointer:?}: it begins at the message; write {:?}", pointer.path()));
    }
    if let (Some(line), Some(each)) =
        (said.each.line, said.each.value.as_ref().filter(|e| !e.pointer.is_plain()))
    {
        let root = &each.pointer.as_str()[..1];
        section.problem(line, format!("each begins at the message anyway; leave out the {root}"));
    }
    check_names(section, said);
}

fn templates(said: &Said) -> impl Iterator<Item = (usize, &Template)> {
    let topic = said.topic.value.iter().filter_map(|topic| Some((said.topic.line?, topic)));
    let denied = said.gap.value.iter().filter_map(|denied| Some((said.gap.line?, denied.topic.as_ref()?)));
    topic.chain(denied)
}

fn in_topics(said: &Said) -> Vec<Placed> {
    let pointers = |(line, template)| {
        let template: &Template = template;
        template.pointers().map(move |pointer| (line, pointer.clone())).collect::<Vec<_>>()
    };
    templates(said).flat_map(pointers).collect()
}

fn check_names(section: &mut Section, said: &Said) {
    let of_each: Vec<&str> = said.each.value.iter().flat_map(|each| each.names()).collect();
    let bound: Vec<&str> = said.when.value.names().chain(of_each.iter().copied()).collect();
    if let (Some(line), Some(name)) =
        (said.each.line, of_each.iter().find(|name| said.when.value.names().any(|other| other == **name)))
    {
        let text = format!("{{{name}}} stands in when and in each; give one of them another name");
        section.problem(line, text);
    }
    for (line, template) in templates(said) {
        if let Some(name) = template.names().find(|name| !bound.contains(name)) {
            let text = format!(
                "{{{name}}} stands for nothing: no text of when and no step of each has it; write it there, like \
                 when = {{ \"/channel\" = \"book.{{{name}}}\" }}, or write a pointer, like {{/{name}}}"
            );
            section.problem(line, text);
        }
    }
}

/// Counts that go with one another.
pub fn check_counts(section: &mut Section, said: &Said) {
    let [first, prev] = [said.seq_first.line, said.seq_prev.line];
    let sparse = said.seq_sparse.line.filter(|_| said.seq_sparse.value);
    if let (None, Some(line)) = (said.seq.line, first.or(prev).or(said.seq_sparse.line)) {
        section
            .problem(line, "there is no seq to go with it; write where the count stands, like seq = \"/u\"");
    }
    if let (Some(line), true) = (first.or(prev), sparse.is_some()) {
        let named = if first.is_some() { "seq_first" } else { "seq_prev" };
        let text = format!("{named} tells what is missing, seq_sparse that it cannot be told; keep one");
        section.problem(line, text);
    }
    let Some(line) = said.on_gap.line.filter(|_| said.on_gap.value == OnGap::Reconnect) else { return };
    let wrong = if said.levels.line.or(said.fields.line).is_none() {
        "on_gap is of levels and fields: nothing makes up for what is missing of data; leave it out"
    } else if said.snapshot.line.is_some() {
        "on_gap: the snapshot is asked for after a gap; keep one"
    } else if said.seq.line.is_none() {
        "on_gap: there is no seq that tells a gap; write where the count stands, like seq = \"/u\""
    } else {
        return;
    };
    section.problem(line, wrong);
}
