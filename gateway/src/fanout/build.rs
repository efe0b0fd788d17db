//! The frames of a class: what its members are owed, from where they stand to the present.

use super::{
    CACHE_MAX, CacheKey, ClassId, Fanout, Flush, Frame, NOWHERE, PatternId, Pick, Readers,
    frame::{Encoder, Envelope, Piece},
    topics::{Memory, Topics},
};
use crate::{
    clock::Now,
    planted::{Bug, planted},
    update::Update,
};

impl Fanout {
    /// Looks at a class whose moment has come; `None`: nothing to send.
    pub fn flush(&mut self, id: ClassId, now: Now) -> Option<Flush> {
        let position = self.position;
        let class = self.classes.get(id);
        let (interval_us, key) = (class.key.interval_us, class.key.clone());
        let flush_due = interval_us == 0 || now.mono_us >= class.flush_us;
        let due_us = if interval_us == 0 { now.mono_us } else { class.flush_us };
        let (sent, mut scanned, number) = (class.sent, class.scanned, class.number);
        if flush_due {
            if let Some(past) = now.mono_us.checked_sub(class.flush_us)
                && interval_us > 0
            {
                self.classes.get_mut(id).flush_us += (past / interval_us + 1) * interval_us;
            }
            let newest = key.patterns.iter().map(|p| self.patterns.get(*p).version).max().unwrap_or(0);
            if newest > scanned || scanned < self.floor {
                return Some(self.flush_changes(id, due_us, now));
            }
            scanned = position;
            self.classes.get_mut(id).scanned = position;
        }
        let class = self.classes.get_mut(id);
        if now.mono_us < class.heartbeat_us {
            return None;
        }
        // Between two flushes there may be changes not looked at yet: the heartbeat stops short of
        // them. `sent` stays, since members that are not silent do not get this frame. The fan-out
        // puts the next heartbeat off to when one is due again.
        class.heartbeat_us = now.mono_us + self.heartbeat_us / 8;
        let envelope = Envelope {
            class: number,
            ts_us: now.wall_us,
            from: Some(sent),
            version: if planted(Bug::HeartbeatTooFar) { position } else { scanned },
            oldest_us: None,
            epoch: None,
        };
        let frame = self.encode(&envelope, &[], Readers { class: number, wire: key.wire, all: true });
        let silent_since_us = Some(now.mono_us.saturating_sub(self.silence_us()));
        Some(Flush {
            class: id,
            number,
            frame,
            silent_since_us,
            version: scanned,
            due_us: now.mono_us,
            age_us: None,
            lapsed: false,
        })
    }

    fn flush_changes(&mut self, id: ClassId, due_us: u64, now: Now) -> Flush {
        let class = self.classes.get(id);
        let (key, number, seen) = (class.key.clone(), class.number, class.seen);
        let from = (class.scanned >= self.floor).then_some(class.sent);
        let lapsed = self.lapse(id, class.sent).is_some();
        let updates: u64 = key.patterns.iter().map(|p| self.patterns.get(*p).updates).sum();
        let readers = Readers { class: number, wire: key.wire, all: true };
        let (frame, oldest_us) = self.build(readers, None, &key.patterns, from, true, now);
        self.counters.conflated += (updates - seen).saturating_sub(u64::from(frame.updates));
        let class = self.classes.get_mut(id);
        class.seen = updates;
        class.sent = self.position + u64::from(planted(Bug::CursorTooFar));
        class.scanned = self.position;
        // The heartbeat is not put off: members that were sent this earlier by themselves are passed over.
        let age_us = oldest_us.map(|oldest_us| now.wall_us.saturating_sub(oldest_us).max(0) as u64);
        Flush {
            class: id,
            number,
            frame,
            silent_since_us: None,
            version: self.position,
            due_us,
            age_us,
            lapsed,
        }
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

    /// Everything newer than a member's own position `pos`; takes it to [`Fanout::position`].
    pub fn catch_up(&mut self, id: ClassId, pos: u64, now: Now) -> Frame {
        let class = self.classes.get(id);
        let key = class.key.clone();
        let from = self.batch_from(id, pos);
        self.shared(id, None, &key.patterns, from, true, now)
    }

    /// Where the batch begins that takes a member on from `pos`; `None`: it needs a snapshot.
    pub(super) fn batch_from(&self, id: ClassId, pos: u64) -> Option<u64> {
        let class = self.classes.get(id);
        // A member that was sent all its class was sent has been looked through as far as the class.
        let looked = if pos >= class.sent { pos.max(class.scanned) } else { pos };
        (pos != NOWHERE && (looked >= self.floor || planted(Bug::FloorIgnored))).then_some(pos)
    }

    /// Whether a member at `pos` is owed anything but an empty batch.
    pub fn owes(&self, id: ClassId, pos: u64) -> bool {
        let class = self.classes.get(id);
        self.batch_from(id, pos).is_none()
            || class.key.patterns.iter().any(|p| self.patterns.get(*p).version > pos)
    }

    /// A snapshot of `patterns`, which the class holds.
    pub fn snapshot(&mut self, id: ClassId, patterns: &[PatternId], now: Now) -> Frame {
        self.shared(id, Some(patterns), patterns, None, false, now)
    }

    /// The answer to `since`: what of `patterns` is newer.
    pub fn since(&mut self, id: ClassId, patterns: &[PatternId], since: u64, now: Now) -> Frame {
        self.shared(id, Some(patterns), patterns, Some(since), false, now)
    }

    fn shared(
        &mut self,
        id: ClassId,
        op: Option<&[PatternId]>,
        patterns: &[PatternId],
        from: Option<u64>,
        oldest: bool,
        now: Now,
    ) -> Frame {
        let class = self.classes.get(id);
        let readers = Readers { class: class.number, wire: class.key.wire, all: false };
        let key = CacheKey {
            class: readers.class,
            patterns: op.filter(|_| !planted(Bug::CacheWithoutPatterns)).map(Into::into),
            from: from.map(|from| if planted(Bug::CacheWithoutFrom) { 0 } else { from }),
        };
        if let Some((_, frame)) = self.cache.iter().find(|(cached, _)| *cached == key) {
            return frame.clone();
        }
        let (frame, _) = self.build(readers, op, patterns, from, oldest, now);
        if self.cache.len() == CACHE_MAX {
            self.cache.swap_remove(0);
        }
        self.cache.push((key, frame.clone()));
        frame
    }

    /// Builds the frame that takes a subscription from `from` (`None`: from nothing) to the present
    /// position, and says how old its oldest content is. `op`: it answers an op on these patterns.
    fn build(
        &mut self,
        readers: Readers,
        op: Option<&[PatternId]>,
        patterns: &[PatternId],
        from: Option<u64>,
        with_oldest: bool,
        now: Now,
    ) -> (Frame, Option<i64>) {
        self.collect(patterns, from);
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
        let tells = self.restarted && from.is_none() && op.is_none() && !planted(Bug::EpochUntold);
        let epoch = tells.then(|| self.epoch.clone());
        let class = readers.class;
        let (ts_us, version) = (now.wall_us, self.position);
        let envelope = Envelope { class, ts_us, from, version, oldest_us, epoch: epoch.as_deref() };
        let picks = std::mem::take(&mut self.scratch);
        let frame = self.encode(&envelope, &picks, readers);
        self.scratch = picks;
        (frame, oldest_us)
    }

    fn encode(&mut self, envelope: &Envelope<'_>, picks: &[Pick], readers: Readers) -> Frame {
        let (mut made, mut gaps) = (Vec::new(), 0);
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
                Memory::Stream(stream) => {
                    // What the ring dropped can only be missing before the first that is kept.
                    let from = envelope.from.filter(|_| pick.at == 0);
                    let missing = from.map_or(0, |from| stream.missing(from)).max(update.skipped.into());
                    if missing > 0 {
                        gaps += 1;
                        made.extend_from_slice(format!(r#"{{"gap":{missing},"#).as_bytes());
                        rest = &rest[1..];
                    }
                }
                _ => {}
            }
            pieces.push(Piece { made: start..made.len(), rest });
        }
        let (compress, pinned) = (&mut self.compress, &self.pinned);
        let Readers { wire, all: for_class, .. } = readers;
        let encoder = Encoder { frame_bytes_max: self.frame_bytes_max, wire, for_class, compress, pinned };
        let frame = encoder.encode(envelope, &made, &pieces);
        self.counters.gaps += gaps;
        self.counters.frames_built += u64::from(frame.parts);
        self.counters.updates_framed += u64::from(frame.updates);
        frame
    }

    /// Fills `scratch` with the updates newer than `from` in version order: of each topic the last, of a
    /// stream all. A snapshot (`None`) leaves tombstones out and has the streams' history.
    fn collect(&mut self, patterns: &[PatternId], from: Option<u64>) {
        self.scratch.clear();
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
                        let places = from.map_or_else(|| stream.history(), |from| stream.after(from));
                        let pick = |at| Pick { version: stream.get(at).version, topic: id, at };
                        self.scratch.extend(places.map(pick));
                    }
                    Memory::Latest | Memory::Keyed(_) => {
                        self.scratch.push(Pick { version: update.version, topic: id, at: 0 });
                    }
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
    }
}

fn picked(topics: &Topics, pick: Pick) -> Option<&Update> {
    let topic = topics.get(pick.topic)?;
    match &topic.memory {
        Memory::Stream(stream) => Some(stream.get(pick.at)),
        Memory::Latest | Memory::Keyed(_) => topic.update.as_ref(),
    }
}
