//! Keys of objects anywhere in a value, however they are written.

use std::borrow::Cow;

/// The first key in `json`, which is valid, that is one of `names`.
pub fn find_key<'a>(json: &[u8], names: &'a [String]) -> Option<&'a str> {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        let (text, after) = text(&rest[at..]);
        rest = after;
        if rest.trim_ascii_start().first() == Some(&b':')
            && let Some(name) = is_one_of(text, names)
        {
            return Some(name);
        }
    }
    None
}

/// Which of `names` a JSON text is.
pub fn is_one_of<'a>(text: &[u8], names: &'a [String]) -> Option<&'a str> {
    names.iter().find(|name| says(text, name)).map(String::as_str)
}

/// A text with its quotes, which `json` begins with, and what is behind it.
fn text(json: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 1;
    while json.get(end).is_some_and(|byte| *byte != b'"') {
        end += 1 + usize::from(json[end] == b'\\');
    }
    json.split_at(json.len().min(end + 1))
}

/// Whether a text with its quotes is `name`.
fn says(text: &[u8], name: &str) -> bool {
    if text.contains(&b'\\') {
        return serde_json::from_slice::<Cow<'_, str>>(text).is_ok_and(|said| said == name);
    }
    text.len() == name.len() + 2 && &text[1..=name.len()] == name.as_bytes()
}

#[cfg(test)]
mod tests {
    use crate::json::keys::*;

    #[test]
    fn keys_are_found_at_any_depth_and_however_they_are_written_and_values_are_none() {
        let names = ["__proto__".to_owned(), "constructor".to_owned()];
        for yes in [
            r#"{"__proto__":1}"#,
            r#"[{"a":{"constructor" : null}}]"#,
            r#"{"a":"\"","__proto__":{}}"#,
            r#"{"\u005f_proto__":1}"#,
            r#"{"__proto\u005f\u005f":1}"#,
            "{\"constructor\"\n\t:1}",
        ] {
            assert!(find_key(yes.as_bytes(), &names).is_some(), "{yes}");
        }
        for no in [
            r#""__proto__""#,
            r#"{"a":"__proto__"}"#,
            r#"["constructor",":"]"#,
            r#"{"__proto__x":1,"x__proto__":2,"__proto":3}"#,
            r#"{"a":"\"__proto__\":1"}"#,
            r#"{"a\\":"__proto__"}"#,
            "7",
            "",
        ] {
            assert_eq!(find_key(no.as_bytes(), &names), None, "{no}");
        }
    }
}
