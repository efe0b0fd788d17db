//! What is newer than a position, looked up: whether there is any, whether it is long, and which updates it is.

use super::{
    ClassId, Fanout, PatternId,
    pick::Pick,
    topics::{Memory, Topic},
};
use crate::{
    protocol::encoding::Encoding,
    topic::{pattern::Pattern, position::Position},
    update::{TopicId, Update},
};

/// Topics looked at to tell whether a frame is long, where no list says what is newer.
const LOOKED_AT_MAX: usize = 4096;

impl Fanout {
    /// Where the batch begins that takes a member on from `pos`; `None`: it needs a snapshot.
    pub(super) fn batch_from(&self, id: ClassId, pos: Position) -> Option<u64> {
        let (class, pos) = (self.classes.get(id), pos.version()?);
        // A member that was sent all its class was sent has been looked through as far as the class.
        let looked = if pos >= class.sent { pos.max(class.looked(self.position)) } else { pos };
        self.reaches(id, looked).then_some(pos)
    }

    /// Whether a batch can tell all that the readers of a class are told of what came after a version. Raw readers are not
    /// told that a topic is gone, so that they miss nothing below the floor.
    pub(super) fn reaches(&self, id: ClassId, version: u64) -> bool {
        version >= self.floor || self.classes.get(id).key.wire.encoding == Encoding::Raw
    }

    /// Whether a member at `pos` is owed anything but an empty batch.
    pub fn owes(&self, id: ClassId, pos: Position) -> bool {
        let class = self.classes.get(id);
        self.batch_from(id, pos)
            .is_none_or(|pos| class.key.patterns.iter().any(|p| self.patterns.mark(*p).version > pos))
    }

    /// Whether the answer to an op on patterns, not all of which may be interned, is too long to be made in one
    /// go.
    pub fn is_long(&self, patterns: &[Pattern], since: Option<u64>) -> bool {
        let mut room = self.short_bytes;
        patterns.iter().any(|pattern| match self.patterns.find(pattern) {
            Some(id) => !self.fit(self.patterns.recent(id).map(Some), since, true, &mut room),
            None => !self.fit(self.topics.matching(pattern.key(), None), since, false, &mut room),
        })
    }

    /// Whether the newest of these topics fit into `room`, which becomes less. `ids`: `None` for each that was
    /// looked at in vain; `recent`: in order of recency.
    fn fit(
        &self,
        ids: impl Iterator<Item = Option<TopicId>>,
        since: Option<u64>,
        recent: bool,
        room: &mut usize,
    ) -> bool {
        for (looked_at, id) in ids.enumerate() {
            let topic = id.map(|id| {
                self.topics.get(id).expect("the lists of topics and patterns hold those that are held")
            });
            let Some(topic) = topic.filter(|topic| since.is_none_or(|since| topic.version() > since)) else {
                if recent {
                    return true;
                }
                if looked_at > LOOKED_AT_MAX {
                    return false;
                }
                continue;
            };
            let bytes = bytes_of(topic, since);
            if bytes > *room {
                return false;
            }
            *room -= bytes;
        }
        true
    }

    /// Fills `scratch` with the updates newer than `from` in version order: of each topic the last, of a
    /// stream all. A snapshot (`None`) leaves tombstones out and has the streams' latest. `None`: they are more
    /// than `bytes_max`.
    pub(super) fn collect(
        &mut self,
        patterns: &[PatternId],
        from: Option<u64>,
        bytes_max: usize,
    ) -> Option<Collected> {
        self.scratch.clear();
        let mut collected = Collected { bytes: 0, oldest_us: i64::MAX };
        for pattern in patterns {
            if from.is_some_and(|from| self.patterns.mark(*pattern).version <= from) {
                continue;
            }
            for id in self.patterns.recent(*pattern) {
                let topic = self.topics.get(id).expect("the lists of a pattern hold topics that are held");
                let update = topic.update.as_ref().expect("a topic that is listed has an update");
                if from.is_some_and(|from| update.version <= from) {
                    break;
                }
                if from.is_none() && update.gone {
                    continue;
                }
                match &topic.memory {
                    Memory::Stream(stream) => {
                        let places = from.map_or_else(|| stream.snapshot(), |from| stream.after(from));
                        for at in places {
                            let update = stream.get(at);
                            collected.note(update);
                            self.scratch.push(Pick { version: update.version, topic: id, at });
                        }
                    }
                    Memory::Latest | Memory::Keyed(_) => {
                        collected.note(update);
                        self.scratch.push(Pick { version: update.version, topic: id, at: 0 });
                    }
                }
                if collected.bytes > bytes_max && self.scratch.len() > 1 {
                    return None;
                }
            }
        }
        if let ([_], 0) = (patterns, self.streams) {
            self.scratch.reverse();
        } else {
            self.scratch.sort_unstable();
            self.scratch.dedup();
        }
        Some(collected)
    }
}

/// What there is of the updates that a frame is to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Collected {
    /// Without what keyed topics hold.
    pub(super) bytes: usize,
    /// Their earliest time. Microseconds since the Unix epoch.
    pub(super) oldest_us: i64,
}

impl Collected {
    fn note(&mut self, update: &Update) {
        self.bytes += update.json.len() + 1;
        self.oldest_us = self.oldest_us.min(update.ts_us).min(update.due_us);
    }
}

/// What a topic takes in a frame, about.
fn bytes_of(topic: &Topic, since: Option<u64>) -> usize {
    let head = topic.update.as_ref().map_or(0, |update| update.json.len() + 1);
    match &topic.memory {
        Memory::Latest => head,
        Memory::Keyed(keyed) => head + keyed.bytes_after(since),
        Memory::Stream(stream) => {
            let places = since.map_or_else(|| stream.snapshot(), |since| stream.after(since));
            places.map(|at| stream.get(at).json.len() + 1).sum()
        }
    }
}
