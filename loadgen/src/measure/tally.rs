//! What one thread counted; summed over threads at the end.

use std::collections::BTreeMap;

use crate::{judge::faults::Faults, measure::latency::Latency};

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

    pub fn merge(&mut self, other: &Kinds) {
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
    /// Connects tried again after one that came to nothing.
    pub retries: u64,
    pub restart: Restart,
    pub evenness: Evenness,
    /// Of `--churn` and `--since-reconnects`: left, and back.
    pub left: u64,
    pub returned: u64,
    /// First connects that agreed on permessage-deflate.
    pub deflating: u64,
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
    /// Ages below zero, which count as 0 in the histograms.
    pub visible_negative: u64,
    pub arrival_negative: u64,
    /// Of first connects, from their intended start to the 101, and to the end of the first snapshot.
    pub handshake: Latency,
    pub snapshot: Latency,
    /// Turns of a thread's loop: what arrives meanwhile is seen late by as much.
    pub turn: Latency,
    pub pings: Pings,
    pub tokens: Tokens,
    /// How hostile connections ended, by their kind.
    pub hostile: BTreeMap<&'static str, Kinds>,
    pub failures: Kinds,
    pub closes: Kinds,
    pub errors: Kinds,
    pub notices: Kinds,
    /// Largest interval that a `subscribed` named.
    pub interval_ms: u64,
}

impl Tally {
    pub fn hostile_ended(&mut self, kind: &'static str, how: &str) {
        self.hostile.entry(kind).or_default().add(how, 1);
    }

    pub fn merge(&mut self, other: &Tally) {
        for (sum, count) in [
            (&mut self.established, other.established),
            (&mut self.failed, other.failed),
            (&mut self.closed, other.closed),
            (&mut self.retries, other.retries),
            (&mut self.visible_negative, other.visible_negative),
            (&mut self.arrival_negative, other.arrival_negative),
            (&mut self.left, other.left),
            (&mut self.returned, other.returned),
            (&mut self.deflating, other.deflating),
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
        self.turn.merge(&other.turn);
        self.snapshot.merge(&other.snapshot);
        self.restart.merge(&other.restart);
        self.evenness.merge(&other.evenness);
        self.pings.merge(&other.pings);
        self.tokens.merge(&other.tokens);
        for (kind, ends) in &other.hostile {
            self.hostile.entry(kind).or_default().merge(ends);
        }
        self.failures.merge(&other.failures);
        self.closes.merge(&other.closes);
        self.errors.merge(&other.errors);
        self.notices.merge(&other.notices);
        self.interval_ms = self.interval_ms.max(other.interval_ms);
    }
}

/// Connections that the server cut and that came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restart {
    pub cut: u64,
    pub back: u64,
    /// The first cut and the last return, µs since the run's origin.
    pub first_cut_us: Option<u64>,
    pub last_back_us: Option<u64>,
}

impl Restart {
    pub fn cut(&mut self, now_us: u64) {
        self.cut += 1;
        self.first_cut_us.get_or_insert(now_us);
    }

    pub fn back(&mut self, now_us: u64) {
        self.back += 1;
        self.last_back_us = Some(now_us);
    }

    /// From the first cut until all were back; `None` while some are not, or without a cut.
    pub fn seconds(&self) -> Option<f64> {
        let us = self.last_back_us?.saturating_sub(self.first_cut_us?);
        (self.back >= self.cut).then_some(us as f64 / 1e6)
    }

    fn merge(&mut self, other: &Restart) {
        self.cut += other.cut;
        self.back += other.back;
        self.first_cut_us = self.first_cut_us.into_iter().chain(other.first_cut_us).min();
        self.last_back_us = self.last_back_us.max(other.last_back_us);
    }
}

/// Of `--pings`.
#[derive(Debug, Clone, Default)]
pub struct Pings {
    pub sent: u64,
    pub answered: u64,
    /// From when a ping was due to its pong.
    pub age: Latency,
}

impl Pings {
    /// A pong came; the payload is the ping's: when that was due, µs since the run's origin.
    pub fn pong(&mut self, payload: &[u8], now_us: u64) {
        if let Ok(due_us) = payload.try_into().map(u64::from_le_bytes) {
            self.answered += 1;
            self.age.record(now_us.saturating_sub(due_us));
        }
    }

    fn merge(&mut self, other: &Pings) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.age.merge(&other.age);
    }
}

/// Of connections that show one.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Accepted, first ones and renewals.
    pub authorized: u64,
    /// Of them those that were shown on an open connection.
    pub renewed: u64,
    pub refused: u64,
    /// Connections that the server ended for their token's sake.
    pub dropped: u64,
    /// From a renewal to its answer.
    pub answered: Latency,
}

impl Tokens {
    /// One was accepted; `asked_us`: when it was shown on an open connection.
    pub fn accept(&mut self, asked_us: Option<u64>, now_us: u64) {
        self.authorized += 1;
        if let Some(asked_us) = asked_us {
            self.renewed += 1;
            self.answered.record(now_us.saturating_sub(asked_us));
        }
    }

    fn merge(&mut self, other: &Tokens) {
        self.authorized += other.authorized;
        self.renewed += other.renewed;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.answered.merge(&other.answered);
    }
}

/// Of the connections that were held for the whole window at full speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evenness {
    pub judged: u64,
    pub frames_min: Option<u32>,
    pub gap_us_max: Option<u32>,
}

impl Evenness {
    pub fn add(&mut self, frames: u32, gap_us: u32) {
        self.merge(&Evenness { judged: 1, frames_min: Some(frames), gap_us_max: Some(gap_us) });
    }

    fn merge(&mut self, other: &Evenness) {
        self.judged += other.judged;
        self.frames_min = self.frames_min.into_iter().chain(other.frames_min).min();
        self.gap_us_max = self.gap_us_max.max(other.gap_us_max);
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
