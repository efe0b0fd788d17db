//! What of a source was refused, told by the limit that refused it, and each limit once a minute.

use std::collections::HashMap;

use engine::sequencer::Why;

use crate::intake::clocked::ClockedSequencer;

/// Between two lines about the same limit. µs.
const PAUSE_US: u64 = 60_000_000;

#[derive(Debug, Default)]
pub struct Refusals {
    by_limit: HashMap<&'static str, Told>,
}

#[derive(Debug)]
struct Told {
    /// µs, monotonic.
    at_us: u64,
    /// Refused since, and not told.
    untold: u64,
}

impl Refusals {
    /// An update of `source` was left out.
    pub fn tell(&mut self, source: &str, why: &Why, sequencer: &ClockedSequencer) {
        if let Some(more) = self.note(why.limit(), sequencer.now().mono_us) {
            tracing::warn!(source, more, "not published: {why}");
        }
    }

    /// How many more were refused by `limit` since the log said so last; `None`: the log does not say it now.
    fn note(&mut self, limit: &'static str, now_us: u64) -> Option<u64> {
        match self.by_limit.get_mut(limit) {
            Some(told) if now_us < told.at_us + PAUSE_US => {
                told.untold += 1;
                None
            }
            Some(told) => {
                let more = std::mem::take(&mut told.untold);
                told.at_us = now_us;
                Some(more)
            }
            None => {
                self.by_limit.insert(limit, Told { at_us: now_us, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::source::refusals::*;

    #[test]
    fn each_limit_is_told_once_a_minute_with_what_was_not() {
        let mut refusals = Refusals::default();
        let seen = [("a", 0), ("a", 1), ("b", 2), ("a", PAUSE_US - 1), ("a", PAUSE_US), ("a", PAUSE_US + 1)]
            .map(|(limit, now_us)| refusals.note(limit, now_us));
        assert_eq!(seen, [Some(0), None, Some(0), None, Some(2), None]);
    }
}
