//! Load generator and promise checker: holds very many connections, measures how late values
//! are seen, and checks every promise of the contract that a client can see.
#![forbid(unsafe_code)]

mod args;
mod exit;
mod host;
mod judge;
mod manual;
mod measure;
mod report;
mod run;
mod search;
mod server;
mod worker;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use args::{Args, Flags, parse_with_scenario};
use exit::{EXPECTATION_FAILED, FAILED, usage};
use report::{
    compare,
    figures::{self, Report},
    hgrm, html, summary,
};
use run::{report::build, results::Results};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A huge page is resident whole as soon as a byte of it is used. Where the kernel refuses, the
    // report's own `rss_bytes` shows it.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let arguments: Vec<String> = std::env::args().collect();
    let rest =
        || std::iter::once("loadgen".to_owned()).chain(arguments.iter().skip(2).cloned()).collect::<Vec<_>>();
    match arguments.get(1).map(String::as_str) {
        Some("compare") => compare::main(&rest()),
        Some("search") => search::main(&rest()),
        Some("scenarios") => print(args::scenario::show(arguments.get(2).map(String::as_str))),
        Some("schema") => print(Ok(figures::schema())),
        Some("man") => print(manual::page(arguments.get(2).map(String::as_str))),
        Some("completions") => print(manual::completions(arguments.get(2).map(String::as_str))),
        _ => load(&arguments),
    }
}

fn print(text: Result<String, String>) -> ExitCode {
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => usage(&message),
    }
}

fn load(arguments: &[String]) -> ExitCode {
    let flags: Flags = match parse_with_scenario(arguments) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    };
    let args = match Args::check(flags) {
        Ok(args) => Arc::new(args),
        Err(message) => return usage(&message),
    };
    let outcome = run::interruptions()
        .and_then(|interrupted| run::run(&args, &interrupted))
        .and_then(|results| conclude(&args, &results));
    outcome.map_or_else(
        |message| {
            eprintln!("loadgen: {message}");
            FAILED.into()
        },
        ExitCode::from,
    )
}

/// Writes and prints the report; gives the exit code.
fn conclude(args: &Args, results: &Results) -> Result<u8, String> {
    let report = build(results, &args.expect);
    let examples = results.settled.examples.iter().chain(&results.compared.examples);
    examples.for_each(|example| eprintln!("loadgen: {example}"));
    eprint!("{}", summary::text(&report));
    // First of all: a file that cannot be written must not cost the figures. A reader that has gone
    // does not want them.
    let _ = writeln!(io::stdout(), "{}", report.without_series().to_json());
    if let Some(path) = &args.report {
        write(path, &format!("{:#}\n", report.to_json()))?;
    }
    if let Some(path) = &args.html {
        write(path, &html::page(&report))?;
    }
    if let Some(path) = &args.hgrm {
        hgrm::write(path, &results.tally)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    established(&report)?;
    let holds = report.expect.iter().all(|outcome| outcome.holds);
    Ok(if holds { 0 } else { EXPECTATION_FAILED })
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn established(report: &Report) -> Result<(), String> {
    if report.connections.established > 0 {
        return Ok(());
    }
    let reasons: Vec<&str> = report.failures.keys().map(String::as_str).collect();
    let reasons =
        if reasons.is_empty() { "it was interrupted before".to_owned() } else { reasons.join("; ") };
    Err(format!("no connection was established: {reasons}"))
}
