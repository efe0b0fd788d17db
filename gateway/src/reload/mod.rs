//! What a reload is asked to do, what became of it, and how often.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use net::metric::{Kind, Metric, named};
use tokio::sync::oneshot;

/// Reloads that wait for their turn.
pub const ASKS_MAX: usize = 16;

/// Somebody asks for a reload.
#[derive(Debug)]
pub struct Ask {
    /// What can be reloaded is to be, also where something else needs a restart.
    pub is_partial: bool,
    pub answer: oneshot::Sender<Outcome>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied {
        /// What holds now: `limits.stall: 30s -> 1m`.
        applied: Vec<String>,
        /// Keys whose change waits for a restart.
        restart: Vec<String>,
        /// Of the configuration that holds.
        digest: String,
    },
    /// Nothing has changed, since the file cannot be: what is wrong with it, line by line.
    Invalid(String),
    /// Nothing has changed, since these keys need a restart.
    Restart(Vec<String>),
}

impl Outcome {
    /// As metrics and the audit call it.
    pub fn name(&self) -> &'static str {
        RESULTS[self.index()]
    }

    fn index(&self) -> usize {
        match self {
            Outcome::Applied { .. } => 0,
            Outcome::Invalid(_) => 1,
            Outcome::Restart(_) => 2,
        }
    }
}

#[derive(Debug, Default)]
pub struct ReloadCounters {
    /// By what became of them, as of [`RESULTS`].
    counts: [AtomicU64; RESULTS.len()],
    /// Seconds since the Unix epoch.
    success_s: AtomicU64,
    digest: Mutex<String>,
}

const RESULTS: [&str; 3] = ["applied", "invalid", "restart"];

impl ReloadCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::by(
            Kind::Counter,
            "fanwire_config_reloads",
            "Reloads of the configuration: applied, refused for a mistake in it, or since a key needs a restart",
            "result",
            |c| named(RESULTS, &c.counts.each_ref().map(|count| count.load(Relaxed))),
        ),
        Metric::gauge(
            "fanwire_config_last_reload_success_timestamp_seconds",
            "When the configuration that holds was read, in seconds since the Unix epoch",
            |c| c.success_s.load(Relaxed),
        ),
    ];

    /// A configuration holds from now on.
    pub fn hold(&self, digest: &str, now_us: i64) {
        self.success_s.store((now_us / 1_000_000).max(0) as u64, Relaxed);
        digest.clone_into(&mut self.digest.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn count(&self, outcome: &Outcome) {
        self.counts[outcome.index()].fetch_add(1, Relaxed);
    }

    /// Of the configuration that holds.
    pub fn digest(&self) -> String {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
