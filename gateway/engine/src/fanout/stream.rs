//! A stream topic on a shard: its latest updates, each of which counts, and how many came before them.

use std::collections::VecDeque;

use crate::{
    topic::policy::{self, Behind},
    update::Update,
};

/// Dropped updates whose counts are remembered, so that gaps are exact.
const DROPPED_MAX: usize = 128;

#[derive(Debug)]
pub struct Stream {
    policy: policy::Stream,
    /// In order. Never empty once there was an update.
    updates: VecDeque<Update>,
    bytes: usize,
    /// Version and `v` of the updates dropped last, in order.
    dropped: VecDeque<(u64, u64)>,
    /// `v` before the first update.
    v_unborn: u64,
}

impl Stream {
    pub fn new(policy: &policy::Stream) -> Self {
        Self {
            policy: policy.clone(),
            updates: VecDeque::new(),
            bytes: 0,
            dropped: VecDeque::new(),
            v_unborn: 0,
        }
    }

    /// Gives the number of older updates that were dropped for it.
    pub fn push(&mut self, update: Update) -> usize {
        if self.updates.is_empty() {
            self.v_unborn = update.v - 1;
        }
        let age_us = self.policy.history_age.map_or(i64::MAX, |age| age.as_micros() as i64);
        let too_old_us = update.due_us.saturating_sub(age_us);
        self.bytes += update.json.len();
        self.updates.push_back(update);
        let mut dropped = 0;
        while self.updates.len() > 1
            && (self.updates.len() > self.policy.history_updates
                || self.bytes > self.policy.history_bytes
                || self.updates[0].due_us < too_old_us)
        {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    fn drop_oldest(&mut self) {
        let update = self.updates.pop_front().expect("a stream has its newest update");
        self.bytes -= update.json.len();
        if self.dropped.len() == DROPPED_MAX {
            self.dropped.pop_front();
        }
        self.dropped.push_back((update.version, update.v));
    }

    /// Bytes kept for clients that are behind: all but the newest.
    pub fn history_bytes(&self) -> usize {
        let newest = self.updates.back().map_or(0, |update| update.json.len());
        self.bytes - newest + self.updates.len().saturating_sub(1) * size_of::<Update>()
    }

    /// Gives them back. Gives the number of updates that were dropped.
    pub fn drop_history(&mut self) -> usize {
        let dropped = self.updates.len().saturating_sub(1);
        (0..dropped).for_each(|_| self.drop_oldest());
        self.updates.shrink_to_fit();
        dropped
    }

    pub fn policy(&self) -> &policy::Stream {
        &self.policy
    }

    pub fn get(&self, at: u32) -> &Update {
        &self.updates[at as usize]
    }

    /// Places of the updates after `from`, in order.
    pub fn after(&self, from: u64) -> std::ops::Range<u32> {
        let start = self.updates.partition_point(|update| update.version <= from);
        start as u32..self.updates.len() as u32
    }

    /// Places of the updates of a snapshot, in order: the last few since the topic was last gone.
    pub fn snapshot(&self) -> std::ops::Range<u32> {
        let end = self.updates.len();
        let alive = self.updates.iter().rposition(|update| update.gone).map_or(0, |gone| gone + 1);
        (end.saturating_sub(self.policy.snapshot_updates).max(alive) as u32)..end as u32
    }

    /// Whether the history reaches back to `from`.
    pub fn reaches(&self, from: u64) -> bool {
        self.dropped.back().is_none_or(|(version, _)| *version <= from)
    }

    /// How many updates after `from` are missing before the first one kept: exactly where the drop log
    /// reaches, else more rather than less.
    pub fn missing(&self, from: u64) -> u64 {
        if self.reaches(from) {
            return 0;
        }
        let first_v = self.updates.front().map_or(0, |update| update.v);
        let seen = self.dropped.iter().rev().find(|(version, _)| *version <= from);
        first_v - 1 - seen.map_or(self.v_unborn, |(_, v)| *v)
    }

    /// What a subscriber at `from` has to be closed for: the number of updates missed.
    pub fn lapsed(&self, from: u64) -> Option<u64> {
        let missing = self.missing(from);
        (missing > 0 && self.policy.behind == Behind::Close).then_some(missing)
    }
}
