//! What became of something that a client wrote.

use std::sync::Arc;

use net::ConnId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrote {
    /// `reply`: JSON that is for the writer alone.
    Published { v: u64, version: u64, reply: Option<Arc<str>> },
    /// `code`: of the error.
    Refused { code: u16, reason: Arc<str> },
}

/// Who waits for it.
#[derive(Debug, Clone)]
pub struct Asker {
    pub conn: ConnId,
    /// Of the op.
    pub id: Option<String>,
    pub topic: Arc<str>,
}
