//! A shard's bounded inbox: the one way from the control plane to a shard.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crossbeam_queue::{ArrayQueue, SegQueue};
use net::ConnId;

use super::wrote::{Asker, Wrote};
use crate::{
    access::{revoked::Revoked, verify::Verified},
    protocol::status::Change,
    settings::{INBOX_MESSAGES, Limits, Reloaded},
    shard::stats::Stats,
    topic::epoch::Epoch,
    update::Batch,
};

/// What the control plane tells a shard.
pub enum Message {
    Updates(Arc<Batch>),
    /// What was held ends; the batch has all there is in the new epoch.
    Restart {
        epoch: Epoch,
        batch: Arc<Batch>,
    },
    /// The state of some topics changed.
    Status(Arc<Change>),
    /// Other settings hold from now on.
    Reload(Arc<Reloaded>),
    /// Send every client away within `drain_us` from now.
    Drain {
        drain_us: u64,
    },
    /// End the connections whose token is meant; the answer is how many there were.
    Revoke(Revocation),
    /// Give back a copy of the shard's counters.
    Scrape(Answer),
    /// Reset all clients that are left, and end.
    Stop,
}

/// Takes a copy of a shard's counters to who asked, if he still waits.
pub type Answer = Box<dyn FnOnce(Box<Stats>) + Send>;

/// Whose connections are to end, and who waits for their number.
pub struct Revocation {
    pub revoked: Arc<Revoked>,
    pub answer: Closed,
}

/// Takes the number of connections that were closed to who asked, if he still waits.
pub type Closed = Box<dyn FnOnce(usize) + Send>;

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Updates(batch) => f.debug_tuple("Updates").field(batch).finish(),
            Message::Restart { epoch, batch } => f.debug_tuple("Restart").field(epoch).field(batch).finish(),
            Message::Status(change) => f.debug_tuple("Status").field(change).finish(),
            Message::Reload(_) => f.write_str("Reload"),
            Message::Drain { drain_us } => f.debug_tuple("Drain").field(drain_us).finish(),
            Message::Revoke(_) => f.write_str("Revoke"),
            Message::Scrape(_) => f.write_str("Scrape"),
            Message::Stop => f.write_str("Stop"),
        }
    }
}

/// Questions of an inbox: those who ask do it one after the other, and may give up waiting.
const QUESTIONS_MAX: usize = 4;

/// Of what an inbox holds at most, the part that publishers who can wait fill.
const CROWDED_PART: usize = 8;

/// What an inbox holds at most, by the key of `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Updates,
    Bytes,
    Messages,
}

impl Bound {
    pub const ALL: [Bound; 3] = [Bound::Updates, Bound::Bytes, Bound::Messages];

    pub fn key(self) -> &'static str {
        match self {
            Bound::Updates => "inbox_updates",
            Bound::Bytes => "inbox_bytes",
            Bound::Messages => "inbox_messages",
        }
    }
}

/// Both ends share it: the sequencer pushes, the shard pops.
#[derive(Debug)]
pub struct Inbox {
    queue: ArrayQueue<Message>,
    /// Questions, which overtake what is queued: whether a shard lives is not a matter of how much it has to do.
    questions: ArrayQueue<Message>,
    /// Tokens that were verified elsewhere for connections of this shard: no more than may be begun.
    verified: SegQueue<(ConnId, Verified)>,
    /// Answers to what clients of this shard wrote: no more than may be under way.
    wrote: SegQueue<(Asker, Wrote)>,
    /// Updates waiting in `queue`.
    updates: AtomicUsize,
    updates_max: usize,
    /// Bytes of those updates.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// See [`Inbox::announce`].
    announced: AtomicU64,
    waker: net::Waker,
}

impl Inbox {
    pub fn of(limits: &Limits, waker: net::Waker) -> Arc<Self> {
        Self::with(limits.inbox_updates, limits.inbox_bytes, limits.inbox_messages, waker)
    }

    /// With room for [`INBOX_MESSAGES`].
    pub fn new(updates_max: usize, bytes_max: usize, waker: net::Waker) -> Arc<Self> {
        Self::with(updates_max, bytes_max, INBOX_MESSAGES as usize, waker)
    }

    fn with(updates_max: usize, bytes_max: usize, messages_max: usize, waker: net::Waker) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(messages_max),
            questions: ArrayQueue::new(QUESTIONS_MAX),
            verified: SegQueue::new(),
            wrote: SegQueue::new(),
            updates: AtomicUsize::new(0),
            updates_max,
            bytes: AtomicUsize::new(0),
            bytes_max,
            announced: AtomicU64::new(0),
            waker,
        })
    }

    /// Says which position a batch leads to before the first shard gets it. Shards get a batch one after
    /// another, so a client of one shard may know a position that another has not reached yet.
    pub fn announce(&self, position: u64) {
        // Whoever learns the position learns it from a batch pushed after this.
        self.announced.store(position, Ordering::Release);
    }

    /// The position announced last; the shard has reached it or is about to.
    pub fn announced(&self) -> u64 {
        self.announced.load(Ordering::Acquire)
    }

    /// The bound that keeps a batch from being pushed now. A batch is taken whole while the inbox is below
    /// its bounds, so that one atomic publish larger than a bound still fits an empty inbox. Only the
    /// sequencer pushes batches, so room that it saw stays. An eighth of the messages is kept for others.
    pub fn full(&self) -> Option<Bound> {
        Bound::ALL.into_iter().find(|bound| match bound {
            Bound::Updates => self.depth() >= self.updates_max,
            Bound::Bytes => self.bytes() >= self.bytes_max,
            Bound::Messages => self.messages() >= self.queue.capacity() * 7 / 8,
        })
    }

    /// Pushes and wakes the shard; for updates only where it must not doze. Gives the message back when the inbox is
    /// full.
    pub fn push(&self, message: Message) -> Result<(), Message> {
        let (updates, bytes) = size(&message);
        self.updates.fetch_add(updates, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let queue = if matches!(message, Message::Scrape(_)) { &self.questions } else { &self.queue };
        let may_wait = matches!(message, Message::Updates(_));
        match queue.push(message) {
            // A publisher may be about to wait for room.
            Ok(()) if may_wait && !self.is_crowded() => {
                self.waker.nudge();
                Ok(())
            }
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(message) => {
                self.updates.fetch_sub(updates, Ordering::Relaxed);
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(message)
            }
        }
    }

    /// A token was verified for a connection of this shard.
    pub fn push_verified(&self, conn: ConnId, verified: Verified) {
        self.verified.push((conn, verified));
        self.waker.wake();
    }

    /// Takes the one that waits longest; for the shard.
    pub fn pop_verified(&self) -> Option<(ConnId, Verified)> {
        self.verified.pop()
    }

    /// What became of something that a connection of this shard wrote.
    pub fn push_wrote(&self, asker: Asker, wrote: Wrote) {
        self.wrote.push((asker, wrote));
        self.waker.wake();
    }

    /// Takes the one that waits longest; for the shard.
    pub fn pop_wrote(&self) -> Option<(Asker, Wrote)> {
        self.wrote.pop()
    }

    /// Whether more waits than a shard takes in within some milliseconds: who can wait does, since what others bring
    /// would stand behind it.
    pub fn is_crowded(&self) -> bool {
        self.depth() > self.updates_max / CROWDED_PART
            || self.bytes() > self.bytes_max / CROWDED_PART
            || self.messages() > self.queue.capacity() / CROWDED_PART
    }

    /// Takes the oldest question, else the oldest message; for the shard.
    pub fn pop(&self) -> Option<Message> {
        let message = self.questions.pop().or_else(|| self.queue.pop())?;
        let (updates, bytes) = size(&message);
        self.updates.fetch_sub(updates, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(message)
    }

    /// Whether no message waits. Tokens that were verified are none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.questions.is_empty()
    }

    /// Messages waiting, without questions.
    pub fn messages(&self) -> usize {
        self.queue.len()
    }

    /// Updates waiting.
    pub fn depth(&self) -> usize {
        self.updates.load(Ordering::Relaxed)
    }

    /// Bytes of the updates waiting.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Updates and bytes of a message.
fn size(message: &Message) -> (usize, usize) {
    match message {
        Message::Updates(batch) | Message::Restart { batch, .. } => (batch.ops.len(), batch.bytes),
        _ => (0, 0),
    }
}
