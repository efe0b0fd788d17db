//! Topics made of what stands in a JSON message.

use std::fmt;

use super::name::{check_topic, is_topic_char};
use crate::json::{named::is_name, pointer::Pointer};

/// A topic with pointers and names in braces: `coinbase.ticker.{/product_id}`, `huobi.book.{symbol}`.
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
    /// What the text of `when` or the step of `each` had there that has this name.
    Name(String),
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
            parts.push(match is_name(pointer) {
                true => Part::Name(pointer.to_owned()),
                false => Part::Value(Pointer::parse(pointer)?),
            });
            rest = after;
        }
        let template = Self { text: text.to_owned(), parts };
        // With any value in place of the pointers: what is wrong then is always wrong.
        check_topic(&template.sample()).map_err(|bad| format!("{bad}; {HINT}"))?;
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

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Name(name) = part { Some(&**name) } else { None })
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
    use super::*;

    #[test]
    fn templates_are_topics_with_pointers() {
        let template = Template::parse("a.{/b/c}x.{^/d}").unwrap();
        let value = |text| Part::Value(Pointer::parse(text).unwrap());
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(template.parts, [text("a."), value("/b/c"), text("x."), value("^/d")]);
        let named = Template::parse("a.{symbol}").unwrap();
        assert_eq!(named.parts, [text("a."), Part::Name("symbol".to_owned())]);
        for (bad, reason) in [
            ("", "it is empty"),
            ("a b", "' ' is not one of"),
            ("a..{/b}", "a segment between dots is empty"),
            ("{/b}.", "a segment between dots is empty"),
            ("a.{/b", "a } is missing"),
            ("a.}", "'}' is not one of"),
            ("a.{b c}", "does not begin with /"),
        ] {
            let error = Template::parse(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
