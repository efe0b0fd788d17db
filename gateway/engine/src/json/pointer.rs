//! Where in a JSON message something stands: RFC 6901 pointers.

use std::fmt;

/// What a pointer begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// What is at hand: the message, or the element of `each`, or the level.
    Here,
    /// `^`: the whole message, from wherever.
    Message,
    /// `@`: what was remembered.
    Remembered,
}

/// An RFC 6901 pointer, perhaps with what it begins at before it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    pub root: Root,
    /// Keys, or indexes of arrays, unescaped.
    pub steps: Vec<String>,
}

impl Pointer {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (root, path) = match text.as_bytes().first() {
            Some(b'^') => (Root::Message, &text[1..]),
            Some(b'@') => (Root::Remembered, &text[1..]),
            _ => (Root::Here, text),
        };
        if path.chars().any(char::is_control) {
            return Err(format!("{text:?} holds a control character; write a JSON pointer like \"/a/b\""));
        }
        let mut parts = path.split('/');
        if parts.next() != Some("") {
            return Err(format!("{text:?} does not begin with /; write \"/{path}\", or \"\" for all of it"));
        }
        let steps = parts.map(unescape).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), root, steps })
    }

    /// It begins at what is at hand.
    pub fn is_plain(&self) -> bool {
        self.root == Root::Here
    }

    /// Without what it begins at.
    pub fn path(&self) -> &str {
        if self.is_plain() { &self.text } else { &self.text[1..] }
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
        for (text, root, steps) in [
            ("", Root::Here, vec![]),
            ("^", Root::Message, vec![]),
            ("/", Root::Here, vec![""]),
            ("/a~1b/m~0n/0", Root::Here, vec!["a/b", "m~n", "0"]),
            ("^/a//~01", Root::Message, vec!["a", "", "~1"]),
            ("@/a", Root::Remembered, vec!["a"]),
        ] {
            let pointer = Pointer::parse(text).unwrap();
            assert_eq!((pointer.root, pointer.steps), (root, steps.into_iter().map(str::to_owned).collect()));
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
