//! Who a frame is for.

use super::pattern_id::PatternId;
use crate::protocol::encoding::Wire;

/// Who is to read a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readers {
    pub(super) class: u64,
    pub(super) wire: Wire,
    /// All of the class.
    pub(super) all: bool,
}

/// What readers share a frame by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheKey {
    pub(super) class: u64,
    /// The op's patterns; `None`: all of the class.
    pub(super) patterns: Option<Box<[PatternId]>>,
    /// `None`: a snapshot.
    pub(super) from: Option<u64>,
}
