//! Price levels of a message, and where in it each part of one stands.

use std::sync::Arc;

use engine::{
    json::pointer::Pointer,
    topic::depth::{Best, Depth},
};

use super::{
    delete::Delete,
    reset::{Reset, Whole},
};

/// Price levels of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    pub lists: Vec<Levels>,
    pub reset: Reset,
    pub whole: Whole,
    /// Powers of ten by which the decimal point of prices moves.
    pub scale: i32,
    /// So many of each side stay after each message.
    pub depth: Option<Arc<Depth>>,
}

/// A list of price levels, each an array or an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    pub path: Pointer,
    pub key: Key,
    /// From the level, or from what was remembered of it.
    pub price: Pointer,
    /// From the level. A size of 0 deletes the key.
    pub size: Pointer,
    /// Whether a level is deleted whatever its size.
    pub delete: Delete,
    /// The level's id: what is told of it once is kept until it is deleted.
    pub remember: Option<Pointer>,
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
    /// By the text where `side` leads within the level: its name, and what goes before the price. `by_sign`: by the
    /// sign of the number there, and names are `+` and `-`.
    BySide { side: Pointer, keys: Vec<(String, String)>, by_sign: bool },
}
