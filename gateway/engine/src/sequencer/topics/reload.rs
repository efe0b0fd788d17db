//! What holds for topics, where it changes while they are there.

use super::Topics;
use crate::{sequencer::timed::TimedMax, settings::Limits, topic::policy::Policies};

impl Topics {
    /// What is held already stays.
    pub fn set_limits(&mut self, limits: &Limits) {
        (self.value_bytes_max, self.bytes_max) = (limits.value_bytes, limits.topics_bytes);
        self.timed_max = TimedMax::of(limits);
    }

    /// Whether no topic that is there, or remembered, would get another mode or other terms.
    pub fn suit(&self, policies: &Policies) -> bool {
        self.directory.iter().all(|topic| topic.policy.says_the_same(policies.of(&topic.name)))
    }

    /// Of topics that are born from now on. These suit all others.
    pub fn set_policies(&mut self, policies: Policies) {
        self.policies = policies;
    }
}
