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

/// A part of a message.
#[derive(Clone)]
pub struct Part<'n, 'e, 'a> {
    pub node: &'n Node<'a>,
    /// What the names on the way to it stand for.
    pub bound: Bound<'e, 'a>,
    /// It is of another type than a part is.
    pub is_odd: bool,
}

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

    /// Its parts of a message in their order; `None`: it leads nowhere, or not to an array. Behind a name each part is
    /// looked at by itself.
    pub fn parts<'n, 'a>(&self, message: &'n Node<'a>) -> Option<Vec<Part<'n, '_, 'a>>> {
        let mut parts = vec![Part { node: message, bound: Bound::new(), is_odd: false }];
        let mut is_named = false;
        for step in &self.steps {
            let mut found = Vec::with_capacity(parts.len());
            for part in parts {
                let leads = match step {
                    _ if part.is_odd => {
                        found.push(part);
                        continue;
                    }
                    Step::Path(path) => follow(&part, path, &mut found),
                    Step::Name(name) => over(&part, name, &mut found),
                };
                match leads {
                    Leads::Somewhere => {}
                    // What is not there, as a side that is left out, is no part.
                    Leads::Nowhere if is_named => {}
                    Leads::Odd if is_named => found.push(Part { is_odd: true, ..part }),
                    Leads::Nowhere | Leads::Odd => return None,
                }
            }
            parts = found;
            is_named |= matches!(step, Step::Name(_));
        }
        let mut elements = Vec::new();
        for part in parts {
            match part.node.elements() {
                _ if part.is_odd || (is_named && part.node.is_one()) => elements.push(part),
                Some(several) => {
                    elements.extend(several.iter().map(|node| Part { node, ..part.clone() }));
                }
                None => return None,
            }
        }
        Some(elements)
    }
}

/// Where a step leads.
enum Leads {
    Somewhere,
    Nowhere,
    /// To what has no such step.
    Odd,
}

fn follow<'n, 'e, 'a>(part: &Part<'n, 'e, 'a>, path: &[String], found: &mut Vec<Part<'n, 'e, 'a>>) -> Leads {
    match part.node.find(path) {
        Some(node) if !node.is_null() => {
            found.push(Part { node, ..part.clone() });
            Leads::Somewhere
        }
        _ => Leads::Nowhere,
    }
}

fn over<'n, 'e, 'a>(part: &Part<'n, 'e, 'a>, name: &'e str, found: &mut Vec<Part<'n, 'e, 'a>>) -> Leads {
    let mut push = |node: &'n Node<'a>, text: Cow<'a, str>| {
        let mut bound = part.bound.clone();
        bound.push((name, text));
        found.push(Part { node, bound, is_odd: false });
    };
    match (part.node.members(), part.node.elements()) {
        (Some(members), _) => members.iter().for_each(|(key, node)| push(node, key.clone())),
        (_, Some(elements)) => {
            elements.iter().enumerate().for_each(|(at, node)| push(node, Cow::Owned(at.to_string())));
        }
        _ => return Leads::Odd,
    }
    Leads::Somewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(each: &str, message: &str) -> Option<Vec<String>> {
        let (each, message) = (Each::parse(each).unwrap(), Node::parse(message.as_bytes()).unwrap());
        let shown = |part: &Part<'_, '_, '_>| {
            let names: String = part.bound.iter().map(|(name, text)| format!("{name}={text} ")).collect();
            format!("{names}{}{}", part.node.text(), if part.is_odd { " odd" } else { "" })
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
        let one_odd = r#"{"u":{"X":[7],"Y":5,"Z":null,"V":[8]}}"#;
        assert_eq!(
            parts("/u/{s}/{n}", one_odd),
            shown(&["s=X n=0 7", "s=Y 5 odd", "s=Z null odd", "s=V n=0 8"])
        );
        let lacks = r#"{"u":{"Y":{},"Z":{"t":null},"V":7}}"#;
        assert_eq!(parts("/u/{s}/t", lacks), shown(&[]), "not there is no part, however many there are");
        for nowhere in [r#"{}"#, r#"{"a":{}}"#, r#"{"a":1}"#] {
            assert_eq!(parts("/a", nowhere), None, "{nowhere}");
        }
        assert_eq!(parts("/a/{s}", r#"{"a":1}"#), None);
    }
}
