//! Price levels and fields become changes of a table.

use std::borrow::Cow;

use engine::{
    json::{
        Node,
        decimal::Decimal,
        pointer::{Pointer, Root},
        scaled::scaled,
    },
    topic::changes::{Base, Changes},
};

use super::{
    fault::{Fault, nowhere},
    memory::Levels as Told,
    scope::Scope,
};
use crate::source::websocket::map::{
    book::{Key, Levels},
    conditions::is_met,
    delete::Delete,
};

const LIST: &str = "an array of levels";
const NUMBER: &str = "a number, or a text of one";
const SIDE: &str = "a side that `key` names";

/// Writes the lists of a message. Of a price that is there twice the last one counts: venues write changes in their
/// order.
pub struct Writer<'w> {
    pub topic: &'w str,
    pub scale: i32,
    pub told: &'w mut Told,
    pub changes: &'w mut Changes,
}

impl Writer<'_> {
    /// Lists that are absent or null are empty, as long as one of them is there.
    pub fn lists(&mut self, lists: &[Levels], scope: Scope<'_, '_>) -> Result<(), Fault> {
        let mut absent = None;
        let mut any = false;
        for list in lists {
            match scope.find(&list.path, LIST) {
                Ok(node) if !node.is_null() => {
                    any = true;
                    self.list(list, node, scope)?;
                }
                _ => absent = absent.or(Some(&list.path)),
            }
        }
        if let Some(path) = absent.filter(|_| !any) {
            return Err(nowhere(path, LIST));
        }
        if self.changes.base != Base::Held {
            self.changes.settle();
        }
        Ok(())
    }

    fn list<'a>(&mut self, list: &Levels, node: &Node<'a>, scope: Scope<'_, 'a>) -> Result<(), Fault> {
        if node.is_one() {
            let is_level = node.elements().is_some() || node.members().is_some();
            return if is_level {
                self.level(list, Scope { element: node, ..scope })
            } else {
                Err(nowhere(&list.path, LIST))
            };
        }
        for level in node.elements().unwrap_or_default() {
            self.level(list, Scope { element: level, ..scope })?;
        }
        Ok(())
    }

    fn level(&mut self, list: &Levels, scope: Scope<'_, '_>) -> Result<(), Fault> {
        let (side, is_negative) = side(&list.key, scope)?;
        let is_deleted = match &list.delete {
            Delete::Never => false,
            Delete::Always => true,
            Delete::When(conditions) => conditions.iter().all(|(pointer, wanted)| {
                let from = if pointer.root == Root::Message { scope.message } else { scope.element };
                is_met(from, pointer, wanted)
            }),
        };
        let size = if is_deleted { None } else { self.size(list, scope, is_negative)? };
        let Some(price) = self.price(list, scope, side, size.is_none())? else { return Ok(()) };
        self.write(side, &price, size.as_deref()).ok_or_else(|| nowhere(&list.price, NUMBER))?;
        Ok(())
    }

    /// As it is written; `None`: it is zero. Of a side by its sign without that.
    fn size<'a>(
        &self,
        list: &Levels,
        scope: Scope<'_, 'a>,
        is_negative: bool,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        let node = scope.find(&list.size, NUMBER)?;
        let text = number(node, &list.size)?;
        if Decimal::parse(&text).is_some_and(|size| size.is_zero()) {
            return Ok(None);
        }
        let written = node.text();
        Ok(Some(match is_negative {
            false => Cow::Borrowed(written),
            true => unsigned(written),
        }))
    }

    /// `None`: a level is deleted of which nothing was told.
    fn price<'a>(
        &mut self,
        list: &Levels,
        scope: Scope<'_, 'a>,
        side: &str,
        is_deleted: bool,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(id) = &list.remember else {
            return number(scope.find(&list.price, NUMBER)?, &list.price).map(Some);
        };
        let id = scope.scalar(id, "an id")?;
        let own = scope.element.find(&list.price.steps).filter(|node| !node.is_null());
        let own = own.map(|node| number(node, &list.price)).transpose()?;
        let held = self.told.get(self.topic, side, &id);
        let price = match own.or_else(|| held.map(|held| Cow::Owned(held.to_owned()))) {
            Some(price) => price,
            None if is_deleted => return Ok(None),
            None => return Err(nowhere(&list.price, "a price, nor was one told of this level before")),
        };
        if is_deleted {
            self.told.forget(self.topic, side, &id);
        } else if let Some(before) = self.told.keep(self.topic, side, &id, &price)? {
            // The level has moved.
            self.write(side, &before, None).ok_or_else(|| nowhere(&list.price, NUMBER))?;
        }
        Ok(Some(price))
    }

    /// `None`: the point of the price cannot be moved so far.
    fn write(&mut self, side: &str, price: &str, size: Option<&str>) -> Option<()> {
        let mut key = String::with_capacity(side.len() + price.len() + 8);
        key.push_str(side);
        match self.scale {
            0 => key.push_str(price),
            power => key.push_str(&scaled(price, power)?),
        }
        let written = match size {
            Some(size) => self.changes.set(&key, size.as_bytes()),
            None => self.changes.del(&key),
        };
        // It is refused in its turn, after what came before it.
        written.unwrap_or_else(|long| self.changes.refuse(long));
        Some(())
    }
}

/// What goes before the price, and whether the number that tells it is negative.
fn side<'k>(key: &'k Key, scope: Scope<'_, '_>) -> Result<(&'k str, bool), Fault> {
    match key {
        Key::Fixed(prefix) => Ok((prefix, false)),
        Key::BySide { side, keys, by_sign } => {
            let found = scope.scalar(side, SIDE)?;
            let is_negative = *by_sign && found.starts_with('-');
            let name = match by_sign {
                true if is_negative => "-",
                true if found == "+" || Decimal::parse(&found).is_some() => "+",
                _ => &*found,
            };
            let named = keys.iter().find(|(side, _)| side == name);
            Ok((&named.ok_or_else(|| nowhere(side, SIDE))?.1, is_negative))
        }
    }
}

/// A number as JSON has it, or a text of one, without the minus that it begins with.
fn unsigned(written: &str) -> Cow<'_, str> {
    match written.strip_prefix('"') {
        Some(text) => Cow::Owned(format!("\"{}", text.strip_prefix('-').unwrap_or(text))),
        None => Cow::Borrowed(written.strip_prefix('-').unwrap_or(written)),
    }
}

fn number<'a>(node: &Node<'a>, pointer: &Pointer) -> Result<Cow<'a, str>, Fault> {
    let text = node.scalar().filter(|text| Decimal::parse(text).is_some());
    text.ok_or_else(|| nowhere(pointer, NUMBER))
}

/// Each member of the object becomes a key.
pub fn fields(changes: &mut Changes, path: &Pointer, scope: Scope<'_, '_>) -> Result<(), Fault> {
    const WANTED: &str = "an object";
    let members = scope.find(path, WANTED)?.members().ok_or_else(|| nowhere(path, WANTED))?;
    for (key, value) in members {
        let written = changes.set(key, value.text().as_bytes());
        written.unwrap_or_else(|long| changes.refuse(long));
    }
    Ok(())
}
