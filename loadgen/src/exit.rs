//! Exit codes of every command.

use std::process::ExitCode;

/// A run-time failure.
pub const FAILED: u8 = 1;
/// A command line that cannot be run.
pub const USAGE: u8 = 2;
/// An `--expect` does not hold, or a figure is worse than the threshold allows.
pub const EXPECTATION_FAILED: u8 = 3;

/// Tells what is wrong with the command line.
pub fn usage(message: &str) -> ExitCode {
    eprintln!("loadgen: {message}");
    USAGE.into()
}
