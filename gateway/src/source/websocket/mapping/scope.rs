//! What pointers and names of an entry lead to in a message.

use std::borrow::Cow;

use engine::{
    json::{
        Node,
        pointer::{Pointer, Root},
    },
    topic::{
        name::check_topic,
        template::{Part, Template},
    },
};

use serde_json::Value;

use super::{
    fault::{Fault, nowhere},
    memory::text,
};
use crate::{
    names::{Names, Piece},
    source::websocket::braced::{Braced, Filling},
};

/// What pointers begin at.
#[derive(Clone, Copy)]
pub struct Scope<'n, 'a> {
    pub message: &'n Node<'a>,
    /// The element of `each`, or the level; else the message.
    pub element: &'n Node<'a>,
    /// What was remembered under the id that the entry recalls.
    pub remembered: Option<&'n Value>,
    /// What names stand for.
    pub bound: &'n [(&'n str, Cow<'a, str>)],
    pub names: Names,
}

impl<'n, 'a> Scope<'n, 'a> {
    pub fn find(&self, pointer: &Pointer, wanted: &'static str) -> Result<&'n Node<'a>, Fault> {
        let from = match pointer.root {
            Root::Message => self.message,
            Root::Here => self.element,
            Root::Remembered => return Err(nowhere(pointer, wanted)),
        };
        from.find(&pointer.steps).ok_or_else(|| nowhere(pointer, wanted))
    }

    pub fn scalar(&self, pointer: &Pointer, wanted: &'static str) -> Result<Cow<'a, str>, Fault> {
        self.find(pointer, wanted)?.scalar().ok_or_else(|| nowhere(pointer, wanted))
    }

    pub fn topic(&self, template: &Template) -> Result<String, Fault> {
        let mut pieces = Vec::with_capacity(template.parts.len());
        for part in &template.parts {
            pieces.push(match part {
                Part::Text(text) => Piece::Text(text),
                Part::Name(name) => Piece::Name(Cow::Borrowed(self.named(name))),
                Part::Value(pointer) => Piece::Name(self.label(pointer)?),
            });
        }
        let topic = self.names.compose(&pieces);
        match check_topic(&topic) {
            Ok(()) => Ok(topic),
            Err(bad) => Err(Fault::Topic(bad.to_string())),
        }
    }

    /// The address that has the whole of a topic. `hides_secrets`: it is to be shown.
    pub fn url(&self, url: &Braced, hides_secrets: bool) -> String {
        let names: Vec<(&str, &str)> = self.bound.iter().map(|(name, text)| (*name, &**text)).collect();
        let value = |pointer: &Pointer| self.find(pointer, "").ok().map(|node| node.text().to_owned());
        url.fill_url(&Filling { names: &names, value: Some(&value), hides_secrets, ..Filling::default() })
    }

    fn named(&self, name: &str) -> &'n str {
        self.bound.iter().find(|(other, _)| *other == name).map_or("", |(_, text)| text)
    }

    /// Also of what was remembered.
    fn label(&self, pointer: &Pointer) -> Result<Cow<'n, str>, Fault> {
        const WANTED: &str = "a text or a number";
        match (pointer.root, self.remembered) {
            (Root::Remembered, Some(remembered)) => {
                let found = remembered.pointer(pointer.path()).and_then(text);
                found.ok_or_else(|| nowhere(pointer, WANTED))
            }
            _ => self.scalar(pointer, WANTED),
        }
    }
}
