//! `loadgen search`: the most of something at which an expectation still holds.

mod bisection;
mod flags;
mod knee;
mod step;

use std::{fs, path::PathBuf, process::ExitCode, sync::atomic::Ordering::Relaxed};

use crate::{
    args::parse_with_scenario,
    exit::{self, EXPECTATION_FAILED, FAILED},
    run,
};
use bisection::{Found, bisect};
pub use flags::SearchFlags;
use knee::Knee;
use step::Steps;

/// `arguments` begin with the program's name.
pub fn main(arguments: &[String]) -> ExitCode {
    let flags: SearchFlags = match parse_with_scenario(arguments) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    };
    if let Err(message) = flags.check() {
        return exit::usage(&message);
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
