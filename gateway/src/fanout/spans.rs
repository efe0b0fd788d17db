//! When the updates of a pattern were taken in: a short log that answers "how old is the oldest
//! thing after position P?" without keeping every update.
//!
//! It is an exponential histogram: the newest spans are one drain of the inbox each, older ones
//! cover two, four, eight … So the answer is early by at most a small part of its age.

use std::collections::VecDeque;

/// Spans of one size kept before the two oldest of them are merged: the answer is early by at most
/// one part in that many. Where very many patterns are held, memory matters more.
const SAME_SIZE_MAX: usize = 32;
const SAME_SIZE_MAX_OF_MANY: usize = 8;
const MANY_PATTERNS: usize = 1000;

#[derive(Debug, Clone, Copy)]
struct Span {
    /// Newest version in the span.
    last: u64,
    /// Earliest take-in (or due) time in the span, µs since the Unix epoch.
    due_us: i64,
    /// It covers 2^level drains.
    level: u8,
}

/// Spans in rising order of version, so in falling order of level.
#[derive(Debug, Default)]
pub struct Spans {
    spans: VecDeque<Span>,
}

impl Spans {
    /// Notes an update. `fresh` starts a new span: true for the first update after a moment at which
    /// a class may have been flushed, so that fresh spans never reach across a class's cursor.
    /// `patterns`: how many there are on the shard.
    pub fn note(&mut self, version: u64, due_us: i64, fresh: bool, patterns: usize) {
        match self.spans.back_mut() {
            Some(span) if !fresh => {
                span.last = version;
                span.due_us = span.due_us.min(due_us);
            }
            _ => {
                self.spans.push_back(Span { last: version, due_us, level: 0 });
                let most = if patterns > MANY_PATTERNS { SAME_SIZE_MAX_OF_MANY } else { SAME_SIZE_MAX };
                self.merge(most);
            }
        }
    }

    /// Never later than the take-in time of the first update after `position`.
    pub fn oldest_after(&self, position: u64) -> Option<i64> {
        let first = self.spans.partition_point(|span| span.last <= position);
        self.spans.get(first).map(|span| span.due_us)
    }

    /// Merges the two oldest spans of every size of which there are too many.
    fn merge(&mut self, same_size_max: usize) {
        let mut end = self.spans.len();
        while end > 0 {
            let level = self.spans[end - 1].level;
            let start = self.spans.partition_point(|span| span.level > level);
            if end - start <= same_size_max || level == u8::MAX {
                return;
            }
            let due_us = self.spans[start].due_us.min(self.spans[start + 1].due_us);
            self.spans[start + 1] = Span { last: self.spans[start + 1].last, due_us, level: level + 1 };
            self.spans.remove(start);
            end = start + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_update_after_a_position_is_found_exactly_while_few() {
        let mut spans = Spans::default();
        for i in 1..=10u64 {
            spans.note(i * 10, i as i64 * 1000, true, 1);
        }
        assert_eq!(spans.oldest_after(0), Some(1000));
        assert_eq!(spans.oldest_after(10), Some(2000));
        assert_eq!(spans.oldest_after(95), Some(10_000));
        assert_eq!(spans.oldest_after(100), None);
    }

    #[test]
    fn the_answer_is_never_late_and_early_by_a_small_part_of_its_age() {
        for (patterns, part) in [(1, SAME_SIZE_MAX as i64), (MANY_PATTERNS + 1, SAME_SIZE_MAX_OF_MANY as i64)]
        {
            let mut spans = Spans::default();
            let end = 100_000u64;
            for i in 1..=end {
                spans.note(i, i as i64, true, patterns);
            }
            assert!(spans.spans.len() < 20 * SAME_SIZE_MAX, "{}", spans.spans.len());
            for position in 0..end {
                let (truth, age) = (position as i64 + 1, (end - position) as i64);
                let oldest = spans.oldest_after(position).unwrap();
                assert!(oldest <= truth, "late at {position}: {oldest}");
                assert!(truth - oldest <= 2 * age / part, "early at {position}: {oldest}");
            }
        }
    }

    #[test]
    fn updates_of_one_drain_share_a_span() {
        let mut spans = Spans::default();
        spans.note(1, 50, true, 1);
        spans.note(2, 40, false, 1);
        spans.note(3, 60, true, 1);
        assert_eq!((spans.oldest_after(0), spans.oldest_after(2)), (Some(40), Some(60)));
        assert_eq!(spans.spans.len(), 2);
    }
}
