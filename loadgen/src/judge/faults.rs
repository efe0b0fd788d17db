//! Broken promises, counted.

use std::collections::BTreeMap;

/// One subscription's, or those of many together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub torn: u64,
    pub violations: BTreeMap<&'static str, u64>,
}

impl Faults {
    pub fn violation(&mut self, what: &'static str) {
        *self.violations.entry(what).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Faults) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.torn += other.torn;
        for (what, count) in &other.violations {
            *self.violations.entry(what).or_default() += count;
        }
    }
}
