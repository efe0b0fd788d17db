//! `[[source]] kind = "websocket"`: what to send, and what becomes of what comes.

use engine::{
    keys,
    settings::Group,
    topic::{
        pattern::Pattern,
        policy::Mode,
        template::{Part, Template},
    },
};

use super::map::{self, Entry, books};
use crate::{
    document::read::Section,
    names::Names,
    source::{
        kind::{Declared, Given},
        link::{Link, LinkKeys},
    },
};

/// Texts sent after connecting, and their bytes together.
const SEND_MAX: usize = 256;
const SEND_BYTES_MAX: usize = 1 << 20;

keys! {
    /// of kind = "websocket": a venue's feed. Its `[[source.map]]` say what becomes of a message.
    pub struct WebsocketKeys in "source" {
        /// Texts sent in order after each connect, at most 256 of 1 MiB together.
        send: Vec<String> = texts(&[], "write a list of texts, like ['{\"op\":\"subscribe\"}']");
        /// What becomes of bytes that no topic may hold, of what pointers in `topic` lead to. "encode": `@x` and two
        /// hexadecimal digits. "replace": `_`.
        names: Names = choice("encode", &["encode", "replace"]);
    }
}

/// A feed that is fetched by connecting to its server.
#[derive(Debug, Clone, PartialEq)]
pub struct Websocket {
    pub link: Link,
    /// Sent in order after each connect.
    pub send: Vec<String>,
    /// Of topics' parts that the venue names.
    pub names: Names,
    /// Never empty.
    pub map: Vec<Entry>,
}

fn check_send(texts: Vec<String>) -> Result<Vec<String>, String> {
    let bytes: usize = texts.iter().map(String::len).sum();
    if texts.len() > SEND_MAX || bytes > SEND_BYTES_MAX {
        let count = texts.len();
        return Err(format!(
            "{count} texts of {bytes} bytes; the most is {SEND_MAX} texts of {SEND_BYTES_MAX} bytes together"
        ));
    }
    Ok(texts)
}

impl Declared for Websocket {
    const NAME: &'static str = "websocket";
    const GROUPS: &'static [Group] =
        &[Group::of::<LinkKeys>(), Group::of::<WebsocketKeys>(), map::keys::ENTRY, map::keys::LEVELS];

    fn read(section: &mut Section, given: &Given) -> Option<Self> {
        let WebsocketKeys { send, names } = section.keys();
        let send = section.convert("send", Some(send), check_send).unwrap_or_default();
        let map = map::entries(section);
        let link = Link::read(section, given.dir, given.name, "ws://HOST:PORT/PATH", 4 << 20)?;
        books::check(section, &map, link.message_bytes, given.policies);
        let map: Vec<Entry> = map.into_iter().map(|(_, entry)| entry).collect();
        let is_keyed = given.policies.0.entries.iter().any(|policy| matches!(*policy.mode, Mode::Keyed(_)));
        if map.iter().any(Entry::has_levels) && !is_keyed {
            let text = "levels become keys of a keyed topic, of which there is none; add a [[topic]] with \
                        pattern and mode = \"keyed\"";
            section.problem(section.line(), text);
        }
        Some(Self { link, send, names, map })
    }
}

/// The narrowest pattern of all topics that a template makes.
pub fn pattern_of(template: &Template) -> Pattern {
    let mut fixed = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => fixed.push_str(text),
            Part::Value(_) => {
                let segments = fixed.rfind('.').map_or(0, |dot| dot + 1);
                fixed.truncate(segments);
                fixed.push('*');
                break;
            }
        }
    }
    Pattern::parse(&fixed).expect("what a template begins with begins a topic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_stands_for_what_lies_below_its_fixed_segments() {
        for (template, pattern) in
            [("a.b", "a.b"), ("a.b.{/s}", "a.b.*"), ("a.b-{/s}.c", "a.*"), ("{/s}", "*")]
        {
            assert_eq!(pattern_of(&Template::parse(template).unwrap()).as_str(), pattern);
        }
    }
}
