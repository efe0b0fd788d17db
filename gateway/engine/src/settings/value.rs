//! Values of keys, and the fields that hold them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::unit::Rate;

/// A value as its key's kind has it, in bytes or milliseconds where it has a unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing is written, and there is no default.
    None,
    Whole(u64),
    Number(f64),
    Rate(Rate),
    Flag(bool),
    /// Also an address, or one of a few.
    Text(String),
    Wholes(Vec<u64>),
    Texts(Vec<String>),
}

/// What a field is made of. A value that its type cannot hold is a mistake of the declaration.
pub trait Field: Sized {
    fn from_value(value: Value) -> Self;
    fn to_value(&self) -> Value;
}

/// `Field` of a type by a variant of [`Value`], there and back.
macro_rules! field {
    ($type:ty, $variant:ident, |$value:ident| $from:expr, |$field:ident| $to:expr) => {
        impl Field for $type {
            fn from_value(value: Value) -> Self {
                match value {
                    Value::$variant($value) => $from,
                    other => panic!("{other:?} is no {}", stringify!($type)),
                }
            }

            fn to_value(&self) -> Value {
                let $field = self;
                Value::$variant($to)
            }
        }
    };
}

/// The field of a key that has no default, or one that is found at the start.
macro_rules! optional {
    ($($type:ty),+) => {$(
        impl Field for Option<$type> {
            fn from_value(value: Value) -> Self {
                match value {
                    Value::None => None,
                    value => Some(<$type>::from_value(value)),
                }
            }

            fn to_value(&self) -> Value {
                self.as_ref().map_or(Value::None, <$type>::to_value)
            }
        }
    )+};
}

const RANGE: &str = "the range of its key fits its type";

field!(u64, Whole, |n| n, |n| *n);
field!(usize, Whole, |n| n.try_into().expect(RANGE), |n| *n as u64);
field!(u32, Whole, |n| n.try_into().expect(RANGE), |n| u64::from(*n));
field!(u8, Whole, |n| n.try_into().expect(RANGE), |n| u64::from(*n));
field!(Duration, Whole, |ms| Duration::from_millis(ms), |duration| duration.as_millis() as u64);
field!(f64, Number, |number| number, |number| *number);
field!(Rate, Rate, |rate| rate, |rate| *rate);
field!(bool, Flag, |flag| flag, |flag| *flag);
field!(String, Text, |text| text, |text| text.clone());
field!(PathBuf, Text, |text| text.into(), |path| path.display().to_string());
field!(Vec<String>, Texts, |texts| texts, |texts| texts.clone());
field!(Vec<usize>, Wholes, |list| list.into_iter().map(|n| n as usize).collect(), |list| {
    list.iter().map(|n| *n as u64).collect()
});
field!(Vec<Duration>, Wholes, |list| list.into_iter().map(Duration::from_millis).collect(), |list| {
    list.iter().map(|duration| duration.as_millis() as u64).collect()
});
optional!(u64, usize, Duration, String, Vec<String>, Vec<usize>);

/// `None`: the text is empty.
impl Field for Option<SocketAddr> {
    fn from_value(value: Value) -> Self {
        String::from_value(value).parse().ok()
    }

    fn to_value(&self) -> Value {
        Value::Text(self.map_or(String::new(), |address| address.to_string()))
    }
}
