//! What a subscriber was told of the states of its topics (PROTOCOL.md, "Health").

use std::collections::BTreeSet;

use engine::topic::pattern::Pattern;

use super::held::Sub;

/// Patterns that it was told not to be live.
#[derive(Debug, Default)]
pub struct States(BTreeSet<String>);

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|bad| panic!("{bad}"))
}

/// Whether a topic of these patterns may be of one of the subscriptions.
fn concerns(text: &str, subs: &[Sub]) -> bool {
    subs.iter().flat_map(|sub| &sub.patterns).any(|own| pattern(own).overlaps(&pattern(text)))
}

impl States {
    /// Takes a status.
    pub fn take(&mut self, topics: &[&str], state: &str, subs: &[Sub]) {
        assert!(topics.iter().any(|topic| concerns(topic, subs)), "a status of {topics:?} concerns it not");
        for topic in topics {
            // What came from an earlier run is told by topic, to whom it concerns.
            let is_topic = !topic.contains('*');
            assert!(!is_topic || concerns(topic, subs), "it did not ask for {topic}, which is {state}");
            match state {
                "live" => _ = self.0.remove(*topic),
                _ => _ = self.0.insert(topic.to_string()),
            }
        }
    }

    /// It has subscribed to these patterns: what is not live of them follows.
    pub fn forget(&mut self, asked: &[Pattern]) {
        self.0.retain(|topic| !asked.iter().any(|asked| asked.overlaps(&pattern(topic))));
    }

    /// It was told of all that is not live and concerns it, and of nothing else.
    pub fn check(&self, subs: &[Sub], not_live: &BTreeSet<String>) {
        let own = |patterns: &BTreeSet<String>| -> BTreeSet<String> {
            patterns.iter().filter(|text| concerns(text, subs)).cloned().collect()
        };
        assert_eq!(own(&self.0), own(not_live), "what it was told not to be live, and what is not");
    }
}
