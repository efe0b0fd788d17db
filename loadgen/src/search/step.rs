//! One step of the search: a whole run, and once more if it fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::flags::{SearchFlags, Vary};
use crate::{
    args::{Args, Flags},
    report::figures::Report,
    run::{self, report::build},
    server::{admin::Admin, metrics, url::Resolution},
};

/// A step that fails is run so often in all.
const TRIES_MAX: u32 = 2;
/// The server's connections of the step before are waited for.
const FREE_MAX: Duration = Duration::from_secs(20);
/// Where nobody can be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a value.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub value: u32,
    pub holds: bool,
    pub tries: u32,
    /// Why it does not hold.
    pub reason: Option<String>,
    /// Of the last try, without its series; `None` where it brought none.
    pub report: Option<Report>,
}

/// The steps done so far.
pub struct Steps {
    vary: Vary,
    load: Flags,
    interrupted: Arc<AtomicBool>,
    pub done: Vec<Step>,
}

impl Steps {
    pub(super) fn new(flags: &SearchFlags, interrupted: Arc<AtomicBool>) -> Self {
        Self { vary: flags.vary, load: flags.load.clone(), interrupted, done: Vec::new() }
    }

    /// Whether `value` holds; `None` once the user has had enough.
    pub fn run(&mut self, value: u32) -> Option<bool> {
        let mut step = Step { value, holds: false, tries: 0, reason: None, report: None };
        while !step.holds && step.tries < TRIES_MAX && !self.interrupted.load(Relaxed) {
            step.tries += 1;
            eprintln!("loadgen: {} {value}, try {}", self.vary.name(), step.tries);
            self.attempt(&mut step);
            self.wait_until_free();
        }
        let interrupted = self.interrupted.load(Relaxed);
        let holds = step.holds;
        if !interrupted {
            self.done.push(step);
        }
        (!interrupted).then_some(holds)
    }

    fn attempt(&self, step: &mut Step) {
        let flags = self.vary.apply(&self.load, step.value);
        let ran = Args::check(flags).and_then(|args| {
            let args = Arc::new(args);
            let results = run::run(&args, &self.interrupted)?;
            Ok(build(&results, &args.expect).without_series())
        });
        match ran {
            Err(why) => (step.holds, step.reason) = (false, Some(why)),
            Ok(report) => {
                step.reason = shortfall(&report);
                step.holds = step.reason.is_none();
                step.report = Some(report);
            }
        }
    }

    /// The next step begins with a server that has nothing left of this one.
    fn wait_until_free(&self) {
        let known = self.load.resolve.iter().filter_map(|text| Resolution::parse(text).ok());
        let known: Vec<Resolution> = known.collect();
        let (url, key) = (self.load.admin.as_deref(), self.load.admin_key.as_deref());
        let admin = Admin::of(url, key, &known).ok().flatten();
        let ends = Instant::now() + FREE_MAX;
        while let Some(admin) = &admin
            && Instant::now() < ends
            && !self.interrupted.load(Relaxed)
        {
            let open = metrics::scrape(admin).map(|samples| {
                let of = samples.iter().filter(|(name, _)| name.starts_with("fanwire_connections{"));
                of.map(|(_, sample)| sample.value).sum::<f64>()
            });
            match open {
                Ok(open) if open > 0.0 => thread::sleep(PAUSE / 10),
                _ => break,
            }
        }
        if admin.is_none() {
            thread::sleep(PAUSE);
        }
    }
}

/// Why a run does not hold; `None`: it does.
fn shortfall(report: &Report) -> Option<String> {
    let connections = &report.connections;
    if connections.established < connections.requested {
        let (kind, count) = report.failures.iter().max_by_key(|(_, count)| **count)?;
        let (established, requested) = (connections.established, connections.requested);
        return Some(format!("{established} of {requested} established; {count} × {kind}"));
    }
    report.expect.iter().find(|outcome| !outcome.holds).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::outcome::Outcome;

    #[test]
    fn a_run_falls_short_by_connections_or_by_an_expectation() {
        let mut report = Report::default();
        report.connections.requested = 10;
        report.connections.established = 9;
        report.failures.insert("HTTP 503".into(), 1);
        assert_eq!(shortfall(&report).unwrap(), "9 of 10 established; 1 × HTTP 503");
        report.connections.established = 10;
        assert_eq!(shortfall(&report), None);
        report.expect.push(Outcome {
            expect: "visible.p99<1".into(),
            value: Some(2.0),
            bound: 1.0,
            holds: false,
        });
        assert!(shortfall(&report).unwrap().contains("visible.p99<1 does not hold (is 2)"));
    }
}
