//! Updates that a frame is to have.

use super::topics::{Memory, Topic, Topics};
use crate::update::{TopicId, Update};

/// An update that a frame is to have. In this order they stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pick {
    pub(super) version: u64,
    pub(super) topic: TopicId,
    /// Place in the history of a stream.
    pub(super) at: u32,
}

/// # Panics
/// Where something was taken in since it was picked.
pub(super) fn picked(topics: &Topics, pick: Pick) -> (&Topic, &Update) {
    let topic = topics.get(pick.topic).expect("a topic that was picked is held");
    let update = match &topic.memory {
        Memory::Stream(stream) => stream.get(pick.at),
        Memory::Latest | Memory::Keyed(_) => {
            topic.update.as_ref().expect("a topic that was picked has an update")
        }
    };
    (topic, update)
}

/// How many updates before this one a reader at `from` lacks, to be told with it.
pub(super) fn missing(topic: &Topic, update: &Update, at: u32, from: Option<u64>) -> u64 {
    let Memory::Stream(stream) = &topic.memory else { return 0 };
    // What the history dropped can only be missing before the first that is kept.
    let from = from.filter(|_| at == 0);
    from.map_or(0, |from| stream.missing(from)).max(update.skipped.into())
}
