//! `[[source.map]]`: what one message of an exchange becomes.

pub mod books;
mod entry;
mod gap;
pub mod keys;
mod levels;
mod pointers;
mod sides;
pub mod write;

use std::sync::Arc;

use engine::{
    json::{pointer::Pointer, wanted::Wanted},
    topic::{
        depth::{Best, Depth},
        template::Template,
    },
};
pub use entry::entries;
#[cfg(test)]
pub use entry::parse;

/// What a table within an entry may hold.
const LIST_MAX: usize = 64;

/// One entry. The first whose `when` holds decides what becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// All must hold. From the whole message.
    pub when: Vec<(Pointer, Wanted)>,
    /// An array of the message. What follows applies to each of its elements.
    pub each: Option<Pointer>,
    pub order: Order,
    /// `None`: it makes no topic.
    pub topic: Option<Template>,
    /// RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since the Unix epoch.
    pub ts: Option<Pointer>,
    /// The venue's own count: of the last and the first update that the message stands for.
    pub seq: Option<Pointer>,
    pub seq_first: Option<Pointer>,
    /// The count leaves numbers out, so that a step tells nothing.
    pub seq_sparse: bool,
    pub body: Body,
}

impl Entry {
    pub fn has_levels(&self) -> bool {
        matches!(self.body, Body::Levels { .. })
    }
}

/// In which order the elements of `each` happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Order::OldestFirst => "oldest-first",
            Order::NewestFirst => "newest-first",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        let known = [Order::OldestFirst, Order::NewestFirst].into_iter().find(|order| order.name() == name);
        known.ok_or_else(|| "write \"oldest-first\" or \"newest-first\"".to_owned())
    }
}

/// What of a message is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// It becomes `data`, byte for byte.
    Data(Pointer),
    /// Price levels become keys of a table. `reset`: they are the whole table. `depth`: so many of each side
    /// stay after each message.
    Levels { lists: Vec<Levels>, reset: bool, depth: Option<Arc<Depth>> },
    /// Nothing: the venue says that these topics will not come. `reason`: where it says why.
    Gap { topics: Vec<Denied>, reason: Option<Pointer> },
}

/// A list of price levels, each an array or an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    pub path: Pointer,
    pub key: Key,
    /// From the level.
    pub price: Pointer,
    /// From the level. A size of 0 deletes the key.
    pub size: Pointer,
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
    /// By the text where `side` leads within the level: its name, and what goes before the price.
    BySide { side: Pointer, keys: Vec<(String, String)> },
}

/// A topic that will not come, or everything below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Denied {
    /// `None`: all topics.
    pub topic: Option<Template>,
    /// `.*` stands behind it.
    pub below: bool,
}

impl Denied {
    /// `kraken.book.{/symbol}`, `kraken.*` or `*`. The error says what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self { topic: None, below: true });
        }
        let (topic, below) = text.strip_suffix(".*").map_or((text, false), |topic| (topic, true));
        Ok(Self { topic: Some(Template::parse(topic)?), below })
    }

    /// As it was written.
    pub fn text(&self) -> String {
        let topic = self.topic.as_ref().map(Template::as_str);
        topic.map_or("*".to_owned(), |topic| format!("{topic}{}", if self.below { ".*" } else { "" }))
    }
}
