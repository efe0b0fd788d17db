//! `[[source.reply]]`: what is said to a message of the venue.

use engine::json::{Node, pointer::Pointer};

use super::{
    braced::{self, Braced, Filling, May},
    map::conditions::{self, Conditions},
};
use crate::document::{read::Section, value::json, write::Text};

/// Replies of one source.
const REPLIES_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub when: Conditions,
    pub send: Braced,
}

impl Reply {
    /// What is said to a message; `None`: nothing.
    pub fn to(&self, message: &Node<'_>, with: &Filling<'_>) -> Option<String> {
        let bound = self.when.hold(message, None).ok()?;
        let names: Vec<(&str, &str)> = bound.iter().map(|(name, text)| (*name, &**text)).collect();
        let value = |pointer: &Pointer| message.find(&pointer.steps).map(|node| node.text().to_owned());
        Some(self.send.fill(&Filling { names: &names, value: Some(&value), ..*with }))
    }
}

/// Reads the `[[source.reply]]` of a source.
pub fn replies(source: &mut Section, may: May<'_>) -> Vec<Reply> {
    let tables = source.sections("reply", "source.reply");
    if tables.len() > REPLIES_MAX {
        let text = format!("there are {} [[source.reply]]; the most is {REPLIES_MAX}", tables.len());
        source.problem(source.line(), text);
        return Vec::new();
    }
    let read = |table| {
        let mut section = source.open("source.reply", table);
        let reply = reply(&mut section, may);
        section.finish();
        reply
    };
    tables.into_iter().filter_map(read).collect()
}

/// `None`: its problems were reported.
fn reply(section: &mut Section, may: May<'_>) -> Option<Reply> {
    let when = section.read("when", Conditions::default(), conditions::conditions);
    let names: Vec<&str> = when.value.names().collect();
    let may = May { names: &names, values: true, ..may };
    let send = braced::read(section, "send", may, |_| Ok(()));
    if when.value.is_empty() {
        let text = "when is missing: every message would be answered; write what must stand where, like { \"/ping\" = \"*\" }";
        section.problem(section.line(), text);
    }
    if let (Some(line), Some(pointer)) =
        (when.line, when.value.pointers().find(|pointer| !pointer.is_plain()))
    {
        section.problem(line, format!("{pointer:?}: it begins at the message; write {:?}", pointer.path()));
    }
    if send.line.is_none() {
        section
            .problem(section.line(), "send is missing; write what is said, like send = '{\"pong\":{/ping}}'");
    }
    Some(Reply { when: when.value, send: send.value? })
}

pub fn write(text: &mut Text, reply: &Reply) {
    text.section("[[source.reply]]");
    text.plain("when", conditions::write(&reply.when));
    text.plain("send", json(reply.send.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::environment::Environment;

    #[test]
    fn a_message_is_answered_with_what_stands_in_it() {
        let reply = Reply {
            when: Conditions {
                wanted: Vec::new(),
                named: vec![(
                    Pointer::parse("/ch").unwrap(),
                    engine::json::named::NamedText::parse("ping.{id}").unwrap().unwrap(),
                )],
            },
            send: Braced::parse(r#"{"pong":{/n},"to":"{id}"}"#, &Environment::default()).unwrap(),
        };
        let to = |message: &str| reply.to(&Node::parse(message.as_bytes()).unwrap(), &Filling::default());
        assert_eq!(to(r#"{"ch":"ping.7","n":1.50}"#).as_deref(), Some(r#"{"pong":1.50,"to":"7"}"#));
        assert_eq!(to(r#"{"ch":"pong.7","n":1}"#), None);
    }
}
