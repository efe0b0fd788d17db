//! Logs on stderr. Whatever texts from outside stand in a line, it stays one line of bounded length, and what
//! repeats is written a few times and counted.

mod format;
mod limit;
mod line;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

pub use format::Format;
pub use limit::{METRICS, left_out, tell_all_left_out, tell_left_out};
use line::Lines;
pub use line::escape as one_line;

/// Writes what `RUST_LOG` asks for, else from `info` up. An unreadable `RUST_LOG` is the error's text.
pub fn start(format: Format) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) => EnvFilter::try_new(&text).map_err(|e| format!("RUST_LOG={text}: {e}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let registry = tracing_subscriber::registry().with(filter).with(limit::Limited);
    let lines = Lines { format, out: std::io::stderr };
    match format {
        Format::Text => registry.with(fmt::layer().with_writer(lines)).init(),
        Format::Json => registry.with(fmt::layer().json().with_writer(lines)).init(),
    }
    Ok(())
}
