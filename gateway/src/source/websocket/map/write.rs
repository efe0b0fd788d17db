//! `[[source.map]]` as TOML.

use engine::{json::pointer::Pointer, topic::depth::Best};

use super::{
    Body, Entry, OnGap,
    book::{Key, Levels},
    conditions, delete,
    delete::Delete,
    reset::{Reset, Whole},
};
use crate::document::{
    value::{duration, json, list, table},
    write::Text,
};

pub fn entry(text: &mut Text, entry: &Entry) {
    text.section("[[source.map]]");
    text.plain("when", conditions::write(&entry.when));
    let mut pointer = |key, pointer: &Option<Pointer>| {
        pointer.iter().for_each(|pointer| text.plain(key, json(pointer.as_str())));
    };
    pointer("recall", &entry.recall);
    pointer("ts", &entry.ts);
    pointer("seq", &entry.seq);
    pointer("seq_first", &entry.seq_first);
    pointer("seq_prev", &entry.seq_prev);
    if entry.seq.is_some() && entry.seq_first.is_none() && entry.seq_prev.is_none() {
        text.plain("seq_sparse", entry.seq_sparse);
    }
    if let Some(each) = &entry.each {
        text.plain("each", json(each.pointer.as_str()));
        text.quoted("order", entry.order.name());
    }
    if entry.also {
        text.plain("also", true);
    }
    entry.topic.iter().for_each(|topic| text.quoted("topic", topic.as_str()));
    if entry.on_gap != OnGap::Tell {
        text.quoted("on_gap", entry.on_gap.name());
    }
    body(text, &entry.body);
    if let Some(snapshot) = &entry.snapshot {
        text.section("[source.map.snapshot]");
        text.plain("url", json(snapshot.url.as_str()));
        text.plain("seq", json(snapshot.seq.as_str()));
        text.plain("levels", list(snapshot.lists.iter().map(|list| levels(list, false))));
        text.plain("every", duration(snapshot.every));
    }
}

fn body(text: &mut Text, body: &Body) {
    match body {
        Body::Data(pointer) => text.plain("data", json(pointer.as_str())),
        Body::Levels(book) => {
            text.plain("levels", list(book.lists.iter().map(|list| levels(list, book.depth.is_some()))));
            whole(text, book.reset, book.whole);
            if book.scale != 0 {
                text.plain("scale", book.scale);
            }
            book.depth.iter().for_each(|depth| text.plain("depth", depth.levels));
        }
        Body::Fields { path, reset, whole: how } => {
            text.plain("fields", json(path.as_str()));
            whole(text, *reset, *how);
        }
        Body::Gap { topics, reason } => {
            text.plain("gap", list(topics.iter().map(|denied| json(&denied.text()))));
            reason.iter().for_each(|reason| text.plain("reason", json(reason.as_str())));
        }
        Body::Remember(id) => text.plain("remember", json(id.as_str())),
    }
}

fn whole(text: &mut Text, reset: Reset, whole: Whole) {
    text.plain("reset", reset.text());
    if reset != Reset::Never {
        text.quoted("whole", whole.name());
    }
}

/// `has_depth`: where the best price of each side is matters.
fn levels(levels: &Levels, has_depth: bool) -> String {
    let pair = |key: &str, pointer: &Pointer| format!("{key} = {}", json(pointer.as_str()));
    let key = match &levels.key {
        Key::Fixed(prefix) => vec![format!("key = {}", json(prefix))],
        Key::BySide { side, keys, .. } => {
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
    let size = (levels.delete != Delete::Always).then(|| pair("size", &levels.size));
    let pointers = [pair("path", &levels.path), pair("price", &levels.price)].into_iter().chain(size);
    let remember = levels.remember.as_ref().map(|id| pair("remember", id));
    let delete = delete::write(&levels.delete).map(|delete| format!("delete = {delete}"));
    table(key.into_iter().chain(pointers).chain(remember).chain(delete).chain(best))
}
