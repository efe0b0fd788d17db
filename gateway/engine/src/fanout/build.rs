//! Frames for members: what they are owed, from where they stand to the present, in one go where it is short.

use super::{
    ClassId, Fanout, Made, PatternId,
    collect::Collected,
    frame::{Encoder, Frame},
    pick::{Pick, missing, picked},
    readers::{CacheKey, Readers},
    topics::Memory,
};
use crate::{
    clock::Now,
    protocol::{
        batch::{Envelope, Piece},
        encoding::Encoding,
        update,
    },
    topic::position::Position,
};

/// Catch-up frames and snapshots kept for others who stand at the same position.
const CACHE_MAX: usize = 64;

impl Fanout {
    /// Everything newer than a member's own position `pos`. `long`: also where it cannot be made in one go.
    pub fn catch_up(&mut self, id: ClassId, pos: Position, least: u64, long: bool, now: Now) -> Made {
        let key = self.classes.get(id).key.clone();
        let from = self.batch_from(id, pos);
        self.shared(id, None, &key.patterns, from, least, long, now)
    }

    /// The answer to an op on `patterns`, which the class holds: what is newer than `since`, or a snapshot.
    /// `asked`: the position at which it came. `long`: also where it cannot be made in one go.
    pub fn answer(
        &mut self,
        id: ClassId,
        patterns: &[PatternId],
        since: Option<u64>,
        asked: u64,
        long: bool,
        now: Now,
    ) -> Made {
        self.shared(id, Some(patterns), patterns, since, asked, long, now)
    }

    /// `least`: the position at or above which it has to take its readers.
    #[expect(clippy::too_many_arguments, reason = "what makes a frame is as much")]
    fn shared(
        &mut self,
        id: ClassId,
        op: Option<&[PatternId]>,
        patterns: &[PatternId],
        from: Option<u64>,
        least: u64,
        long: bool,
        now: Now,
    ) -> Made {
        let class = self.classes.get(id);
        let readers = Readers { class: class.number, wire: class.key.wire, all: false };
        let key = CacheKey { class: readers.class, patterns: op.map(Into::into), from };
        let kept = self.kept.as_ref().filter(|(_, frame)| frame.version >= least);
        if let Some((_, frame)) = self.cache.iter().chain(kept).find(|(cached, _)| *cached == key) {
            return Made::Frame(frame.clone());
        }
        let oldest = op.is_none();
        let (made, _) = self.build(readers, Some(key), patterns, from, oldest, long, now);
        made
    }

    /// For others who ask for the same at the present position.
    pub(super) fn cache(&mut self, key: CacheKey, frame: Frame) {
        if self.cache.len() == CACHE_MAX {
            self.cache.swap_remove(0);
        }
        self.cache.push((key, frame));
    }

    /// Builds, or begins, the frame that takes a subscription from `from` (`None`: from nothing) to the
    /// present position, and says how old its oldest content is. `key`: it is for few, who may share it.
    #[expect(clippy::too_many_arguments, reason = "what makes a frame is as much")]
    pub(super) fn build(
        &mut self,
        readers: Readers,
        key: Option<CacheKey>,
        patterns: &[PatternId],
        from: Option<u64>,
        with_oldest: bool,
        long: bool,
        now: Now,
    ) -> (Made, Option<i64>) {
        let room = if long { usize::MAX } else { self.short_bytes };
        let Some(collected) = self.collect(patterns, from, room) else {
            return (Made::TooLong, None);
        };
        let oldest_us =
            from.filter(|_| with_oldest).and_then(|from| self.oldest_after(patterns, from, collected));
        // An answer follows `subscribed`, which says it.
        let answers = key.as_ref().is_some_and(|key| key.patterns.is_some());
        let tells = self.restarted && from.is_none() && !answers;
        let epoch = tells.then_some(self.epoch);
        let class = readers.class;
        let (ts_us, version) = (now.wall_us, self.position);
        let envelope = Envelope { class, ts_us, from, version, oldest_us, epoch };
        let picks = std::mem::take(&mut self.scratch);
        let made = self.make(readers, key, &envelope, &picks, collected.bytes, long);
        self.scratch = picks;
        (made, oldest_us)
    }

    /// How old the oldest of what was collected is, what was conflated included.
    fn oldest_after(&self, patterns: &[PatternId], from: u64, collected: Collected) -> Option<i64> {
        let newer = patterns.iter().filter(|pattern| self.patterns.mark(**pattern).version > from);
        let taken = newer.filter_map(|pattern| self.patterns.get(*pattern).spans.oldest_after(from)).min();
        let sent = (!self.scratch.is_empty()).then_some(collected.oldest_us);
        taken.into_iter().chain(sent).min()
    }

    /// `collected`: bytes of the picks, without what keyed topics hold.
    fn make(
        &mut self,
        readers: Readers,
        key: Option<CacheKey>,
        envelope: &Envelope,
        picks: &[Pick],
        collected: usize,
        long: bool,
    ) -> Made {
        // A single update cannot be taken apart.
        if collected <= self.short_bytes || picks.len() == 1 {
            let made = self.make_short(readers, envelope, picks);
            if let (Made::Frame(frame), Some(key)) = (&made, key.as_ref()) {
                self.cache(key.clone(), frame.clone());
            }
            if !matches!(made, Made::TooLong) {
                return made;
            }
        }
        if !long {
            return Made::TooLong;
        }
        let tables = picks.iter().filter_map(|pick| match &self.topics.get(pick.topic)?.memory {
            Memory::Keyed(keyed) => Some(keyed.bytes_after(envelope.from)),
            Memory::Latest | Memory::Stream(_) => None,
        });
        let bytes = collected + tables.sum::<usize>();
        if !self.fits(bytes) {
            return Made::NoRoom(bytes);
        }
        Made::Long(self.begin_long(readers, key, envelope, picks, bytes))
    }

    /// Whether so many bytes more may be pinned. What is only cached makes room.
    pub fn fits(&mut self, bytes: usize) -> bool {
        if self.budget.fits(bytes, self.short_bytes, &self.pinned) {
            return true;
        }
        self.drop_cache();
        self.budget.fits(bytes, self.short_bytes, &self.pinned)
    }

    /// All of it in one go, unless it is too long for that.
    fn make_short(&mut self, readers: Readers, envelope: &Envelope, picks: &[Pick]) -> Made {
        let (mut made, mut gaps, mut bytes) = (Vec::new(), 0, 0);
        let mut pieces = Vec::with_capacity(picks.len());
        let is_packed = readers.wire.encoding == Encoding::Msgpack;
        if is_packed {
            let updates = picks.iter().map(|pick| picked(&self.topics, *pick));
            let shared = updates.filter(|(topic, _)| matches!(topic.memory, Memory::Latest));
            shared.for_each(|(_, update)| self.packs.make(update));
        }
        for pick in picks {
            let (topic, update) = picked(&self.topics, *pick);
            let start = made.len();
            let mut rest = &update.json[..];
            match &topic.memory {
                Memory::Keyed(keyed) if !update.gone => {
                    made.extend_from_slice(rest);
                    keyed.write(envelope.from, &mut made);
                    rest = &[];
                }
                Memory::Stream(_) => {
                    let missing = missing(topic, update, pick.at, envelope.from);
                    if missing > 0 {
                        gaps += 1;
                        rest = update::write_gap(&mut made, missing, rest);
                    }
                }
                _ => {}
            }
            let packed = if is_packed && made.len() == start { self.packs.get(update) } else { &[] };
            pieces.push(Piece { made: start..made.len(), rest, packed });
            bytes += made.len() - start + rest.len() + 1;
            if bytes > self.short_bytes && picks.len() > 1 {
                return Made::TooLong;
            }
        }
        if !self.budget.fits(bytes, self.short_bytes, &self.pinned) {
            (self.cache, self.kept) = (Vec::new(), None);
            if !self.budget.fits(bytes, self.short_bytes, &self.pinned) {
                return Made::NoRoom(bytes);
            }
        }
        let Readers { wire, all: for_class, .. } = readers;
        let epoch = self.epoch;
        let (compress, budget) = (&mut self.compress, &mut self.budget);
        let mut encoder = Encoder { wire, epoch, for_class, compress, budget };
        let frame = encoder.all(envelope, &made, &pieces, self.part_bytes).finish(wire, &self.pinned);
        self.counters.gaps += gaps;
        self.counters.frames_built += u64::from(frame.parts);
        self.counters.updates_framed += u64::from(frame.updates);
        Made::Frame(frame)
    }
}
