//! Each planted bug is found by the simulation's model within 100,000 steps, and without one it finds nothing:
//! `scripts/check planted`; `scripts/check planted CursorTooFar` looks for that one only. In the copy of the sources
//! that has the bugs this file is `tests/planted.rs`.
#![forbid(unsafe_code)]

mod schedule;
mod support;

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
};

use engine::planted::{Bug, plant};

const SEEDS: [u64; 2] = [1, 2];
const STEPS: u64 = 100_000;

thread_local! {
    /// Where this thread's last panic was, and what it said.
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// The step at which a violation is found with this bug planted, the file of the check and its words.
fn found(bug: Bug, seed: u64) -> Option<(u64, String, String)> {
    let step = Cell::new(0);
    plant(Some(bug));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| schedule::run(seed, STEPS, &step)));
    plant(None);
    ended.err()?;
    let (file, words) = PANIC.take()?;
    Some((step.get(), file, words))
}

#[test]
fn every_planted_bug_is_found_within_100_000_steps() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        let words = info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        PANIC.set(Some((place, words)));
    }));
    let mut unfound = Vec::new();
    let only = std::env::var("BUG").ok();
    for bug in Bug::ALL.iter().filter(|bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"))) {
        match SEEDS.iter().find_map(|seed| found(*bug, *seed).map(|found| (seed, found))) {
            Some((seed, (step, place, words))) => {
                let words: String = words.chars().take(90).collect();
                println!("{bug:?}: seed {seed}, step {step}, {place}: {words}");
                // The contract's model has to see it, not an assertion of the code that is wrong.
                assert!(place.contains("tests/"), "{bug:?} is found by {place}, not by the model: {words}");
            }
            None => unfound.push(bug),
        }
    }
    let _ = panic::take_hook();
    assert!(unfound.is_empty(), "not found: {unfound:?}");
}
