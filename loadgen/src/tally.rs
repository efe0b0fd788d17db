//! What one thread counted; summed over threads at the end.

use std::collections::BTreeMap;

use crate::{judge::Faults, sample::Latency};

/// Distinct texts kept per kind of count; further ones are summed under one name.
const KINDS_MAX: usize = 64;

/// Counts by name.
#[derive(Debug, Clone, Default)]
pub struct Kinds(pub BTreeMap<String, u64>);

impl Kinds {
    pub fn add(&mut self, kind: &str, count: u64) {
        if let Some(known) = self.0.get_mut(kind) {
            *known += count;
            return;
        }
        let kind = if self.0.len() < KINDS_MAX { kind } else { "others" };
        *self.0.entry(kind.to_owned()).or_default() += count;
    }

    fn merge(&mut self, other: &Kinds) {
        other.0.iter().for_each(|(kind, count)| self.add(kind, *count));
    }
}

/// Counts and latencies of the measured window, faults and ends of connections of the whole run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub established: u64,
    /// First connects that came to nothing.
    pub failed: u64,
    /// Established connections that ended without our asking.
    pub closed: u64,
    /// Of `--churn` and `--since-reconnects`: left, and back.
    pub left: u64,
    pub returned: u64,
    /// Returns with `since` that were answered with a snapshot.
    pub resumed_by_snapshot: u64,
    pub frames: u64,
    pub updates: u64,
    pub conflated: u64,
    pub snapshots: u64,
    pub payload_bytes: u64,
    pub wire_bytes: u64,
    pub faults: Faults,
    pub visible: Latency,
    pub arrival: Latency,
    /// Of readers that were slowed down on purpose.
    pub slow_visible: Latency,
    /// Of first connects.
    pub handshake: Latency,
    pub failures: Kinds,
    pub closes: Kinds,
    pub errors: Kinds,
    pub notices: Kinds,
    /// Largest interval that a `subscribed` named.
    pub interval_ms: u64,
}

impl Tally {
    pub fn merge(&mut self, other: &Tally) {
        for (sum, count) in [
            (&mut self.established, other.established),
            (&mut self.failed, other.failed),
            (&mut self.closed, other.closed),
            (&mut self.left, other.left),
            (&mut self.returned, other.returned),
            (&mut self.resumed_by_snapshot, other.resumed_by_snapshot),
            (&mut self.frames, other.frames),
            (&mut self.updates, other.updates),
            (&mut self.conflated, other.conflated),
            (&mut self.snapshots, other.snapshots),
            (&mut self.payload_bytes, other.payload_bytes),
            (&mut self.wire_bytes, other.wire_bytes),
        ] {
            *sum += count;
        }
        self.faults.merge(&other.faults);
        self.visible.merge(&other.visible);
        self.arrival.merge(&other.arrival);
        self.slow_visible.merge(&other.slow_visible);
        self.handshake.merge(&other.handshake);
        self.failures.merge(&other.failures);
        self.closes.merge(&other.closes);
        self.errors.merge(&other.errors);
        self.notices.merge(&other.notices);
        self.interval_ms = self.interval_ms.max(other.interval_ms);
    }
}

/// What one thread counted since progress was last printed.
#[derive(Debug, Default)]
pub struct Second {
    pub frames: u64,
    pub updates: u64,
    pub visible: Latency,
}

impl Second {
    /// Moves `from` into this one.
    pub fn take(&mut self, from: &mut Second) {
        self.frames += std::mem::take(&mut from.frames);
        self.updates += std::mem::take(&mut from.updates);
        self.visible.merge(&from.visible);
        from.visible.clear();
    }
}
