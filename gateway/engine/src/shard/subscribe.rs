//! `subscribe`: patterns more, answered by a snapshot or by what changed since.

use std::time::Duration;

use super::{
    Shard,
    builds::{Joining, Work},
    ops::ANSWER_BYTES,
    pending::Asked,
    tried::{Settled, Tried},
};
use crate::{
    clock::Now,
    fanout::{ClassId, Frame, Interning, PatternId, line::Lane},
    protocol::{
        request::{Op, Subscribe},
        subscribed::Subscribed,
    },
    topic::position::Position,
};

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        asked: &Asked,
        op: &Subscribe,
        interning: &mut Interning,
        now: Now,
    ) -> Result<Tried, String> {
        let held = self.find_sub(slot, &op.sub);
        if let Some(sub_slot) = held.map(|i| self.at(slot).subs[i].slot)
            && self.close_if_lapsed(slot, sub_slot, now)
        {
            return Ok(Tried::Done);
        }
        let (sub_slot, held_class) = match held {
            Some(i) => (self.at(slot).subs[i].slot, Some(self.at(slot).subs[i].class)),
            None => (self.check_room_for_sub(slot, &op.sub)?, None),
        };
        let held_patterns = self.patterns_of(held_class);
        self.check_room_for_patterns(slot, &op.sub, &held_patterns, &op.topics)?;
        self.check_share(slot, &held_patterns, &op.topics)?;
        if let Some(waits) = self.waits_first(slot, asked, interning, &held_patterns, now)? {
            return Ok(waits);
        }
        let epoch = self.fanout.epoch();
        let since = op.since.as_ref().filter(|since| since.epoch == epoch).map(|since| since.version);
        let since = if op.skips_snapshot { Some(asked.at) } else { since };
        if !self.builds.is_granted() && self.fanout.is_long(&op.topics, since) {
            return Ok(Tried::Waits(Some(Lane::Long)));
        }
        let owed = match held.map_or(Settled::All, |i| self.settle(slot, i, now)) {
            Settled::All => None,
            Settled::Waits(lane) => return Ok(Tried::Waits(lane)),
            Settled::Long(long) => Some((sub_slot, long)),
        };
        let interval_us = self.interval_us(slot, op.interval_ms, held_class);
        let wire = self.wire_of(slot, &op.sub);
        let class = self
            .fanout
            .class((sub_slot, wire), interval_us, &held_patterns, &op.topics, now)
            .map_err(|full| full.to_string())?;
        let patterns = self.fanout.pattern_ids(&op.topics);
        let since = since.filter(|since| op.skips_snapshot || self.fanout.answers_since(*since, &patterns));
        // A subscription never goes back behind what it was sent.
        let least = if held.is_some() { self.fanout.position() } else { asked.at };
        let granted = self.builds.is_granted();
        let made = self.fanout.answer(class, &patterns, since, least, granted, now);
        let joining = Joining { class, sub_slot, since };
        match (self.made(made), owed) {
            (Err(lane), _) => {
                self.fanout.drop_if_empty(class);
                Ok(Tried::Waits(Some(lane)))
            }
            (Ok(Work::Made(frame)), None) => {
                self.finish_subscribe(slot, asked, joining, frame, now);
                Ok(Tried::Done)
            }
            (Ok(work), owed) => Ok(Tried::Begun { owed, answer: Some((work, joining)) }),
        }
    }

    /// What a `subscribe` that may be answered waits for before its answer is begun, if anything.
    fn waits_first(
        &mut self,
        slot: u32,
        asked: &Asked,
        interning: &mut Interning,
        held: &[PatternId],
        now: Now,
    ) -> Result<Option<Tried>, String> {
        let Op::Subscribe(op) = &asked.op else { unreachable!("only `subscribe` joins: {asked:?}") };
        if !asked.rested && self.rests(slot, &op.topics, now) {
            return Ok(Some(Tried::Rests));
        }
        let payer = self.payer_of(slot);
        if !self.may_build(payer, now) {
            return Ok(Some(Tried::Waits(Some(Lane::Short))));
        }
        let has_begun = !interning.ids.is_empty() || interning.search.is_some();
        if (has_begun || self.fanout.has_new(&op.topics))
            && !self.fanout.intern(&op.topics, interning).map_err(|full| full.to_string())?
        {
            return Ok(Some(Tried::Waits(Some(Lane::Short))));
        }
        let told = self.fanout.patterns_bytes(held)
            + op.topics.iter().map(|pattern| pattern.as_str().len()).sum::<usize>();
        if told > ANSWER_BYTES && !self.fanout.fits(told) {
            self.note_need(told);
            return Ok(Some(Tried::Waits(Some(Lane::Long))));
        }
        Ok(None)
    }

    /// Changes the subscription and tells the client so.
    pub(super) fn finish_subscribe(
        &mut self,
        slot: u32,
        asked: &Asked,
        joining: Joining,
        frame: Frame,
        now: Now,
    ) {
        let Op::Subscribe(op) = &asked.op else { unreachable!("only `subscribe` joins: {asked:?}") };
        let Joining { class, sub_slot, since } = joining;
        let held = self.find_sub(slot, &op.sub);
        self.at(slot).built(sub_slot);
        self.move_sub(slot, held, &op.sub, sub_slot, class, Position::at(frame.version), now);
        let topics = self.named_in(class);
        let epoch = self.fanout.epoch();
        let key = self.fanout.classes.get(class);
        let (number, interval_us) = (key.number, key.key.interval_us);
        let answer = Subscribed {
            id: asked.id.as_deref(),
            sub: &op.sub,
            class: Some(number),
            topics: &topics,
            version: since.unwrap_or(frame.version),
            terms: Some((interval_us / 1000, epoch)),
        };
        let answer = answer.frames(
            self.encoding_of(slot),
            self.fanout_config.frame_bytes_max,
            self.limits.fragment_bytes,
        );
        self.stats.snapshots_out += 1;
        self.answer(slot, answer);
        let bytes = self.count_out(frame);
        self.at(slot).connection.queue(bytes);
        let is_first = held.is_none() && self.at(slot).subs.len() == 1;
        self.answer_statuses(slot, &op.topics, is_first);
        // What came while the answer was built.
        self.flush_pressing(class, now);
    }

    /// What holds for an interval asked for: at least the least that the client may have, rounded up to the menu and to
    /// the grid. Where none is asked for, that of the class held. What a client may have at least counts above the menu.
    fn interval_us(&self, slot: u32, asked_ms: Option<u64>, held: Option<ClassId>) -> u64 {
        let config = &self.fanout_config;
        let on_grid =
            |us: Duration| (us.as_micros() as u64).next_multiple_of(config.flush_grid.as_micros() as u64);
        let holder = self.clients[slot as usize].as_ref().and_then(|client| client.holder());
        let least = self.guard.rules.interval_ms_min(holder).map_or(Duration::ZERO, Duration::from_millis);
        if let (None, Some(class)) = (asked_ms, held) {
            return self.fanout.classes.get(class).key.interval_us.max(on_grid(least));
        }
        let asked = asked_ms.map_or(config.interval, Duration::from_millis);
        let asked = asked.max(config.interval_min).max(least);
        let menu = &config.interval_menu;
        let offered = menu.iter().find(|entry| **entry >= asked).or(menu.last()).copied();
        on_grid(offered.unwrap_or(asked).max(least))
    }
}
