//! Where in a JSON message something stands: RFC 6901 pointers.

use std::fmt;

/// An RFC 6901 pointer. `^` before it: it begins at the whole message, also within `each`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    /// It begins at the message, not at the element of `each`.
    pub whole: bool,
    /// Keys, or indexes of arrays, unescaped.
    pub steps: Vec<String>,
}

impl Pointer {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (whole, path) = match text.strip_prefix('^') {
            Some(path) => (true, path),
            None => (false, text),
        };
        if path.chars().any(char::is_control) {
            return Err(format!("{text:?} holds a control character; write a JSON pointer like \"/a/b\""));
        }
        let mut parts = path.split('/');
        if parts.next() != Some("") {
            return Err(format!("{text:?} does not begin with /; write \"/{path}\", or \"\" for all of it"));
        }
        let steps = parts.map(unescape).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), whole, steps })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// `~1` is a slash, `~0` a tilde.
fn unescape(step: &str) -> Result<String, String> {
    let mut parts = step.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(format!("~ in {step:?}: write ~0 for a tilde, ~1 for a slash within a key")),
        };
        plain.push(escaped);
        plain.push_str(rest);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use crate::json::pointer::*;

    #[test]
    fn pointers_follow_rfc_6901() {
        for (text, whole, steps) in [
            ("", false, vec![]),
            ("^", true, vec![]),
            ("/", false, vec![""]),
            ("/a~1b/m~0n/0", false, vec!["a/b", "m~n", "0"]),
            ("^/a//~01", true, vec!["a", "", "~1"]),
        ] {
            let pointer = Pointer::parse(text).unwrap();
            assert_eq!(
                (pointer.whole, pointer.steps),
                (whole, steps.into_iter().map(str::to_owned).collect())
            );
        }
        for (bad, reason) in [
            ("a", "\"a\" does not begin with /; write \"/a\", or \"\" for all of it"),
            ("^a/b", "write \"/a/b\""),
            ("/a~", "write ~0 for a tilde"),
            ("/a~2", "write ~0 for a tilde"),
            ("/a\n", "a control character"),
        ] {
            let error = Pointer::parse(bad).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
