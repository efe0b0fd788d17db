//! A key of the configuration: what may be written, what holds where nothing is, and what it decides.
//!
//! [`keys!`](crate::keys) declares the keys of a section, each once: as a field, and as a [`Key`] that
//! whoever reads, prints or explains a configuration shares. How a value looks in a file is not known here.

use std::{
    fmt::{self, Debug, Formatter},
    ops::RangeInclusive,
};

use super::Value;
use crate::unit::Rate;

#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// Lines of plain sentences.
    pub doc: &'static [&'static str],
    /// As a file has it, of a key whose default is none or is found at the start.
    pub example: Option<&'static str>,
    /// What it says holds again while the gateway runs; else a change needs a restart.
    pub is_reloaded: bool,
    /// Its value, a text, is printed nowhere: not by `Debug` of its section, not in errors, not where a configuration
    /// is written.
    pub is_secret: bool,
}

/// Keys that are declared together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub section: &'static str,
    /// Lines of plain sentences.
    pub doc: &'static [&'static str],
    pub keys: &'static [Key],
}

impl Group {
    pub const fn of<T: Keys>() -> Self {
        Self { section: T::SECTION, doc: T::DOC, keys: T::KEYS }
    }
}

/// What may be written, with the default. A default of `None` is none, or is found at the start.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A whole number.
    Count {
        default: Option<u64>,
        range: RangeInclusive<u64>,
    },
    /// Of bytes, with a unit.
    Size {
        default: Option<u64>,
        range: RangeInclusive<u64>,
    },
    /// Of milliseconds, with a unit.
    Duration {
        default: Option<u64>,
        range: RangeInclusive<u64>,
    },
    Number {
        default: f64,
        range: RangeInclusive<f64>,
    },
    /// So many in so long.
    Rate {
        default: Rate,
    },
    Flag {
        default: bool,
    },
    /// `instead`: what to write where it is no text.
    Text {
        default: Option<&'static str>,
        instead: &'static str,
    },
    /// One of a few.
    Choice {
        default: Option<&'static str>,
        of: &'static [&'static str],
    },
    /// An address and a port; empty: none.
    Address {
        default: &'static str,
    },
    /// A list of whole numbers.
    Counts {
        default: Option<&'static [u64]>,
    },
    /// A list of texts. `instead`: what to write where it is none.
    Texts {
        default: Option<&'static [&'static str]>,
        instead: &'static str,
    },
    /// Of a form of its own, which its owner reads and writes; there is no default.
    Own,
}

/// Keys of one section, as fields.
pub trait Keys: Sized {
    /// What stands in the brackets.
    const SECTION: &'static str;
    /// Lines that say what these keys are of.
    const DOC: &'static [&'static str];
    const KEYS: &'static [Key];

    /// Asks for the value of each key, in their order.
    fn from_values(value_of: impl FnMut(&'static Key) -> Value) -> Self;

    /// In the order of the keys.
    fn values(&self) -> Vec<Value>;

    fn defaults() -> Self {
        Self::from_values(|key| key.kind.default())
    }
}

/// Declares a section: its fields, and for each its kind and what it means.
#[macro_export]
macro_rules! keys {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $Section:ident in $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $kind:ident($($arg:tt)*)
                    $(as $name:literal)? $(, $with:ident $(($what:expr))?)*;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq)]
        $vis struct $Section {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl ::std::fmt::Debug for $Section {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let fields = [$((stringify!($field), &self.$field as &dyn ::std::fmt::Debug)),+];
                let keys = <Self as $crate::settings::Keys>::KEYS;
                $crate::settings::fmt_fields(stringify!($Section), keys, &fields, f)
            }
        }

        impl $crate::settings::Keys for $Section {
            const SECTION: &'static str = $section;
            const DOC: &'static [&'static str] = &[$($about),+];
            const KEYS: &'static [$crate::settings::Key] = &[$(
                $crate::settings::Key::new(
                    $crate::keys!(@name $field $($name)?),
                    $crate::settings::Kind::$kind($($arg)*),
                    &[$($doc),+],
                )$(.$with($($what)?))*
            ),+];

            fn from_values(
                mut value_of: impl FnMut(&'static $crate::settings::Key) -> $crate::settings::Value,
            ) -> Self {
                let mut keys = Self::KEYS.iter();
                let mut next = || value_of(keys.next().expect("there is a key for each field"));
                Self { $($field: $crate::settings::Field::from_value(next())),+ }
            }

            fn values(&self) -> Vec<$crate::settings::Value> {
                vec![$($crate::settings::Field::to_value(&self.$field)),+]
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}

/// `Debug` of a section, without the values of secrets.
pub fn fmt_fields(
    section: &str,
    keys: &[Key],
    fields: &[(&str, &dyn Debug)],
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let mut shown = f.debug_struct(section);
    for (key, (name, value)) in keys.iter().zip(fields) {
        shown.field(name, if key.is_secret { &Secret } else { value });
    }
    shown.finish()
}

struct Secret;

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Key {
    pub const fn new(name: &'static str, kind: Kind, doc: &'static [&'static str]) -> Self {
        Self { name, kind, doc, example: None, is_reloaded: false, is_secret: false }
    }

    pub const fn example(self, written: &'static str) -> Self {
        Self { example: Some(written), ..self }
    }

    pub const fn reloaded(self) -> Self {
        Self { is_reloaded: true, ..self }
    }

    pub const fn secret(self) -> Self {
        assert!(
            matches!(self.kind, Kind::Text { .. } | Kind::Texts { .. }),
            "an error may quote what is no text"
        );
        Self { is_secret: true, ..self }
    }
}

/// As declarations write them.
impl Kind {
    pub const fn count(default: u64, range: RangeInclusive<u64>) -> Self {
        Self::Count { default: Some(default), range }
    }

    pub const fn count_found(range: RangeInclusive<u64>) -> Self {
        Self::Count { default: None, range }
    }

    pub const fn size(default: u64, range: RangeInclusive<u64>) -> Self {
        Self::Size { default: Some(default), range }
    }

    pub const fn size_found(range: RangeInclusive<u64>) -> Self {
        Self::Size { default: None, range }
    }

    pub const fn duration(default_ms: u64, range_ms: RangeInclusive<u64>) -> Self {
        Self::Duration { default: Some(default_ms), range: range_ms }
    }

    pub const fn duration_found(range_ms: RangeInclusive<u64>) -> Self {
        Self::Duration { default: None, range: range_ms }
    }

    pub const fn number(default: f64, range: RangeInclusive<f64>) -> Self {
        Self::Number { default, range }
    }

    pub const fn rate(default: Rate) -> Self {
        Self::Rate { default }
    }

    pub const fn flag(default: bool) -> Self {
        Self::Flag { default }
    }

    pub const fn text() -> Self {
        Self::text_like("write text in quotes")
    }

    pub const fn text_like(instead: &'static str) -> Self {
        Self::Text { default: None, instead }
    }

    pub const fn text_or(default: &'static str) -> Self {
        Self::Text { default: Some(default), instead: "write text in quotes" }
    }

    pub const fn choice(default: &'static str, of: &'static [&'static str]) -> Self {
        Self::Choice { default: Some(default), of }
    }

    pub const fn choice_needed(of: &'static [&'static str]) -> Self {
        Self::Choice { default: None, of }
    }

    pub const fn address(default: &'static str) -> Self {
        Self::Address { default }
    }

    pub const fn counts(default: &'static [u64]) -> Self {
        Self::Counts { default: Some(default) }
    }

    pub const fn counts_found() -> Self {
        Self::Counts { default: None }
    }

    pub const fn texts(default: &'static [&'static str], instead: &'static str) -> Self {
        Self::Texts { default: Some(default), instead }
    }

    pub const fn texts_found(instead: &'static str) -> Self {
        Self::Texts { default: None, instead }
    }

    pub fn default(&self) -> Value {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        match self {
            Self::Count { default, .. } | Self::Size { default, .. } | Self::Duration { default, .. } => {
                default.map_or(Value::None, Value::Whole)
            }
            Self::Number { default, .. } => Value::Number(*default),
            Self::Rate { default } => Value::Rate(*default),
            Self::Flag { default } => Value::Flag(*default),
            Self::Text { default, .. } | Self::Choice { default, .. } => {
                default.map_or(Value::None, |text| Value::Text(text.to_owned()))
            }
            Self::Address { default } => Value::Text((*default).to_owned()),
            Self::Counts { default } => default.map_or(Value::None, |list| Value::Wholes(list.to_vec())),
            Self::Texts { default, .. } => default.map_or(Value::None, |list| Value::Texts(texts(list))),
            Self::Own => Value::None,
        }
    }
}
