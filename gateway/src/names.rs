//! Names that come from elsewhere, such as a venue's symbols, as parts of topics.

use std::fmt::Write;

use crate::topic::{TOPIC_BYTES_MAX, is_topic_char};

/// What becomes of characters that no topic may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Each of their bytes is written as `@x` and two upper-case hex digits, so that different names stay
    /// different.
    Encode,
    /// Each becomes `_`.
    Replace,
}

impl Names {
    pub fn name(self) -> &'static str {
        match self {
            Names::Encode => "encode",
            Names::Replace => "replace",
        }
    }

    /// The error says what to write instead.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = [Names::Encode, Names::Replace].into_iter().find(|names| names.name() == name);
        known.ok_or_else(|| "write \"encode\" or \"replace\"".to_owned())
    }

    /// Appends a name to a topic under way. What no topic has room for is left out, so that the topic is too
    /// long then.
    pub fn push(self, topic: &mut String, name: &str) {
        let room = (TOPIC_BYTES_MAX + 1).saturating_sub(topic.len());
        match self {
            Names::Encode => encode(topic, name.as_bytes(), room, is_topic_char),
            Names::Replace => {
                topic.extend(name.chars().take(room).map(|c| if is_topic_char(c) { c } else { '_' }));
            }
        }
    }

    /// As [`Names::push`], of a name that is one segment: a dot in it divides nothing.
    pub fn push_segment(self, topic: &mut String, name: &[u8]) {
        let room = (TOPIC_BYTES_MAX + 1).saturating_sub(topic.len());
        let fits = |c: char| c != '.' && is_topic_char(c);
        match self {
            Names::Encode => encode(topic, name, room, fits),
            Names::Replace => {
                let name = String::from_utf8_lossy(name);
                topic.extend(name.chars().take(room).map(|c| if fits(c) { c } else { '_' }));
            }
        }
    }
}

/// Also the `@` of an `@x` that two upper-case hex digits follow, or two names could be written alike.
fn encode(topic: &mut String, name: &[u8], room: usize, fits: impl Fn(char) -> bool) {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    // A byte becomes a character at least.
    for (i, byte) in name.iter().enumerate().take(room) {
        let is_escape = matches!(&name[i..], [b'@', b'x', high, low, ..] if is_hex(high) && is_hex(low));
        if byte.is_ascii() && fits(char::from(*byte)) && !is_escape {
            topic.push(char::from(*byte));
        } else {
            let _ = write!(topic, "@x{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::topic::check_topic;

    fn encoded(name: &str) -> String {
        let mut topic = String::new();
        Names::Encode.push(&mut topic, name);
        topic
    }

    #[test]
    fn bytes_that_no_topic_may_hold_are_told_by_their_hex_digits() {
        for (name, topic) in [
            ("BTC/USD", "BTC/USD"),
            ("btcusdt@depth20@100ms", "btcusdt@depth20@100ms"),
            ("å", "@xC3@xA5"),
            ("币", "@xE5@xB8@x81"),
            ("$PEPE USDT", "@x24PEPE@x20USDT"),
            ("_PEPE_USDT", "_PEPE_USDT"),
            ("@xE5", "@x40xE5"),
            ("@xe5", "@xe5"),
            ("@x", "@x"),
            ("@xE", "@xE"),
            ("a@@x41", "a@@x40x41"),
            ("BRK.B", "BRK.B"),
        ] {
            assert_eq!(encoded(name), topic, "{name}");
        }
        let mut topic = "host.".to_owned();
        Names::Encode.push_segment(&mut topic, b"eth0.1/\xff");
        assert_eq!(topic, "host.eth0@x2E1/@xFF");
    }

    #[test]
    fn different_names_stay_different() {
        let parts = ["@", "x", "@x", "4", "40", "E5", "e5", "币", "_", " ", "a", "@x40"];
        let mut seen: HashMap<String, String> = HashMap::new();
        for n in 0..parts.len().pow(4) {
            let digits = (0..4u32).map(|at| n / parts.len().pow(at) % parts.len());
            let name: String = digits.map(|digit| parts[digit]).collect();
            let topic = encoded(&name);
            assert!(check_topic(&topic).is_ok(), "{name}: {topic}");
            let before = seen.insert(topic.clone(), name.clone());
            assert!(before.as_ref().is_none_or(|before| *before == name), "{before:?} and {name}: {topic}");
        }
    }

    #[test]
    fn replaced_names_are_as_they_were_and_none_takes_more_room_than_a_topic_has() {
        let mut topic = "a.".to_owned();
        Names::Replace.push(&mut topic, "BTC/USD é*{");
        assert_eq!(topic, "a.BTC/USD____");
        for names in [Names::Encode, Names::Replace] {
            let mut long = topic.clone();
            names.push(&mut long, &"é".repeat(1 << 20));
            assert!((TOPIC_BYTES_MAX + 1..TOPIC_BYTES_MAX * 5).contains(&long.len()));
        }
    }
}
