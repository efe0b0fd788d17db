//! Updates that the gateway fetches or makes itself. Each source is a task of the control plane.

pub mod fanwire;
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
    /// The gateway that this one is chained to.
    pub upstream: Option<String>,
    /// Gauge: sources that run.
    pub running: AtomicU64,
    /// Of those that connect to a server, in the order of the configuration.
    pub websockets: Vec<Arc<Counters>>,
}

impl SourceCounters {
    pub fn new(sources: &[Source]) -> Arc<Self> {
        let counters = |source: &Source| Some(Arc::new(Counters::new(&source.link()?.name)));
        let upstream = sources.iter().find_map(|source| match source {
            Source::Fanwire(source) => Some(source.link.url.text.clone()),
            _ => None,
        });
        let websockets = sources.iter().filter_map(counters).collect();
        Arc::new(Self { websockets, upstream, ..Self::default() })
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
        let own = source.link().and_then(|_| websockets.next());
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
                Source::Fanwire(source) => {
                    let own = own.expect("`counters` are those of the same sources");
                    match fanwire::run(&sequencer, source, &own).await {}
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
