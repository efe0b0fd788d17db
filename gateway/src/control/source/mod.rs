//! Updates that the gateway fetches or makes itself. Each source is a task of the control plane.

pub mod host;
pub mod replay;
pub mod synthetic;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::sequencer::{Grouping, Item, NotPublished, Refused, Sequencer};
use crate::config::{Config, Source};

/// What the sources count together.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Sources that stopped at an error.
    pub errors: AtomicU64,
    /// Gauge: sources that run.
    pub running: AtomicU64,
}

/// Starts every source of the configuration on the present runtime. One that fails is logged and
/// counted; the gateway goes on.
pub fn start(config: &Config, sequencer: &Arc<Sequencer>, counters: &Arc<SourceCounters>) {
    for source in config.sources.clone() {
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

/// Updates of a live source on their way out. While an inbox is full only the newest of each topic is kept.
#[derive(Debug)]
struct Live {
    fresh: Vec<(usize, Item)>,
    /// By the source's own number of the topic.
    held: Vec<Option<Item>>,
    waiting: Vec<usize>,
}

impl Live {
    fn new(topics: usize) -> Self {
        Self { fresh: Vec::new(), held: vec![None; topics], waiting: Vec::new() }
    }

    fn push(&mut self, topic: usize, item: Item) {
        self.fresh.push((topic, item));
    }

    /// Publishes in order as far as there is room; gives how many were replaced by a newer one.
    fn publish(&mut self, sequencer: &Sequencer) -> Result<u64, Refused> {
        let held: Vec<Item> = self.waiting.iter().filter_map(|topic| self.held[*topic].clone()).collect();
        let done = publish_some(sequencer, &held)?;
        for topic in self.waiting.drain(..done) {
            self.held[topic] = None;
        }
        let mut done = 0;
        let (topics, fresh): (Vec<usize>, Vec<Item>) = self.fresh.drain(..).unzip();
        if self.waiting.is_empty() {
            done = publish_some(sequencer, &fresh)?;
        }
        let left = topics.into_iter().zip(fresh).skip(done);
        Ok(left.map(|(topic, item)| u64::from(self.hold(topic, item))).sum())
    }

    /// `true`: it replaced an older one, from which it takes over the due time, so that no wait is hidden.
    fn hold(&mut self, topic: usize, item: Item) -> bool {
        let slot = &mut self.held[topic];
        let due_us = slot.as_ref().map_or(item.due_us, |older| older.due_us);
        let replaced = slot.replace(Item { due_us, ..item }).is_some();
        if !replaced {
            self.waiting.push(topic);
        }
        replaced
    }
}

/// How many of `items`, from the first on, there was room for.
fn publish_some(sequencer: &Sequencer, items: &[Item]) -> Result<usize, Refused> {
    let mut done = 0;
    while done < items.len() {
        match sequencer.try_publish(&items[done..], Grouping::Single) {
            Ok(published) => done += published.accepted,
            Err(NotPublished::Full) => break,
            Err(NotPublished::Refused(refused)) => return Err(refused),
        }
    }
    Ok(done)
}
