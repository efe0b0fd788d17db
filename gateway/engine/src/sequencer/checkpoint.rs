//! What survives the process: all that is numbered, as it is saved and as it is read back.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::publication::Body;
use crate::topic::epoch::Epoch;

/// A topic as it is written.
#[derive(Debug)]
pub struct SavedTopic {
    /// `latest`, `keyed` or `stream`.
    pub mode: &'static str,
    pub seq: Option<u64>,
    /// It lacks something until it comes whole.
    pub has_gap: bool,
    /// Of a stream: updates that were refused since the last one.
    pub refused: u64,
    /// Its last update, of a keyed topic only the head before `table`.
    pub json: Bytes,
    /// A JSON object.
    pub table: Option<Vec<u8>>,
}

/// Tables that do not exist and of which there was more: born of a source's change they lack it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub names: Vec<Arc<str>>,
    /// There are others, whose names nobody knows.
    pub are_more: bool,
}

/// All that is written.
#[derive(Debug)]
pub struct Checkpoint {
    pub epoch: Epoch,
    pub version: u64,
    /// A topic that is born starts above it.
    pub v_floor: u64,
    pub topics: Vec<SavedTopic>,
    pub ended: Ended,
}

/// A topic as it was read.
#[derive(Debug)]
pub struct RestoredTopic {
    pub topic: Arc<str>,
    pub mode: String,
    pub v: u64,
    pub ts_us: i64,
    /// As in [`Publication::by`](super::Publication::by).
    pub by: Option<Arc<str>>,
    pub seq: Option<u64>,
    /// It lacks something until it comes whole.
    pub has_gap: bool,
    /// Of a stream: updates that were refused since the last one.
    pub refused: u64,
    pub body: Body,
}

/// All that was read.
#[derive(Debug)]
pub struct Restored {
    /// Of the run that wrote it; `None`: no head tells it.
    pub epoch: Option<Epoch>,
    /// That run ended cleanly and nothing is missing: its epoch may go on.
    pub is_clean: bool,
    pub version: u64,
    pub v_floor: u64,
    pub topics: Vec<RestoredTopic>,
    pub ended: Ended,
    /// `None`: all that was written was read.
    pub damage: Option<Damage>,
}

/// What of a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Topics that were written and not read; where no head tells how many there were, [`Damage::places`].
    pub topics: u64,
    pub places: u64,
    /// What is wrong first, and where.
    pub first: String,
}
