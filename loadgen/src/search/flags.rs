//! The command line of the search.

use clap::Parser;

use crate::args::{Args, Flags};

/// Finds the most connections, or the highest rate, at which every --expect holds.
///
/// The search doubles the value from --from on until a step fails or --to is reached. Then it halves
/// the distance between the highest value that held and the lowest that failed until that is within
/// --tolerance. Example: --from 1000 --to 50000 tries 1000, 2000, 4000 … and, if 8000 is the first to
/// fail, goes on between 4000 and 8000.
///
/// A step is a run of its own with the flags of loadgen. It holds when all its --expect do and all its
/// connections were established. A step that fails is run once more, and fails only if it does so again.
///
/// Exit codes: 0 found (also where even --to holds), 1 run-time failure, 2 bad usage, 3 not even --from holds.
#[derive(Debug, Clone, Parser)]
#[command(name = "loadgen search", bin_name = "loadgen search", version)]
pub struct SearchFlags {
    /// The figure that is varied
    #[arg(long, value_enum, default_value_t = Vary::Connections)]
    pub vary: Vary,
    /// The first value, which should hold, 1 or more. Required
    #[arg(long, value_name = "N")]
    pub from: u32,
    /// The last value; the search ends there if it holds. Required
    #[arg(long, value_name = "N")]
    pub to: u32,
    /// How near the highest value that holds and the lowest that fails must come, in percent, 0.1 to 100
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub tolerance: f64,
    #[command(flatten)]
    pub load: Flags,
}

/// `--vary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Vary {
    /// Number of connections, --connections
    Connections,
    /// First connects a second, --rate
    Rate,
    /// Atomic groups a second, --publish
    Publish,
    /// Connections replaced a second, --churn
    Churn,
    /// Pings a second, --pings
    Pings,
}

impl Vary {
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Publish => "publish",
            Self::Churn => "churn",
            Self::Pings => "pings",
        }
    }

    /// `load` with `value` of it.
    pub fn apply(self, load: &Flags, value: u32) -> Flags {
        let mut flags = load.clone();
        let rate = f64::from(value);
        match self {
            Self::Connections => flags.connections = value,
            Self::Rate => flags.rate = Some(rate),
            Self::Publish => flags.publish = rate,
            Self::Churn => flags.churn = rate,
            Self::Pings => flags.pings = rate,
        }
        flags
    }
}

impl SearchFlags {
    pub fn check(&self) -> Result<(), String> {
        if self.from == 0 || self.from > self.to {
            return Err(format!(
                "--from {} --to {}: write two values, 1 or more, in rising order",
                self.from, self.to
            ));
        }
        if !(0.1..=100.0).contains(&self.tolerance) {
            return Err(format!("--tolerance {}: write 0.1 to 100 percent", self.tolerance));
        }
        if self.load.expect.is_empty() {
            return Err(
                "--expect is missing: write what must hold, for example --expect 'visible.p99<250ms'".into(),
            );
        }
        if self.load.hgrm.is_some() {
            return Err("--hgrm is for one run; --report FILE.json has the figures of every step".into());
        }
        Args::check(self.vary.apply(&self.load, self.from)).map(drop)
    }
}
