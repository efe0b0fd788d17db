//! Texts with names in braces, each of which stands for one character or more: `market.{symbol}.depth`.

use std::ops::Range;

/// A text in which names stand for what a venue puts there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedText {
    text: String,
    /// Before the first name.
    head: String,
    /// Each name, with what follows it up to the next one.
    names: Vec<(String, String)>,
}

/// Whether it may stand in braces as a name: letters, digits and `_`, a letter first.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl NamedText {
    /// `None`: no name stands in it. The error says what to write instead.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let (mut head, mut names): (String, Vec<(String, String)>) = (String::new(), Vec::new());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find('}').filter(|_| rest.starts_with('{'));
            let name = end.map(|end| &rest[1..end]).filter(|name| is_name(name));
            match (name, names.last_mut()) {
                (Some(name), Some((before, after))) if after.is_empty() => {
                    return Err(format!(
                        "{text:?}: where {before} ends and {name} begins cannot be told; write what stands between"
                    ));
                }
                (Some(name), _) => {
                    names.push((name.to_owned(), String::new()));
                    rest = &rest[name.len() + 2..];
                }
                (None, last) => {
                    let bytes = rest.chars().next().map_or(0, char::len_utf8);
                    last.map_or(&mut head, |(_, after)| after).push_str(&rest[..bytes]);
                    rest = &rest[bytes..];
                }
            }
        }
        Ok((!names.is_empty()).then(|| Self { text: text.to_owned(), head, names }))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name)
    }

    /// Where in `text` stands what each name stands for, in their order; `None`: it is another text. Each is as short
    /// as it can be.
    pub fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let mut at = text.starts_with(&self.head).then_some(self.head.len())?;
        let mut found = Vec::with_capacity(self.names.len());
        for (i, (_, after)) in self.names.iter().enumerate() {
            let first = text[at..].chars().next()?.len_utf8();
            let end = if i + 1 == self.names.len() {
                let end = text.len().checked_sub(after.len()).filter(|end| *end >= at + first)?;
                text.ends_with(after).then_some(end)?
            } else {
                at + first + text[at + first..].find(after)?
            };
            found.push(at..end);
            at = end + after.len();
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> NamedText {
        NamedText::parse(text).unwrap().unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn each_name_stands_for_one_character_or_more() {
        let found = |form: &str, text: &'static str| {
            named(form)
                .find(text)
                .map(|found| found.into_iter().map(|range| &text[range]).collect::<Vec<_>>())
        };
        assert_eq!(
            found("market.{s}.depth.{d}", "market.btcusdt.depth.step0"),
            Some(vec!["btcusdt", "step0"])
        );
        assert_eq!(found("market.{s}.depth.{d}", "market.a.b.depth.c.d"), Some(vec!["a.b", "c.d"]));
        assert_eq!(found("{s}", "币"), Some(vec!["币"]));
        assert_eq!(found("a{s}a", "aaaa"), Some(vec!["aa"]));
        assert_eq!(found("{a}-{b}-x", "1--2-x"), Some(vec!["1", "-2"]));
        for other in
            ["market..depth.step0", "market.btc.depth.", "market.btc.trade.x", "", "xmarket.a.depth.b"]
        {
            assert_eq!(found("market.{s}.depth.{d}", other), None, "{other}");
        }
        assert_eq!(found("a{s}a", "aa"), None);
    }

    #[test]
    fn braces_without_a_name_are_text_and_names_do_not_touch() {
        for plain in ["", "a", "{", "{}", "{/a}", "{a b}", "{\"op\":1}", "{1}"] {
            assert_eq!(NamedText::parse(plain), Ok(None), "{plain}");
        }
        assert!(named("{{a}}").find("{xy}").is_some_and(|found| found[0] == (1..3)));
        let error = NamedText::parse("x{a}{b}").unwrap_err();
        assert!(error.contains("where a ends and b begins"), "{error}");
    }
}
