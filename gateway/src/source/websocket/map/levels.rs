//! `levels`: lists of price levels.

use engine::json::pointer::{Pointer, Root};
use toml::de::DeValue;

use super::{
    book::{Key, Levels},
    delete::{Delete, delete},
    pointers::{LIST_MAX, pointer, text},
    sides::{self, best},
};
use crate::document::read::{Named, Section, Table};

/// Bytes of what goes before a price to make a key.
const PREFIX_BYTES_MAX: usize = 32;
/// Names of sides that a number has by itself.
const SIGNS: [&str; 2] = ["+", "-"];

/// The lists of an entry or of a snapshot, with the line where they begin. `name`: what errors call one.
pub fn lists(section: &mut Section, name: &'static str) -> (Option<usize>, Vec<Levels>) {
    let tables = section.sections("levels", name);
    let line = tables.first().map(Table::line);
    let read = |table| {
        let mut section = section.open(name, table);
        let levels = levels(&mut section);
        section.finish();
        levels
    };
    (line, tables.into_iter().filter_map(read).collect())
}

/// `None`: its problems were reported.
fn levels(section: &mut Section) -> Option<Levels> {
    let path = pointer(section, "path");
    let key = section.read("key", None, |value| key(value).map(Some));
    let named_best = section.read("best", None, |value| sides::parse_best(value).map(Some));
    let side = pointer(section, "side");
    let [price, size, remember] = ["price", "size", "remember"].map(|key| pointer(section, key));
    let delete = section.read("delete", Delete::Never, delete);
    if path.line.is_none() {
        section.problem(section.line(), "path is missing; write where the levels are, like path = \"/bids\"");
    }
    if key.line.is_none() {
        let text = "key is missing; write what goes before the price, like key = \"b\", or by side key = { buy = \"b\", sell = \"a\" }";
        section.problem(section.line(), text);
    }
    check_roots(section, [&side, &price, &size, &remember]);
    if let (Some(line), true) = (size.line, delete.value == Delete::Always) {
        section
            .problem(line, "each level of the list is deleted, whatever its size; leave out size or delete");
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
            let by_sign = keys.iter().all(|(side, _)| SIGNS.contains(&&**side));
            Key::BySide { side: side.value.or_else(|| Pointer::parse("/0").ok())?, keys, by_sign }
        }
    };
    // [price, size, …], or [side, price, size, …].
    let first = if matches!(key, Key::Fixed(_)) { ["/0", "/1"] } else { ["/1", "/2"] };
    let or = |named: Named<Option<Pointer>>, default| named.value.or_else(|| Pointer::parse(default).ok());
    let (path, price, size) = (path.value?, or(price, first[0])?, or(size, first[1])?);
    let best = best(section, named_best, &key, &path);
    Some(Levels { path, key, price, size, delete: delete.value, remember: remember.value, best })
}

/// All begin at the level; a price may begin at what was remembered of it.
fn check_roots(section: &mut Section, [side, price, size, remember]: [&Named<Option<Pointer>>; 4]) {
    let root = |named: &Named<Option<Pointer>>| named.value.as_ref().map(|pointer| pointer.root);
    for named in [side, size, remember] {
        if let (Some(line), Some(root)) = (named.line, root(named).filter(|root| *root != Root::Here)) {
            let mark = if root == Root::Message { "^" } else { "@" };
            section
                .problem(line, format!("side, size and remember begin at the level; leave out the {mark}"));
        }
    }
    match (price.line, root(price)) {
        (Some(line), Some(Root::Message)) => {
            section.problem(line, "price begins at the level; leave out the ^");
        }
        (Some(line), Some(Root::Remembered)) if remember.line.is_none() => {
            let text = "price begins at what was remembered, and nothing is; write where the level's id stands, like remember = \"/id\"";
            section.problem(line, text);
        }
        _ => {}
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
