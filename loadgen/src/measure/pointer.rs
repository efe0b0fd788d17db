//! A place in a JSON text, found without building anything of it.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The value that keys (or indexes of arrays) lead to; `None` where it is no `T`. The JSON begins at the first
/// brace or bracket of `message`: what other protocols put before it is skipped.
pub fn value<'m, T: Deserialize<'m>>(path: &[String], message: &'m [u8]) -> Option<T> {
    let begin = message.iter().position(|byte| matches!(byte, b'{' | b'['))?;
    let mut json = serde_json::Deserializer::from_slice(&message[begin..]);
    Path(path, PhantomData).deserialize(&mut json).ok()?
}

/// Follows a path into a JSON text and skips all else.
struct Path<'p, T>(&'p [String], PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Path<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => T::deserialize(json).map(Some),
            _ => json.deserialize_any(self),
        }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Path<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match self.0.split_first() {
                Some((wanted, rest)) if *wanted == key => {
                    found = map.next_value_seed(Path(rest, PhantomData))?
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted = self.0.split_first().and_then(|(key, rest)| Some((key.parse::<usize>().ok()?, rest)));
        let mut found = None;
        for index in 0.. {
            let more = match wanted {
                Some((at, rest)) if at == index => {
                    let item = seq.next_element_seed(Path(rest, PhantomData))?;
                    let is_there = item.is_some();
                    found = item.flatten();
                    is_there
                }
                _ => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(found)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
