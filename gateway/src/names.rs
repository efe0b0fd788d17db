//! Names that come from elsewhere, such as a venue's symbols, as parts of topics.

use std::borrow::Cow;

use engine::{
    settings::{Field, Value},
    topic::{
        encoded::encode,
        name::{TOPIC_BYTES_MAX, is_topic_char},
    },
};

/// What becomes of characters that no topic may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Each of their bytes is written as `@x` and two upper-case hex digits, so that different names stay
    /// different.
    Encode,
    /// Each becomes `_`.
    Replace,
}

impl Field for Names {
    fn from_value(value: Value) -> Self {
        Names::parse(&String::from_value(value)).expect("its key has the same choice")
    }

    fn to_value(&self) -> Value {
        Value::Text(self.name().to_owned())
    }
}

/// What a topic is made of.
#[derive(Debug, Clone)]
pub enum Piece<'a> {
    /// Ours: characters of topics.
    Text(&'a str),
    /// Comes from elsewhere.
    Name(Cow<'a, str>),
}

impl Piece<'_> {
    /// And whether it is ours.
    fn raw(&self) -> (&str, bool) {
        match self {
            Piece::Text(text) => (text, true),
            Piece::Name(name) => (name, false),
        }
    }
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

    /// A topic. What no topic has room for is left out, so that it is too long then.
    pub fn compose(self, pieces: &[Piece<'_>]) -> String {
        let mut topic = String::new();
        match self {
            Names::Encode => {
                let raw = pieces.iter().flat_map(|piece| {
                    let (text, is_ours) = piece.raw();
                    text.bytes().map(move |byte| (byte, is_ours))
                });
                encode(&mut topic, raw, TOPIC_BYTES_MAX + 1, is_topic_char);
            }
            Names::Replace => {
                let chars = pieces.iter().flat_map(|piece| piece.raw().0.chars());
                let replaced = chars.map(|c| if is_topic_char(c) { c } else { '_' });
                topic.extend(replaced.take(TOPIC_BYTES_MAX + 1));
            }
        }
        topic
    }

    /// Appends a name that is one segment: a dot in it divides nothing.
    pub fn push_segment(self, topic: &mut String, name: &[u8]) {
        let room = (TOPIC_BYTES_MAX + 1).saturating_sub(topic.len());
        let fits = |c: char| c != '.' && is_topic_char(c);
        match self {
            Names::Encode => encode(topic, name.iter().map(|byte| (*byte, false)), room, fits),
            Names::Replace => {
                let name = String::from_utf8_lossy(name);
                topic.extend(name.chars().take(room).map(|c| if fits(c) { c } else { '_' }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use engine::topic::name::check_topic;

    fn encoded(name: &str) -> String {
        Names::Encode.compose(&[Piece::Name(name.into())])
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
    fn different_names_stay_different_also_where_pieces_meet() {
        let name = |text: &str| Piece::Name(text.to_owned().into());
        for (pieces, topic) in [
            (vec![name("@"), name("x20Y")], "@x40x20Y"),
            (vec![name("@x2"), name("0")], "@x40x20"),
            (vec![name("@"), name("x2"), name("g")], "@x2g"),
            (vec![Piece::Text("y@"), name("x20")], "y@x40x20"),
            (vec![Piece::Text("y@x"), name("2"), Piece::Text("0")], "y@x40x20"),
            (vec![name("@"), Piece::Text("x20")], "@x40x20"),
            (vec![name("@"), name("å")], "@@xC3@xA5"),
            (vec![Piece::Text("a@x20."), name("@x20")], "a@x20.@x40x20"),
            (vec![name("btcusdt"), Piece::Text("@depth"), name("20")], "btcusdt@depth20"),
        ] {
            assert_eq!(Names::Encode.compose(&pieces), topic, "{pieces:?}");
        }
        // However a name is divided, the topic is that of the whole.
        let whole = "a@x20@@x40å@x2@xE5 @";
        for at in whole.char_indices().map(|(at, _)| at) {
            let (left, right) = whole.split_at(at);
            assert_eq!(Names::Encode.compose(&[name(left), name(right)]), encoded(whole));
        }
    }

    #[test]
    fn replaced_names_are_as_they_were_and_none_takes_more_room_than_a_topic_has() {
        let topic = Names::Replace.compose(&[Piece::Text("a."), Piece::Name("BTC/USD é*{".into())]);
        assert_eq!(topic, "a.BTC/USD____");
        for names in [Names::Encode, Names::Replace] {
            let long = names.compose(&[Piece::Text("a."), Piece::Name("é".repeat(1 << 20).into())]);
            assert!((TOPIC_BYTES_MAX + 1..TOPIC_BYTES_MAX * 5).contains(&long.len()));
        }
    }
}
