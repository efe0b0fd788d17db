//! `when` of an entry: what must stand where, and names for what stands there.

use std::borrow::Cow;

use engine::json::{
    Node,
    named::NamedText,
    pointer::{Pointer, Root},
    wanted::Wanted,
    whole,
};
use serde_json::Value;
use toml::de::DeValue;

use crate::document::when::{self, When};

/// What the texts of a message stand for, by the names that a configuration gives them.
pub type Bound<'e, 'a> = Vec<(&'e str, Cow<'a, str>)>;

/// All must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    pub wanted: When,
    /// Texts with names in them.
    pub named: Vec<(Pointer, NamedText)>,
}

impl Conditions {
    /// Every message has them.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.named.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().flat_map(|(_, text)| text.names())
    }

    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        let wanted = self.wanted.iter().map(|(pointer, _)| pointer);
        wanted.chain(self.named.iter().map(|(pointer, _)| pointer))
    }

    /// How many of them a message has, as far as it says by itself.
    pub fn met(&self, message: &Node<'_>) -> usize {
        let own = |pointer: &Pointer| pointer.root != Root::Remembered;
        let wanted =
            self.wanted.iter().filter(|(pointer, wanted)| own(pointer) && is_met(message, pointer, wanted));
        let has = |pointer: &Pointer, text: &NamedText| {
            let found = message.find(&pointer.steps).and_then(Node::scalar);
            own(pointer) && found.is_some_and(|found| text.find(&found).is_some())
        };
        wanted.count() + self.named.iter().filter(|(pointer, text)| has(pointer, text)).count()
    }

    /// What its names stand for; the error is the first pointer where something else stands.
    pub fn hold<'e, 'a>(
        &'e self,
        message: &Node<'a>,
        remembered: Option<&Value>,
    ) -> Result<Bound<'e, 'a>, &'e Pointer> {
        let recalled = |pointer: &Pointer| remembered.and_then(|message| message.pointer(pointer.path()));
        let failed = self.wanted.iter().find(|(pointer, wanted)| {
            let met = match pointer.root {
                Root::Remembered => recalled(pointer).is_some_and(|found| wanted.is_met(found)),
                Root::Here | Root::Message => is_met(message, pointer, wanted),
            };
            !met
        });
        if let Some((pointer, _)) = failed {
            return Err(pointer);
        }
        let mut bound = Bound::new();
        for (pointer, text) in &self.named {
            let found = match pointer.root {
                Root::Remembered => {
                    recalled(pointer).and_then(Value::as_str).map(|text| Cow::Owned(text.to_owned()))
                }
                Root::Here | Root::Message => message.find(&pointer.steps).and_then(Node::scalar),
            };
            if !found.is_some_and(|found| bind(text, found, &mut bound)) {
                return Err(pointer);
            }
        }
        Ok(bound)
    }
}

/// Whether that stands where the pointer leads.
pub fn is_met(from: &Node<'_>, pointer: &Pointer, wanted: &Wanted) -> bool {
    let Some(found) = from.find(&pointer.steps) else { return false };
    match wanted {
        Wanted::Present => true,
        Wanted::Text(text) => found.is_string() && found.scalar().is_some_and(|found| found == *text),
        Wanted::Whole(number) => whole::parse(found.text()) == Some(*number),
        Wanted::Flag(flag) => found.text() == if *flag { "true" } else { "false" },
    }
}

/// A name that is bound already stands for the same text once more.
fn bind<'e, 'a>(named: &'e NamedText, found: Cow<'a, str>, bound: &mut Bound<'e, 'a>) -> bool {
    let Some(ranges) = named.find(&found) else { return false };
    for (name, range) in named.names().zip(ranges) {
        let value = match &found {
            Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
            Cow::Owned(text) => Cow::Owned(text[range].to_owned()),
        };
        match bound.iter().find(|(other, _)| *other == name) {
            Some((_, same)) if *same != value => return false,
            Some(_) => {}
            None => bound.push((name, value)),
        }
    }
    true
}

/// The error says what to write instead.
pub fn conditions(value: DeValue<'_>) -> Result<Conditions, String> {
    let mut conditions = Conditions::default();
    for (pointer, wanted) in when::read(value)? {
        if pointer.root == Root::Message {
            return Err(format!("{pointer:?}: `when` begins at the message anyway; leave out the ^"));
        }
        let named = match &wanted {
            Wanted::Text(text) => NamedText::parse(text)?,
            _ => None,
        };
        match named {
            Some(named) => conditions.named.push((pointer, named)),
            None => conditions.wanted.push((pointer, wanted)),
        }
    }
    Ok(conditions)
}

/// As TOML has it.
pub fn write(conditions: &Conditions) -> String {
    let named =
        conditions.named.iter().map(|(at, text)| (at.clone(), Wanted::Text(text.as_str().to_owned())));
    when::write(&conditions.wanted.iter().cloned().chain(named).collect::<Vec<_>>())
}
