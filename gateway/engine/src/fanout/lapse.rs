//! Subscribers whom a stream leaves behind, where its policy closes them for it.

use std::{fmt, sync::Arc};

use super::{ClassId, Fanout, topics::Memory};
use crate::topic::position::Position;

/// A stream that a subscriber has fallen behind, which its policy answers with a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    topic: Arc<str>,
    missing: u64,
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A close frame's reason has 123 bytes at most, a topic up to 255.
        let topic: String = self.topic.chars().take(40).collect();
        write!(
            f,
            "{} updates of {topic} behind the [[topic]] ring; read faster or raise ring_updates",
            self.missing
        )
    }
}

impl Fanout {
    /// What a member of a class at `position` has to be closed for.
    pub fn lapse(&self, id: ClassId, position: Position) -> Option<Lapse> {
        if self.closing == 0 {
            return None;
        }
        // A snapshot lacks nothing.
        let position = self.batch_from(id, position)?;
        let key = &self.classes.get(id).key;
        self.newer(&key.patterns, position).find_map(|topic| match &topic.memory {
            Memory::Stream(stream) => {
                stream.lapsed(position).map(|missing| Lapse { topic: topic.name.clone(), missing })
            }
            Memory::Latest | Memory::Keyed(_) => None,
        })
    }
}
