//! A whole shard under random schedules (see [`schedule`]): `SEED=… STEPS=… cargo test --test simulation`.
#![forbid(unsafe_code)]

mod schedule;
mod support;

use std::cell::Cell;

use schedule::Tally;

const STEPS_DEFAULT: u64 = 100_000;

/// Tells how to see a failure again.
struct OnPanic<'a> {
    seed: u64,
    steps: u64,
    step: &'a Cell<u64>,
}

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, steps, step) = (self.seed, self.steps, self.step.get());
            eprintln!(
                "failed at step {step}; again with: SEED={seed} STEPS={steps} cargo test --test simulation"
            );
        }
    }
}

fn env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn every_frame_keeps_the_contract_under_random_schedules() {
    let (seed, steps) = (env("SEED").unwrap_or(1), env("STEPS").unwrap_or(STEPS_DEFAULT));
    let step = Cell::new(0);
    let _on_panic = OnPanic { seed, steps, step: &step };
    let tally = schedule::run(seed, steps, &step);
    println!("seed {seed}, {steps} steps: {tally:?}");
    println!("seed {seed}, sent {:016x}", tally.sent);
    if steps >= STEPS_DEFAULT {
        let Tally {
            batches, snapshots, heartbeats, resumed, parts, closes, resets, drained, stalled, ..
        } = tally;
        for (count, least) in [
            (batches, 10_000),
            (snapshots, 1_000),
            (heartbeats, 1_000),
            (resumed, 100),
            (parts, 1_000),
            (closes, 100),
            (resets, 20),
            (drained, 20),
            (stalled, 200),
            (tally.early, 5),
            (tally.aged, 20),
            (tally.silent, 20),
            (tally.gaps, 100),
            (tally.lapsed, 20),
            (tally.skipped, 100),
            (tally.repeats, 100),
            (tally.key_tombstones_dropped, 100),
            (tally.histories_dropped, 100),
            (tally.patterns_found, 100),
            (tally.patterns_evicted, 20),
            (tally.rested, 10),
            (tally.restarts, 100),
            (tally.followed, 200),
            (tally.statuses, 5_000),
            (tally.deflated, 5_000),
            (tally.inflated, 500),
            (tally.dictionary_bytes, 3_000),
            (tally.declined, 1),
            (tally.roomless, 10),
            (tally.proxied, 500),
            (tally.forged, 20),
            (tally.crowded, 20),
            (tally.tls, 5_000),
            (tally.tls_handshakes, 200),
            (tally.tls_resumed, 50),
            (tally.tls_failed, 20),
            (tally.tls_deferred, 50),
            (tally.tls_shortened, 500),
            (tally.continued, 10_000),
            (tally.passed, 30),
            (tally.cut, 20),
            (tally.closed_within, 20),
            (tally.rungs[1], 500),
            (tally.rungs[2], 50),
            (tally.rungs[3], 100),
            (tally.overloads, 100),
            (tally.refused, 10),
            (tally.reloads, 50),
            (tally.rules, 20),
            (tally.crowded_subjects, 20),
            (tally.authorized, 500),
            (tally.taken, 100),
            (tally.not_granted, 200),
            (tally.revoked, 30),
            (tally.expired, 50),
            (tally.unauthorized, 50),
            (tally.ids, 1_000),
            (tally.values, 500),
            (tally.conflated, 500),
            (tally.waits[0], 1_000),
            (tally.waits[1], 1_000),
            (tally.waits[2], 100),
            (tally.waits[3], 100),
        ] {
            assert!(count >= least, "the schedule has grown too tame: {tally:?}");
        }
    }
}
