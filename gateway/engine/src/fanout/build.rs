//! The frames of a class: what its members are owed, from where they stand to the present.

use super::{
    CACHE_MAX, CacheKey, ClassId, Due, Fanout, Flush, Flushed, Frame, Made, PatternId, Pick, Readers,
    frame::{Encoder, Envelope, Piece},
    line::Lane,
    long,
    topics::{Memory, Topic, Topics},
};
use crate::{
    clock::Now,
    planted::{Bug, planted},
    topic::position::Position,
    update::Update,
};

/// Topics looked at to tell whether a frame is long, where no list says what is newer.
const LOOKED_AT_MAX: usize = 4096;

impl Fanout {
    /// Looks at a class whose moment has come. `may_build`: a short frame.
    pub fn flush(&mut self, id: ClassId, may_build: bool, now: Now) -> Flushed {
        let position = self.position;
        let class = self.classes.get(id);
        let (interval_us, key) = (class.key.interval_us, class.key.clone());
        let flush_due = interval_us == 0 || now.mono_us >= class.flush_us;
        let due_us = if interval_us == 0 { now.mono_us } else { class.flush_us };
        let (mut scanned, waits) = (class.scanned, class.waits.is_some() || class.members.is_empty());
        if flush_due {
            if let Some(past) = now.mono_us.checked_sub(class.flush_us)
                && interval_us > 0
            {
                self.classes.get_mut(id).flush_us += (past / interval_us + 1) * interval_us;
            }
            let newest = key.patterns.iter().map(|p| self.patterns.get(*p).version).max().unwrap_or(0);
            if newest > scanned || scanned < self.floor {
                if !waits {
                    return if may_build {
                        self.flush_changes(id, due_us, false, now)
                    } else {
                        Flushed::Waits { lane: Lane::Short, need_bytes: None, due_us }
                    };
                }
            } else {
                scanned = position;
                self.classes.get_mut(id).scanned = position;
            }
        }
        self.heartbeat(id, scanned, now).map_or(Flushed::Nothing, Flushed::Flush)
    }

    fn heartbeat(&mut self, id: ClassId, scanned: u64, now: Now) -> Option<Flush> {
        let (position, silence_us, heartbeat_us) = (self.position, self.silence_us(), self.heartbeat_us);
        let class = self.classes.get_mut(id);
        if now.mono_us < class.heartbeat_us {
            return None;
        }
        // Between two flushes there may be changes not looked at yet: the heartbeat stops short of
        // them. `sent` stays, since members that are not silent do not get this frame. The fan-out
        // puts the next heartbeat off to when one is due again.
        class.heartbeat_us = now.mono_us + heartbeat_us / 8;
        let (sent, number, wire) = (class.sent, class.number, class.key.wire);
        let envelope = Envelope {
            class: number,
            ts_us: now.wall_us,
            from: Some(sent),
            version: if planted(Bug::HeartbeatTooFar) { position } else { scanned },
            oldest_us: None,
            epoch: None,
        };
        let frame = self.encode_empty(&envelope, Readers { class: number, wire, all: true });
        Some(Flush {
            class: id,
            number,
            frame,
            from: Some(sent),
            silent_since_us: Some(now.mono_us.saturating_sub(silence_us)),
            version: scanned,
            due_us: now.mono_us,
            age_us: None,
            lapsed: false,
        })
    }

    /// An empty batch for a member that is owed more than can be built now: it stays where it is.
    pub fn sign_of_life(&mut self, id: ClassId, pos: u64, now: Now) -> Frame {
        let class = self.classes.get(id);
        let readers = Readers { class: class.number, wire: class.key.wire, all: false };
        let (class, ts_us) = (class.number, now.wall_us);
        let envelope = Envelope { class, ts_us, from: Some(pos), version: pos, oldest_us: None, epoch: None };
        self.encode_empty(&envelope, readers)
    }

    /// What is newer than what the class was sent, if anything. `long`: also where it cannot be made in one go.
    pub fn flush_changes(&mut self, id: ClassId, due_us: u64, long: bool, now: Now) -> Flushed {
        let class = self.classes.get(id);
        let (key, number, sent) = (class.key.clone(), class.number, class.sent);
        let newest = key.patterns.iter().map(|p| self.patterns.get(*p).version).max().unwrap_or(0);
        if newest <= class.scanned && class.scanned >= self.floor {
            return Flushed::Nothing;
        }
        let from = (class.scanned >= self.floor).then_some(sent);
        let updates: u64 = key.patterns.iter().map(|p| self.patterns.get(*p).updates).sum();
        let readers = Readers { class: number, wire: key.wire, all: true };
        let lapsed = self.lapse(id, Position::at(sent)).is_some();
        let (made, oldest_us) = self.build(readers, None, &key.patterns, from, true, long, now);
        let age_us = oldest_us.map(|oldest_us| now.wall_us.saturating_sub(oldest_us).max(0) as u64);
        let due = Due { class: id, number, from, due_us, age_us, lapsed, updates };
        match made {
            Made::Frame(frame) => Flushed::Flush(self.flushed(due, frame)),
            Made::Long(long) => Flushed::Long(due, long),
            Made::TooLong => Flushed::Waits { lane: Lane::Long, need_bytes: None, due_us },
            Made::NoRoom(bytes) => Flushed::Waits { lane: Lane::Long, need_bytes: Some(bytes), due_us },
        }
    }

    /// The class's frame was built: its members are to be handed it.
    pub fn flushed(&mut self, due: Due, frame: Frame) -> Flush {
        let Due { class: id, number, from, due_us, age_us, lapsed, updates } = due;
        let class = self.classes.get_mut(id);
        self.counters.conflated += (updates - class.seen).saturating_sub(u64::from(frame.updates));
        class.seen = updates;
        class.sent = frame.version + u64::from(planted(Bug::CursorTooFar));
        class.scanned = frame.version;
        // The heartbeat is not put off: members that were sent this earlier by themselves are passed over.
        let version = frame.version;
        Flush { class: id, number, frame, from, silent_since_us: None, version, due_us, age_us, lapsed }
    }

    /// How long a subscription was sent nothing when it gets a heartbeat: a little early, so that
    /// members of a class share them.
    fn silence_us(&self) -> u64 {
        self.heartbeat_us / 8 * 7
    }

    /// Whether a subscription that was last sent something at `sent_us` (monotonic) needs a heartbeat.
    pub fn is_silent(&self, sent_us: u64, now: Now) -> bool {
        now.mono_us.saturating_sub(sent_us) >= self.silence_us()
    }

    /// Everything newer than a member's own position `pos`. `long`: also where it cannot be made in one go.
    pub fn catch_up(&mut self, id: ClassId, pos: Position, least: u64, long: bool, now: Now) -> Made {
        let key = self.classes.get(id).key.clone();
        let from = self.batch_from(id, pos);
        self.shared(id, None, &key.patterns, from, least, long, now)
    }

    /// Where the batch begins that takes a member on from `pos`; `None`: it needs a snapshot.
    pub(super) fn batch_from(&self, id: ClassId, pos: Position) -> Option<u64> {
        let (class, pos) = (self.classes.get(id), pos.version()?);
        // A member that was sent all its class was sent has been looked through as far as the class.
        let looked = if pos >= class.sent { pos.max(class.scanned) } else { pos };
        (looked >= self.floor || planted(Bug::FloorIgnored)).then_some(pos)
    }

    /// Whether a member at `pos` is owed anything but an empty batch.
    pub fn owes(&self, id: ClassId, pos: Position) -> bool {
        let class = self.classes.get(id);
        self.batch_from(id, pos)
            .is_none_or(|pos| class.key.patterns.iter().any(|p| self.patterns.get(*p).version > pos))
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

    /// Whether the answer to an op on patterns, not all of which may be interned, is too long to be made in one
    /// go.
    pub fn is_long(&self, patterns: &[String], since: Option<u64>) -> bool {
        let mut room = self.short_bytes;
        patterns.iter().any(|text| match self.patterns.find(text) {
            Some(pattern) => !self.fit(self.patterns.recent(pattern), since, true, &mut room),
            None => !self.fit(self.topics.matching(key(text)), since, false, &mut room),
        })
    }

    /// Whether the newest of these topics fit into `room`, which becomes less. `recent`: in order of recency.
    fn fit(
        &self,
        ids: impl Iterator<Item = crate::update::TopicId>,
        since: Option<u64>,
        recent: bool,
        room: &mut usize,
    ) -> bool {
        for (looked_at, id) in ids.enumerate() {
            let Some(topic) = self.topics.get(id) else { continue };
            if since.is_some_and(|since| topic.version() <= since) {
                if recent {
                    return true;
                }
                if looked_at > LOOKED_AT_MAX {
                    return false;
                }
                continue;
            }
            let bytes = bytes_of(topic, since);
            if bytes > *room {
                return false;
            }
            *room -= bytes;
        }
        true
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
        let key = CacheKey {
            class: readers.class,
            patterns: op.filter(|_| !planted(Bug::CacheWithoutPatterns)).map(Into::into),
            from: from.map(|from| if planted(Bug::CacheWithoutFrom) { 0 } else { from }),
        };
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
    fn build(
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
        let mut oldest_us = None;
        if let (Some(from), true) = (from, with_oldest) {
            let taken = patterns.iter().filter_map(|p| self.patterns.get(*p).spans.oldest_after(from));
            let sent = self
                .scratch
                .iter()
                .filter_map(|pick| picked(&self.topics, *pick))
                .map(|u| u.ts_us.min(u.due_us));
            oldest_us =
                taken.chain(sent).min().map(|us| us + 50_000 * i64::from(planted(Bug::OldestTooLate)));
        }
        // An answer follows `subscribed`, which says it.
        let answers = key.as_ref().is_some_and(|key| key.patterns.is_some());
        let tells = self.restarted && from.is_none() && !answers && !planted(Bug::EpochUntold);
        let epoch = tells.then_some(self.epoch);
        let class = readers.class;
        let (ts_us, version) = (now.wall_us, self.position);
        let envelope = Envelope { class, ts_us, from, version, oldest_us, epoch };
        let picks = std::mem::take(&mut self.scratch);
        let made = self.make(readers, key, &envelope, &picks, collected, long);
        self.scratch = picks;
        (made, oldest_us)
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
        for pick in picks {
            let Some(topic) = self.topics.get(pick.topic) else { continue };
            let Some(update) = picked(&self.topics, *pick) else { continue };
            let start = made.len();
            let mut rest = &update.json[..];
            match &topic.memory {
                Memory::Keyed(keyed) if !update.gone => {
                    made.extend_from_slice(rest);
                    keyed.write(envelope.from, &mut made);
                    rest = &[];
                }
                Memory::Stream(_) => {
                    let missing = long::missing(topic, update, pick.at, envelope.from);
                    if missing > 0 {
                        gaps += 1;
                        long::push_gap(&mut made, missing);
                        rest = &rest[1..];
                    }
                }
                _ => {}
            }
            pieces.push(Piece { made: start..made.len(), rest });
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
        let mut encoder = Encoder { wire, for_class, compress: &mut self.compress, budget: &mut self.budget };
        let frame = encoder.all(envelope, &made, &pieces, self.part_bytes).finish(wire, &self.pinned);
        self.counters.gaps += gaps;
        self.counters.frames_built += u64::from(frame.parts);
        self.counters.updates_framed += u64::from(frame.updates);
        Made::Frame(frame)
    }

    fn encode_empty(&mut self, envelope: &Envelope, readers: Readers) -> Frame {
        let Readers { wire, all: for_class, .. } = readers;
        let mut encoder = Encoder { wire, for_class, compress: &mut self.compress, budget: &mut self.budget };
        self.counters.frames_built += 1;
        encoder.all(envelope, &[], &[], self.part_bytes).finish(wire, &self.pinned)
    }

    /// Fills `scratch` with the updates newer than `from` in version order: of each topic the last, of a
    /// stream all. A snapshot (`None`) leaves tombstones out and has the streams' latest. Gives their bytes,
    /// without what keyed topics hold; `None`: they are more than `bytes_max`.
    fn collect(&mut self, patterns: &[PatternId], from: Option<u64>, bytes_max: usize) -> Option<usize> {
        self.scratch.clear();
        let mut bytes = 0;
        for pattern in patterns {
            for id in self.patterns.recent(*pattern) {
                let Some(topic) = self.topics.get(id) else { continue };
                let Some(update) = &topic.update else { continue };
                if from.is_some_and(|from| update.version <= from) {
                    break;
                }
                if from.is_none() && update.gone && !planted(Bug::GoneInSnapshot) {
                    continue;
                }
                if update.gone && planted(Bug::GoneUnsent) {
                    continue;
                }
                match &topic.memory {
                    Memory::Stream(stream) => {
                        let places = from.map_or_else(|| stream.snapshot(), |from| stream.after(from));
                        for at in places {
                            let update = stream.get(at);
                            bytes += update.json.len() + 1;
                            self.scratch.push(Pick { version: update.version, topic: id, at });
                        }
                    }
                    Memory::Latest | Memory::Keyed(_) => {
                        bytes += update.json.len() + 1;
                        self.scratch.push(Pick { version: update.version, topic: id, at: 0 });
                    }
                }
                if bytes > bytes_max && self.scratch.len() > 1 {
                    return None;
                }
            }
        }
        if planted(Bug::Unsorted) {
        } else if let ([_], 0) = (patterns, self.streams) {
            self.scratch.reverse();
        } else {
            self.scratch.sort_unstable();
            self.scratch.dedup();
        }
        Some(bytes)
    }
}

/// A pattern's text without its star, as the topics are looked up by.
fn key(pattern: &str) -> &str {
    pattern.strip_suffix('*').unwrap_or(pattern)
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

pub(super) fn picked(topics: &Topics, pick: Pick) -> Option<&Update> {
    let topic = topics.get(pick.topic)?;
    match &topic.memory {
        Memory::Stream(stream) => Some(stream.get(pick.at)),
        Memory::Latest | Memory::Keyed(_) => topic.update.as_ref(),
    }
}
