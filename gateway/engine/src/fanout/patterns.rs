//! Interned patterns, each with the list of its topics, most recently updated first.
//!
//! The patterns that match a new topic are found by looking up its name, each of its prefixes and the empty
//! string as keys: one step per segment. Those with a star before their end are found by [`Stars`].

use std::collections::HashMap;

use super::{spans::Spans, topics::Topics};
use crate::{
    topic::{pattern::Pattern, stars::Stars},
    update::TopicId,
};

/// Number of an interned pattern; used again when the last class that named it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternId(pub u32);

const NONE: u32 = u32::MAX;

/// A topic's place in one pattern's recency list.
#[derive(Debug, Clone, Copy)]
struct Node {
    topic: TopicId,
    pattern: PatternId,
    newer: u32,
    older: u32,
}

/// A pattern that classes name.
#[derive(Debug)]
pub struct Interned {
    pattern: Pattern,
    /// Classes that name it.
    users: u32,
    newest: u32,
    oldest: u32,
    /// Newest version among its topics.
    pub version: u64,
    /// Updates of its topics since it was interned.
    pub updates: u64,
    pub spans: Spans,
    /// The drain of the inbox in which it was last touched.
    drain: u64,
}

#[derive(Debug, Default)]
pub struct Patterns {
    slots: Vec<Option<Interned>>,
    free: Vec<PatternId>,
    by_key: HashMap<Box<str>, PatternId>,
    /// Of `by_key`.
    stars: Stars,
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
}

impl Interned {
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }
}

impl Patterns {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn get(&self, id: PatternId) -> &Interned {
        self.slots[id.0 as usize].as_ref().expect("classes hold only interned patterns")
    }

    fn get_mut(&mut self, id: PatternId) -> &mut Interned {
        self.slots[id.0 as usize].as_mut().expect("classes hold only interned patterns")
    }

    /// Interns a pattern and counts one user. Costs a walk over its topics when it is new.
    pub fn acquire(&mut self, pattern: &Pattern, topics: &mut Topics) -> PatternId {
        let key = pattern.key();
        if let Some(id) = self.by_key.get(key).copied() {
            self.get_mut(id).users += 1;
            return id;
        }
        let interned = Interned {
            pattern: pattern.clone(),
            users: 1,
            newest: NONE,
            oldest: NONE,
            version: 0,
            updates: 0,
            spans: Spans::default(),
            drain: 0,
        };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                PatternId(self.slots.len() as u32 - 1)
            }
        };
        self.slots[id.0 as usize] = Some(interned);
        self.by_key.insert(key.into(), id);
        self.stars.add(key);
        let mut matching: Vec<(u64, TopicId)> =
            topics.matching(key).flatten().map(|t| (topics.get(t).map_or(0, |t| t.version()), t)).collect();
        matching.sort_unstable();
        for (version, topic) in matching {
            let node = self.add_node(id, topic);
            if let Some(topic) = topics.get_mut(topic) {
                topic.nodes.push(node);
            }
            self.get_mut(id).version = version;
        }
        id
    }

    /// The number of a pattern, where it is interned.
    pub fn find(&self, pattern: &Pattern) -> Option<PatternId> {
        self.by_key.get(pattern.key()).copied()
    }

    /// One user more of an interned pattern.
    pub fn retain(&mut self, id: PatternId) {
        self.get_mut(id).users += 1;
    }

    /// One user less; the last one takes the pattern's list with it.
    pub fn release(&mut self, id: PatternId, topics: &mut Topics) {
        let pattern = self.get_mut(id);
        pattern.users -= 1;
        if pattern.users > 0 {
            return;
        }
        let mut at = pattern.newest;
        while at != NONE {
            let node = self.nodes[at as usize];
            if let Some(topic) = topics.get_mut(node.topic) {
                topic.nodes.retain(|n| *n != at);
            }
            self.free_nodes.push(at);
            at = node.older;
        }
        if let Some(interned) = self.slots[id.0 as usize].take() {
            self.by_key.remove(interned.pattern.key());
            self.stars.remove(interned.pattern.key());
        }
        self.free.push(id);
    }

    /// Enters a new topic into the list of every pattern that matches it.
    pub fn birth(&mut self, id: TopicId, topics: &mut Topics) {
        let topic = topics.get_mut(id).expect("a topic is there when it is born");
        let mut matching = Vec::new();
        self.stars.each_key(&topic.name, &mut |key| matching.extend(self.by_key.get(key)));
        topic.nodes = matching.into_iter().map(|pattern| self.add_node(pattern, id)).collect();
    }

    /// Takes a forgotten topic out of its lists.
    pub fn forget(&mut self, nodes: &[u32]) {
        for &at in nodes {
            self.unlink(at);
            self.free_nodes.push(at);
        }
    }

    /// Positions begin anew. Call when no topic is left.
    pub fn restart(&mut self) {
        for pattern in self.slots.iter_mut().flatten() {
            (pattern.version, pattern.spans) = (0, Spans::default());
        }
    }

    /// Moves a topic to the front of its lists. `drain` tells drains of the inbox apart.
    pub fn touch(&mut self, nodes: &[u32], version: u64, due_us: i64, drain: u64) {
        let patterns = self.by_key.len();
        for &at in nodes {
            let id = self.nodes[at as usize].pattern;
            self.unlink(at);
            self.push_front(at);
            let pattern = self.get_mut(id);
            pattern.version = version;
            pattern.updates += 1;
            pattern.spans.note(version, due_us, pattern.drain != drain, patterns);
            pattern.drain = drain;
        }
    }

    /// Topics of a pattern, most recently updated first.
    pub fn recent(&self, id: PatternId) -> impl Iterator<Item = TopicId> + '_ {
        let mut at = self.get(id).newest;
        std::iter::from_fn(move || {
            if at == NONE {
                return None;
            }
            let node = &self.nodes[at as usize];
            at = node.older;
            Some(node.topic)
        })
    }

    fn add_node(&mut self, pattern: PatternId, topic: TopicId) -> u32 {
        let node = Node { topic, pattern, newer: NONE, older: NONE };
        let at = match self.free_nodes.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.push_front(at);
        at
    }

    fn push_front(&mut self, at: u32) {
        let id = self.nodes[at as usize].pattern;
        let pattern = self.slots[id.0 as usize].as_mut().expect("nodes belong to interned patterns");
        let second = pattern.newest;
        pattern.newest = at;
        if second == NONE {
            pattern.oldest = at;
        } else {
            self.nodes[second as usize].newer = at;
        }
        let node = &mut self.nodes[at as usize];
        node.newer = NONE;
        node.older = second;
    }

    fn unlink(&mut self, at: u32) {
        let Node { pattern, newer, older, .. } = self.nodes[at as usize];
        let pattern = self.slots[pattern.0 as usize].as_mut().expect("nodes belong to interned patterns");
        match newer {
            NONE => pattern.newest = older,
            n => self.nodes[n as usize].older = older,
        }
        match older {
            NONE => pattern.oldest = newer,
            n => self.nodes[n as usize].newer = newer,
        }
    }
}
