//! What a message becomes: bytes in, publications out. No IO, no clock.

pub mod fault;
mod levels;
pub mod memory;
mod scope;

use std::{borrow::Cow, collections::HashSet};

use engine::{
    json::{Node, pointer::Pointer, whole},
    sequencer::seq::{Before, SEQ_MAX, Seq},
    topic::{
        changes::{Base, Changes},
        pattern::Pattern,
    },
};

use serde_json::Value;

use super::stamp::stamp_us;
use crate::{
    names::Names,
    source::websocket::map::{
        Body, Denied, Entry, Order, book::Book, conditions::Bound, each::Part, reset::Reset,
        snapshot::Snapshot,
    },
};
use fault::{Fault, nowhere};
use levels::{Writer, fields};
use memory::{Memory, Messages};
use scope::Scope;

/// What one message, or one element of its `each`, becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedPublication<'a> {
    pub topic: String,
    /// The venue's time. Microseconds since the Unix epoch.
    pub ts_us: Option<i64>,
    /// The venue's own count.
    pub seq: Option<Seq>,
    pub value: MappedValue<'a>,
    /// Of the entry that made it.
    pub entry: usize,
    /// Where the whole of the topic is asked for.
    pub whole_at: Option<String>,
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
    /// It is kept under this id.
    Remembered(String),
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
    /// Keys with their new value as it stood in the message.
    Changes(Changes),
}

/// Of which topics it is to be said where their whole is asked for.
#[derive(Clone, Copy)]
pub struct Wholes<'w> {
    pub wanted: &'w dyn Fn(&str) -> bool,
    /// Without what comes from the environment.
    pub is_hidden: bool,
}

type All<'a> = Vec<Result<Said<'a>, Odd<'a>>>;

/// What a message says, in the order in which it happened; `None`: no entry applies to it. An odd element
/// harms no other.
pub fn map<'a>(
    entries: &[Entry],
    names: Names,
    memory: &mut Memory,
    wholes: Wholes<'_>,
    message: &Node<'a>,
) -> Option<All<'a>> {
    let (mut all, mut any) = (Vec::new(), false);
    let Memory { messages, levels } = memory;
    for (number, entry) in entries.iter().enumerate() {
        let id = entry.recall.as_ref().map(|id| message.find(&id.steps).and_then(Node::scalar));
        let recalled = id.map(|id| messages.get(&id?));
        if recalled == Some(None) {
            continue;
        }
        let recalled = recalled.flatten();
        let Ok(bound) = entry.when.hold(message, recalled) else { continue };
        any = true;
        match &entry.body {
            Body::Remember(id) => {
                let said = remember(messages, id, message).map(Said::Remembered);
                all.push(said.map_err(|fault| Odd { fault, topic: None, text: message.text() }));
            }
            _ => Applied { entry, number, message, recalled, names, wholes }.says(bound, levels, &mut all),
        }
        if !entry.also {
            break;
        }
    }
    mark_last(&mut all);
    any.then_some(all)
}

/// Gives its id.
fn remember(messages: &mut Messages, id: &Pointer, message: &Node<'_>) -> Result<String, Fault> {
    let found = message.find(&id.steps).and_then(Node::scalar);
    let id = found.ok_or_else(|| nowhere(id, "a text or a number"))?;
    messages.keep(&id, message.text())?;
    Ok(id.into_owned())
}

/// An entry whose conditions a message has.
struct Applied<'n, 'a> {
    entry: &'n Entry,
    number: usize,
    message: &'n Node<'a>,
    recalled: Option<&'n Value>,
    names: Names,
    wholes: Wholes<'n>,
}

impl<'n, 'a> Applied<'n, 'a> {
    fn scope<'s>(&self, element: &'s Node<'a>, bound: &'s Bound<'s, 'a>) -> Scope<'s, 'a>
    where
        'n: 's,
    {
        Scope { message: self.message, element, remembered: self.recalled, bound, names: self.names }
    }

    fn says(&self, bound: Bound<'n, 'a>, told: &mut memory::Levels, all: &mut All<'a>) {
        let Some(each) = &self.entry.each else {
            let said = self.said(self.message, &bound, told);
            all.push(said);
            return;
        };
        let Some(mut parts) = each.parts(self.message) else {
            let fault = nowhere(&each.pointer, "an array");
            all.push(Err(Odd { fault, topic: None, text: self.message.text() }));
            return;
        };
        if self.entry.order == Order::NewestFirst {
            parts.reverse();
        }
        for Part { node, bound: of_each, is_odd } in parts {
            let both;
            let bound = match of_each.is_empty() {
                true => &bound,
                false => {
                    both = bound.iter().cloned().chain(of_each).collect();
                    &both
                }
            };
            all.push(match is_odd {
                true => Err(self.odd(nowhere(&each.pointer, "an array"), node, bound)),
                false => self.said(node, bound, told),
            });
        }
    }

    /// A part of `each` that is of another type than the others. Its topic is known where names alone make it.
    fn odd(&self, fault: Fault, node: &Node<'a>, bound: &Bound<'_, 'a>) -> Odd<'a> {
        let topic = self.entry.topic.as_ref().and_then(|topic| self.scope(node, bound).topic(topic).ok());
        Odd { fault, topic, text: node.text() }
    }

    fn said(
        &self,
        element: &Node<'a>,
        bound: &Bound<'_, 'a>,
        told: &mut memory::Levels,
    ) -> Result<Said<'a>, Odd<'a>> {
        let scope = self.scope(element, bound);
        let odd = |topic| move |fault| Odd { fault, topic, text: element.text() };
        if let Body::Gap { topics, reason } = &self.entry.body {
            return denied(topics, reason.as_ref(), scope).map_err(odd(None));
        }
        let template = self.entry.topic.as_ref().expect("an entry without gap and remember makes a topic");
        let topic = scope.topic(template).map_err(odd(None))?;
        self.publication(topic.clone(), scope, told).map(Said::Update).map_err(odd(Some(topic)))
    }

    fn publication(
        &self,
        topic: String,
        scope: Scope<'_, 'a>,
        told: &mut memory::Levels,
    ) -> Result<MappedPublication<'a>, Fault> {
        let entry = self.entry;
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
            Body::Levels(book) => MappedValue::Changes(changes(book, &topic, scope, told)?),
            Body::Fields { path, reset, whole } => {
                let base = if *reset == Reset::Always { whole.base() } else { Base::Held };
                let mut changes = Changes::new(base);
                fields(&mut changes, path, scope)?;
                MappedValue::Changes(changes)
            }
            Body::Gap { .. } | Body::Remember(_) => unreachable!("they make no publication"),
        };
        let snapshot = entry.snapshot.as_ref().filter(|_| (self.wholes.wanted)(&topic));
        let whole_at = snapshot.map(|snapshot| scope.url(&snapshot.url, self.wholes.is_hidden));
        Ok(MappedPublication { topic, ts_us, seq, value, entry: self.number, whole_at })
    }
}

fn changes(
    book: &Book,
    topic: &str,
    scope: Scope<'_, '_>,
    told: &mut memory::Levels,
) -> Result<Changes, Fault> {
    let is_whole = book.reset == Reset::Always;
    let mut changes = Changes::new(if is_whole { book.whole.base() } else { Base::Held });
    changes.has_prices = true;
    changes.depth.clone_from(&book.depth);
    if is_whole && book.lists.iter().any(|list| list.remember.is_some()) {
        told.reset(topic);
    }
    Writer { topic, scale: book.scale, told, changes: &mut changes }.lists(&book.lists, scope)?;
    Ok(changes)
}

/// A topic of an entry whose names stand for these texts, and where its whole is asked for; `None`: a message says more
/// of them, or there is nobody to ask.
pub fn known(entry: &Entry, names: Names, texts: &[(&str, &str)]) -> Option<(String, String)> {
    let (template, snapshot) = (entry.topic.as_ref()?, entry.snapshot.as_ref()?);
    let mut named = entry.when.names().chain(entry.each.iter().flat_map(|each| each.names()));
    let is_known = |name: &str| texts.iter().any(|(known, _)| *known == name);
    let needs_more = template.pointers().next().is_some()
        || snapshot.url.has_values()
        || template.names().chain(snapshot.url.names()).any(|name| !is_known(name));
    if needs_more || !named.any(is_known) {
        return None;
    }
    let nothing = Node::parse(b"null").expect("it is JSON");
    let bound: Bound<'_, '_> = texts.iter().map(|(name, text)| (*name, Cow::Borrowed(*text))).collect();
    let scope = Scope { message: &nothing, element: &nothing, remembered: None, bound: &bound, names };
    Some((scope.topic(template).ok()?, scope.url(&snapshot.url, false)))
}

/// What the answer of a `[source.map.snapshot]` holds: its count, and all of the topic.
pub fn whole(
    entry: &Entry,
    snapshot: &Snapshot,
    names: Names,
    answer: &Node<'_>,
) -> Result<(u64, Changes), Fault> {
    let scope = Scope { message: answer, element: answer, remembered: None, bound: &[], names };
    let count = count(&snapshot.seq, scope)?;
    let Body::Levels(book) = &entry.body else { unreachable!("a snapshot is of levels") };
    let mut changes = Changes::new(Base::Whole);
    changes.depth.clone_from(&book.depth);
    let told = &mut memory::Levels::new(0);
    let mut writer = Writer { topic: "", scale: book.scale, told, changes: &mut changes };
    writer.lists(&snapshot.lists, scope)?;
    Ok((count, changes))
}

/// Of several updates of one topic all but the last say that the message goes on.
fn mark_last(said: &mut [Result<Said<'_>, Odd<'_>>]) {
    if said.len() < 2 {
        return;
    }
    let mut seen = HashSet::new();
    for said in said.iter_mut().rev() {
        if let Ok(Said::Update(MappedPublication { topic, value: MappedValue::Changes(changes), .. })) = said
            && changes.depth.is_some()
        {
            changes.goes_on = !seen.insert(&*topic);
        }
    }
}

/// The reason is as long as one can be read.
fn denied<'a>(topics: &[Denied], reason: Option<&Pointer>, scope: Scope<'_, 'a>) -> Result<Said<'a>, Fault> {
    const REASON_CHARS: usize = 200;
    let name = |denied: &Denied| {
        let topic = denied.topic.as_ref().map(|template| scope.topic(template)).transpose()?;
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

fn seq(entry: &Entry, last: &Pointer, scope: Scope<'_, '_>) -> Result<Seq, Fault> {
    let last = count(last, scope)?;
    let before = match (&entry.seq_prev, &entry.seq_first) {
        _ if entry.seq_sparse => Before::Unknown,
        (Some(previous), _) => Before::Previous(count(previous, scope)?),
        (None, Some(first)) => Before::First(count(first, scope)?),
        (None, None) => Before::First(last),
    };
    Ok(Seq { before, last })
}

fn count(pointer: &Pointer, scope: Scope<'_, '_>) -> Result<u64, Fault> {
    const WANTED: &str = "a whole number that is not negative";
    let number: Option<u128> = whole::parse_as(&scope.scalar(pointer, WANTED)?);
    // Of a longer one its lower part counts: what follows upon what is the same.
    let counted = number.map(|number| (number % (u128::from(SEQ_MAX) + 1)) as u64);
    counted.ok_or_else(|| nowhere(pointer, WANTED))
}

#[cfg(test)]
mod tests;
