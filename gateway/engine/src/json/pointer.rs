//! Where in a JSON message something stands: RFC 6901 pointers, and topics made with them.

use std::fmt;

use crate::topic::is_topic_char;

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

/// A topic with pointers in braces: `coinbase.ticker.{/product_id}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// Leads to a string, a number or a boolean, whose text stands in the topic.
    Value(Pointer),
}

impl Template {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HINT: &str = "write a topic like \"venue.ticker.{/symbol}\"";
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, braced) = rest.split_once('{').map_or((rest, None), |(a, b)| (a, Some(b)));
            if let Some(bad) = plain.chars().find(|c| !is_topic_char(*c)) {
                return Err(format!("{bad:?} is not one of A-Z a-z 0-9 . _ - : / @; {HINT}"));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            let Some(braced) = braced else { break };
            let (pointer, after) = braced.split_once('}').ok_or(format!("a }} is missing; {HINT}"))?;
            parts.push(Part::Value(Pointer::parse(pointer)?));
            rest = after;
        }
        let template = Self { text: text.to_owned(), parts };
        // With any value in place of the pointers: what is wrong then is always wrong.
        crate::topic::check_topic(&template.sample()).map_err(|bad| format!("{bad}; {HINT}"))?;
        Ok(template)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Value(pointer) = part { Some(pointer) } else { None })
    }

    /// A topic that it can make.
    pub fn sample(&self) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { text.clone() } else { "x".to_owned() };
        self.parts.iter().map(text).collect()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
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

    #[test]
    fn templates_are_topics_with_pointers() {
        let template = Template::parse("a.{/b/c}x.{^/d}").unwrap();
        let value = |text| Part::Value(Pointer::parse(text).unwrap());
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(template.parts, [text("a."), value("/b/c"), text("x."), value("^/d")]);
        for (bad, reason) in [
            ("", "it is empty"),
            ("a b", "' ' is not one of"),
            ("a..{/b}", "a segment between dots is empty"),
            ("{/b}.", "a segment between dots is empty"),
            ("a.{/b", "a } is missing"),
            ("a.}", "'}' is not one of"),
            ("a.{b}", "does not begin with /"),
        ] {
            let error = Template::parse(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
