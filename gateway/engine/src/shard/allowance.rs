//! Whether a client may subscribe to more.

use std::collections::HashSet;

use super::{Shard, shares::Share};
use crate::{
    fanout::{ClassId, PatternId},
    protocol::request::AUTO,
    topic::pattern::Pattern,
};

impl Shard {
    /// The slot for one subscription more.
    pub(super) fn check_room_for_sub(&mut self, slot: u32, name: &str) -> Result<u8, String> {
        let max = self.subscriptions_max;
        let client = self.at(slot);
        if client.own_subs().count() >= max && name != AUTO {
            return Err(format!("{max} subscriptions are the most a connection may have"));
        }
        Ok(client.free_slot())
    }

    pub(super) fn check_room_for_patterns(
        &mut self,
        slot: u32,
        name: &str,
        held: &[PatternId],
        added: &[Pattern],
    ) -> Result<(), String> {
        if name == AUTO {
            return Ok(());
        }
        let named = self.fanout.pattern_ids(added);
        let repeated = named.iter().filter(|pattern| held.contains(pattern)).count();
        let classes: Vec<ClassId> = self.at(slot).own_subs().map(|sub| sub.class).collect();
        let have: usize = classes.iter().map(|c| self.fanout.classes.get(*c).key.patterns.len()).sum();
        let (would, max) = (have + added.len() - repeated, self.patterns_max);
        if would > max {
            return Err(format!("{would} patterns on this connection ({max} are the most)"));
        }
        Ok(())
    }

    /// What a subscription in `class` counts.
    pub(super) fn share_of(&self, class: ClassId) -> Share {
        Share { patterns: self.fanout.classes.get(class).key.patterns.len(), classes: 1 }
    }

    /// Whether the client's address may hold the subscription with `added`; `held` is what it has now.
    pub(super) fn check_share(
        &mut self,
        slot: u32,
        held: &[PatternId],
        added: &[Pattern],
    ) -> Result<(), String> {
        let before = Share { patterns: held.len(), classes: usize::from(!held.is_empty()) };
        let after = |more: usize| Share { patterns: held.len() + more, classes: 1 };
        let address = self.at(slot).address;
        if self.shares.check(address, before, after(added.len())).is_ok() {
            return Ok(());
        }
        // Some may be named twice, or be held already.
        let named: HashSet<&Pattern> = added.iter().collect();
        let repeated = self.fanout.pattern_ids(added).iter().filter(|id| held.contains(id)).count();
        self.shares.check(address, before, after(named.len() - repeated)).map_err(|exceeded| {
            self.stats.shares_refused += 1;
            exceeded.to_string()
        })
    }
}
