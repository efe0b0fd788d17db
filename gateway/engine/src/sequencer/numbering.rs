//! Numbers: one publication after the other, or a group of them, becomes updates.

use std::time::Duration;

use super::{
    counters::SequencerCounters,
    publication::{Body, Publication, Refused, Why},
    published::{Published, Written},
    topics::{Admitted, Group, Topics},
};
use crate::{
    clock::Now,
    shard::inbox::Bound,
    topic::epoch::Epoch,
    update::{Op, TopicId},
};

/// Updates and changed keys after which a batch takes no more; an atomic group is never divided and may have more.
pub(super) const BATCH_CHANGES: usize = 4096;

/// Bytes of their values, after which a batch takes no more.
const BATCH_BYTES: usize = 256 * 1024;

/// How often [`super::Sequencer::publish_due`] is called; by so much it is early, so that it is never late.
pub const DUE_EARLY: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Numbering {
    /// Nothing is numbered any more.
    pub(super) frozen: bool,
    pub(super) epoch: Epoch,
    pub(super) topics: Topics,
    /// `[limits] atomic_updates`.
    pub(super) group_changes_max: usize,
    pub(super) version: u64,
    /// The bound that was met when room was looked for last.
    pub(super) full: Option<Bound>,
    pub(super) counters: SequencerCounters,
    /// Enrolled.
    pub(super) sources: u32,
}

impl Numbering {
    pub(super) fn count(&mut self, ops: &[Op]) {
        self.counters.updates += ops.iter().filter(|op| matches!(op, Op::Update(_))).count() as u64;
        self.counters.batches += 1;
    }

    /// Counts a refusal.
    pub(super) fn may_write(&mut self, publication: &Publication) -> Result<(), Why> {
        let may = self.topics.may_write(publication, self.topics.find(&publication.topic));
        may.inspect_err(|why| self.counters.count_refused(why))
    }

    pub(super) fn number_group(
        &mut self,
        publications: &[Publication],
        now: Now,
        ops: &mut Vec<Op>,
    ) -> Result<(), Refused> {
        let mut group = Group::of(publications.len());
        let mut admitted = Vec::with_capacity(publications.len());
        for (index, publication) in publications.iter().enumerate() {
            let at = self.topics.find(&publication.topic);
            let mut one = self.topics.admit(publication, at, &mut group);
            if group.changes() > self.group_changes_max {
                one = Err(Why::TooManyChanges { max: self.group_changes_max });
            }
            let one = one.map_err(|why| self.counters.refuse(Refused { index, why }))?;
            admitted.push(one.changes);
        }
        if let Some(refused) = group.refused() {
            return Err(self.counters.refuse(refused));
        }
        let (version, now_us) = (self.version + 1, now.mono_us);
        for (publication, changes) in publications.iter().zip(admitted) {
            // Another of the group may have brought it to life, or made it be forgotten.
            let at = self.topics.find(&publication.topic);
            if self.topics.repeats(publication, at) {
                self.counters.repeats += 1;
                self.topics.confirm(publication, at, now_us);
                continue;
            }
            self.version = version;
            self.topics.apply(publication, Admitted { at, changes }, version, now_us, ops);
        }
        Ok(())
    }

    /// Notes what became of the publications.
    pub(super) fn number_each(
        &mut self,
        publications: &[Publication],
        now: Now,
        published: &mut Published,
        ops: &mut Vec<Op>,
    ) -> Result<(), Refused> {
        let now_us = now.mono_us;
        let mut accepted = 0;
        let (mut changed, mut bytes) = (0, 0);
        for publication in publications {
            if changed >= BATCH_CHANGES || bytes > BATCH_BYTES {
                break;
            }
            let mut group = Group::of(1);
            let at = self.topics.find(&publication.topic);
            let admitted = self.topics.admit(publication, at, &mut group);
            changed += group.changes();
            bytes += publication.body.bytes();
            match admitted {
                // What a source repeats is missing nowhere, whatever else is wrong with it.
                admitted
                    if (admitted.is_ok() || publication.feed.is_some())
                        && self.topics.repeats(publication, at) =>
                {
                    self.counters.repeats += 1;
                    match self.topics.confirm(publication, at, now_us) {
                        true => published.confirmed.push(accepted),
                        false => published.outdated.push(accepted),
                    }
                    self.cut_after(publication, at, now_us, ops);
                    accepted += 1;
                }
                Ok(admitted) if self.topics.changes_nothing(publication, &admitted) => {
                    self.topics.write_again(publication, &admitted, now_us);
                    accepted += 1;
                }
                Ok(_) if publication.writer.is_none() && self.topics.hold(publication, at, now_us) => {
                    accepted += 1;
                }
                Ok(admitted) => {
                    self.version += 1;
                    self.topics.apply(publication, admitted, self.version, now_us, ops);
                    accepted += 1;
                }
                Err(why) if accepted == 0 => {
                    if publication.feed.is_some() {
                        self.topics.miss(publication, at, &why, now_us);
                    }
                    self.cut_after(publication, at, now_us, ops);
                    return Err(self.counters.refuse(Refused { index: 0, why }));
                }
                // Its turn comes with the next batch, which it is the first of.
                Err(_) => break,
            }
        }
        published.accepted = accepted;
        Ok(())
    }

    /// Each by itself, until a batch is full.
    pub(super) fn number_written(
        &mut self,
        publications: &[Publication],
        now: Now,
        ops: &mut Vec<Op>,
    ) -> Vec<Result<Written, Why>> {
        let (mut written, mut changed, mut bytes) = (Vec::with_capacity(publications.len()), 0, 0);
        for one in publications.chunks(1) {
            if changed >= BATCH_CHANGES || bytes > BATCH_BYTES {
                break;
            }
            let publication = &one[0];
            changed += publication.changes();
            bytes += publication.body.bytes();
            let numbered = self.number_each(one, now, &mut Published::default(), ops);
            let stands = || self.topics.written(&publication.topic).expect("what was written is there");
            written.push(numbered.map(|()| stands()).map_err(|refused| refused.why));
        }
        written
    }

    /// A message of a source ends with a publication that was not applied: what is beyond its depth goes all the same.
    fn cut_after(&mut self, publication: &Publication, at: Option<TopicId>, now_us: u64, ops: &mut Vec<Op>) {
        if let Some((publication, admitted)) = self.topics.cut_after(publication, at) {
            self.version += 1;
            self.topics.apply(&publication, admitted, self.version, now_us, ops);
        }
    }

    pub(super) fn number_due(&mut self, now: Now) -> Vec<Op> {
        let due_us = now.mono_us + DUE_EARLY.as_micros() as u64;
        let mut ops = Vec::new();
        let keys = self.topics.keys();
        // A table that ends is as much work as it has keys.
        while ops.len() + keys.saturating_sub(self.topics.keys()) < BATCH_CHANGES {
            let Some(mut publication) = self.topics.due(due_us) else { break };
            // What was held back came in when it did.
            if !matches!(publication.body, Body::Data(_)) {
                publication.due_us = now.wall_us;
            }
            self.version += 1;
            let admitted = Admitted::of(&publication, self.topics.find(&publication.topic));
            self.topics.apply(&publication, admitted, self.version, now.mono_us, &mut ops);
        }
        ops
    }
}
