//! What each address holds of a shard's tables of patterns and classes.

use std::collections::HashMap;

use thiserror::Error;

use crate::{address::Address, settings::Limits};

/// Of those tables. What several subscriptions name counts for each of them, so that a share is given back
/// exactly as it was taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub patterns: usize,
    /// Subscriptions, each of which is in a class.
    pub classes: usize,
}

/// An address has its share already. The text says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Exceeded {
    /// [limits] patterns_per_ip.
    #[error(
        "{would} patterns of this address's connections ([limits] patterns_per_ip = {max} per shard); unsubscribe from some, or name fewer"
    )]
    Patterns { would: usize, max: usize },
    /// [limits] classes_per_ip.
    #[error(
        "{would} subscriptions of this address's connections ([limits] classes_per_ip = {max} per shard); end some"
    )]
    Classes { would: usize, max: usize },
}

/// Shares by address, of those that hold any. Nothing is counted where there is no limit.
#[derive(Debug)]
pub struct Shares {
    /// 0: no limit.
    max: Share,
    by_address: HashMap<Address, Share>,
}

impl Shares {
    pub fn new(limits: &Limits) -> Self {
        let max = Share { patterns: limits.patterns_per_ip, classes: limits.classes_per_ip };
        Self { max, by_address: HashMap::new() }
    }

    /// `true`: what is held is to be counted, which nobody did before.
    pub fn set_limits(&mut self, limits: &Limits) -> bool {
        let before = std::mem::replace(self, Self::new(limits));
        let (was_counted, is_counted) = (before.max != Share::default(), self.max != Share::default());
        if was_counted && is_counted {
            self.by_address = before.by_address;
        }
        is_counted && !was_counted
    }

    /// Whether `address` may hold `after` in place of `before`.
    pub fn check(&self, address: Address, before: Share, after: Share) -> Result<(), Exceeded> {
        if self.max == Share::default() {
            return Ok(());
        }
        let held = self.of(address);
        let patterns = held.patterns + after.patterns - before.patterns;
        let classes = held.classes + after.classes - before.classes;
        let exceeds = |would: usize, max: usize| max > 0 && would > max;
        if after.patterns > before.patterns && exceeds(patterns, self.max.patterns) {
            return Err(Exceeded::Patterns { would: patterns, max: self.max.patterns });
        }
        if after.classes > before.classes && exceeds(classes, self.max.classes) {
            return Err(Exceeded::Classes { would: classes, max: self.max.classes });
        }
        Ok(())
    }

    pub fn take(&mut self, address: Address, share: Share) {
        if self.max == Share::default() {
            return;
        }
        let held = self.by_address.entry(address).or_default();
        held.patterns += share.patterns;
        held.classes += share.classes;
    }

    pub fn give_back(&mut self, address: Address, share: Share) {
        if self.max == Share::default() {
            return;
        }
        let held = self.by_address.get_mut(&address).expect("what is given back was taken");
        held.patterns -= share.patterns;
        held.classes -= share.classes;
        if *held == Share::default() {
            self.by_address.remove(&address);
        }
    }

    /// What `address` holds.
    pub fn of(&self, address: Address) -> Share {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    /// Addresses that hold anything.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }
}
