//! One line a second on stderr.

use std::fmt;

use crate::report::Moment;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connect,
    Measure,
    /// Final values are on their way.
    Settle,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stage::Connect => "connect",
            Stage::Measure => "measure",
            Stage::Settle => "settle",
        })
    }
}

/// Shows how a run goes.
#[derive(Debug)]
pub struct Progress;

impl Progress {
    pub fn new() -> Self {
        Self
    }

    pub fn show(&mut self, moment: &Moment, requested: u64, stage: Stage) {
        let p99 = moment.visible_p99_ms.map_or("-".into(), |ms| format!("{ms:.1} ms"));
        eprintln!(
            "{:>4.0}s {stage:<9} connections {}/{requested} failed {} frames {:.0}/s updates {:.0}/s p99 {p99}",
            moment.at_s, moment.open, moment.failed, moment.frames_per_s, moment.updates_per_s
        );
    }
}
