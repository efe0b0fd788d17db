//! `[[source.map]]` as TOML.

use engine::{json::pointer::Pointer, topic::depth::Best};

use super::{Body, Entry, Key, Levels};
use crate::document::{
    value::{json, list, table},
    when,
    write::Text,
};

pub fn entry(text: &mut Text, entry: &Entry) {
    text.section("[[source.map]]");
    text.plain("when", when::write(&entry.when));
    let mut pointer = |key, pointer: &Option<Pointer>| {
        pointer.iter().for_each(|pointer| text.plain(key, json(pointer.as_str())));
    };
    pointer("each", &entry.each);
    pointer("ts", &entry.ts);
    pointer("seq", &entry.seq);
    pointer("seq_first", &entry.seq_first);
    if entry.seq.is_some() && entry.seq_first.is_none() {
        text.plain("seq_sparse", entry.seq_sparse);
    }
    if entry.each.is_some() {
        text.quoted("order", entry.order.name());
    }
    entry.topic.iter().for_each(|topic| text.quoted("topic", topic.as_str()));
    match &entry.body {
        Body::Data(pointer) => text.plain("data", json(pointer.as_str())),
        Body::Levels { lists, reset, depth } => {
            text.plain("levels", list(lists.iter().map(|list| levels(list, depth.is_some()))));
            text.plain("reset", reset);
            depth.iter().for_each(|depth| text.plain("depth", depth.levels));
        }
        Body::Gap { topics, reason } => {
            text.plain("gap", list(topics.iter().map(|denied| json(&denied.text()))));
            reason.iter().for_each(|reason| text.plain("reason", json(reason.as_str())));
        }
    }
}

/// `has_depth`: where the best price of each side is matters.
fn levels(levels: &Levels, has_depth: bool) -> String {
    let pair = |key: &str, pointer: &Pointer| format!("{key} = {}", json(pointer.as_str()));
    let key = match &levels.key {
        Key::Fixed(prefix) => vec![format!("key = {}", json(prefix))],
        Key::BySide { side, keys } => {
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
    let pointers = [pair("path", &levels.path), pair("price", &levels.price), pair("size", &levels.size)];
    table(key.into_iter().chain(pointers).chain(best))
}
