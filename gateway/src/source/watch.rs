//! Looks whether sources bring what is expected of them, and keeps their health up to date.

use std::{sync::Arc, time::Duration};

use engine::{
    clock::Now, protocol::status::TopicState, shard::shared::Shared, topic::pattern::Pattern,
    unit::show_duration,
};

use super::running::{Entry, SourceCounters};
use crate::{
    health::{Health, Origin},
    intake::clocked::ClockedSequencer,
};

/// How often sources are looked at, and what waits for room is tried again.
const TICK: Duration = Duration::from_millis(100);

/// Looks after sources and topics for good.
pub async fn watch(
    health: &Health,
    sequencer: &ClockedSequencer,
    sources: &SourceCounters,
    shared: &Shared,
) -> std::convert::Infallible {
    loop {
        let now = sequencer.now();
        shared.set_warming(!warming(sources, now).is_empty());
        shared.set_upstream_away(is_upstream_away(sources, now));
        tokio::time::sleep(TICK).await;
        let now = sequencer.now();
        let entries = sources.entries();
        for topic in sequencer.take_ended() {
            entries.iter().for_each(|entry| entry.activity.brought().forget(&topic));
        }
        entries.iter().for_each(|entry| look(health, entry, now));
        let events = sequencer.take_state_changes();
        health.confirm(events.iter().map(|event| &event.topic), now.wall_us);
        for event in events {
            // What finds no room was counted and told.
            let _ = health.set(
                Origin::Topic,
                vec![Pattern::of_topic(event.topic)],
                event.state,
                &event.reason,
                now.wall_us,
            );
        }
        health.tick(now.wall_us);
    }
}

fn look(health: &Health, entry: &Entry, now: Now) {
    let Entry { id, freshness: fresh, activity, .. } = entry;
    let i = *id;
    let mut news = activity.brought().take_news();
    for (topic, why) in news.refused {
        let (state, reason) = why.map_or((TopicState::Live, String::new()), |why| (TopicState::Gap, why));
        // What finds no room was counted and told.
        let _ = health.set(Origin::Denied(i), vec![topic], state, &reason, now.wall_us);
    }
    let Some(stale_after) = fresh.stale_after else { return };
    let name = &activity.name;
    let topics = &fresh.topics;
    let reason = match activity.down() {
        Some(why) => format!("source {name}: {why}"),
        None if activity.age_us(now.mono_us) > stale_after.as_micros() as u64 => {
            format!("source {name}: nothing came for {} that made an update", show_duration(stale_after))
        }
        None if activity.has_reported() => {
            // Its health may concern some of its topics only.
            let is_told = |topic: &Arc<str>| topics.iter().any(|told| told.matches(topic));
            let left = || activity.brought().left().into_iter().filter(is_told).collect::<Vec<_>>();
            news.back.retain(is_told);
            if news.is_lost && !left().is_empty() {
                // It was gone for so short a time that nobody saw it.
                let reason = format!("source {name}: its connection was made anew");
                health.lose(i, topics.clone(), &reason, now.wall_us);
            }
            health.regain(i, topics.clone(), left, &news.back, now);
            return;
        }
        None => return,
    };
    health.lose(i, topics.clone(), &reason, now.wall_us);
}

/// Whether what a chained gateway passes on is not its upstream's newest.
fn is_upstream_away(sources: &SourceCounters, now: Now) -> bool {
    // It is the only source.
    let upstream = sources.upstream.is_some().then(|| sources.entries().into_iter().next());
    upstream.flatten().is_some_and(|entry| {
        let is_old = |after: Duration| entry.activity.age_us(now.mono_us) > after.as_micros() as u64;
        entry.activity.down().is_some() || entry.freshness.stale_after.is_some_and(is_old)
    })
}

/// Names of sources that the gateway waits for before it counts as ready: those that may go stale, have
/// brought nothing yet, and were not silent for twice as long as they may be.
pub fn warming(sources: &SourceCounters, now: Now) -> Vec<String> {
    let waits = |entry: &Arc<Entry>| {
        let stale_us = entry.freshness.stale_after?.as_micros() as u64;
        let activity = &entry.activity;
        let waits = !activity.has_reported() && activity.age_us(now.mono_us) <= 2 * stale_us;
        waits.then(|| activity.name.clone())
    };
    sources.entries().iter().filter_map(waits).collect()
}
