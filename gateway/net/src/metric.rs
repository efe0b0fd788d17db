//! A counter as its owner describes it, beside the field that it is of. Who exports it walks over the rows.

use std::borrow::Cow;

/// Of a `T` that holds what is counted.
#[derive(Debug)]
pub struct Metric<T> {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub values: Values<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is of now.
    Gauge,
}

/// How many of something; where there is more than one `T` they are summed.
#[derive(Debug)]
pub enum Values<T> {
    One(fn(&T) -> u64),
    /// Of seconds and the like.
    Real(fn(&T) -> f64),
    /// By the values of a label.
    By(&'static str, fn(&T) -> Vec<(Label, u64)>),
    /// How long things took: microseconds, and how often they took so long.
    Times(fn(&T) -> Vec<(u64, u64)>),
}

pub type Label = Cow<'static, str>;

impl<T> Metric<T> {
    pub const fn counter(name: &'static str, help: &'static str, of: fn(&T) -> u64) -> Self {
        Self { name, help, kind: Kind::Counter, values: Values::One(of) }
    }

    pub const fn gauge(name: &'static str, help: &'static str, of: fn(&T) -> u64) -> Self {
        Self { name, help, kind: Kind::Gauge, values: Values::One(of) }
    }

    pub const fn real(kind: Kind, name: &'static str, help: &'static str, of: fn(&T) -> f64) -> Self {
        Self { name, help, kind, values: Values::Real(of) }
    }

    pub const fn by(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        of: fn(&T) -> Vec<(Label, u64)>,
    ) -> Self {
        Self { name, help, kind, values: Values::By(label, of) }
    }

    pub const fn times(name: &'static str, help: &'static str, of: fn(&T) -> Vec<(u64, u64)>) -> Self {
        Self { name, help, kind: Kind::Counter, values: Values::Times(of) }
    }
}

/// What stands in a table of counts, by the names of its places.
pub fn named<N: Into<Label>>(names: impl IntoIterator<Item = N>, counts: &[u64]) -> Vec<(Label, u64)> {
    names.into_iter().map(Into::into).zip(counts.iter().copied()).collect()
}
