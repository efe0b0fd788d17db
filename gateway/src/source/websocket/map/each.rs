//! `each`: the parts of a message that an entry applies to, one by one.

use std::borrow::Cow;

use engine::json::{Node, named::is_name, pointer::Pointer};

use super::conditions::Bound;

/// A pointer to an array. A step that is a name in braces goes over the members of an object, or over the elements
/// of an array by their place.
#[derive(Debug, Clone, PartialEq)]
pub struct Each {
    pub pointer: Pointer,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Keys, up to the next name.
    Path(Vec<String>),
    Name(String),
}

/// A part, and what the names on the way to it stand for.
pub type Part<'n, 'e, 'a> = (&'n Node<'a>, Bound<'e, 'a>);

impl Each {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pointer = Pointer::parse(text)?;
        let mut steps = Vec::new();
        for step in &pointer.steps {
            let name = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
            match (name.filter(|name| is_name(name)), steps.last_mut()) {
                (Some(name), _) => steps.push(Step::Name(name.to_owned())),
                (None, Some(Step::Path(path))) => path.push(step.clone()),
                (None, _) => steps.push(Step::Path(vec![step.clone()])),
            }
        }
        Ok(Self { pointer, steps })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| if let Step::Name(name) = step { Some(&**name) } else { None })
    }

    /// Its parts of a message in their order; `None`: it leads nowhere, or not to an array.
    pub fn parts<'n, 'a>(&self, message: &'n Node<'a>) -> Option<Vec<Part<'n, '_, 'a>>> {
        let mut parts: Vec<Part<'n, '_, 'a>> = vec![(message, Bound::new())];
        for step in &self.steps {
            parts = match step {
                Step::Path(path) => follow(parts, path)?,
                Step::Name(name) => over(parts, name)?,
            };
        }
        let is_one = |node: &Node<'_>| self.names().next().is_some() && node.is_one();
        let mut elements = Vec::new();
        for (node, bound) in parts {
            match node.elements() {
                _ if is_one(node) => elements.push((node, bound)),
                Some(several) => elements.extend(several.iter().map(|element| (element, bound.clone()))),
                None => return None,
            }
        }
        Some(elements)
    }
}

/// What is not there, as a side that is left out, is no part.
fn follow<'n, 'e, 'a>(parts: Vec<Part<'n, 'e, 'a>>, path: &[String]) -> Option<Vec<Part<'n, 'e, 'a>>> {
    let several = parts.len() > 1;
    let mut found = Vec::with_capacity(parts.len());
    for (node, bound) in parts {
        match node.find(path) {
            Some(node) => found.push((node, bound)),
            None if several => {}
            None => return None,
        }
    }
    Some(found)
}

fn over<'n, 'e, 'a>(parts: Vec<Part<'n, 'e, 'a>>, name: &'e str) -> Option<Vec<Part<'n, 'e, 'a>>> {
    let mut found = Vec::new();
    for (node, bound) in parts {
        let mut push = |node: &'n Node<'a>, text: Cow<'a, str>| {
            let mut bound = bound.clone();
            bound.push((name, text));
            found.push((node, bound));
        };
        match (node.members(), node.elements()) {
            (Some(members), _) => members.iter().for_each(|(key, node)| push(node, key.clone())),
            (_, Some(elements)) => {
                elements.iter().enumerate().for_each(|(at, node)| push(node, Cow::Owned(at.to_string())));
            }
            _ => return None,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(each: &str, message: &str) -> Option<Vec<String>> {
        let (each, message) = (Each::parse(each).unwrap(), Node::parse(message.as_bytes()).unwrap());
        let shown = |(node, bound): &Part<'_, '_, '_>| {
            let names: String = bound.iter().map(|(name, text)| format!("{name}={text} ")).collect();
            format!("{names}{}", node.text())
        };
        Some(each.parts(&message)?.iter().map(shown).collect())
    }

    #[test]
    fn parts_are_elements_of_an_array_and_members_of_an_object() {
        let shown = |parts: &[&str]| Some(parts.iter().map(|part| part.to_string()).collect::<Vec<_>>());
        assert_eq!(parts("/a", r#"{"a":[1,[2]]}"#), shown(&["1", "[2]"]));
        assert_eq!(parts("", "[1,2]"), shown(&["1", "2"]));
        let books = r#"{"u":{"X":{"b":1},"Y":{"b":2}}}"#;
        assert_eq!(parts("/u/{s}", books), shown(&[r#"s=X {"b":1}"#, r#"s=Y {"b":2}"#]));
        let trades = r#"{"u":{"X":[{"i":1},{"i":2}],"Y":[],"Z":[3,4]}}"#;
        assert_eq!(parts("/u/{s}", trades), shown(&[r#"s=X {"i":1}"#, r#"s=X {"i":2}"#, "s=Z [3,4]"]));
        let deep = r#"{"u":{"X":{"t":[{"i":1}]},"Y":{}}}"#;
        assert_eq!(parts("/u/{s}/t", deep), shown(&[r#"s=X {"i":1}"#]));
        assert_eq!(parts("/u/{s}/{n}", r#"{"u":{"X":[7]}}"#), shown(&["s=X n=0 7"]));
        for nowhere in [r#"{}"#, r#"{"a":{}}"#, r#"{"a":1}"#] {
            assert_eq!(parts("/a", nowhere), None, "{nowhere}");
        }
        assert_eq!(parts("/a/{s}", r#"{"a":1}"#), None);
    }
}
