//! What comes of looking at a class, or of asking for a frame.

use super::{class_id::ClassId, frame::Frame, line::Lane, long::Long};

/// A frame for every member of a class whose position is below `version`.
#[derive(Debug, Clone)]
pub struct Flush {
    pub class: ClassId,
    pub number: u64,
    pub frame: Frame,
    /// Where its batch begins: who stands below lacks something before it. `None`: a snapshot.
    pub from: Option<u64>,
    /// Nothing in it: only for members that were sent nothing since this moment (µs, monotonic).
    pub silent_since_us: Option<u64>,
    pub version: u64,
    /// When it was due. µs, monotonic.
    pub due_us: u64,
    /// Age of the oldest thing in it when it was built, µs.
    pub age_us: Option<u64>,
    /// Members that are as far behind as the class are to be closed: see [`Fanout::lapse`](super::Fanout::lapse).
    pub lapsed: bool,
}

/// What is known of a class's frame before it is built.
#[derive(Debug, Clone)]
pub struct Due {
    pub class: ClassId,
    pub number: u64,
    pub(super) from: Option<u64>,
    pub(super) due_us: u64,
    pub(super) age_us: Option<u64>,
    pub(super) lapsed: bool,
    /// Updates that the class's patterns had seen.
    pub(super) updates: u64,
}

/// What comes of looking at a class.
#[derive(Debug)]
pub enum Flushed {
    /// There is nothing to send.
    Nothing,
    Flush(Flush),
    Long(Due, Box<Long>),
    /// Its frame cannot be built now.
    Waits {
        lane: Lane,
        /// What there is no room for.
        need_bytes: Option<usize>,
        /// µs, monotonic.
        due_us: u64,
    },
}

/// What comes of asking for a frame.
#[derive(Debug)]
pub enum Made {
    Frame(Frame),
    /// It is to be built part by part.
    Long(Box<Long>),
    /// It is too long to be made in one go, which was to do.
    TooLong,
    /// So many bytes do not fit into what may be pinned.
    NoRoom(usize),
}
