//! What `[[topic]]` holds values against that clients and publishers by HTTP give, before they are numbered.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use engine::{
    json::{members::Members, pointer::Pointer},
    sequencer::{Body, Publication},
    topic::{
        changes::{Change, Changes},
        policy::{Mode, Policies},
    },
};

use super::{sanitize, schema::Schema};

/// Of one entry.
#[derive(Debug, PartialEq)]
pub struct Check {
    /// Texts whose HTML is cleaned, first.
    pub sanitize: Vec<Pointer>,
    pub schema: Option<Schema>,
}

/// Of all entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    policies: Policies,
    /// By entry; empty: no entry has one.
    entries: Vec<Option<Arc<Check>>>,
}

impl Checks {
    /// `entries`: as many as the policies have.
    pub fn new(policies: Policies, mut entries: Vec<Option<Arc<Check>>>) -> Self {
        if entries.iter().all(Option::is_none) {
            entries.clear();
        }
        Self { policies, entries }
    }

    /// Of an entry by its place.
    pub fn at(&self, entry: usize) -> Option<&Check> {
        self.entries.get(entry)?.as_deref()
    }

    /// The publication as it is to be numbered: cleaned, if it keeps its topic's schema. The error says what does not,
    /// and where.
    pub fn pass(&self, publication: Publication) -> Result<Publication, String> {
        if self.entries.is_empty() {
            return Ok(publication);
        }
        let entry = self.policies.position(&publication.topic);
        let Some((at, check)) = entry.and_then(|at| Some((at, self.at(at)?))) else { return Ok(publication) };
        let is_keyed = matches!(*self.policies.entries[at].mode, Mode::Keyed(_));
        let body = match &publication.body {
            Body::Changes(changes) => check.changes(changes),
            Body::Data(data) if is_keyed => check.table(data),
            Body::Data(data) => check.data(data),
            Body::Gone | Body::Unread(_) => Ok(None),
        };
        let body = body.map_err(|why| format!("topic {}: {why}", publication.topic))?;
        Ok(match body {
            Some(body) => Publication { body, ..publication },
            None => publication,
        })
    }
}

/// Each gives what takes the place of a body; `None`: it stays.
impl Check {
    fn data(&self, data: &Bytes) -> Result<Option<Body>, String> {
        let cleaned = self.value(text(data)?).map_err(|why| format!("data {why}"))?;
        Ok(taken(cleaned).map(|cleaned| Body::Data(cleaned.into())))
    }

    /// A whole table: each value by itself. What is no table its topic refuses.
    fn table(&self, data: &Bytes) -> Result<Option<Body>, String> {
        let whole = text(data)?;
        let Ok(members) = serde_json::from_str::<Members>(whole) else { return Ok(None) };
        let (mut out, mut from) = (String::new(), 0);
        for (key, value) in members.0 {
            let value = value.get();
            let cleaned = self.value(value).map_err(|why| of_key(&key, &why))?;
            if let Some(cleaned) = taken(cleaned) {
                let at = value.as_ptr().addr() - whole.as_ptr().addr();
                out.push_str(&whole[from..at]);
                out.push_str(&cleaned);
                from = at + value.len();
            }
        }
        if from == 0 {
            return Ok(None);
        }
        out.push_str(&whole[from..]);
        Ok(Some(Body::Data(out.into())))
    }

    fn changes(&self, changes: &Changes) -> Result<Option<Body>, String> {
        if changes.long().is_some() {
            // Refused in its turn.
            return Ok(None);
        }
        let (mut next, mut is_cleaned) = (Changes::new(changes.base), false);
        for Change { key, value } in changes.iter() {
            let value = value.map(text).transpose()?;
            let cleaned = value.map(|value| self.value(value)).transpose();
            let cleaned = cleaned.map_err(|why| {
                let key: String = serde_json::from_slice(key).unwrap_or_default();
                of_key(&key, &why)
            })?;
            is_cleaned |= matches!(cleaned, Some(Cow::Owned(_)));
            next.push(Change { key, value: cleaned.as_deref().map(str::as_bytes) });
        }
        Ok(is_cleaned.then(|| Body::Changes(next.into())))
    }

    /// A value, cleaned.
    fn value<'a>(&self, json: &'a str) -> Result<Cow<'a, str>, String> {
        let cleaned = sanitize::clean(json, &self.sanitize)?;
        self.schema.as_ref().map_or(Ok(()), |schema| schema.check(&cleaned))?;
        Ok(cleaned)
    }
}

fn of_key(key: &str, why: &str) -> String {
    format!("the value of key {key:?} {why}")
}

fn taken(cleaned: Cow<'_, str>) -> Option<String> {
    match cleaned {
        Cow::Owned(cleaned) => Some(cleaned),
        Cow::Borrowed(_) => None,
    }
}

fn text(json: &[u8]) -> Result<&str, String> {
    str::from_utf8(json).map_err(|e| format!("it is not UTF-8: {e}"))
}

#[cfg(test)]
mod tests {
    use engine::topic::{
        changes::Base,
        pattern::Pattern,
        policy::{Keyed, Policy},
    };

    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{"text":{"type":"string","maxLength":9}}}"#;

    fn checks(mode: Mode) -> Checks {
        let check = Check {
            sanitize: vec![Pointer::parse("/text").unwrap()],
            schema: Some(Schema::new("x.json".into(), SCHEMA).unwrap()),
        };
        let entries =
            ["other.*", "t.*"].map(|pattern| Policy::new(Pattern::parse(pattern).unwrap(), mode.clone()));
        Checks::new(Policies::new(entries.into()), vec![None, Some(check.into())])
    }

    fn keyed() -> Mode {
        Mode::Keyed(Keyed { keys: 9, key_tombstones: 9, table_bytes: 999 })
    }

    fn data(topic: &str, json: &str) -> Publication {
        Publication::new(topic, Body::Data(json.to_owned().into()), 0)
    }

    fn passed(checks: &Checks, publication: Publication) -> String {
        match checks.pass(publication).unwrap().body {
            Body::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
            body => format!("{body:?}"),
        }
    }

    #[test]
    fn a_text_is_cleaned_before_the_schema_is_looked_at() {
        let checks = checks(Mode::Latest);
        let long = r#"{"text":"<script>alert(1)</script>short", "n":1}"#;
        assert_eq!(passed(&checks, data("t.a", long)), r#"{"text":"short", "n":1}"#);
        let why = checks.pass(data("t.a", r#"{"text":"much too long"}"#)).unwrap_err();
        assert!(why.starts_with("topic t.a: data at /text: "), "{why}");
        assert_eq!(passed(&checks, data("other.a", "7")), "7");
        assert_eq!(passed(&checks, data("elsewhere", "7")), "7");
    }

    #[test]
    fn of_a_table_each_value_is_held_against_it_however_it_comes() {
        let checks = checks(keyed());
        let whole = r#"{ "a": {"text":"<x>1"}, "b": {"text":"2"} }"#;
        assert_eq!(passed(&checks, data("t.a", whole)), r#"{ "a": {"text":"1"}, "b": {"text":"2"} }"#);
        let why = checks.pass(data("t.a", r#"{"a":{},"b":7}"#)).unwrap_err();
        assert!(why.starts_with("topic t.a: the value of key \"b\" at its root: "), "{why}");
        let mut changes = Changes::new(Base::Empty);
        changes.set("a", br#"{"text":"<x>1"}"#).unwrap();
        changes.del("b").unwrap();
        let publication = Publication::new("t.a", Body::Changes(changes.clone().into()), 0);
        let Body::Changes(cleaned) = checks.pass(publication.clone()).unwrap().body else { panic!() };
        let mut expected = Changes::new(Base::Empty);
        expected.set("a", br#"{"text":"1"}"#).unwrap();
        expected.del("b").unwrap();
        assert_eq!(*cleaned, expected);
        changes.set("c", br#"{"text":1}"#).unwrap();
        let why =
            checks.pass(Publication { body: Body::Changes(changes.into()), ..publication }).unwrap_err();
        assert!(why.starts_with("topic t.a: the value of key \"c\" at /text: "), "{why}");
    }
}
