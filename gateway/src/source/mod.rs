//! Updates that the gateway fetches or makes itself. Each source is a task of the control plane.

pub mod activity;
pub mod brought;
pub mod fanwire;
pub mod freshness;
pub mod host;
pub mod kind;
pub mod link;
mod live;
mod refusals;
pub mod replay;
pub mod synthetic;
pub mod url;
pub mod watch;
pub mod websocket;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use engine::settings::{Group, Limits};
use net::metric::Metric;

use super::health::Health;
use crate::{document::read::Section, intake::publisher::Publisher};
use activity::Activity;
use fanwire::keys::Fanwire;
use freshness::Freshness;
use host::HostFigures;
use kind::{Context, Declared, Given, Kind};
use replay::Replay;
use synthetic::Synthetic;
use websocket::{counters::WebsocketCounters, keys::Websocket};

/// A kind as a configuration names it.
pub struct Declaration {
    /// Of `kind = "…"`.
    pub name: &'static str,
    /// Its keys, beside those of any kind.
    pub groups: &'static [Group],
    /// `None`: its problems were reported.
    pub read: fn(&mut Section, &Given) -> Option<Source>,
}

macro_rules! kinds {
    ($($Kind:ident($Settings:ident)),+ $(,)?) => {
        /// A source as it is configured.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Source {
            $($Kind(Arc<$Settings>)),+
        }

        impl Source {
            /// In the order of the reference.
            pub const KINDS: &[Declaration] = &[$(Declaration {
                name: $Settings::NAME,
                groups: $Settings::GROUPS,
                read: |section, given| Some(Source::$Kind($Settings::read(section, given)?.into())),
            }),+];

            pub fn kind(&self) -> &'static str {
                match self {
                    $(Source::$Kind(_) => $Settings::NAME),+
                }
            }

            pub fn settings(&self) -> Arc<dyn Kind> {
                match self {
                    $(Source::$Kind(settings) => settings.clone()),+
                }
            }
        }
    };
}

kinds! {
    Replay(Replay),
    Synthetic(Synthetic),
    Host(HostFigures),
    Websocket(Websocket),
    Fanwire(Fanwire),
}

impl Source {
    pub const NAMES: [&str; Self::KINDS.len()] = {
        let mut names = [""; Self::KINDS.len()];
        let mut i = 0;
        while i < names.len() {
            names[i] = Self::KINDS[i].name;
            i += 1;
        }
        names
    };

    /// The gateway that this one is chained to, from which counts and positions come.
    pub fn upstream(&self) -> Option<&Fanwire> {
        match self {
            Source::Fanwire(source) => Some(source),
            _ => None,
        }
    }
}

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
    pub websockets: Vec<Arc<WebsocketCounters>>,
}

impl SourceCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_source_errors", "Sources that stopped at an error", |c| {
            c.errors.load(Ordering::Relaxed)
        }),
        Metric::gauge("fanwire_sources", "Sources that run", |c| c.running.load(Ordering::Relaxed)),
    ];

    pub fn new(sources: &[Source]) -> Arc<Self> {
        let name = |(i, source): (usize, &Source)| match source.settings().link() {
            Some(link) => link.name.clone(),
            None => format!("{}-{i}", source.kind()),
        };
        let activities: Vec<Arc<Activity>> =
            sources.iter().enumerate().map(|source| Activity::new(&name(source)).into()).collect();
        let links = sources.iter().zip(&activities).filter(|(source, _)| source.settings().link().is_some());
        let websockets = links.map(|(_, activity)| Arc::new(WebsocketCounters::new(activity))).collect();
        let upstream = sources.iter().find_map(Source::upstream).map(|source| source.link.url.text.clone());
        Arc::new(Self { websockets, activities, upstream, ..Self::default() })
    }
}

/// Starts every source on the present runtime; `freshness` is of each. One that fails is logged and
/// counted; the gateway goes on.
///
/// # Panics
/// Where `counters` are not those of the same sources.
pub fn start(
    (sources, freshness): (&[Source], &[Freshness]),
    limits: &Limits,
    publisher: &Arc<Publisher>,
    counters: &Arc<SourceCounters>,
    health: &Arc<Health>,
) {
    assert_eq!((sources.len(), sources.len()), (counters.activities.len(), freshness.len()));
    let mut websockets = counters.websockets.clone().into_iter();
    for ((source, activity), fresh) in sources.iter().zip(&counters.activities).zip(freshness) {
        activity.begin(publisher.now().mono_us);
        let settings = source.settings();
        let running = settings.clone().run(Context {
            publisher: publisher.clone(),
            activity: activity.clone(),
            limits: limits.clone(),
            health: health.clone(),
            stale_after: fresh.stale_after,
            connections: settings.link().and_then(|_| websockets.next()),
        });
        let (source, activity, counters) = (source.clone(), activity.clone(), counters.clone());
        counters.running.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let ended = running.await;
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
