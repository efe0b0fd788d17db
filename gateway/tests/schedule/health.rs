//! Topics of an earlier run that are confirmed bit by bit, and what a publisher says of others, while clients come
//! and go.

use std::{collections::BTreeSet, sync::Arc};

use engine::{protocol::status::TopicState, topic::pattern::Pattern};
use gateway::health::{Health, Origin};

use crate::support::World;

/// What a publisher speaks of, each status by itself.
const GROUPS: [&[&str]; 5] = [&["m.x.*"], &["k.*", "n.*"], &["*.y.*"], &["*"], &["a.b.*"]];

pub struct States {
    health: Arc<Health>,
    /// Topics and patterns.
    pub not_live: BTreeSet<String>,
}

impl States {
    /// Some of these topics may be of an earlier run.
    pub fn new(world: &World, topics: &[String], rng: &mut fastrand::Rng) -> Self {
        let health = Health::new(std::slice::from_ref(&world.inbox), 100, 1 << 20);
        let restored: BTreeSet<String> = match rng.u8(..4) {
            0 => BTreeSet::new(),
            _ => topics.iter().filter(|_| rng.bool()).cloned().collect(),
        };
        let names: Vec<Arc<str>> = restored.iter().map(|name| name.as_str().into()).collect();
        health.restored(&names, world.now.wall_us);
        Self { health, not_live: restored }
    }

    /// Some topics are confirmed, or a publisher says what is stale or live again.
    pub fn change(&mut self, world: &World, topics: &[String], rng: &mut fastrand::Rng) {
        let now_us = world.now.wall_us;
        if rng.bool() {
            let count = rng.usize(1..4);
            let confirmed: BTreeSet<&String> = rng.choose_multiple(topics, count).into_iter().collect();
            let names: Vec<Arc<str>> = confirmed.iter().map(|name| name.as_str().into()).collect();
            self.health.confirm(names.iter(), now_us);
            self.not_live.retain(|name| !confirmed.contains(name));
        } else {
            let group = GROUPS[rng.usize(..GROUPS.len())];
            let is_live = !self.not_live.contains(group[0]);
            let patterns: Vec<Pattern> =
                group.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect();
            let state = if is_live { TopicState::Stale } else { TopicState::Live };
            self.health.set(Origin::Publisher, patterns, state, "", now_us).expect("there is room");
            for text in group {
                match is_live {
                    true => _ = self.not_live.insert(text.to_string()),
                    false => _ = self.not_live.remove(*text),
                }
            }
        }
    }

    /// What found no room in the inbox may find some now.
    pub fn tick(&self, world: &World) {
        self.health.tick(world.now.wall_us);
    }
}
