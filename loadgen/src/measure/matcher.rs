//! Which messages of another protocol `--ready` waits for and `--reply` answers.

use serde_json::value::RawValue;

use super::pointer;

/// `MATCH` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// The text stands anywhere in the message.
    Contains(Box<str>),
    /// The text is the message.
    Is(Box<str>),
    /// A JSON pointer (RFC 6901), split, and the value there; `None`: any.
    Json { path: Vec<String>, value: Option<Box<str>> },
}

impl Matcher {
    /// `TEXT`, `is:TEXT`, `json:/pointer` or `json:/pointer=VALUE`.
    pub fn parse(flag: &str, text: &str) -> Result<Self, String> {
        if let Some(text) = text.strip_prefix("is:") {
            return Ok(Self::Is(text.into()));
        }
        let Some(json) = text.strip_prefix("json:") else {
            return match text {
                "" => Err(format!("{flag}: nothing to match; write a text, is:TEXT or json:/pointer=VALUE")),
                _ => Ok(Self::Contains(text.into())),
            };
        };
        let (pointer, value) = json.split_once('=').map_or((json, None), |(at, value)| (at, Some(value)));
        let keys = pointer.strip_prefix('/').ok_or_else(|| {
            format!("{flag} {text}: a JSON pointer begins with /; write for example json:/type=welcome")
        })?;
        let path = keys.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Self::Json { path, value: value.map(Into::into) })
    }

    /// What of `message` matched: the text, or the value at the pointer as it is written, without the quotes
    /// of a string.
    pub fn find<'m>(&'m self, message: &'m [u8]) -> Option<&'m str> {
        match self {
            Self::Contains(text) => {
                message.windows(text.len()).any(|part| part == text.as_bytes()).then_some(text)
            }
            Self::Is(text) => (message == text.as_bytes()).then_some(text),
            Self::Json { path, value } => {
                let found = pointer::value::<&RawValue>(path, message)?.get();
                let bare = found.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(found);
                let is = |value: &str| bare == value || found == value || is_escaped(found, value);
                value.as_deref().is_none_or(is).then_some(bare)
            }
        }
    }
}

/// Whether a JSON string with escapes stands for `value`.
fn is_escaped(json: &str, value: &str) -> bool {
    json.contains('\\') && serde_json::from_str::<String>(json).is_ok_and(|text| text == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'m>(matcher: &'m Matcher, message: &'m str) -> Option<&'m str> {
        matcher.find(message.as_bytes())
    }

    #[test]
    fn a_message_matches_by_its_text_or_by_what_a_pointer_finds() {
        for (text, message, found) in [
            ("PING", "PING\r\n", Some("PING")),
            ("PING", "PIN", None),
            ("is:2", "2", Some("2")),
            ("is:2", "42[]", None),
            ("is:", "", Some("")),
            ("json:/type=ack", r#"{"type":"ack"}"#, Some("ack")),
            ("json:/type=ack", r#"{"type":"next"}"#, None),
            ("json:/type=a/b", r#"{"type":"a\/b"}"#, Some("a\\/b")),
            ("json:/3", r#"["1",null,"room","phx_reply"]"#, Some("phx_reply")),
            ("json:/4/status=ok", r#"[1,2,3,4,{"status":"ok"}]"#, Some("ok")),
            ("json:/a~1b", r#"{"a/b":7}"#, Some("7")),
            ("json:/sid", r#"0{"sid":"x\"y"}"#, Some("x\\\"y")),
            ("json:/ok=true", r#"{"ok":true}"#, Some("true")),
            ("json:/a", "not json", None),
            ("json:/a/b", r#"{"a":1}"#, None),
        ] {
            assert_eq!(find(&Matcher::parse("--ready", text).unwrap(), message), found, "{text} {message}");
        }
    }

    #[test]
    fn what_matches_nothing_or_has_no_pointer_is_refused() {
        assert!(Matcher::parse("--ready", "").unwrap_err().contains("nothing to match"));
        assert!(Matcher::parse("--ready", "json:type=x").unwrap_err().contains("begins with /"));
    }
}
