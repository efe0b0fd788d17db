//! What a message becomes: bytes in, publications out. No IO, no clock.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use engine::{
    json::{Node, decimal::Decimal, pointer::Pointer, skip_byte_order_mark, wanted::Wanted, whole},
    sequencer::seq::{SEQ_MAX, Seq},
    topic::{
        depth::Depth,
        name::check_topic,
        pattern::Pattern,
        template::{Part, Template},
    },
};
use thiserror::Error;

use super::stamp::stamp_us;
use crate::{
    names::{Names, Piece},
    source::websocket::map::{Body, Denied, Entry, Key, Levels, Order},
};

/// What one message, or one element of its `each`, becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedPublication<'a> {
    pub topic: String,
    /// The venue's time. Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// The venue's own count.
    pub seq: Option<Seq>,
    pub value: MappedValue<'a>,
}

/// What one message, or one element of its `each`, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    Update(MappedPublication<'a>),
    /// The venue will not bring topics of these patterns.
    Denied {
        topics: Vec<Pattern>,
        why: String,
    },
}

/// A message, or an element of its `each`, that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd<'a> {
    pub fault: Fault,
    /// Of which an update is missing now, as far as the mapping can know.
    pub topic: Option<String>,
    /// As it stood in the message.
    pub text: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappedValue<'a> {
    /// JSON as it stood in the message.
    Data(&'a str),
    /// Keys with their new value as it stood in the message; `None`: the key is deleted. `reset`: they
    /// are the whole table. `depth`: what is beyond it goes once they are in it; where the message `goes_on`
    /// with more of the same topic, once all of that is.
    Levels {
        reset: bool,
        changes: BTreeMap<String, Option<&'a str>>,
        depth: Option<Arc<Depth>>,
        goes_on: bool,
    },
}

/// Why a message, or an element of one, was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("it is not JSON: {0}")]
    Json(String),
    #[error("{pointer:?} leads nowhere, or not to {wanted}")]
    Pointer { pointer: Pointer, wanted: &'static str },
    #[error("{0}")]
    Topic(String),
    #[error("{pointer:?}: {text} is neither RFC 3339 nor a number since the Unix epoch")]
    Ts { pointer: Pointer, text: String },
}

/// What a message says, in the order in which it happened; `None`: no entry applies to it. An odd element
/// harms no other.
pub fn map<'a>(
    entries: &[Entry],
    names: Names,
    message: &'a [u8],
) -> Result<Option<Vec<Result<Said<'a>, Odd<'a>>>>, Fault> {
    let message = Node::parse(skip_byte_order_mark(message)).map_err(|e| Fault::Json(e.to_string()))?;
    let applies =
        |entry: &&Entry| entry.when.iter().all(|(pointer, wanted)| holds(&message, pointer, wanted));
    let Some(entry) = entries.iter().find(applies) else { return Ok(None) };
    let said = |element| said(entry, Scope { message: &message, element, names });
    let Some(each) = &entry.each else { return Ok(Some(vec![said(&message)])) };
    let elements =
        message.find(&each.steps).and_then(Node::elements).ok_or_else(|| nowhere(each, "an array"))?;
    let mut all: Vec<_> = match entry.order {
        Order::OldestFirst => elements.iter().map(said).collect(),
        Order::NewestFirst => elements.iter().rev().map(said).collect(),
    };
    mark_last(&mut all);
    Ok(Some(all))
}

/// Of several updates of one topic all but the last say that the message goes on.
fn mark_last(said: &mut [Result<Said<'_>, Odd<'_>>]) {
    let mut seen = HashSet::new();
    for said in said.iter_mut().rev() {
        if let Ok(Said::Update(MappedPublication { topic, value, .. })) = said
            && let MappedValue::Levels { depth: Some(_), goes_on, .. } = value
        {
            *goes_on = !seen.insert(&*topic);
        }
    }
}

fn holds(message: &Node<'_>, pointer: &Pointer, wanted: &Wanted) -> bool {
    let Some(found) = message.find(&pointer.steps) else { return false };
    match wanted {
        Wanted::Present => true,
        Wanted::Text(text) => found.is_string() && found.scalar().is_some_and(|found| found == *text),
        Wanted::Whole(number) => whole::parse(found.text()) == Some(*number),
        Wanted::Flag(flag) => found.text() == if *flag { "true" } else { "false" },
    }
}

/// What pointers begin at.
#[derive(Clone, Copy)]
struct Scope<'n, 'a> {
    message: &'n Node<'a>,
    element: &'n Node<'a>,
    names: Names,
}

impl<'n, 'a> Scope<'n, 'a> {
    fn find(&self, pointer: &Pointer, wanted: &'static str) -> Result<&'n Node<'a>, Fault> {
        let from = if pointer.whole { self.message } else { self.element };
        from.find(&pointer.steps).ok_or_else(|| nowhere(pointer, wanted))
    }

    fn scalar(&self, pointer: &Pointer, wanted: &'static str) -> Result<Cow<'a, str>, Fault> {
        self.find(pointer, wanted)?.scalar().ok_or_else(|| nowhere(pointer, wanted))
    }
}

fn nowhere(pointer: &Pointer, wanted: &'static str) -> Fault {
    Fault::Pointer { pointer: pointer.clone(), wanted }
}

fn said<'a>(entry: &Entry, scope: Scope<'_, 'a>) -> Result<Said<'a>, Odd<'a>> {
    let odd = |topic| move |fault| Odd { fault, topic, text: scope.element.text() };
    if let Body::Gap { topics, reason } = &entry.body {
        return denied(topics, reason.as_ref(), scope).map_err(odd(None));
    }
    let template = entry.topic.as_ref().expect("an entry without gap makes a topic");
    let topic = topic(template, scope).map_err(odd(None))?;
    publication(entry, topic.clone(), scope).map(Said::Update).map_err(odd(Some(topic)))
}

/// The reason is as long as one can be read.
fn denied<'a>(topics: &[Denied], reason: Option<&Pointer>, scope: Scope<'_, 'a>) -> Result<Said<'a>, Fault> {
    const REASON_CHARS: usize = 200;
    let name = |denied: &Denied| {
        let topic = denied.topic.as_ref().map(|template| topic(template, scope)).transpose()?;
        let text = match topic {
            Some(topic) if denied.below => format!("{topic}.*"),
            Some(topic) => topic,
            None => "*".to_owned(),
        };
        Pattern::parse(&text).map_err(|bad| Fault::Topic(bad.to_string()))
    };
    let topics = topics.iter().map(name).collect::<Result<_, Fault>>()?;
    // The log names a refusal also where it gives no reason.
    let why = match reason.and_then(|pointer| scope.find(pointer, "a reason").ok()) {
        None => "the venue refuses it".to_owned(),
        Some(found) => {
            let text = found.scalar().unwrap_or(found.text().into());
            format!("the venue refuses it: {}", text.chars().take(REASON_CHARS).collect::<String>())
        }
    };
    Ok(Said::Denied { topics, why })
}

fn publication<'a>(
    entry: &Entry,
    topic: String,
    scope: Scope<'_, 'a>,
) -> Result<MappedPublication<'a>, Fault> {
    let ts_us = match &entry.ts {
        None => None,
        Some(pointer) => {
            let found = scope.find(pointer, "a time")?;
            let bad =
                || Fault::Ts { pointer: pointer.clone(), text: found.text().chars().take(60).collect() };
            Some(stamp_us(found).ok_or_else(bad)?)
        }
    };
    let seq = entry.seq.as_ref().map(|pointer| seq(entry, pointer, scope)).transpose()?;
    let value = match &entry.body {
        Body::Data(pointer) => MappedValue::Data(scope.find(pointer, "a value")?.text()),
        Body::Levels { lists, reset, depth } => {
            let mut changes = BTreeMap::new();
            for list in lists {
                add_levels(&mut changes, list, scope)?;
            }
            if *reset {
                changes.retain(|_, size| size.is_some());
            }
            MappedValue::Levels { reset: *reset, changes, depth: depth.clone(), goes_on: false }
        }
        Body::Gap { .. } => unreachable!("it makes no publication"),
    };
    Ok(MappedPublication { topic, ts_us, seq, value })
}

fn seq(entry: &Entry, last: &Pointer, scope: Scope<'_, '_>) -> Result<Seq, Fault> {
    const WANTED: &str = "a whole number below 2^53";
    let number = |pointer| {
        let number = whole::parse_as(&scope.scalar(pointer, WANTED)?).filter(|number| *number <= SEQ_MAX);
        number.ok_or_else(|| nowhere(pointer, WANTED))
    };
    let last = number(last)?;
    let first = entry.seq_first.as_ref().map_or(Ok(last), number)?;
    Ok(Seq { first: (!entry.seq_sparse).then_some(first), last })
}

fn topic(template: &Template, scope: Scope<'_, '_>) -> Result<String, Fault> {
    let mut pieces = Vec::with_capacity(template.parts.len());
    for part in &template.parts {
        pieces.push(match part {
            Part::Text(text) => Piece::Text(text),
            Part::Value(pointer) => Piece::Name(scope.scalar(pointer, "a text or a number")?),
        });
    }
    let topic = scope.names.compose(&pieces);
    match check_topic(&topic) {
        Ok(()) => Ok(topic),
        Err(bad) => Err(Fault::Topic(bad.to_string())),
    }
}

/// Of a price that is there twice the last one counts: venues write changes in their order.
fn add_levels<'a>(
    changes: &mut BTreeMap<String, Option<&'a str>>,
    list: &Levels,
    scope: Scope<'_, 'a>,
) -> Result<(), Fault> {
    let levels = scope.find(&list.path, "an array of levels")?.elements();
    for level in levels.ok_or_else(|| nowhere(&list.path, "an array of levels"))? {
        let scope = Scope { element: level, ..scope };
        let mut key = match &list.key {
            Key::Fixed(prefix) => prefix.clone(),
            Key::BySide { side, keys } => {
                const WANTED: &str = "a side that `key` names";
                let found = scope.scalar(side, WANTED)?;
                let named = keys.iter().find(|(side, _)| *side == found);
                named.ok_or_else(|| nowhere(side, WANTED))?.1.clone()
            }
        };
        const NUMBER: &str = "a number, or a text of one";
        let number = |pointer| {
            let text = scope.scalar(pointer, NUMBER)?;
            if Decimal::parse(&text).is_some() { Ok(text) } else { Err(nowhere(pointer, NUMBER)) }
        };
        key.push_str(&number(&list.price)?);
        let size = number(&list.size)?;
        let written = scope.find(&list.size, NUMBER)?.text();
        let is_zero = Decimal::parse(&size).is_some_and(|size| size.is_zero());
        changes.insert(key, (!is_zero).then_some(written));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
