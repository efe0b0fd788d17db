//! A cost: what is measured, at which two sizes, and how much dearer the larger may be.

use std::time::Instant;

use serde_json::{Value, json};

/// What one thing costs at two sizes.
pub struct Cost {
    pub name: &'static str,
    /// What a sample is, and what the size counts.
    pub what: &'static str,
    pub sizes: [usize; 2],
    /// Goal: the larger's cost ÷ the smaller's.
    pub ratio_max: f64,
    /// Goal for a sample at the larger size. Milliseconds.
    pub ms_max: Option<f64>,
    /// Compared by instructions, since its time is too noisy.
    pub is_counted: bool,
    /// Sets up one size and takes as many samples as the meter wants.
    pub run: fn(usize, &mut Meter),
}

impl Cost {
    pub fn row(&self) -> Value {
        let Self { name, what, sizes, ratio_max, ms_max, is_counted, .. } = self;
        json!({
            "name": name, "what": what, "sizes": sizes,
            "ratio_max": ratio_max, "ms_max": ms_max, "is_counted": is_counted,
        })
    }
}

/// Takes the time of samples.
pub struct Meter {
    wanted: usize,
    ns: Vec<u64>,
    /// Memory at its highest, and the goal for it.
    mib: Option<(f64, f64)>,
}

impl Meter {
    pub fn new(wanted: usize) -> Self {
        Self { wanted, ns: Vec::with_capacity(wanted), mib: None }
    }

    /// Samples still to be taken, counted from 0.
    pub fn samples(&self) -> std::ops::Range<usize> {
        0..self.wanted
    }

    /// Takes a sample of `work`; what stands around it does not count.
    pub fn sample(&mut self, mut work: impl FnMut()) {
        let began = Instant::now();
        measured(&mut work);
        self.ns.push(began.elapsed().as_nanos() as u64);
    }

    /// The only sample is the longest of all that this is called with. Of such there are no instructions.
    pub fn longest(&mut self, mut work: impl FnMut()) {
        let began = Instant::now();
        work();
        let ns = began.elapsed().as_nanos() as u64;
        let longest = self.ns.first().copied().unwrap_or(0).max(ns);
        self.ns = vec![longest];
    }

    /// Memory at its highest, beside what was held before, and the goal for it.
    pub fn note_mib(&mut self, mib: f64, mib_max: f64) {
        self.mib = Some((mib, mib_max));
    }

    pub fn mib(&self) -> Option<(f64, f64)> {
        self.mib
    }

    pub fn len(&self) -> usize {
        self.ns.len()
    }

    pub fn median_ns(&self) -> u64 {
        let mut ns = self.ns.clone();
        ns.sort_unstable();
        ns[ns.len() / 2]
    }
}

/// Callgrind counts between its beginning and its end; `scripts/bench costs` knows it by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}
