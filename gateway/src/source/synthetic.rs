//! A made-up ticker: seeded random walks, the same for the same seed.

use std::{fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use engine::{
    clock::Now,
    keys,
    sequencer::{Body, Publication, seq::Feed},
    settings::Group,
    topic::pattern::Pattern,
};
use tokio::time::MissedTickBehavior;

use super::{
    activity::Activity,
    kind::{Context, Declared, Given, Kind, Running},
    live::{Counts, Live},
    refusals::Refusals,
};
use crate::{
    document::{read::Section, write::Text},
    intake::clocked::ClockedSequencer,
};

const TICK: Duration = Duration::from_millis(1);
/// Updates made before other tasks have their turn.
const SLICE: u64 = 4096;
/// A source further behind than this does not catch up: what it missed counts as conflated.
const BEHIND_S_MAX: f64 = 1.0;

keys! {
    /// of kind = "synthetic": made-up topics tick.S0000, tick.S0001, … with bid, ask, last, size and n.
    pub(super) struct SyntheticKeys in "source" {
        /// How many topics.
        symbols: usize = count(100, 1..=1_000_000);
        /// Updates a second of all of them together.
        updates_per_s: f64 = number(1000.0, 0.001..=1e7);
        /// The same seed gives the same walk.
        seed: u64 = count(1, 0..=u64::MAX);
    }
}

/// Made-up topics.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    pub symbols: usize,
    /// Of all together.
    pub updates_per_s: f64,
    pub seed: u64,
}

impl Declared for Synthetic {
    const NAME: &'static str = "synthetic";
    const GROUPS: &'static [Group] = &[Group::of::<SyntheticKeys>()];

    fn read(section: &mut Section, _: &Given) -> Option<Self> {
        let SyntheticKeys { symbols, updates_per_s, seed } = section.keys();
        Some(Self { symbols, updates_per_s, seed })
    }
}

impl Kind for Synthetic {
    fn write(&self, text: &mut Text) {
        let Self { symbols, updates_per_s, seed } = *self;
        text.keys(&SyntheticKeys { symbols, updates_per_s, seed });
    }

    fn topics(&self) -> Vec<Pattern> {
        vec![Pattern::below("tick")]
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move { run(&self, &with.publisher, &with.activity).await })
    }
}

/// Publishes for good: first every symbol once, then `updates_per_s` of random symbols.
pub async fn run(
    source: &Synthetic,
    sequencer: &ClockedSequencer,
    activity: &Activity,
) -> Result<(), String> {
    let Synthetic { symbols, updates_per_s, seed } = *source;
    let mut walk = Walk::new(symbols, seed);
    let (mut live, mut refusals) = (Live::default(), Refusals::default());
    let feed = Some(Feed { source: sequencer.enroll(), connection: 0 });
    let start = sequencer.now();
    for symbol in 0..symbols {
        live.push(Publication { feed, ..walk.step(symbol, start.wall_us) }, Counts::Newest);
    }
    let mut made = 0u64;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = sequencer.now();
        let mut conflated = 0;
        loop {
            let due = due_by(now, start, updates_per_s).saturating_sub(made);
            let missed = due.saturating_sub((updates_per_s * BEHIND_S_MAX) as u64 + 1);
            made += missed;
            conflated += missed;
            let slice = (due - missed).min(SLICE);
            for _ in 0..slice {
                made += 1;
                let due_mono_us = start.mono_us as f64 + made as f64 * 1e6 / updates_per_s;
                let due_us = now.wall_us - now.mono_us as i64 + due_mono_us as i64;
                live.push(Publication { feed, ..walk.next(due_us) }, Counts::Newest);
            }
            if slice > 0 || made == 0 {
                activity.touch(now.mono_us);
            }
            let outcome = live.publish(sequencer);
            for refused in &outcome.refused {
                refusals.tell(&activity.name, &refused.why, sequencer);
            }
            conflated += outcome.conflated;
            if slice < SLICE {
                break;
            }
            tokio::task::yield_now().await;
        }
        if conflated > 0 {
            sequencer.count_conflated(conflated);
        }
    }
}

/// Updates that should have been made by `now`.
fn due_by(now: Now, start: Now, updates_per_s: f64) -> u64 {
    ((now.mono_us - start.mono_us) as f64 / 1e6 * updates_per_s) as u64
}

/// Prices that wander.
#[derive(Debug)]
pub struct Walk {
    random: fastrand::Rng,
    symbols: Vec<Symbol>,
    scratch: String,
}

#[derive(Debug)]
struct Symbol {
    topic: Arc<str>,
    /// In hundredths.
    price: i64,
    /// Updates of this symbol.
    n: u64,
}

impl Walk {
    pub fn new(symbols: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let symbol =
            |i| Symbol { topic: format!("tick.S{i:04}").into(), price: random.i64(1_000..50_000), n: 0 };
        let symbols = (0..symbols).map(symbol).collect();
        Self { random, symbols, scratch: String::new() }
    }

    /// The next update of a random symbol.
    pub fn next(&mut self, due_us: i64) -> Publication {
        let symbol = self.random.usize(0..self.symbols.len());
        self.step(symbol, due_us)
    }

    /// The next update of one symbol: `{"bid","ask","last","size","n"}`.
    pub fn step(&mut self, symbol: usize, due_us: i64) -> Publication {
        let Symbol { topic, price, n } = &mut self.symbols[symbol];
        *price = (*price + self.random.i64(-5..=5)).max(100);
        *n += 1;
        let half_spread = self.random.i64(1..=3);
        let last = *price + self.random.i64(-half_spread..=half_spread);
        let size = self.random.u32(1..=50) * 100;
        let [bid, ask, last] = [*price - half_spread, *price + half_spread, last].map(|p| p as f64 / 100.0);
        self.scratch.clear();
        let json = write!(
            self.scratch,
            r#"{{"bid":{bid:.2},"ask":{ask:.2},"last":{last:.2},"size":{size},"n":{n}}}"#
        );
        json.expect("writing to memory does not fail");
        let data = Bytes::copy_from_slice(self.scratch.as_bytes());
        Publication { ts_us: Some(due_us), ..Publication::new(topic.clone(), Body::Data(data), due_us) }
    }
}
