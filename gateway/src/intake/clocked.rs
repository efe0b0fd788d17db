//! The sequencer on the program's clock: time is an argument of what numbers updates, and is read here.

use std::{
    ops::Deref,
    sync::{Arc, Mutex},
    time::Instant,
};

use engine::{
    clock::Now,
    sequencer::{
        Grouping, NotPublished, Publication, Published, Sequencer, UpstreamBatch, Why, Written,
        checkpoint::Restored,
    },
    settings::Limits,
    shard::inbox::Inbox,
    topic::{epoch::Epoch, policy::Policies},
};

use crate::clock::Clock;

/// Shared by all that publish. They live on the control plane's thread, so its lock is never waited for.
#[derive(Debug)]
pub struct ClockedSequencer {
    sequencer: Sequencer,
    clock: Mutex<Clock>,
}

impl Deref for ClockedSequencer {
    type Target = Sequencer;

    fn deref(&self) -> &Sequencer {
        &self.sequencer
    }
}

impl ClockedSequencer {
    /// `start`: when the process began, for [`Clock`].
    pub fn new(
        epoch: Epoch,
        inboxes: Vec<Arc<Inbox>>,
        limits: &Limits,
        policies: Policies,
        start: Instant,
    ) -> Arc<Self> {
        let sequencer = Sequencer::new(epoch, inboxes, limits, policies);
        Arc::new(Self { sequencer, clock: Mutex::new(Clock::new(start)) })
    }

    pub fn now(&self) -> Now {
        self.clock.lock().expect("reading a clock never panics").now()
    }

    /// [`Sequencer::try_publish`] now.
    pub fn try_publish(
        &self,
        publications: &[Publication],
        grouping: Grouping,
    ) -> Result<Published, NotPublished> {
        self.sequencer.try_publish(publications, grouping, self.now())
    }

    /// [`Sequencer::try_write`] now.
    pub fn try_write(&self, publications: &[Publication]) -> Option<Vec<Result<Written, Why>>> {
        self.sequencer.try_write(publications, self.now())
    }

    /// [`Sequencer::left`] now.
    pub fn left(&self, writer: u64) {
        self.sequencer.left(writer, self.now());
    }

    /// [`Sequencer::publish_due`] now.
    pub fn publish_due(&self) {
        self.sequencer.publish_due(self.now());
    }

    /// [`Sequencer::try_follow`] now.
    pub fn try_follow(&self, upstream: &UpstreamBatch) -> Option<Vec<Why>> {
        self.sequencer.try_follow(upstream, self.now())
    }

    /// [`Sequencer::restore`] now.
    pub fn restore(&self, restored: &Restored) -> (Vec<Arc<str>>, Vec<Why>) {
        self.sequencer.restore(restored, self.now())
    }

    /// [`Sequencer::freeze`] now.
    pub fn freeze(&self) {
        self.sequencer.freeze(self.now());
    }
}
