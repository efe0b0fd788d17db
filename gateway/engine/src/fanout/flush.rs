//! A class's moment: its frame, or its heartbeat.

use super::{
    ClassId, Due, Fanout, Flush, Flushed, Made, PatternId,
    frame::{Encoder, Frame},
    line::Lane,
    readers::Readers,
};
use crate::{clock::Now, invariant, protocol::batch::Envelope, topic::position::Position};

impl Fanout {
    /// Whether a class is to be looked at before its interval has passed.
    pub fn is_pressing(&self, id: ClassId) -> bool {
        self.classes.waiting.presses(id)
    }

    /// Updates of patterns so far: what two of them match counts twice.
    fn updates_of(&self, patterns: &[PatternId]) -> u64 {
        patterns.iter().map(|pattern| self.patterns.mark(*pattern).updates).sum()
    }

    /// Looks at a class whose moment has come. `may_build`: a short frame.
    pub fn flush(&mut self, id: ClassId, may_build: bool, now: Now) -> Flushed {
        let position = self.position;
        let early = self.is_pressing(id);
        let class = self.classes.get_mut(id);
        class.scanned = class.looked(position);
        invariant!(
            class.sent <= class.scanned && class.scanned <= position,
            "class {}: sent up to {}, looked through up to {}, of {position}",
            class.number,
            class.sent,
            class.scanned
        );
        let (interval_us, key) = (class.key.interval_us, class.key.clone());
        let is_due = interval_us == 0 || now.mono_us >= class.flush_us;
        let due_us = if early { now.mono_us } else { class.flush_us };
        let (mut scanned, waits) = (class.scanned, class.waits.is_some() || class.members.is_empty());
        if is_due || early {
            if let Some(past) = now.mono_us.checked_sub(class.flush_us)
                && interval_us > 0
            {
                let interval_us = self.stretch.of(interval_us);
                self.classes.get_mut(id).flush_us += (past / interval_us + 1) * interval_us;
            }
            let newest = key.patterns.iter().map(|p| self.patterns.mark(*p).version).max().unwrap_or(0);
            if newest > scanned || !self.reaches(id, scanned) {
                if !waits {
                    return if may_build {
                        self.flush_changes(id, due_us, false, now)
                    } else {
                        Flushed::Waits { lane: Lane::Short, need_bytes: None, due_us }
                    };
                }
            } else {
                scanned = position;
                let class = self.classes.get_mut(id);
                (class.scanned, class.stirred) = (position, false);
                self.classes.waiting.clear(id);
            }
        }
        self.heartbeat(id, scanned, now).map_or(Flushed::Nothing, Flushed::Flush)
    }

    fn heartbeat(&mut self, id: ClassId, scanned: u64, now: Now) -> Option<Flush> {
        let (silence_us, heartbeat_us) = (self.silence_us(), self.heartbeat_us);
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
            version: scanned,
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
        let newest = key.patterns.iter().map(|p| self.patterns.mark(*p).version).max().unwrap_or(0);
        let reaches = self.reaches(id, class.scanned);
        if newest <= class.scanned && reaches {
            return Flushed::Nothing;
        }
        let from = reaches.then_some(sent);
        let updates = self.updates_of(&key.patterns);
        let readers = Readers { class: number, wire: key.wire, all: true };
        let lapsed = self.lapse(id, Position::at(sent)).is_some();
        let (made, oldest_us) = self.build(readers, None, &key.patterns, from, true, long, now);
        let age_us = oldest_us.map(|oldest_us| now.wall_us.saturating_sub(oldest_us).max(0) as u64);
        let due = Due { class: id, number, from, due_us, age_us, lapsed, updates };
        if matches!(made, Made::Frame(_) | Made::Long(_)) {
            self.classes.waiting.clear(id);
        }
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
        let still_waits = self.classes.waiting.any(id);
        let class = self.classes.get_mut(id);
        invariant!(
            from.is_none_or(|from| from == class.sent) && class.sent <= frame.version,
            "class {number}: a frame from {from:?} to {}, sent up to {}",
            frame.version,
            class.sent
        );
        self.counters.conflated += (updates - class.seen).saturating_sub(u64::from(frame.updates));
        class.seen = updates;
        class.sent = frame.version;
        (class.scanned, class.stirred) = (frame.version, still_waits);
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

    fn encode_empty(&mut self, envelope: &Envelope, readers: Readers) -> Frame {
        let Readers { wire, all: for_class, .. } = readers;
        let epoch = self.epoch;
        let (compress, budget) = (&mut self.compress, &mut self.budget);
        let mut encoder = Encoder { wire, epoch, for_class, compress, budget };
        self.counters.frames_built += 1;
        encoder.all(envelope, &[], &[], self.part_bytes).finish(wire, &self.pinned)
    }
}
