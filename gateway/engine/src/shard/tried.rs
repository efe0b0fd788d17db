//! How far an op came.

use super::builds::{Joining, Work};
use crate::fanout::{Long, line::Lane};

/// How far an op came.
pub(super) enum Tried {
    /// It was answered, if only with an error.
    Done,
    /// It waits until its client has rested.
    Rests,
    /// It waits in a line, or (`None`) for what is being built for its client.
    Waits(Option<Lane>),
    /// What its subscription is owed before, and its answer, are to be built.
    Begun { owed: Option<(u8, Box<Long>)>, answer: Option<(Work, Joining)> },
}

/// How much of what a subscription is owed was sent.
pub(super) enum Settled {
    All,
    Waits(Option<Lane>),
    Long(Box<Long>),
}
