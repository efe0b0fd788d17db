//! Updates that the gateway fetches or makes itself. Each source is a task of the control plane.

pub mod activity;
pub mod brought;
pub mod fanwire;
pub mod host;
mod live;
mod refusals;
pub mod replay;
pub mod synthetic;
pub mod watch;
pub mod websocket;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use net::metric::Metric;

use super::health::Health;
use crate::{
    config::{Config, Source},
    intake::publisher::Publisher,
};
use activity::Activity;
use websocket::counters::Counters;

/// What the sources count together, and each WebSocket source for itself.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Sources that stopped at an error.
    pub errors: AtomicU64,
    /// The gateway that this one is chained to.
    pub upstream: Option<String>,
    /// Of all sources, in the order of the configuration.
    pub activities: Vec<Arc<Activity>>,
    /// Gauge: sources that run.
    pub running: AtomicU64,
    /// Of those that connect to a server, in the order of the configuration.
    pub websockets: Vec<Arc<Counters>>,
}

impl SourceCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_source_errors", "Sources that stopped at an error", |c| {
            c.errors.load(Ordering::Relaxed)
        }),
        Metric::gauge("fanwire_sources", "Sources that run", |c| c.running.load(Ordering::Relaxed)),
    ];

    pub fn new(sources: &[Source]) -> Arc<Self> {
        let name = |(i, source): (usize, &Source)| match source {
            Source::Replay { .. } => format!("replay-{i}"),
            Source::Synthetic { .. } => format!("synthetic-{i}"),
            Source::Host { .. } => format!("host-{i}"),
            Source::Websocket(source) => source.link.name.clone(),
            Source::Fanwire(source) => source.link.name.clone(),
        };
        let activities: Vec<Arc<Activity>> =
            sources.iter().enumerate().map(|source| Activity::new(&name(source)).into()).collect();
        let links = sources.iter().zip(&activities).filter(|(source, _)| source.link().is_some());
        let websockets = links.map(|(_, activity)| Arc::new(Counters::new(activity))).collect();
        let upstream = sources.iter().find_map(|source| match source {
            Source::Fanwire(source) => Some(source.link.url.text.clone()),
            _ => None,
        });
        Arc::new(Self { websockets, activities, upstream, ..Self::default() })
    }
}

/// Starts every source of the configuration on the present runtime. One that fails is logged and
/// counted; the gateway goes on.
///
/// # Panics
/// Where `counters` are not those of the same sources.
pub fn start(
    config: &Config,
    publisher: &Arc<Publisher>,
    counters: &Arc<SourceCounters>,
    health: &Arc<Health>,
) {
    let mut websockets = counters.websockets.clone().into_iter();
    for (i, (source, activity)) in
        config.sources.clone().into_iter().zip(counters.activities.clone()).enumerate()
    {
        let stale_after = config.freshness.get(i).and_then(|fresh| fresh.stale_after);
        activity.begin(publisher.now().mono_us);
        let own = source.link().and_then(|_| websockets.next());
        let (publisher, counters, health) = (publisher.clone(), counters.clone(), health.clone());
        let limits = config.limits.clone();
        counters.running.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let ended = match &source {
                Source::Replay { path, speed, repeat } => {
                    replay::run(&publisher, path, *speed, *repeat, &limits, &activity).await
                }
                Source::Synthetic { symbols, updates_per_s, seed } => {
                    synthetic::run(&publisher, *symbols, *updates_per_s, *seed, &activity).await
                }
                Source::Host { interval, names } => host::run(&publisher, *interval, *names, &activity).await,
                Source::Websocket(source) => {
                    let own = own.expect("`counters` are those of the same sources");
                    match websocket::run(&publisher, source, stale_after, &own, &limits).await {}
                }
                Source::Fanwire(source) => {
                    let own = own.expect("`counters` are those of the same sources");
                    match fanwire::run(&publisher, source, stale_after, &own, &health).await {}
                }
            };
            counters.running.fetch_sub(1, Ordering::Relaxed);
            match ended {
                Ok(()) => {
                    activity.go_down("it has ended".to_owned());
                    tracing::info!(?source, "the source has ended");
                }
                Err(error) => {
                    activity.go_down(format!("it stopped: {error}"));
                    counters.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(?source, error, "the source stopped; its topics keep their last values");
                }
            }
        });
    }
}
