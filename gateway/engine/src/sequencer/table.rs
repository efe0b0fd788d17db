//! A keyed topic's table as the control plane holds it: to find what differs, to keep bounds, to answer GET.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::publication::{Body, Publication, Why};
use crate::{
    json::members::Members,
    topic::{
        changes::{Base, Change, Changes},
        policy::Keyed,
        price::spellings,
        table::Table,
    },
};

/// What a publication of a keyed topic changes; checked for its form, not yet for the topic's bounds.
pub fn changes_of(publication: &Publication) -> Result<Arc<Changes>, Why> {
    match &publication.body {
        Body::Changes(changes) => match changes.long() {
            Some(long) => Err(Why::LongKey { topic: publication.topic.clone(), long: long.clone() }),
            None => Ok(changes.clone()),
        },
        Body::Gone => Ok(Arc::new(Changes::new(Base::Empty))),
        Body::Unread(why) => Err(Why::Unread { topic: publication.topic.clone(), why: why.clone() }),
        Body::Data(data) => {
            let topic = || publication.topic.clone();
            let members: Members = serde_json::from_slice(data)
                .map_err(|e| Why::NotAnObject { topic: topic(), error: e.to_string() })?;
            let mut changes = Changes::new(Base::Whole);
            for (key, value) in members.0 {
                changes
                    .set(&key, value.get().as_bytes())
                    .map_err(|long| Why::LongKey { topic: topic(), long })?;
            }
            Ok(Arc::new(changes))
        }
    }
}

/// What a table would be after publications of a group that are not applied yet.
#[derive(Debug, Default)]
pub struct Preview {
    /// The table as it is does not count any more.
    emptied: bool,
    /// Of keys touched: the length of the value that they would have.
    values: HashMap<Box<[u8]>, Option<usize>>,
    pub len: usize,
    pub bytes: usize,
}

impl Preview {
    pub fn of(table: Option<&Table>) -> Self {
        let (len, bytes) = table.map_or((0, 0), |table| (table.len(), table.bytes()));
        Self { len, bytes, ..Self::default() }
    }

    /// Enters a publication's changes and holds the result against the topic's bounds, which what makes a table
    /// smaller always keeps.
    pub fn enter(
        &mut self,
        table: Option<&Table>,
        changes: &Changes,
        topic: &Arc<str>,
        bounds: &Keyed,
    ) -> Result<(), Why> {
        let (len_before, bytes_before) = (self.len, self.bytes);
        if changes.base != Base::Held {
            *self = Self { emptied: true, ..Self::default() };
        }
        for Change { key, value } in changes.iter() {
            let was = self.values.get(key).copied().unwrap_or_else(|| self.held(table, key));
            let is = value.map(<[u8]>::len);
            self.len = self.len + usize::from(is.is_some()) - usize::from(was.is_some());
            let member = |value: Option<usize>| value.map_or(0, |value| key.len() + 1 + value);
            self.bytes = self.bytes + member(is) - member(was);
            self.values.insert(key.into(), is);
        }
        if self.len > bounds.keys.max(len_before) {
            return Err(Why::TooManyKeys { topic: topic.clone(), keys: self.len, max: bounds.keys });
        }
        if self.bytes > bounds.table_bytes.max(bytes_before) {
            let max = bounds.table_bytes;
            return Err(Why::TableTooLong { topic: topic.clone(), bytes: self.bytes, max });
        }
        Ok(())
    }

    /// The length of a key's value as it is.
    fn held(&self, table: Option<&Table>, key: &[u8]) -> Option<usize> {
        table.filter(|_| !self.emptied)?.get(key).map(<[u8]>::len)
    }
}

/// Changes as they are once what is beyond their depth has gone.
#[derive(Debug)]
pub struct Cut {
    /// What they would set there is left out, what the table has there is deleted.
    pub changes: Arc<Changes>,
    /// Of those that are left, without what is deleted for the depth.
    pub bytes: usize,
}

/// `None`: nothing is beyond their depth.
pub fn cut(table: Option<&Table>, changes: &Changes) -> Option<Cut> {
    let depth = changes.depth.as_ref()?;
    let table = table.filter(|_| changes.base == Base::Held);
    let is_held = |key: &[u8]| table.is_some_and(|table| table.get(key).is_some());
    // Of a key given twice the last value counts.
    let last: HashMap<&[u8], bool> = changes.iter().map(|c| (c.key, c.value.is_some())).collect();
    let fresh: Vec<&[u8]> =
        last.iter().filter(|(key, is_set)| **is_set && !is_held(key)).map(|(key, _)| *key).collect();
    let deleted: HashSet<&[u8]> = last.iter().filter(|(_, is_set)| !**is_set).map(|(key, _)| *key).collect();
    let held = || table.into_iter().flat_map(Table::keys).filter(|key| !deleted.contains(key));
    let beyond: HashSet<&[u8]> = depth.beyond(|| held().chain(fresh.iter().copied())).into_iter().collect();
    if beyond.is_empty() {
        return None;
    }
    let mut left = Changes::new(changes.base);
    left.has_prices = changes.has_prices;
    changes.iter().filter(|change| !beyond.contains(change.key)).for_each(|change| left.push(change));
    let bytes = left.bytes();
    beyond.iter().filter(|key| is_held(key)).for_each(|key| left.push(Change { key, value: None }));
    Some(Cut { changes: left.into(), bytes })
}

/// Applies changes and gives those that the shards have to make: of a whole table what differs, and no
/// deletion of what was not there.
pub fn apply(table: &mut Table, changes: &Arc<Changes>) -> Arc<Changes> {
    let needed = match changes.base {
        Base::Whole => Arc::new(differences(table, changes)),
        Base::Held if changes.iter().any(|c| c.value.is_none() && table.get(c.key).is_none()) => {
            Arc::new(without_absent(table, changes))
        }
        Base::Empty | Base::Held => changes.clone(),
    };
    if needed.base == Base::Empty {
        table.clear();
        table.reserve(needed.len(), needed.bytes());
    }
    for Change { key, value } in needed.iter() {
        match value {
            Some(value) => table.set(key, value, 0),
            None => drop(table.del(key, 0)),
        }
    }
    table.trim(0, 0);
    needed
}

/// No deletion of what is not there, however its price is written.
fn without_absent(table: &Table, changes: &Changes) -> Changes {
    let mut needed = Changes::new(Base::Held);
    for change in changes.iter() {
        if change.value.is_some() || table.get(change.key).is_some() {
            needed.push(change);
        } else if changes.has_prices
            && let Some(key) = spellings(change.key).iter().find(|key| table.get(key).is_some())
        {
            needed.push(Change { key, value: None });
        }
    }
    needed
}

fn differences(table: &Table, whole: &Changes) -> Changes {
    let mut needed = Changes::new(Base::Held);
    // Of a key given twice the last value counts, as in any JSON object.
    let new: HashMap<&[u8], Option<&[u8]>> = whole.iter().map(|change| (change.key, change.value)).collect();
    for key in table.keys().filter(|key| !new.contains_key(key)) {
        needed.push(Change { key, value: None });
    }
    for change in whole.iter() {
        if new[change.key] == change.value && table.get(change.key) != change.value {
            needed.push(change);
        }
    }
    needed
}

/// The table as a JSON object.
pub fn object(table: &Table) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (i, member) in table.members().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::depth::{Best, Depth};

    fn publication(body: Body) -> Publication {
        Publication::new("t", body, 0)
    }

    fn whole(json: &str) -> Arc<Changes> {
        changes_of(&publication(Body::Data(json.to_owned().into()))).unwrap()
    }

    fn shown(changes: &Changes) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut shown: Vec<String> =
            changes.iter().map(|c| format!("{}={}", text(c.key), c.value.map_or("-".into(), text))).collect();
        shown.sort();
        shown
    }

    #[test]
    fn of_a_whole_object_only_what_differs_counts_as_changed() {
        let mut table = Table::default();
        apply(&mut table, &whole(r#"{"a":1,"b":[1, 2],"c":3}"#));
        let needed = apply(&mut table, &whole(r#"{"a":1.0,"b":[1, 2],"\u0064":4,"d":5}"#));
        assert_eq!(
            (needed.base, shown(&needed)),
            (Base::Held, vec![r#""a"=1.0"#.into(), r#""c"=-"#.into(), r#""d"=5"#.into()])
        );
        let value: serde_json::Value = serde_json::from_slice(&object(&table)).unwrap();
        assert_eq!(value, serde_json::json!({"a": 1.0, "b": [1, 2], "d": 5}));
        assert!(apply(&mut table, &whole(r#"{"d":5,"b":[1, 2],"a":1.0}"#)).is_empty());
    }

    #[test]
    fn a_deletion_of_what_is_not_there_changes_nothing() {
        let mut table = Table::default();
        apply(&mut table, &whole(r#"{"a":1}"#));
        let mut changes = Changes::new(Base::Held);
        changes.del("x").unwrap();
        changes.set("b", b"2").unwrap();
        assert_eq!(shown(&apply(&mut table, &Arc::new(changes))), [r#""b"=2"#]);
    }

    #[test]
    fn beyond_the_depth_nothing_stays_and_the_shards_are_told_no_more_than_they_need() {
        let depth = Depth::new(2, [("b", Best::Highest), ("a", Best::Lowest)].into_iter());
        let depth = Arc::new(depth);
        let changes = |base, keys: &[(&str, Option<&str>)]| {
            let mut changes = Changes::new(base);
            changes.depth = Some(depth.clone());
            for (key, value) in keys {
                match value {
                    Some(value) => changes.set(key, value.as_bytes()).unwrap(),
                    None => changes.del(key).unwrap(),
                }
            }
            Arc::new(changes)
        };
        let mut table = Table::default();
        let apply = |table: &mut Table, changes: &Arc<Changes>| {
            let cut = cut(Some(table), changes);
            apply(table, cut.as_ref().map_or(changes, |cut| &cut.changes))
        };
        let whole =
            [("b9", Some("1")), ("b10", Some("1")), ("b8", Some("1")), ("a11", Some("1")), ("x", Some("1"))];
        let needed = apply(&mut table, &changes(Base::Empty, &whole));
        assert_eq!(
            (needed.base, shown(&needed)),
            (Base::Empty, ["\"a11\"=1", "\"b10\"=1", "\"b9\"=1", "\"x\"=1"].map(String::from).to_vec())
        );
        let better = apply(&mut table, &changes(Base::Held, &[("b10.5", Some("2")), ("a12", Some("2"))]));
        assert_eq!(shown(&better), ["\"a12\"=2", "\"b10.5\"=2", "\"b9\"=-"]);
        let worse = apply(&mut table, &changes(Base::Held, &[("b1", Some("2")), ("b10", Some("3"))]));
        assert_eq!(shown(&worse), ["\"b10\"=3"], "a level that falls out at once is never told");
        let freed = apply(&mut table, &changes(Base::Held, &[("b10.5", None), ("b1", Some("2"))]));
        assert_eq!(shown(&freed), ["\"b1\"=2", "\"b10.5\"=-"]);
        let value: serde_json::Value = serde_json::from_slice(&object(&table)).unwrap();
        assert_eq!(value, serde_json::json!({"x": 1, "a11": 1, "a12": 2, "b10": 3, "b1": 2}));
    }

    #[test]
    fn a_preview_counts_what_a_group_would_leave() {
        let mut table = Table::default();
        apply(&mut table, &whole(r#"{"a":1,"b":2}"#));
        let bounds = Keyed { keys: 3, key_tombstones: 0, table_bytes: 1000 };
        let mut preview = Preview::of(Some(&table));
        let mut enter = |json: &str| {
            let line = format!(r#"{{"topic":"t",{json}}}"#);
            let super::super::publication_json::Value::Changes(changes) =
                super::super::publication_json::PublicationJson::parse(line.as_bytes()).unwrap().value
            else {
                panic!("{json}")
            };
            preview.enter(Some(&table), &changes, &"t".into(), &bounds)
        };
        assert_eq!(enter(r#""set":{"a":0,"c":1}"#), Ok(()));
        assert_eq!(enter(r#""set":{"d":1},"del":["a"]"#), Ok(()));
        let why = enter(r#""set":{"a":1}"#).unwrap_err().to_string();
        assert_eq!(why, "topic t would have 4 keys, [[topic]] keys is 3: delete some or raise that");
        assert_eq!(enter(r#""reset":true,"set":{"x":1,"y":1,"z":1}"#), Ok(()));
        assert!(enter(r#""set":{"a":1}"#).is_err(), "what was there before the reset does not count");
    }
}
