//! What clients write, on its way from a shard to where updates are numbered.

use std::{fmt, sync::Arc};

use super::{
    inbox::Inbox,
    wrote::{Asker, Wrote},
};
use crate::protocol::{publish::Publish, reply::NO_ROOM};

/// A client's publish. The shard has checked all that it knows.
#[derive(Debug)]
pub struct Write {
    pub publish: Publish,
    /// Its connection: never the same twice.
    pub writer: u64,
    /// The subject of its token, as one segment of a topic.
    pub by: Option<Arc<str>>,
    /// When it came. µs since the Unix epoch.
    pub due_us: i64,
    pub answer: Answering,
}

impl Write {
    /// What it takes until it is answered, beside its place.
    pub fn bytes(&self) -> usize {
        let Publish { topic, once, body } = &self.publish;
        let texts = [Some(&**topic), once.as_deref(), self.by.as_deref(), self.answer.id()];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        texts + body.bytes() + body.places_bytes()
    }
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

    fn id(&self) -> Option<&str> {
        self.asker.as_ref()?.id.as_deref()
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

    /// A connection that has written something has ended: `writer` as in [`Write`]. Never refused.
    fn left(&self, writer: u64);
}
