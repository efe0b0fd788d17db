//! Sources that run, each under its name: started, and at a reload added, changed and removed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use engine::settings::Limits;
use net::metric::Metric;
use tokio::task::AbortHandle;

use super::{
    Source, activity::Activity, freshness::Freshness, kind::Context, websocket::counters::WebsocketCounters,
};
use crate::{
    health::{Health, Origin},
    intake::publisher::Publisher,
};

/// A source as it is configured, and what is known of it.
#[derive(Debug)]
pub struct Entry {
    /// Of what is said of it. A name keeps its number as long as the gateway runs.
    pub id: usize,
    pub source: Source,
    pub freshness: Freshness,
    pub activity: Arc<Activity>,
    /// Of one that connects to a server.
    pub connections: Option<Arc<WebsocketCounters>>,
}

/// What the sources count together, and each for itself.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Sources that stopped at an error.
    pub errors: AtomicU64,
    /// The gateway that this one is chained to.
    pub upstream: Option<String>,
    /// Gauge: sources that run.
    pub running: AtomicU64,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// In the order of the configuration.
    entries: Vec<Arc<Entry>>,
    ids: HashMap<String, usize>,
    /// By id.
    tasks: HashMap<usize, AbortHandle>,
}

impl SourceCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_source_errors", "Sources that stopped at an error", |c| {
            c.errors.load(Ordering::Relaxed)
        }),
        Metric::gauge("fanwire_sources", "Sources that run", |c| c.running.load(Ordering::Relaxed)),
    ];

    /// `freshness` is of each.
    pub fn new(sources: &[Source], freshness: &[Freshness]) -> Arc<Self> {
        let upstream = sources.iter().find_map(Source::upstream).map(|source| source.link.url.text.clone());
        let counters = Self { upstream, ..Self::default() };
        let entries =
            sources.iter().zip(freshness).map(|(source, fresh)| counters.entry(source, fresh, None));
        let entries = entries.collect();
        counters.book().entries = entries;
        counters.into()
    }

    /// Those that are configured, in their order.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.book().entries.clone()
    }

    /// `before`: what has its name now. What is known of that stays, where it is of the same kind.
    fn entry(&self, source: &Source, freshness: &Freshness, before: Option<&Entry>) -> Arc<Entry> {
        let before = before.filter(|before| before.source.kind() == source.kind());
        let activity: Arc<Activity> =
            before.map_or_else(|| Activity::new(&freshness.name).into(), |before| before.activity.clone());
        let connections = match before {
            Some(before) => before.connections.clone(),
            None => source.settings().link().map(|_| WebsocketCounters::new(&activity).into()),
        };
        let mut book = self.book();
        let next = book.ids.len();
        let id = *book.ids.entry(freshness.name.clone()).or_insert(next);
        Entry { id, source: source.clone(), freshness: freshness.clone(), activity, connections }.into()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts and ends sources, on the present runtime.
#[derive(Debug, Clone)]
pub struct Runner {
    pub counters: Arc<SourceCounters>,
    pub publisher: Arc<Publisher>,
    pub health: Arc<Health>,
}

impl Runner {
    /// One that fails is logged and counted; the gateway goes on.
    pub fn start_all(&self, limits: &Limits) {
        self.counters.entries().iter().for_each(|entry| self.start(entry, limits));
    }

    /// Those that are as they were go on undisturbed. Topics of one that is removed stay and become stale.
    pub fn reload(&self, sources: &[Source], freshness: &[Freshness], limits: &Limits) {
        let before = self.counters.entries();
        let of_name = |name: &str| before.iter().find(|entry| entry.freshness.name == name);
        let (mut entries, mut begun) = (Vec::new(), Vec::new());
        for (source, fresh) in sources.iter().zip(freshness) {
            let held = of_name(&fresh.name);
            if let Some(held) = held.filter(|held| held.source == *source && held.freshness == *fresh) {
                entries.push(held.clone());
                continue;
            }
            let entry = self.counters.entry(source, fresh, held.map(|held| &**held));
            if let Some(held) = held {
                self.end(held, "its configuration has changed");
                if held.freshness.topics != fresh.topics {
                    self.forget(held);
                }
            }
            begun.push(entry.clone());
            entries.push(entry);
        }
        for gone in
            before.iter().filter(|held| freshness.iter().all(|fresh| fresh.name != held.freshness.name))
        {
            self.remove(gone);
        }
        self.counters.book().entries = entries;
        begun.iter().for_each(|entry| self.start(entry, limits));
    }

    fn start(&self, entry: &Arc<Entry>, limits: &Limits) {
        let Entry { id, source, freshness, activity, connections } = &**entry;
        activity.begin(self.publisher.now().mono_us);
        if freshness.stale_after.is_none() {
            // Nobody would end what was said of one that was removed before.
            self.forget(entry);
        }
        let running = source.settings().run(Context {
            publisher: self.publisher.clone(),
            activity: activity.clone(),
            limits: limits.clone(),
            health: self.health.clone(),
            stale_after: freshness.stale_after,
            connections: connections.clone(),
        });
        let counted = Counted::new(&self.counters);
        let (entry, counters) = (entry.clone(), self.counters.clone());
        let task = tokio::spawn(async move {
            let _counted = counted;
            let (name, source) = (&entry.freshness.name, &entry.source);
            match running.await {
                Ok(()) => {
                    entry.activity.go_down("it has ended".to_owned());
                    tracing::info!(name, ?source, "the source has ended");
                }
                Err(error) => {
                    entry.activity.go_down(format!("it stopped: {error}"));
                    counters.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        name,
                        ?source,
                        error,
                        "the source stopped; its topics keep their last values"
                    );
                }
            }
        });
        self.counters.book().tasks.insert(*id, task.abort_handle());
    }

    fn end(&self, entry: &Entry, why: &str) {
        if let Some(task) = self.counters.book().tasks.remove(&entry.id) {
            task.abort();
        }
        entry.activity.go_down(why.to_owned());
    }

    fn remove(&self, entry: &Entry) {
        let Freshness { name, topics, .. } = &entry.freshness;
        self.end(entry, "it was removed");
        let now_us = self.publisher.now().wall_us;
        self.health.end_all(Origin::Denied(entry.id), now_us);
        if !topics.is_empty() {
            let reason = format!("source {name}: it was removed from the configuration");
            self.health.lose(entry.id, topics.clone(), &reason, now_us);
        }
    }

    /// Ends what was said of a source.
    fn forget(&self, entry: &Entry) {
        let now_us = self.publisher.now().wall_us;
        self.health.end_all(Origin::Source(entry.id), now_us);
        self.health.end_all(Origin::Denied(entry.id), now_us);
    }
}

/// A source that runs, until it is dropped.
struct Counted(Arc<SourceCounters>);

impl Counted {
    fn new(counters: &Arc<SourceCounters>) -> Self {
        counters.running.fetch_add(1, Ordering::Relaxed);
        Self(counters.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
