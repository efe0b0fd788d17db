//! Load generator and promise checker: holds very many connections, measures how late values
//! are seen, and checks every promise of the contract that a client can see.
#![forbid(unsafe_code)]

mod args;
mod host;
mod http;
mod judge;
mod progress;
mod publish;
mod report;
mod run;
mod sample;
mod shared;
mod stamp;
mod tally;
mod url;
mod worker;

use std::{fs, process::ExitCode, sync::Arc};

use args::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const EXPECTATION_FAILED: u8 = 3;

fn main() -> ExitCode {
    // A huge page is resident whole as soon as a byte of it is used. Where the kernel refuses, the
    // report's own `rss_bytes` shows it.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let args = Arc::new(Args::from_command_line());
    match report(&args) {
        Ok(code) => code.into(),
        Err(message) => {
            eprintln!("loadgen: {message}");
            FAILED.into()
        }
    }
}

/// Runs, writes the report and gives the exit code.
fn report(args: &Arc<Args>) -> Result<u8, String> {
    let results = run::run(args.clone())?;
    let mut report = report::build(&results);
    let figures = report.to_json();
    report.expect = args.expect.iter().map(|expect| expect.check(&figures)).collect();
    for outcome in report.expect.iter().filter(|outcome| !outcome.holds) {
        eprintln!("loadgen: {outcome}");
    }
    let holds = report.expect.iter().all(|outcome| outcome.holds);
    let report = report.to_json();
    if let Some(path) = &args.report {
        fs::write(path, format!("{report:#}\n"))
            .map_err(|error| format!("the report cannot be written to {}: {error}", path.display()))?;
    }
    println!("{report}");
    if results.tally.established == 0 {
        let reasons: Vec<String> = results.tally.failures.0.keys().cloned().collect();
        return Err(format!("no connection was established: {}", reasons.join("; ")));
    }
    Ok(if holds { 0 } else { EXPECTATION_FAILED })
}
