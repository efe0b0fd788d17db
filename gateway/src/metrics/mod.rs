//! `GET /metrics`: what shards, sequencer and process count, as Prometheus text.

mod out;
mod process;
mod scraper;
pub mod watched;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use engine::{
    fanout::{self, compress},
    sequencer,
    shard::stats::Stats,
};
use net::metric::Metric;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    health,
    source::{SourceCounters, activity::Activity, websocket::counters::Counters as Upstream},
    state,
    system::Choice,
};
use crate::{
    http::counters::{ANSWERS, Counters as Admin},
    logs,
    metrics::{process::Process, watched::Watched},
    tls,
};
use out::Out;
pub use scraper::Scraper;
use scraper::{Scrape, Shard};

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text, made once of what the shards said. `answer_bytes`: held for readers of the admin listener.
pub fn text(
    scrape: &Scrape,
    watched: &Watched,
    admin: &Arc<Admin>,
    answer_bytes: u64,
) -> Result<Bytes, fmt::Error> {
    let text = || {
        let Watched { publisher: sequencer, sources, health, state, tls, io, .. } = watched;
        let snapshot = Snapshot {
            answer_bytes,
            shards: scrape.shards.clone(),
            counters: sequencer.counters(),
            sources: sources.clone(),
            health: health.counters(),
            state: state.clone(),
            tls: tls.clone(),
            io: io.clone(),
            admin: admin.clone(),
            mono_us: sequencer.now().mono_us,
            process: Process::read(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(snapshot));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out.into())
    };
    scrape.text.get_or_init(text).clone()
}

#[derive(Debug)]
struct Snapshot {
    answer_bytes: u64,
    shards: Vec<Shard>,
    counters: sequencer::Counters,
    sources: Arc<SourceCounters>,
    health: health::Counters,
    state: Arc<state::Counters>,
    tls: Option<Arc<tls::server::Counters>>,
    io: Arc<Choice>,
    admin: Arc<Admin>,
    /// Now.
    mono_us: u64,
    process: Option<Process>,
}

/// Whether a shard answers, beside what it counts.
const SHARD: &[Metric<Shard>] =
    &[Metric::gauge("fanwire_shard_up", "Whether the shard answers", |shard| u64::from(shard.up))];

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        out.all(sequencer::Counters::METRICS, &[&self.counters])?;
        out.all(sequencer::topics::Counters::METRICS, &[&self.counters.by_topics])?;
        out.all(logs::METRICS, &[&()])?;
        self.sources(&mut out)?;
        out.all(health::Counters::METRICS, &[&self.health])?;
        self.state(&mut out)?;
        out.all(ANSWERS, &[&self.answer_bytes])?;
        out.all(Admin::METRICS, &[&self.admin])?;
        self.shards(&mut out)?;
        let labels = [("backend", self.io.io.name()), ("reason", &*self.io.reason)];
        out.info("fanwire_io", "What moves the shards' bytes, and why", &labels)?;
        if let Some(files) = &self.tls {
            out.all(net::TlsCounters::METRICS, &self.each(|stats| &stats.tls))?;
            out.all(tls::server::Counters::METRICS, &[files])?;
        }
        out.all(Process::METRICS, &self.process.iter().collect::<Vec<_>>())
    }
}

impl Snapshot {
    fn sources(&self, out: &mut Out) -> fmt::Result {
        out.all(SourceCounters::METRICS, &[&self.sources])?;
        let now = |activity: &Arc<Activity>| (activity.clone(), self.mono_us);
        let activities: Vec<_> = self.sources.activities.iter().map(now).collect();
        out.each(Activity::METRICS, "source", activities.iter().map(|at| (at.0.name.as_str(), at)))?;
        let websockets = self.sources.websockets.iter().map(|source| (source.name(), &**source));
        out.each(Upstream::METRICS, "source", websockets)
    }

    fn state(&self, out: &mut Out) -> fmt::Result {
        out.all(state::Counters::METRICS, &[&self.state])?;
        let written = (self.state.clone(), self.mono_us);
        let written: &[_] = if self.state.is_written() { &[&written] } else { &[] };
        out.all(state::Counters::METRICS_WRITTEN, written)
    }

    fn shards(&self, out: &mut Out) -> fmt::Result {
        out.all(Stats::METRICS, &self.each(|stats| stats))?;
        out.all(fanout::Counters::METRICS, &self.each(|stats| &stats.fanout))?;
        out.all(compress::Counters::METRICS, &self.each(|stats| &stats.compress))?;
        out.all(net::Counters::METRICS, &self.each(|stats| &stats.ring))?;
        let names: Vec<String> = (0..self.shards.len()).map(|index| index.to_string()).collect();
        let shards = names.iter().map(String::as_str).zip(&self.shards);
        out.each(SHARD, "shard", shards.clone())?;
        out.each(Stats::METRICS_EACH, "shard", shards.map(|(name, shard)| (name, &*shard.stats)))
    }

    /// A part of what each shard counts.
    fn each<'s, T>(&'s self, part: fn(&'s Stats) -> &'s T) -> Vec<&'s T> {
        self.shards.iter().map(|shard| part(&shard.stats)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn told<T>(metrics: &[Metric<T>]) -> Vec<(&'static str, &'static str)> {
        metrics.iter().map(|metric| (metric.name, metric.help)).collect()
    }

    #[test]
    fn every_counter_has_a_name_of_its_own_and_says_what_it_counts() {
        let all = [
            told(sequencer::Counters::METRICS),
            told(sequencer::topics::Counters::METRICS),
            told(logs::METRICS),
            told(SourceCounters::METRICS),
            told(Activity::METRICS),
            told(Upstream::METRICS),
            told(health::Counters::METRICS),
            told(state::Counters::METRICS),
            told(state::Counters::METRICS_WRITTEN),
            told(ANSWERS),
            told(Admin::METRICS),
            told(Stats::METRICS),
            told(Stats::METRICS_EACH),
            told(SHARD),
            told(fanout::Counters::METRICS),
            told(compress::Counters::METRICS),
            told(net::Counters::METRICS),
            told(net::TlsCounters::METRICS),
            told(tls::server::Counters::METRICS),
            told(Process::METRICS),
        ]
        .concat();
        let mut names = HashSet::new();
        for (name, help) in all {
            assert!(names.insert(name), "two counters are called {name}");
            assert!(name.starts_with("fanwire_") || name.starts_with("process_"), "{name}");
            assert!(!name.ends_with("_total"), "{name}: the exposition adds it to a counter");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help:?}");
        }
    }
}
