//! `levels`: lists of price levels.

use engine::json::pointer::Pointer;
use toml::de::DeValue;

use super::{
    Key, LIST_MAX, Levels,
    pointers::{pointer, text},
    sides::{self, best},
};
use crate::document::read::{Named, Section};

/// Bytes of what goes before a price to make a key.
const PREFIX_BYTES_MAX: usize = 32;

/// `None`: its problems were reported.
pub fn levels(section: &mut Section) -> Option<Levels> {
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
