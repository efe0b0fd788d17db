//! What clients write, on its way from a shard to where updates are numbered, and the answer on its way back.

use std::{fmt, sync::Arc};

use net::ConnId;

use crate::{
    protocol::reply::NO_ROOM,
    sequencer::{Publication, Written},
    shard::inbox::Inbox,
};

/// What became of something written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrote {
    /// `reply`: JSON that is for the writer alone.
    Published { written: Written, reply: Option<Arc<str>> },
    /// `code`: of the error.
    Refused { code: u16, reason: Arc<str> },
}

/// A client's publish. The shard has checked all that it knows.
#[derive(Debug)]
pub struct Write {
    pub publication: Publication,
    pub answer: Answering,
}

/// Who waits for the answer to a [`Write`].
#[derive(Debug, Clone)]
pub struct Asker {
    pub conn: ConnId,
    /// Of the op.
    pub id: Option<String>,
    pub topic: Arc<str>,
}

/// Takes the answer to a [`Write`] to the shard. Whoever drops it refuses.
pub struct Answering {
    inbox: Arc<Inbox>,
    /// Until it is given.
    asker: Option<Asker>,
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("asker", &self.asker).finish_non_exhaustive()
    }
}

impl Answering {
    /// `inbox`: of the shard that has the connection.
    pub fn new(inbox: Arc<Inbox>, asker: Asker) -> Self {
        Self { inbox, asker: Some(asker) }
    }

    pub fn give(mut self, wrote: Wrote) {
        self.push(wrote);
    }

    fn push(&mut self, wrote: Wrote) {
        if let Some(asker) = self.asker.take() {
            self.inbox.push_wrote(asker, wrote);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.push(Wrote::Refused { code: NO_ROOM, reason: "the gateway ends".into() });
    }
}

/// Takes what clients write. Called by shards: it neither waits nor blocks.
pub trait Writes: fmt::Debug + Send + Sync {
    /// Those of one connection are numbered in the order in which they come here. It is given back where there is no
    /// room.
    fn write(&self, write: Write) -> Result<(), Write>;

    /// A connection that has written something has ended: `conn` as in [`Publication::writer`]. Never refused.
    fn left(&self, conn: u64);
}
