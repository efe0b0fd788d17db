//! Patterns that nobody holds any more and that are dear to make, kept for a while: who comes back to one finds it.

use std::{collections::VecDeque, time::Duration};

use super::pattern_id::PatternId;

/// A pattern for which fewer topics were looked at is made anew in no time.
const LOOKED_AT_MIN: usize = 256;
/// What each costs an update that it matches is bounded by their number.
const PATTERNS_MAX: usize = 64;
/// A topic's place in a pattern: its node and its number in the topic.
const PLACE_BYTES: usize = 24;

#[derive(Debug)]
struct Entry {
    pattern: PatternId,
    bytes: usize,
    /// Until when; `None`: since this turn. µs, monotonic.
    until_us: Option<u64>,
}

/// In the order in which they were released.
#[derive(Debug, Default)]
pub struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    looked_at_min: usize,
    keep_us: u64,
    /// Those that somebody came back to, and those that had to make room for others.
    pub found: u64,
    pub evicted: u64,
}

impl Kept {
    pub fn new(keep: Duration, bytes_max: usize) -> Self {
        let keep_us = keep.as_micros() as u64;
        Self { bytes_max, looked_at_min: LOOKED_AT_MIN, keep_us, ..Self::default() }
    }

    /// Patterns for which fewer topics were looked at are not kept: tests with few topics make it small.
    pub fn set_looked_at_min(&mut self, topics: usize) {
        self.looked_at_min = topics;
    }

    /// Those that are kept already stay until their time is over, or until others need their room.
    pub fn set(&mut self, keep: Duration, bytes_max: usize) {
        (self.keep_us, self.bytes_max) = (keep.as_micros() as u64, bytes_max);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps a pattern of so many topics, for which `looked_at` were looked at; `false`: it is not kept.
    pub fn keep(&mut self, pattern: PatternId, topics: usize, looked_at: usize) -> bool {
        let bytes = topics * PLACE_BYTES;
        if topics.max(looked_at) < self.looked_at_min || bytes > self.bytes_max || self.keep_us == 0 {
            return false;
        }
        self.bytes += bytes;
        self.entries.push_back(Entry { pattern, bytes, until_us: None });
        true
    }

    /// Somebody holds it again.
    pub fn take(&mut self, pattern: PatternId) {
        let at = self.entries.iter().position(|entry| entry.pattern == pattern);
        let entry = at.and_then(|at| self.entries.remove(at)).expect("a pattern without users is kept");
        self.bytes -= entry.bytes;
        self.found += 1;
    }

    /// Those that were released since the last turn are kept from now.
    pub fn begin_turn(&mut self, now_us: u64) {
        for entry in self.entries.iter_mut().rev().take_while(|entry| entry.until_us.is_none()) {
            entry.until_us = Some(now_us + self.keep_us);
        }
    }

    /// One whose time is over, or that has to make room.
    pub fn pop(&mut self, now_us: u64) -> Option<PatternId> {
        let is_full = self.bytes > self.bytes_max || self.entries.len() > PATTERNS_MAX;
        let first = self.entries.front()?;
        let is_over = first.until_us.is_some_and(|until_us| until_us <= now_us);
        if !is_full && !is_over {
            return None;
        }
        self.evicted += u64::from(!is_over);
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry.pattern)
    }

    /// When the next one's time is over. µs, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        self.entries.front()?.until_us
    }
}
