//! JSON as it comes from outside: how deep it may be, and a message that is read level by level, only where
//! pointers lead, and keeps how each value was written.

pub mod decimal;
pub mod keys;
pub mod members;
pub mod named;
pub mod pointer;
pub mod scaled;
pub mod wanted;
pub mod whole;

use std::{borrow::Cow, cell::OnceCell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// What some writers put before a text (RFC 8259, 8.1).
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Arrays and objects within each other in one value.
pub const LEVELS_MAX: usize = 64;

/// The text behind a byte order mark, if there is one.
pub fn skip_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// Whether valid JSON has at most so many arrays and objects within each other; the error says how to mend it.
pub fn check_levels(json: &[u8], levels_max: usize) -> Result<(), String> {
    // Most values do not begin so many, which is seen at once: `[` and `{` differ in one bit.
    let begun = json.iter().filter(|byte| **byte | 0x20 == b'{').count();
    if begun <= levels_max || levels(json) <= levels_max {
        return Ok(());
    }
    Err(format!("a value has more than {LEVELS_MAX} arrays and objects within each other: make it flatter"))
}

fn levels(json: &[u8]) -> usize {
    let (mut level, mut deepest) = (0usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// A value of a message.
#[derive(Debug)]
pub struct Node<'a> {
    raw: &'a RawValue,
    children: OnceCell<Children<'a>>,
}

/// What a value holds, read when it is first asked for.
#[derive(Debug)]
enum Children<'a> {
    None,
    Elements(Vec<Node<'a>>),
    Members(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// A whole message; all of it is checked to be JSON.
    pub fn parse(message: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(message).map(Self::new)
    }

    fn new(raw: &'a RawValue) -> Self {
        Self { raw, children: OnceCell::new() }
    }

    /// As it was written, byte for byte.
    pub fn text(&self) -> &'a str {
        self.raw.get()
    }

    /// Where `steps` lead from here. Of keys that are there twice the last counts.
    pub fn find(&self, steps: &[String]) -> Option<&Node<'a>> {
        let Some((step, rest)) = steps.split_first() else { return Some(self) };
        let child = match self.children() {
            Children::None => None,
            Children::Elements(elements) => elements.get(index(step)?),
            Children::Members(members) => {
                members.iter().rev().find(|(key, _)| key == step).map(|(_, node)| node)
            }
        };
        child?.find(rest)
    }

    /// The elements of an array; `None`: it is none.
    pub fn elements(&self) -> Option<&[Node<'a>]> {
        match self.children() {
            Children::Elements(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members of an object; `None`: it is none.
    pub fn members(&self) -> Option<&[(Cow<'a, str>, Node<'a>)]> {
        match self.children() {
            Children::Members(members) => Some(members),
            _ => None,
        }
    }

    /// Whether it is one by itself and no list of several: anything but an array, and an array that begins with a
    /// scalar. An empty array is a list.
    pub fn is_one(&self) -> bool {
        match self.text().as_bytes() {
            [b'[', rest @ ..] => {
                let first = rest.iter().find(|byte| !byte.is_ascii_whitespace());
                !matches!(first, Some(b'[' | b'{' | b']'))
            }
            _ => true,
        }
    }

    pub fn is_null(&self) -> bool {
        self.text() == "null"
    }

    /// A string without quotes and escapes, a number or a boolean as it was written; `None`: it is none of these.
    pub fn scalar(&self) -> Option<Cow<'a, str>> {
        let text = self.text();
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).ok().map(|Text(text)| text),
            Some(b'{' | b'[' | b'n') | None => None,
            _ => Some(Cow::Borrowed(text)),
        }
    }

    pub fn is_string(&self) -> bool {
        self.text().starts_with('"')
    }

    fn children(&self) -> &Children<'a> {
        self.children.get_or_init(|| {
            // The message was checked whole; what still fails here is an escape that stands for no character.
            serde_json::from_str(self.text()).unwrap_or(Children::None)
        })
    }
}

/// RFC 6901, 4: no leading zeros.
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with(['0', '+']);
    plain.then(|| step.parse().ok())?
}

/// A string that is borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Children<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChildrenVisitor)
    }
}

struct ChildrenVisitor;

impl<'de> Visitor<'de> for ChildrenVisitor {
    type Value = Children<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Text(key), raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            members.push((key, Node::new(raw)));
        }
        Ok(Children::Members(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            elements.push(Node::new(raw));
        }
        Ok(Children::Elements(elements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::pointer::Pointer;

    #[test]
    fn pointers_lead_to_values_as_they_were_written() {
        let text = r#" {"a":[ {"b/c" : 1.50e1}, "x\ty" ],"":{"~":null},"d":1,"d":2,"\u0065":true} "#;
        let message = Node::parse(text.as_bytes()).unwrap();
        for (pointer, expected) in [
            ("", Some(text.trim())),
            ("/a/0/b~1c", Some("1.50e1")),
            ("/a/1", Some(r#""x\ty""#)),
            ("//~0", Some("null")),
            ("/d", Some("2")),
            ("/e", Some("true")),
            ("/a/2", None),
            ("/a/00", None),
            ("/a/+0", None),
            ("/a/-1", None),
            ("/d/x", None),
            ("/none", None),
        ] {
            let pointer = Pointer::parse(pointer).unwrap();
            assert_eq!(message.find(&pointer.steps).map(Node::text), expected, "{pointer:?}");
        }
    }

    #[test]
    fn levels_are_counted_outside_of_texts() {
        for (json, count) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[1,{"b":2}],"c":[[]]}"#, 3),
            (r#"["[[[[","\"[[","\\",["{"]]"#, 2),
            (r#"[[],[],[]]"#, 2),
        ] {
            assert_eq!(levels(json.as_bytes()), count, "{json}");
        }
        for (levels, is_taken) in [(64, true), (65, false), (100_000, false)] {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
                let json = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                assert_eq!(check_levels(json.as_bytes(), LEVELS_MAX).is_ok(), is_taken, "{levels}");
            }
        }
    }

    #[test]
    fn scalars_are_text() {
        let scalar = |json: &'static str| Node::parse(json.as_bytes()).unwrap().scalar();
        for (json, text) in
            [(r#""a\u00e9\n""#, "aé\n"), ("1.0", "1.0"), ("-0", "-0"), ("true", "true"), (r#""""#, "")]
        {
            assert_eq!(scalar(json).as_deref(), Some(text), "{json}");
        }
        for json in ["null", "{}", "[1]"] {
            assert_eq!(scalar(json), None, "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_found_at_once() {
        for bad in ["", "{", "{\"a\":[1,{\"b\":}]}", "1 2", "\u{1}", "{\"a\":nul}"] {
            assert!(Node::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Node::parse(b"\"\xff\"").is_err());
        let deep = "[".repeat(100_000);
        assert!(Node::parse(deep.as_bytes()).is_err());
        let deep = format!("{deep}{}", "]".repeat(100_000));
        assert!(Node::parse(deep.as_bytes()).is_ok_and(|node| node.elements().is_some()));
    }
}
