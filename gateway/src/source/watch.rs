//! Looks whether sources bring what is expected of them, and keeps their health up to date.

use std::{sync::Arc, time::Duration};

use engine::{
    clock::Now, protocol::status::TopicState, shard::shared::Shared, topic::pattern::Pattern,
    unit::show_duration,
};

use super::SourceCounters;
use crate::{
    health::{Health, Origin},
    intake::clocked::ClockedSequencer,
    source::freshness::Freshness,
};

/// How often sources are looked at, and what waits for room is tried again.
const TICK: Duration = Duration::from_millis(100);

/// Looks after sources and topics for good.
pub async fn watch(
    health: &Health,
    sequencer: &ClockedSequencer,
    sources: &SourceCounters,
    freshness: &[Freshness],
    shared: &Shared,
) -> std::convert::Infallible {
    loop {
        let now = sequencer.now();
        shared.set_warming(!warming(sources, freshness, now).is_empty());
        shared.set_upstream_away(is_upstream_away(sources, freshness, now));
        tokio::time::sleep(TICK).await;
        let now = sequencer.now();
        for topic in sequencer.take_ended() {
            sources.activities.iter().for_each(|activity| activity.brought().forget(&topic));
        }
        for (i, fresh) in freshness.iter().enumerate() {
            look(health, i, fresh, sources, now);
        }
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

fn look(health: &Health, i: usize, fresh: &Freshness, sources: &SourceCounters, now: Now) {
    let activity = &sources.activities[i];
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
fn is_upstream_away(sources: &SourceCounters, freshness: &[Freshness], now: Now) -> bool {
    // It is the only source.
    let upstream = sources.upstream.is_some().then(|| sources.activities.iter().zip(freshness).next());
    upstream.flatten().is_some_and(|(activity, fresh)| {
        let is_old = |after: Duration| activity.age_us(now.mono_us) > after.as_micros() as u64;
        activity.down().is_some() || fresh.stale_after.is_some_and(is_old)
    })
}

/// Names of sources that the gateway waits for before it counts as ready: those that may go stale, have
/// brought nothing yet, and were not silent for twice as long as they may be.
pub fn warming(sources: &SourceCounters, freshness: &[Freshness], now: Now) -> Vec<String> {
    let waits = |(i, fresh): (usize, &Freshness)| {
        let stale_us = fresh.stale_after?.as_micros() as u64;
        let activity = &sources.activities[i];
        let waits = !activity.has_reported() && activity.age_us(now.mono_us) <= 2 * stale_us;
        waits.then(|| activity.name.clone())
    };
    freshness.iter().enumerate().filter_map(waits).collect()
}
