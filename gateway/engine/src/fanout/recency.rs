//! Topics of patterns: a list for each pattern, most recently updated first.

use super::pattern_id::PatternId;
use crate::update::TopicId;

/// No place.
const NONE: u32 = u32::MAX;

/// A topic's place in one pattern's list.
#[derive(Debug, Clone, Copy)]
struct Node {
    topic: TopicId,
    pattern: PatternId,
    newer: u32,
    older: u32,
}

/// Where a pattern's list begins and ends.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    newest: u32,
    oldest: u32,
}

impl Default for Ends {
    fn default() -> Self {
        Self { newest: NONE, oldest: NONE }
    }
}

/// The lists of all patterns. Each method takes the ends of the list that it is about.
#[derive(Debug, Default)]
pub struct Lists {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl Lists {
    /// Of a place that is taken.
    pub fn pattern(&self, at: u32) -> PatternId {
        self.nodes[at as usize].pattern
    }

    /// Places that are taken.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Puts a topic in front. Gives its place.
    pub fn add(&mut self, ends: &mut Ends, pattern: PatternId, topic: TopicId) -> u32 {
        let node = Node { topic, pattern, newer: NONE, older: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.push_front(ends, at);
        at
    }

    /// Moves a topic to the front.
    pub fn touch(&mut self, ends: &mut Ends, at: u32) {
        self.unlink(ends, at);
        self.push_front(ends, at);
    }

    pub fn remove(&mut self, ends: &mut Ends, at: u32) {
        self.unlink(ends, at);
        self.free.push(at);
    }

    /// Takes the newest topic out: its place and the topic.
    pub fn pop_front(&mut self, ends: &mut Ends) -> Option<(u32, TopicId)> {
        let at = ends.newest;
        let topic = self.nodes.get(at as usize)?.topic;
        self.remove(ends, at);
        Some((at, topic))
    }

    pub fn recent(&self, ends: Ends) -> impl Iterator<Item = TopicId> + '_ {
        let mut at = ends.newest;
        std::iter::from_fn(move || {
            if at == NONE {
                return None;
            }
            let node = &self.nodes[at as usize];
            at = node.older;
            Some(node.topic)
        })
    }

    fn push_front(&mut self, ends: &mut Ends, at: u32) {
        let second = std::mem::replace(&mut ends.newest, at);
        match second {
            NONE => ends.oldest = at,
            second => self.nodes[second as usize].newer = at,
        }
        let node = &mut self.nodes[at as usize];
        (node.newer, node.older) = (NONE, second);
    }

    fn unlink(&mut self, ends: &mut Ends, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match newer {
            NONE => ends.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => ends.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }
}
