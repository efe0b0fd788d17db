//! `[[source.map]]`: what one message of an exchange becomes.

pub mod book;
pub mod books;
pub mod conditions;
pub mod delete;
pub mod each;
mod entry;
mod gap;
pub mod keys;
mod labels;
mod levels;
mod pointers;
pub mod reset;
mod said;
mod sides;
pub mod snapshot;
pub mod write;

use engine::{
    json::pointer::Pointer,
    topic::{changes::Base, template::Template},
};

use book::Book;
use conditions::Conditions;
use each::Each;
pub use entry::entries;
#[cfg(test)]
pub use entry::parse;
use reset::{Reset, Whole};
use snapshot::Snapshot;

/// One entry. The first whose conditions hold decides what becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub line: Line,
    pub when: Conditions,
    /// It applies where a message was remembered under the id that stands there.
    pub recall: Option<Pointer>,
    /// The entries after it are tried too.
    pub also: bool,
    /// What follows applies to each of these parts of the message.
    pub each: Option<Each>,
    pub order: Order,
    /// `None`: it makes no topic.
    pub topic: Option<Template>,
    /// RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since the Unix epoch.
    pub ts: Option<Pointer>,
    /// The venue's own count: of the last and the first update that the message stands for, and of the last one
    /// before it.
    pub seq: Option<Pointer>,
    pub seq_first: Option<Pointer>,
    pub seq_prev: Option<Pointer>,
    /// The count leaves numbers out, so that a step tells nothing.
    pub seq_sparse: bool,
    pub on_gap: OnGap,
    /// Where the whole of its topics is asked for.
    pub snapshot: Option<Snapshot>,
    pub body: Body,
}

/// Where an entry stands in its file. Entries that differ in that alone are the same.
#[derive(Debug, Clone, Copy)]
pub struct Line(pub usize);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Entry {
    /// What it makes are keys of a keyed topic.
    pub fn makes_keys(&self) -> bool {
        matches!(self.body, Body::Levels(_) | Body::Fields { .. })
    }

    pub fn reset(&self) -> Reset {
        match &self.body {
            Body::Levels(Book { reset, .. }) | Body::Fields { reset, .. } => *reset,
            Body::Data(_) | Body::Gap { .. } | Body::Remember(_) => Reset::Never,
        }
    }

    /// What the first update of a topic after each connect starts from, where it holds all of it.
    pub fn first(&self) -> Option<Base> {
        match &self.body {
            Body::Levels(Book { reset: Reset::First, whole, .. })
            | Body::Fields { reset: Reset::First, whole, .. } => Some(whole.base()),
            _ => None,
        }
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

/// What follows where the venue's count says that something is missing, and nobody can be asked for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// The topic's gap is told.
    Tell,
    /// And the connection is made anew.
    Reconnect,
}

impl OnGap {
    pub fn name(self) -> &'static str {
        match self {
            OnGap::Tell => "tell",
            OnGap::Reconnect => "reconnect",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        let known = [OnGap::Tell, OnGap::Reconnect].into_iter().find(|on_gap| on_gap.name() == name);
        known.ok_or_else(|| "write \"tell\" or \"reconnect\"".to_owned())
    }
}

/// What of a message is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// It becomes `data`, byte for byte.
    Data(Pointer),
    /// Price levels become keys of a table.
    Levels(Book),
    /// Members of an object become keys of a table.
    Fields { path: Pointer, reset: Reset, whole: Whole },
    /// Nothing: the venue says that these topics will not come. `reason`: where it says why.
    Gap { topics: Vec<Denied>, reason: Option<Pointer> },
    /// Nothing: the message is kept under the id that stands there.
    Remember(Pointer),
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
