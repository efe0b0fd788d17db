//! `unsubscribe`: patterns less, or a subscription.

use super::{
    Shard,
    pending::Asked,
    tried::{Settled, Tried},
};
use crate::{
    clock::Now,
    fanout::PatternId,
    protocol::{
        request::{AUTO, Op},
        subscribed::Subscribed,
    },
    topic::{pattern::Pattern, position::Position},
};

impl Shard {
    pub(super) fn unsubscribe(
        &mut self,
        slot: u32,
        asked: &Asked,
        name: &str,
        now: Now,
    ) -> Result<Tried, String> {
        let Some(i) = self.find_sub(slot, name) else {
            let version = self.fanout.position();
            self.answer_unsubscribed(slot, asked, name, None, version, &[]);
            return Ok(Tried::Done);
        };
        let sub_slot = self.at(slot).subs[i].slot;
        if self.close_if_lapsed(slot, sub_slot, now) {
            return Ok(Tried::Done);
        }
        match self.settle(slot, i, now) {
            Settled::All => {
                self.at(slot).subs[i].pos = Position::at(self.fanout.position());
                self.finish_unsubscribe(slot, asked, now);
            }
            Settled::Waits(lane) => return Ok(Tried::Waits(lane)),
            Settled::Long(long) => return Ok(Tried::Begun { owed: Some((sub_slot, long)), answer: None }),
        }
        Ok(Tried::Done)
    }

    /// Takes patterns out of a subscription at its own position.
    pub(super) fn finish_unsubscribe(&mut self, slot: u32, asked: &Asked, now: Now) {
        let Op::Unsubscribe { sub: name, topics } = &asked.op else {
            unreachable!("only `unsubscribe` leaves: {asked:?}")
        };
        let id = asked.id.as_deref();
        let i = self.find_sub(slot, name).expect("a subscription stands until its op is answered");
        let (class, sub_slot) = (self.at(slot).subs[i].class, self.at(slot).subs[i].slot);
        let pos = self.at(slot).subs[i].pos;
        let version = pos.version().expect("what it was owed was sent before");
        let held = self.patterns_of(Some(class));
        let (mut removed, mut left): (Vec<PatternId>, Vec<PatternId>) = match topics {
            None => (held.clone(), Vec::new()),
            Some(topics) => {
                let named = self.fanout.pattern_ids(topics);
                held.iter().partition(|pattern| named.contains(pattern))
            }
        };
        let mut now_in = class;
        if !left.is_empty() && !removed.is_empty() {
            let key = &self.fanout.classes.get(class).key;
            let (wire, interval_us) = (key.wire, key.interval_us);
            match self.fanout.class((sub_slot, wire), interval_us, &left, &[], now) {
                Ok(entered) => now_in = entered,
                // What is not granted any more goes, and the rest with it where there is no room for it alone.
                Err(_) if asked.is_ours => (removed, left) = (held, Vec::new()),
                Err(full) => return self.answer_error(slot, id, &full.to_string(), now),
            }
        }
        if name == AUTO && !asked.is_ours {
            self.at(slot).declines_auto = true;
        }
        let removed: Vec<Pattern> = removed.into_iter().map(|p| self.fanout.pattern(p).clone()).collect();
        if left.is_empty() {
            let sub = self.at(slot).subs.remove(i);
            self.leave_class(slot, sub.class, sub.place, sub.slot);
            self.at(slot).connection.idles(now);
            return self.answer_unsubscribed(slot, asked, name, None, version, &removed);
        }
        if now_in != class {
            self.move_sub(slot, Some(i), name, sub_slot, now_in, pos, now);
        }
        let number = Some(self.fanout.classes.get(now_in).number);
        self.answer_unsubscribed(slot, asked, name, number, version, &removed);
    }

    fn answer_unsubscribed(
        &mut self,
        slot: u32,
        asked: &Asked,
        sub: &str,
        class: Option<u64>,
        version: u64,
        topics: &[Pattern],
    ) {
        let answer = Subscribed { id: asked.id.as_deref(), sub, class, topics, version, terms: None };
        let frames = answer.frames(
            self.encoding_of(slot),
            self.fanout_config.frame_bytes_max,
            self.limits.fragment_bytes,
        );
        self.answer(slot, frames);
    }
}
