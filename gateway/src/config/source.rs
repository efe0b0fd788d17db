//! `[[source]]`: where updates come from.

use std::{path::PathBuf, sync::Arc, time::Duration};

use engine::{
    keys,
    settings::{Field, Value},
};

use super::websocket::{Fanwire, Link, Websocket};
use crate::names::Names;

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Replay { path: PathBuf, speed: f64, repeat: bool },
    Synthetic { symbols: usize, updates_per_s: f64, seed: u64 },
    Host { interval: Duration, names: Names },
    Websocket(Arc<Websocket>),
    Fanwire(Arc<Fanwire>),
}

keys! {
    /// Where updates come from, one entry each, at most 64.
    pub(super) struct KindKeys in "source" {
        /// What the source is.
        kind: Option<String> = choice_needed(&["replay", "synthetic", "host", "websocket", "fanwire"]), example("\"replay\"");
    }
}

keys! {
    /// of kind = "replay": a recorded feed, one update a line.
    pub(super) struct ReplayKeys in "source" {
        /// Relative to the configuration file. A `NAME.gz` is unpacked on the way.
        path: PathBuf = text_or("feed.ndjson");
        /// How many times as fast as recorded. 0: as fast as it is taken.
        speed: f64 = number(1.0, 0.0..=1e6);
        /// At the end the file begins again, with `v` going on. false: the last values stay.
        repeat: bool = flag(true);
    }
}

keys! {
    /// of kind = "synthetic": made-up topics tick.S0000, tick.S0001, … with bid, ask, last, size and n.
    pub(super) struct SyntheticKeys in "source" {
        /// How many topics.
        symbols: usize = count(100, 1..=1_000_000);
        /// Updates a second of all of them together.
        updates_per_s: f64 = number(1000.0, 0.001..=1e7);
        /// The same seed gives the same walk.
        seed: u64 = count(1, 0..=u64::MAX);
    }
}

keys! {
    /// of kind = "host": this machine, as topics host.cpu, host.memory, host.load, host.net.<if>, host.disk.<dev>,
    /// host.process.top.
    pub(super) struct HostKeys in "source" {
        /// From reading to reading.
        interval: Duration = duration(1_000, 100..=3_600_000);
        /// What becomes of bytes of interfaces' and disks' names that no topic may hold. "encode": `@x` and two
        /// hexadecimal digits. "replace": `_`.
        names: Names = choice("encode", &["encode", "replace"]);
    }
}

impl Field for Names {
    fn from_value(value: Value) -> Self {
        Names::parse(&String::from_value(value)).expect("its key has the same choice")
    }

    fn to_value(&self) -> Value {
        Value::Text(self.name().to_owned())
    }
}

impl Source {
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Replay { .. } => "replay",
            Source::Synthetic { .. } => "synthetic",
            Source::Host { .. } => "host",
            Source::Websocket(_) => "websocket",
            Source::Fanwire(_) => "fanwire",
        }
    }

    /// Of one that connects to a server.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Source::Websocket(source) => Some(&source.link),
            Source::Fanwire(source) => Some(&source.link),
            Source::Replay { .. } | Source::Synthetic { .. } | Source::Host { .. } => None,
        }
    }
}
