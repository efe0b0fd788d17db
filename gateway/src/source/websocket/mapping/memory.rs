//! What a venue told once on a connection: messages by their ids, and prices of levels by theirs.

use std::{borrow::Cow, collections::HashMap};

use serde_json::Value;

use super::fault::Fault;

/// Messages that a connection remembers, and bytes of them together.
const MESSAGES_MAX: usize = 10_000;
const MESSAGES_BYTES_MAX: usize = 16 << 20;
/// Levels that a connection remembers.
const LEVELS_MAX: usize = 1_000_000;

/// Ends with its connection.
#[derive(Debug, Default)]
pub struct Memory {
    pub messages: Messages,
    pub levels: Levels,
}

#[derive(Debug, Default)]
pub struct Messages {
    by_id: HashMap<Box<str>, (Value, usize)>,
    /// Of all of them as they came.
    bytes: usize,
}

impl Messages {
    pub fn get(&self, id: &str) -> Option<&Value> {
        self.by_id.get(id).map(|(message, _)| message)
    }

    /// One with the same id is forgotten.
    pub fn keep(&mut self, id: &str, message: &str) -> Result<(), Fault> {
        let before = self.by_id.get(id).map(|(_, bytes)| *bytes);
        let bytes = self.bytes - before.unwrap_or(0) + message.len();
        if before.is_none() && self.by_id.len() >= MESSAGES_MAX {
            return Err(Fault::Full { of: "messages", max: MESSAGES_MAX });
        }
        if bytes > MESSAGES_BYTES_MAX {
            return Err(Fault::Full { of: "bytes of messages", max: MESSAGES_BYTES_MAX });
        }
        let value = serde_json::from_str(message).map_err(|error| Fault::Json(error.to_string()))?;
        self.bytes = bytes;
        self.by_id.insert(id.into(), (value, message.len()));
        Ok(())
    }
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
#[derive(Debug, Default)]
pub struct Levels {
    topics: HashMap<Box<str>, HashMap<Box<str>, Side>>,
    len: usize,
}

type Side = HashMap<Box<str>, Box<str>>;

impl Levels {
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
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), HashMap::new());
        }
        let sides = self.topics.get_mut(topic).expect("it was put there");
        if !sides.contains_key(side) {
            sides.insert(side.into(), Side::new());
        }
        let levels = sides.get_mut(side).expect("it was put there");
        if let Some(held) = levels.get_mut(id) {
            return Ok((**held != *price).then(|| std::mem::replace(held, price.into())));
        }
        if self.len >= LEVELS_MAX {
            return Err(Fault::Full { of: "levels", max: LEVELS_MAX });
        }
        self.len += 1;
        levels.insert(id.into(), price.into());
        Ok(None)
    }

    pub fn forget(&mut self, topic: &str, side: &str, id: &str) {
        let side = self.topics.get_mut(topic).and_then(|sides| sides.get_mut(side));
        self.len -= usize::from(side.is_some_and(|levels| levels.remove(id).is_some()));
    }

    /// The whole of the topic comes.
    pub fn reset(&mut self, topic: &str) {
        let levels =
            self.topics.get_mut(topic).map_or(0, |sides| sides.drain().map(|(_, side)| side.len()).sum());
        self.len -= levels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_known_until_it_is_deleted_or_its_book_is_reset() {
        let mut levels = Levels::default();
        assert_eq!(levels.keep("t", "b", "1", "10"), Ok(None));
        assert_eq!(levels.keep("t", "a", "1", "11"), Ok(None));
        assert_eq!(levels.keep("u", "b", "1", "12"), Ok(None));
        assert_eq!(levels.keep("t", "b", "1", "10"), Ok(None), "it has not moved");
        assert_eq!(levels.keep("t", "b", "1", "10.5"), Ok(Some("10".into())));
        assert_eq!(
            (levels.get("t", "b", "1"), levels.get("t", "b", "2"), levels.len),
            (Some("10.5"), None, 3)
        );
        levels.forget("t", "b", "1");
        levels.forget("t", "b", "1");
        levels.reset("u");
        assert_eq!((levels.get("t", "b", "1"), levels.get("u", "b", "1"), levels.len), (None, None, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut messages = Messages::default();
        messages.keep("1", "7").unwrap();
        messages.keep("1", "12").unwrap();
        assert_eq!((messages.get("1"), messages.get("2"), messages.bytes), (Some(&Value::from(12)), None, 2));
        let error = messages.keep("2", &"1".repeat(MESSAGES_BYTES_MAX)).unwrap_err();
        assert!(error.to_string().contains("16777216 bytes of messages"), "{error}");
        (0..MESSAGES_MAX - 1).for_each(|n| messages.keep(&format!("m{n}"), "1").unwrap());
        assert!(messages.keep("one more", "1").is_err());
        assert_eq!(messages.keep("1", "{}"), Ok(()), "one takes the place of another");
    }
}
