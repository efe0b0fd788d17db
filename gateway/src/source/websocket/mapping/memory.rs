//! What a venue told once on a connection: messages by their ids, and prices of levels by theirs.

use std::{borrow::Cow, collections::HashMap};

use serde_json::Value;

use super::fault::Fault;

/// Bytes that a message takes up beside its texts: its id, and each of its values.
const MESSAGE_BYTES: usize = 64;
const VALUE_BYTES: usize = 48;
/// Bytes that a level takes up beside its id and its price.
const LEVEL_BYTES: usize = 96;

/// Ends with its connection.
#[derive(Debug)]
pub struct Memory {
    pub messages: Messages,
    pub levels: Levels,
}

impl Memory {
    /// Of messages as much as of levels.
    pub fn new(bytes_max: usize) -> Self {
        Self { messages: Messages::new(bytes_max), levels: Levels::new(bytes_max) }
    }
}

#[derive(Debug)]
pub struct Messages {
    by_id: HashMap<Box<str>, (Value, usize)>,
    /// That they take up.
    bytes: usize,
    bytes_max: usize,
}

impl Messages {
    pub fn get(&self, id: &str) -> Option<&Value> {
        self.by_id.get(id).map(|(message, _)| message)
    }

    fn new(bytes_max: usize) -> Self {
        Self { by_id: HashMap::new(), bytes: 0, bytes_max }
    }

    /// One with the same id is forgotten.
    pub fn keep(&mut self, id: &str, message: &str) -> Result<(), Fault> {
        let value = serde_json::from_str(message).map_err(|error| Fault::Json(error.to_string()))?;
        let own = MESSAGE_BYTES + id.len() + bytes(&value);
        let before = self.by_id.get(id).map_or(0, |(_, bytes)| *bytes);
        let bytes = self.bytes - before + own;
        if bytes > self.bytes_max {
            return Err(Fault::Full { of: "bytes of messages", max: self.bytes_max });
        }
        self.bytes = bytes;
        self.by_id.insert(id.into(), (value, own));
        Ok(())
    }
}

/// That a value takes up.
fn bytes(value: &Value) -> usize {
    let within = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| VALUE_BYTES + key.len() + bytes(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    VALUE_BYTES + within
}

/// Of a text, a number or a flag.
pub fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Owned(flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Prices of levels, by topic, side and id.
#[derive(Debug)]
pub struct Levels {
    topics: HashMap<Box<str>, HashMap<Box<str>, Side>>,
    /// That they take up.
    bytes: usize,
    bytes_max: usize,
}

type Side = HashMap<Box<str>, Box<str>>;

impl Levels {
    pub fn new(bytes_max: usize) -> Self {
        Self { topics: HashMap::new(), bytes: 0, bytes_max }
    }

    pub fn get(&self, topic: &str, side: &str, id: &str) -> Option<&str> {
        self.topics.get(topic)?.get(side)?.get(id).map(|price| &**price)
    }

    /// Gives the price that the level had before.
    pub fn keep(
        &mut self,
        topic: &str,
        side: &str,
        id: &str,
        price: &str,
    ) -> Result<Option<Box<str>>, Fault> {
        let before = self.get(topic, side, id);
        if before == Some(price) {
            return Ok(None);
        }
        let bytes = self.bytes + level_bytes(id, price) - before.map_or(0, |before| level_bytes(id, before));
        if bytes > self.bytes_max {
            return Err(Fault::Full { of: "bytes of levels", max: self.bytes_max });
        }
        self.bytes = bytes;
        let sides = entry(&mut self.topics, topic);
        Ok(entry(sides, side).insert(id.into(), price.into()))
    }

    pub fn forget(&mut self, topic: &str, side: &str, id: &str) {
        let side = self.topics.get_mut(topic).and_then(|sides| sides.get_mut(side));
        let gone = side.and_then(|levels| levels.remove(id));
        self.bytes -= gone.map_or(0, |price| level_bytes(id, &price));
    }

    /// The whole of the topic comes.
    pub fn reset(&mut self, topic: &str) {
        let sides = self.topics.remove(topic).unwrap_or_default();
        let gone = sides.values().flatten().map(|(id, price)| level_bytes(id, price));
        self.bytes -= gone.sum::<usize>();
    }
}

fn level_bytes(id: &str, price: &str) -> usize {
    LEVEL_BYTES + id.len() + price.len()
}

fn entry<'m, T: Default>(map: &'m mut HashMap<Box<str>, T>, key: &str) -> &'m mut T {
    if !map.contains_key(key) {
        map.insert(key.into(), T::default());
    }
    map.get_mut(key).expect("it was put there")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 10_000;

    #[test]
    fn a_level_is_known_until_it_is_deleted_or_its_book_is_reset() {
        let mut levels = Levels::new(BYTES);
        assert_eq!(levels.keep("t", "b", "1", "10"), Ok(None));
        assert_eq!(levels.keep("t", "a", "1", "11"), Ok(None));
        assert_eq!(levels.keep("u", "b", "1", "12"), Ok(None));
        assert_eq!(levels.keep("t", "b", "1", "10"), Ok(None), "it has not moved");
        assert_eq!(levels.keep("t", "b", "1", "10.5"), Ok(Some("10".into())));
        assert_eq!((levels.get("t", "b", "1"), levels.get("t", "b", "2")), (Some("10.5"), None));
        levels.forget("t", "b", "1");
        levels.forget("t", "b", "1");
        levels.reset("u");
        assert_eq!((levels.get("t", "b", "1"), levels.get("u", "b", "1")), (None, None));
        assert_eq!(levels.bytes, level_bytes("1", "11"));
        levels.reset("t");
        assert_eq!(levels.bytes, 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut messages = Messages::new(BYTES);
        messages.keep("1", "7").unwrap();
        messages.keep("1", "12").unwrap();
        assert_eq!((messages.get("1"), messages.get("2")), (Some(&Value::from(12)), None));
        assert_eq!(messages.bytes, MESSAGE_BYTES + 1 + VALUE_BYTES);
        let error = messages.keep("2", &format!("\"{}\"", "1".repeat(BYTES))).unwrap_err();
        assert!(error.to_string().contains("10000 bytes of messages"), "{error}");
        let kept = (0..BYTES).take_while(|n| messages.keep(&format!("m{n}"), "[1,{}]").is_ok()).count();
        assert!((10..BYTES / VALUE_BYTES).contains(&kept) && messages.bytes <= BYTES, "{kept}");
        assert_eq!(messages.keep("1", "{}"), Ok(()), "one takes the place of another");
        let mut levels = Levels::new(BYTES);
        let kept = (0..BYTES).take_while(|n| levels.keep("t", "b", &n.to_string(), "1").is_ok()).count();
        assert!((10..BYTES / LEVEL_BYTES).contains(&kept), "{kept}");
        let error = levels.keep("t", "b", "one more", "1").unwrap_err();
        assert!(error.to_string().contains("bytes of levels"), "{error}");
    }
}
