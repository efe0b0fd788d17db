//! Of an update only its `data`, as clients get it that know no envelope. A JSON text is sent as the text that it
//! stands for, everything else byte for byte.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

const DATA: &[u8] = br#""data":"#;

/// The value of an update; `None`: it has none, as it is of a table, or tells that the topic is gone. `update`: from
/// any of its members before `data` on.
pub fn data_of(update: &[u8]) -> Option<&[u8]> {
    // Before it stand numbers and texts without escapes.
    let head_bytes = update.iter().skip(1).position(|byte| *byte == b'{').map_or(update.len(), |at| at + 1);
    let at = update[..head_bytes].windows(DATA.len()).position(|window| window == DATA)?;
    update[at + DATA.len()..].strip_suffix(b"}")
}

/// What is sent of a value. A surrogate that stands alone, of which there is no UTF-8, becomes U+FFFD.
pub fn text_of(data: &[u8]) -> Cow<'_, [u8]> {
    if data.first() != Some(&b'"') {
        return Cow::Borrowed(data);
    }
    let text = serde_json::Deserializer::from_slice(data).deserialize_bytes(Text);
    Cow::Owned(text.expect("updates were checked to be JSON").into_bytes())
}

struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sent_as_what_it_stands_for_and_all_else_byte_for_byte() {
        for (data, sent) in [
            (r#"{"bid": 1.0841}"#, r#"{"bid": 1.0841}"#),
            (r#""hello""#, "hello"),
            (r#""a \"b\" \u00e5\n\ud83d\ude00""#, "a \"b\" å\n😀"),
            (r#""""#, ""),
            ("1.50", "1.50"),
            ("null", "null"),
            (r#"["a"]"#, r#"["a"]"#),
        ] {
            assert_eq!(text_of(data.as_bytes()), sent.as_bytes(), "{data}");
        }
        let alone = text_of(br#""x\ud800y""#);
        let alone = std::str::from_utf8(&alone).unwrap();
        assert!(alone.starts_with("x\u{fffd}") && alone.ends_with("\u{fffd}y"), "{alone}");
    }

    #[test]
    fn only_data_is_data() {
        for (update, data) in [
            (r#"{"topic":"a.data","v":1,"ts":5,"data":{"data":2}}"#, Some(r#"{"data":2}"#)),
            (r#"{"topic":"a","v":1,"ts":5,"by":"bob","data":"x\"data\":1"}"#, Some(r#""x\"data\":1""#)),
            (r#""topic":"a","v":9,"ts":5,"data":[{}]}"#, Some("[{}]")),
            (r#"{"topic":"a","v":1,"ts":5,"gone":true}"#, None),
            (r#"{"topic":"a","v":1,"ts":5,"reset":true,"set":{"data":1}}"#, None),
        ] {
            assert_eq!(data_of(update.as_bytes()), data.map(str::as_bytes), "{update}");
        }
    }
}
