//! `loadgen search`: the most of something at which an expectation still holds.

mod bisection;
mod knee;
mod step;

use std::{fs, path::PathBuf, process::ExitCode, sync::atomic::Ordering::Relaxed};

use clap::Parser;

use crate::{
    EXPECTATION_FAILED, FAILED,
    args::{Args, Flags, parse_with_scenario},
    run,
};
use bisection::{Found, bisect};
use knee::Knee;
use step::Steps;

/// Finds the most connections, or the highest rate, at which every --expect holds.
///
/// Doubles from --from until a step fails or --to is reached, then halves the distance until it is
/// within --tolerance. Each step is a run of its own with the flags of loadgen, and holds when all
/// its expectations do and all its connections were established. A step that fails is run once
/// more and fails only if it does so again.
///
/// Exit codes: 0 found (also where even --to holds), 1 run-time failure, 2 bad usage, 3 not even --from holds.
#[derive(Debug, Clone, Parser)]
#[command(name = "loadgen search", version)]
struct SearchFlags {
    /// What is varied
    #[arg(long, value_enum, default_value_t = Vary::Connections)]
    vary: Vary,
    /// The first value, which should hold
    #[arg(long)]
    from: u32,
    /// The last value
    #[arg(long)]
    to: u32,
    /// How near the highest that holds and the lowest that fails must come, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    tolerance: f64,
    #[command(flatten)]
    load: Flags,
}

/// `--vary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Vary {
    Connections,
    /// Connects a second, --rate
    Rate,
    /// Groups a second, --publish
    Publish,
    /// Connections replaced a second, --churn
    Churn,
    /// Pings a second, --pings
    Pings,
}

impl Vary {
    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::Publish => "publish",
            Self::Churn => "churn",
            Self::Pings => "pings",
        }
    }

    /// `load` with `value` of it.
    fn apply(self, load: &Flags, value: u32) -> Flags {
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
    fn check(&self) -> Result<(), String> {
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

/// `arguments` begin with the program's name.
pub fn main(arguments: &[String]) -> ExitCode {
    let flags: SearchFlags = match parse_with_scenario(arguments) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    };
    if let Err(message) = flags.check() {
        return crate::usage(&message);
    }
    search(&flags).unwrap_or_else(|message| {
        eprintln!("loadgen: {message}");
        FAILED.into()
    })
}

fn search(flags: &SearchFlags) -> Result<ExitCode, String> {
    let interrupted = run::interruptions()?;
    let mut steps = Steps::new(flags, interrupted.clone());
    let found = bisect(flags.from, flags.to, flags.tolerance / 100.0, |value| {
        steps.run(value).filter(|_| !interrupted.load(Relaxed))
    });
    let knee = Knee::new(flags, found, interrupted.load(Relaxed), steps.done);
    eprint!("{}", knee.text());
    write(flags.load.report.as_ref(), &format!("{:#}\n", knee.to_json()))?;
    write(flags.load.html.as_ref(), &knee.page())?;
    println!("{}", knee.to_json());
    Ok(match found {
        Found { best: None, .. } => EXPECTATION_FAILED.into(),
        _ => ExitCode::SUCCESS,
    })
}

fn write(path: Option<&PathBuf>, text: &str) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
