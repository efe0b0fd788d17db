//! `GET /metrics`: what shards, sequencer and process count, as Prometheus text.

pub mod exposition;
pub mod growth;
mod out;
pub mod process;
mod scraper;
pub mod watched;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use engine::{
    access::tokens::Tokens,
    client::{ClientCounters, handshakes::Handshakes},
    fanout::{FanoutCounters, compress::CompressCounters},
    sequencer::{SequencerCounters, topics::TopicCounters},
    shard::{shared::Shared, stats::Stats},
};
use net::{ProxyCounters, SocketCounters, TlsCounters, metric::Metric};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    access::keys::KeyCounters,
    health::HealthCounters,
    source::{activity::Activity, running::SourceCounters, websocket::counters::WebsocketCounters},
    state::StateCounters,
    system::Choice,
};
use crate::{
    audit::{Audit, AuditCounters},
    http::counters::{ANSWERS, AdminCounters},
    intake::clocked::ClockedSequencer,
    logs,
    metrics::{process::Process, watched::Watched},
    reload::ReloadCounters,
    tls::server::CertificateCounters,
};
use growth::{Baseline, Held};
use out::Out;
use scraper::Shard;
pub use scraper::{Scrape, Scraper};

/// All metrics as OpenMetrics, made once of what the shards said. `answer_bytes`: held for readers of the admin listener.
pub fn text(
    scrape: &Scrape,
    watched: &Watched,
    admin: &Arc<AdminCounters>,
    answer_bytes: u64,
) -> Result<Bytes, fmt::Error> {
    let text = || {
        let Watched { publisher: sequencer, sources, health, state, tls, io, reloads, audit, .. } = watched;
        let snapshot = Snapshot {
            answer_bytes,
            shards: scrape.shards.clone(),
            counters: sequencer.counters(),
            sources: sources.clone(),
            health: health.counters(),
            state: state.clone(),
            tls: tls.clone(),
            reloads: reloads.clone(),
            audit: audit.clone(),
            keys: watched.keys.counters(),
            shared: watched.shared.clone(),
            io: io.clone(),
            admin: admin.clone(),
            mono_us: sequencer.now().mono_us,
            process: Process::read(),
            baseline: watched.baseline.clone(),
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
    counters: SequencerCounters,
    sources: Arc<SourceCounters>,
    health: HealthCounters,
    state: Arc<StateCounters>,
    tls: Option<Arc<CertificateCounters>>,
    reloads: Arc<ReloadCounters>,
    audit: Arc<Audit>,
    keys: Arc<KeyCounters>,
    shared: Arc<Shared>,
    io: Arc<Choice>,
    admin: Arc<AdminCounters>,
    /// Now.
    mono_us: u64,
    process: Option<Process>,
    /// Of the process without clients.
    baseline: Arc<Baseline>,
}

/// What the process holds, with values as the shards counted them last. `None`: /proc cannot be read.
pub fn held_now(sequencer: &ClockedSequencer, scraper: &Scraper) -> Option<Held> {
    Some(held(&Process::read()?, &sequencer.counters(), &scraper.last().shards))
}

fn held(process: &Process, counters: &SequencerCounters, shards: &[Shard]) -> Held {
    let history_bytes: u64 = shards.iter().map(|shard| shard.stats.history_bytes).sum();
    Held {
        resident_bytes: process.resident_bytes,
        values_bytes: counters.topics_bytes as u64 + history_bytes,
    }
}

/// Whether a shard answers, beside what it counts.
const SHARD: &[Metric<Shard>] =
    &[Metric::gauge("fanwire_shard_up", "Whether the shard answers", |shard| u64::from(shard.up))];

/// What all shards share of tokens.
const TOKENS: &[Metric<Tokens>] = &[
    Metric::gauge("fanwire_token_checks", "Tokens that are verified off the shards now", |tokens| {
        tokens.checks() as u64
    }),
    Metric::gauge("fanwire_revocations", "Tokens and subjects that are revoked", |tokens| {
        tokens.revocations.len() as u64
    }),
    Metric::counter(
        "fanwire_revocations_refused",
        "Revocations that [limits] revocations had no room for",
        |tokens| tokens.revocations.refused(),
    ),
    Metric::gauge("fanwire_token_subjects", "Subjects of live connections", |tokens| {
        tokens.subjects() as u64
    }),
];

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        out.all(SequencerCounters::METRICS, &[&self.counters])?;
        out.all(TopicCounters::METRICS, &[&self.counters.by_topics])?;
        out.all(logs::METRICS, &[&()])?;
        self.sources(&mut out)?;
        out.all(HealthCounters::METRICS, &[&self.health])?;
        self.state(&mut out)?;
        out.all(ANSWERS, &[&self.answer_bytes])?;
        out.all(AdminCounters::METRICS, &[&self.admin])?;
        self.shards(&mut out)?;
        out.all(Handshakes::METRICS, &[&self.shared.handshakes])?;
        let labels = [("backend", self.io.io.name()), ("reason", &*self.io.reason)];
        out.info("fanwire_io_info", "What moves the shards' bytes, and why", &labels)?;
        out.all(ReloadCounters::METRICS, &[&self.reloads])?;
        out.all(AuditCounters::METRICS, &[self.audit.counters()])?;
        let digest = self.reloads.digest();
        out.info("fanwire_config_info", "The configuration that holds", &[("digest", &digest)])?;
        if let Some(files) = &self.tls {
            out.all(TlsCounters::METRICS, &self.each(|stats| &stats.tls))?;
            out.all(CertificateCounters::METRICS, &[files])?;
        }
        out.all(TOKENS, &[&self.shared.tokens])?;
        out.all(KeyCounters::METRICS, &[&self.keys])?;
        let added = |process: &Process| {
            let held = held(process, &self.counters, &self.shards);
            self.baseline.bytes_per_client(held, self.shared.connections())
        };
        let client_bytes = self.process.as_ref().and_then(added);
        out.all(growth::METRICS, &client_bytes.iter().collect::<Vec<_>>())?;
        out.all(Process::METRICS, &self.process.iter().collect::<Vec<_>>())
    }
}

impl Snapshot {
    fn sources(&self, out: &mut Out) -> fmt::Result {
        out.all(SourceCounters::METRICS, &[&self.sources])?;
        let now = |activity: &Arc<Activity>| (activity.clone(), self.mono_us);
        let entries = self.sources.entries();
        let activities: Vec<_> = entries.iter().map(|entry| now(&entry.activity)).collect();
        out.each(Activity::METRICS, "source", activities.iter().map(|at| (at.0.name.as_str(), at)))?;
        let websockets = entries.iter().filter_map(|entry| entry.connections.as_deref());
        let websockets = websockets.map(|source| (source.name(), source));
        out.each(WebsocketCounters::METRICS, "source", websockets)
    }

    fn state(&self, out: &mut Out) -> fmt::Result {
        out.all(StateCounters::METRICS, &[&self.state])?;
        let written = (self.state.clone(), self.mono_us);
        let written: &[_] = if self.state.is_written() { &[&written] } else { &[] };
        out.all(StateCounters::METRICS_WRITTEN, written)
    }

    fn shards(&self, out: &mut Out) -> fmt::Result {
        out.all(Stats::METRICS, &self.each(|stats| stats))?;
        out.all(ClientCounters::METRICS, &self.each(|stats| &stats.client))?;
        out.all(FanoutCounters::METRICS, &self.each(|stats| &stats.fanout))?;
        out.all(CompressCounters::METRICS, &self.each(|stats| &stats.compress))?;
        out.all(SocketCounters::METRICS, &self.each(|stats| &stats.ring))?;
        out.all(ProxyCounters::METRICS, &self.each(|stats| &stats.proxy))?;
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
            told(SequencerCounters::METRICS),
            told(TopicCounters::METRICS),
            told(logs::METRICS),
            told(SourceCounters::METRICS),
            told(Activity::METRICS),
            told(WebsocketCounters::METRICS),
            told(HealthCounters::METRICS),
            told(StateCounters::METRICS),
            told(StateCounters::METRICS_WRITTEN),
            told(ANSWERS),
            told(AdminCounters::METRICS),
            told(Stats::METRICS),
            told(Stats::METRICS_EACH),
            told(SHARD),
            told(Handshakes::METRICS),
            told(ClientCounters::METRICS),
            told(FanoutCounters::METRICS),
            told(CompressCounters::METRICS),
            told(SocketCounters::METRICS),
            told(ProxyCounters::METRICS),
            told(TlsCounters::METRICS),
            told(CertificateCounters::METRICS),
            told(ReloadCounters::METRICS),
            told(AuditCounters::METRICS),
            told(TOKENS),
            told(KeyCounters::METRICS),
            told(growth::METRICS),
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
