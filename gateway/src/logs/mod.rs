//! Logs on stderr. Whatever texts from outside stand in a line, it stays one line of bounded length, and what
//! repeats is written a few times and counted.

mod format;
mod limit;
mod line;

use std::sync::OnceLock;

use tracing_subscriber::{EnvFilter, Registry, fmt, prelude::*, reload};

pub use format::Format;
pub use limit::{METRICS, left_out, tell_all_left_out, tell_left_out};
use line::Lines;
pub use line::escape as one_line;

/// Takes the place of `[log] filter`.
const VARIABLE: &str = "RUST_LOG";

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Writes what `RUST_LOG` asks for, else `filter`. An unreadable `RUST_LOG` is the error's text.
pub fn start(format: Format, filter: &str) -> Result<(), String> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) => parse(&text).map_err(|e| format!("{VARIABLE}={text}: {e}"))?,
        Err(_) => parse(filter)?,
    };
    let (filter, handle) = reload::Layer::new(filter);
    // Only the first call can start anything.
    let _ = FILTER.set(handle);
    let registry = tracing_subscriber::registry().with(filter).with(limit::Limited);
    let lines = Lines { format, out: std::io::stderr };
    match format {
        Format::Text => registry.with(fmt::layer().with_writer(lines)).init(),
        Format::Json => registry.with(fmt::layer().json().with_writer(lines)).init(),
    }
    Ok(())
}

/// Whether a filter can be read; else why not.
pub fn check(filter: &str) -> Result<(), String> {
    parse(filter).map(|_| ())
}

/// Writes what `filter` asks for from now on, unless `RUST_LOG` asks for something.
pub fn set_filter(filter: &str) -> Result<(), String> {
    match FILTER.get() {
        Some(handle) if std::env::var(VARIABLE).is_err() => {
            handle.reload(parse(filter)?).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| error.to_string())
}
