//! What is asked of the sequencer at once, and what became of it.

use thiserror::Error;

use super::publication::Refused;

/// How the publications of one call belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// All or nothing, in one version that no frame divides.
    Atomic,
    /// Each by itself, in order.
    Single,
}

/// Some of a publish went out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Publications taken, from the first on. With [`Grouping::Atomic`] all.
    pub accepted: usize,
    /// Which of them neither made an update nor confirmed one: older than what their topics hold.
    pub outdated: Vec<usize>,
    /// Which of them made no update, and confirmed one.
    pub confirmed: Vec<usize>,
    /// The gateway's position after them.
    pub version: u64,
}

/// What a client's publish came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Of its topic.
    pub v: u64,
    /// The position at which its topic stands.
    pub version: u64,
}

/// Why nothing of a publish went out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotPublished {
    #[error("an inbox is full: [limits] inbox_updates, inbox_bytes, inbox_messages")]
    Full,
    #[error(transparent)]
    Refused(#[from] Refused),
}
