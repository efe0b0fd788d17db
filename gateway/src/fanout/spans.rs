//! When the updates of a pattern were taken in: a short log that answers "how old is the oldest
//! thing after position P?" without keeping every update.

/// Spans kept per pattern; when full, neighbours are merged, so old spans grow coarser.
const SPANS_MAX: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Span {
    /// Newest version in the span.
    last: u64,
    /// Earliest take-in (or due) time in the span, µs since the Unix epoch.
    due_us: i64,
}

/// Spans in rising order of version.
#[derive(Debug, Default)]
pub struct Spans {
    spans: Vec<Span>,
}

impl Spans {
    /// Notes an update. `fresh` starts a new span: true for the first update after a moment at which
    /// a class may have been flushed, so that spans never reach across a class's cursor.
    pub fn note(&mut self, version: u64, due_us: i64, fresh: bool) {
        match self.spans.last_mut() {
            Some(span) if !fresh => {
                span.last = version;
                span.due_us = span.due_us.min(due_us);
            }
            _ => {
                if self.spans.len() == SPANS_MAX {
                    self.merge();
                }
                self.spans.push(Span { last: version, due_us });
            }
        }
    }

    /// Never later than the take-in time of the first update after `position`. Early only where
    /// spans were merged.
    pub fn oldest_after(&self, position: u64) -> Option<i64> {
        let first = self.spans.partition_point(|span| span.last <= position);
        self.spans.get(first).map(|span| span.due_us)
    }

    /// Merges the older half pairwise: the newest spans, which regular flushes ask for, stay exact.
    fn merge(&mut self) {
        let half = SPANS_MAX / 2;
        for i in 0..half / 2 {
            let (a, b) = (self.spans[2 * i], self.spans[2 * i + 1]);
            self.spans[i] = Span { last: b.last, due_us: a.due_us.min(b.due_us) };
        }
        self.spans.drain(half / 2..half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_update_after_a_position_is_found_exactly_while_few() {
        let mut spans = Spans::default();
        for i in 1..=10u64 {
            spans.note(i * 10, i as i64 * 1000, true);
        }
        assert_eq!(spans.oldest_after(0), Some(1000));
        assert_eq!(spans.oldest_after(10), Some(2000));
        assert_eq!(spans.oldest_after(95), Some(10_000));
        assert_eq!(spans.oldest_after(100), None);
    }

    #[test]
    fn merging_is_early_and_never_late() {
        let mut spans = Spans::default();
        for i in 1..=5000u64 {
            spans.note(i, i as i64, true);
            assert!(spans.spans.len() <= SPANS_MAX);
        }
        for position in 0..5000u64 {
            let oldest = spans.oldest_after(position).unwrap();
            assert!(oldest <= position as i64 + 1, "late at {position}: {oldest}");
        }
        // The newest half is exact.
        assert_eq!(spans.oldest_after(4980), Some(4981));
    }
}
