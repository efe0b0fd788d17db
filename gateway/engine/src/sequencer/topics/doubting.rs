//! Gaps that others tell of topics, as topics take them.

use super::{Doubter, Topics};
use crate::topic::pattern::Pattern;

impl Topics {
    /// Notes that `by` reports a gap of the topics of these patterns, or that it has ended.
    pub fn doubt(&mut self, by: Doubter, topics: Vec<Pattern>, is_gap: bool) {
        self.doubts.set(by, topics, is_gap);
    }

    /// All that one has told ends.
    pub fn end_doubts(&mut self, by: Doubter) {
        self.doubts.end_all(by);
    }
}
