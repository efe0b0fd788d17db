//! When the updates of a pattern were taken in: a short log that answers "how old is the oldest
//! thing after position P?" without keeping every update.
//!
//! A span is one drain of the inbox while it is young. Neighbours are merged as they age, when what they cover
//! together is short beside their age; so the answer is early by a small part of its age at most, whatever
//! pauses there were, and the spans of an age grow with its logarithm only.

/// The answer is early by at most one part in that many of its age. Where very many patterns are held,
/// memory matters more.
const PART: i64 = 16;
const PART_OF_MANY: i64 = 4;
const MANY_PATTERNS: usize = 1000;

/// Spans that are kept without looking whether they can be merged.
const FEW: usize = 16;
const FEW_OF_MANY: usize = 4;
/// Beyond that the oldest are merged whatever they cover: due times that run backwards do not age.
const SPANS_MAX: usize = 1024;
/// A class that is not behind finds its answer among so many.
const NEAR: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    /// Newest version in the span.
    last: u64,
    /// Earliest take-in (or due) time in the span, µs since the Unix epoch.
    due_us: i64,
}

/// Spans in rising order of version. What most classes ask for is known without a look at more than this.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Spans {
    /// Up to version 0 before the first update.
    newest: Span,
    /// Newest version of the spans before it; 0: there are none.
    before: u64,
    older: Vec<Span>,
    /// Older spans that were left when they were merged last.
    merged: usize,
}

impl Spans {
    /// Notes an update. `fresh` starts a new span: true for the first update after a moment at which
    /// a class may have been flushed, so that fresh spans never reach across a class's cursor.
    /// `patterns`: how many there are on the shard.
    pub fn note(&mut self, version: u64, due_us: i64, fresh: bool, patterns: usize) {
        let newest = &mut self.newest;
        if newest.last > 0 && !fresh {
            (newest.last, newest.due_us) = (version, newest.due_us.min(due_us));
            return;
        }
        let span = std::mem::replace(newest, Span { last: version, due_us });
        if span.last > 0 {
            self.retire(span, due_us, patterns);
        }
    }

    fn retire(&mut self, span: Span, now_us: i64, patterns: usize) {
        let (part, few) = if patterns > MANY_PATTERNS { (PART_OF_MANY, FEW_OF_MANY) } else { (PART, FEW) };
        self.before = span.last;
        self.older.push(span);
        // Looking through all of them when they have doubled costs each span a constant.
        if self.older.len() >= 2 * self.merged.max(few) {
            self.merge(now_us, part);
        }
    }

    /// Never later than the take-in time of the first update after `position`.
    pub fn oldest_after(&self, position: u64) -> Option<i64> {
        if self.newest.last <= position {
            return None;
        }
        Some(if self.before <= position { self.newest.due_us } else { self.older_after(position) })
    }

    /// The same where some older span reaches beyond `position`.
    fn older_after(&self, position: u64) -> i64 {
        let near = self.older.len().saturating_sub(NEAR);
        let start = if self.older[near].last <= position { near } else { 0 };
        let first = start + self.older[start..].partition_point(|span| span.last <= position);
        self.older[first].due_us
    }

    /// Merges neighbours that cover little of their age together: from the first one's time to that of the
    /// span behind them.
    fn merge(&mut self, now_us: i64, part: i64) {
        let forced = self.older.len().saturating_sub(SPANS_MAX);
        let mut kept = 0;
        for at in 1..self.older.len() {
            let (first, span) = (self.older[kept], self.older[at]);
            let is_short = self.older.get(at + 1).is_some_and(|next| {
                next.due_us.saturating_sub(first.due_us) <= now_us.saturating_sub(next.due_us) / part
            });
            if is_short || at <= forced {
                self.older[kept] = Span { last: span.last, due_us: first.due_us.min(span.due_us) };
            } else {
                kept += 1;
                self.older[kept] = span;
            }
        }
        self.older.truncate(kept + 1);
        self.merged = self.older.len();
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

    /// Holds every answer against the truth; `dues` are the times of the updates 1, 2, 3 …
    fn check(dues: &[i64], patterns: usize, part: i64, spans_max: usize) {
        let mut spans = Spans::default();
        for (i, due_us) in dues.iter().enumerate() {
            spans.note(i as u64 + 1, *due_us, true, patterns);
        }
        let len = spans.older.len() + 1;
        assert!(len <= spans_max, "{len} spans");
        let now_us = dues[dues.len() - 1];
        for (position, truth) in dues.iter().enumerate() {
            let oldest = spans.oldest_after(position as u64).unwrap();
            assert!(oldest <= *truth, "late at {position}: {oldest}");
            let early_us = truth - oldest;
            assert!(early_us <= (now_us - truth) / part, "early by {early_us} at {position}");
        }
    }

    #[test]
    fn the_answer_is_never_late_and_early_by_a_small_part_of_its_age() {
        let steady: Vec<i64> = (1..=100_000).collect();
        check(&steady, 1, PART, 600);
        check(&steady, MANY_PATTERNS + 1, PART_OF_MANY, 150);
    }

    #[test]
    fn the_answer_is_not_early_by_a_pause() {
        for busy in 1..100 {
            let pauses: Vec<i64> =
                (1..=20).flat_map(|n| (0..busy).map(move |i| n * 1_000_000_000 + i)).collect();
            check(&pauses, 1, PART, 600);
            check(&pauses, MANY_PATTERNS + 1, PART_OF_MANY, 150);
        }
    }

    #[test]
    fn times_that_run_backwards_are_kept_in_bounded_spans_and_never_late() {
        let dues: Vec<i64> = (1..=20_000).rev().collect();
        let mut spans = Spans::default();
        for (i, due_us) in dues.iter().enumerate() {
            spans.note(i as u64 + 1, *due_us, true, 1);
            assert!(spans.older.len() < 2 * SPANS_MAX);
        }
        for (position, truth) in dues.iter().enumerate() {
            assert!(spans.oldest_after(position as u64).unwrap() <= *truth);
        }
    }

    #[test]
    fn updates_of_one_drain_share_a_span() {
        let mut spans = Spans::default();
        spans.note(1, 50, true, 1);
        spans.note(2, 40, false, 1);
        spans.note(3, 60, true, 1);
        assert_eq!((spans.oldest_after(0), spans.oldest_after(2)), (Some(40), Some(60)));
        assert_eq!(spans.older.len(), 1);
    }
}
