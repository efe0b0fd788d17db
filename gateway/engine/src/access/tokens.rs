//! What all shards share of tokens. Touched where one is accepted, and where its connection ends.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use net::ConnId;

use super::{revoked::Revocations, verify::Verify};
use crate::invariant;

/// Of 32 bits that tell the connections of one generation apart, those of the slot; above them stands the shard.
const SLOT_BITS: u32 = 22;

#[derive(Default)]
pub struct Tokens {
    /// `None`: there are no keys.
    pub verifier: Option<Arc<dyn Verify>>,
    pub revocations: Revocations,
    /// Tokens being verified elsewhere, and how many may be.
    checks: AtomicUsize,
    checks_max: AtomicUsize,
    /// Makes ids of connections unlike those of an earlier run.
    seed: u64,
    /// Connections of each subject.
    by_sub: Mutex<HashMap<Box<str>, usize>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("checks", &self.checks).finish_non_exhaustive()
    }
}

impl Tokens {
    /// `seed`: of chance, and another at every start.
    pub fn new(
        verifier: Option<Arc<dyn Verify>>,
        checks_max: usize,
        revocations_max: usize,
        seed: u64,
    ) -> Self {
        let revocations = Revocations::new(revocations_max);
        Self { verifier, revocations, checks_max: checks_max.into(), seed, ..Self::default() }
    }

    /// Other limits hold from now on.
    pub fn set_max(&self, checks: usize, revocations: usize) {
        self.checks_max.store(checks, Ordering::Relaxed);
        self.revocations.set_max(revocations);
    }

    /// Takes a place among those being verified, unless all are taken.
    pub fn begin_check(&self) -> bool {
        let max = self.checks_max.load(Ordering::Relaxed);
        let room = |n: usize| (n < max).then_some(n + 1);
        self.checks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// Gives it back, once the shard has the answer.
    pub fn end_check(&self) {
        self.checks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tokens being verified.
    pub fn checks(&self) -> usize {
        self.checks.load(Ordering::Relaxed)
    }

    /// The id of a connection: unlike that of any other of this process, and of earlier ones.
    pub fn conn(&self, shard: usize, conn: ConnId) -> u64 {
        invariant!(
            conn.slot >> SLOT_BITS == 0 && shard >> (u32::BITS - SLOT_BITS) == 0,
            "slot {} of shard {shard} has no number of its own",
            conn.slot
        );
        let place = u64::from(conn.slot) | (shard as u64) << SLOT_BITS;
        mixed((u64::from(conn.generation) << 32 | place) ^ self.seed)
    }

    /// Counts a connection of a subject in, where it may have at most `max`, which is not 0. `false`: it has as many.
    pub fn count_in(&self, sub: &str, max: usize) -> bool {
        let mut by_sub = self.by_sub.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = by_sub.get_mut(sub) else {
            by_sub.insert(sub.into(), 1);
            return true;
        };
        let has_room = *held < max;
        *held += usize::from(has_room);
        has_room
    }

    /// Counts it out again.
    pub fn count_out(&self, sub: &str) {
        let mut by_sub = self.by_sub.lock().unwrap_or_else(PoisonError::into_inner);
        let held = by_sub.get_mut(sub).expect("a connection that is counted out was counted in");
        *held -= 1;
        if *held == 0 {
            by_sub.remove(sub);
        }
    }

    /// Subjects of live connections.
    pub fn subjects(&self) -> usize {
        self.by_sub.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Scatters numbers, different ones to different places (the finalizer of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::access::tokens::*;

    #[test]
    fn ids_of_connections_are_unlike_each_other() {
        let tokens = Tokens::new(None, 1, 1, 99);
        let conns = (0..8).flat_map(|shard| {
            (0..50).flat_map(move |slot| (0..5).map(move |generation| (shard, ConnId { slot, generation })))
        });
        let ids: HashSet<u64> = conns.map(|(shard, conn)| tokens.conn(shard, conn)).collect();
        assert_eq!(ids.len(), 2000);
    }

    #[test]
    fn connections_of_a_subject_are_counted_and_forgotten() {
        let tokens = Tokens::new(None, 1, 1, 0);
        assert!(tokens.count_in("a", 2) && tokens.count_in("a", 2) && !tokens.count_in("a", 2));
        tokens.count_out("a");
        assert!(tokens.count_in("a", 2));
        (0..2).for_each(|_| tokens.count_out("a"));
        assert_eq!(tokens.subjects(), 0);
        assert!(tokens.begin_check() && !tokens.begin_check());
        tokens.end_check();
        assert!(tokens.begin_check());
    }
}
