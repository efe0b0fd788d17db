//! `--hgrm`: percentile distributions as text, for the usual plotters.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::measure::tally::Tally;

/// Writes `visible` to `path`, and what else has samples beside it: `NAME.arrival.hgrm`,
/// `NAME.handshake.hgrm`. Without a sample of `visible` there is an error and no file.
pub fn write(path: &Path, tally: &Tally) -> io::Result<()> {
    if tally.visible.is_empty() {
        return Err(io::Error::other(
            "no batch with `oldest` came within the window, so there is nothing to write",
        ));
    }
    fs::write(path, tally.visible.hgrm())?;
    for (name, latency) in [("arrival", &tally.arrival), ("handshake", &tally.handshake)] {
        if !latency.is_empty() {
            fs::write(beside(path, name), latency.hgrm())?;
        }
    }
    Ok(())
}

fn beside(path: &Path, name: &str) -> PathBuf {
    path.with_extension(format!("{name}.hgrm"))
}
