//! Updates that the gateway fetches or makes itself. Each source is a task of the control plane.

pub mod host;
mod live;
pub mod replay;
pub mod synthetic;
pub mod websocket;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::sequencer::Sequencer;
use crate::config::{Config, Source};
use websocket::counters::Counters;

/// What the sources count together, and each WebSocket source for itself.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Sources that stopped at an error.
    pub errors: AtomicU64,
    /// Gauge: sources that run.
    pub running: AtomicU64,
    /// In the order of the configuration.
    pub websockets: Vec<Arc<Counters>>,
}

impl SourceCounters {
    pub fn new(sources: &[Source]) -> Arc<Self> {
        let counters = |source: &Source| match source {
            Source::Websocket(source) => Some(Arc::new(Counters::new(&source.name))),
            _ => None,
        };
        Arc::new(Self { websockets: sources.iter().filter_map(counters).collect(), ..Self::default() })
    }
}

/// Starts every source of the configuration on the present runtime. One that fails is logged and
/// counted; the gateway goes on.
///
/// # Panics
/// Where `counters` are not those of the same sources.
pub fn start(config: &Config, sequencer: &Arc<Sequencer>, counters: &Arc<SourceCounters>) {
    let mut websockets = counters.websockets.clone().into_iter();
    for source in config.sources.clone() {
        let own = if matches!(source, Source::Websocket(_)) { websockets.next() } else { None };
        let (sequencer, counters) = (sequencer.clone(), counters.clone());
        let limits = config.limits.clone();
        counters.running.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let ended = match &source {
                Source::Replay { path, speed, repeat } => {
                    replay::run(&sequencer, path, *speed, *repeat, &limits).await
                }
                Source::Synthetic { symbols, updates_per_s, seed } => {
                    synthetic::run(&sequencer, *symbols, *updates_per_s, *seed).await
                }
                Source::Host { interval } => host::run(&sequencer, *interval).await,
                Source::Websocket(source) => {
                    let own = own.expect("`counters` are those of the same sources");
                    match websocket::run(&sequencer, source, &own, &limits).await {}
                }
            };
            counters.running.fetch_sub(1, Ordering::Relaxed);
            match ended {
                Ok(()) => tracing::info!(?source, "the source has ended"),
                Err(error) => {
                    counters.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(?source, error, "the source stopped; its topics keep their last values");
                }
            }
        });
    }
}
