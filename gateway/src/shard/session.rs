//! What subscribers ask: subscribe, unsubscribe, ping.
//!
//! An op is handled only when nothing waits to be sent to its client, so its answers and the
//! position they state are all there is between the client and its class.

use std::collections::HashSet;

use proto::msgpack;

use super::{Shard, shares::Share};
use crate::{
    client::Sub,
    clock::Now,
    fanout::{ClassId, Frame, PatternId},
    planted::{Bug, planted},
    protocol::{self, BAD_REQUEST, BadRequest, Op, Subscribe, Subscribed},
    stats::Reason,
};

impl Shard {
    pub(super) fn on_text(&mut self, slot: u32, text: &str, now: Now) {
        let refused = match protocol::parse(text) {
            Err(refused) => Some(refused),
            Ok(request) => {
                let id = request.id.as_deref();
                match request.op {
                    Op::Subscribe(subscribe) => self.on_subscribe(slot, id, &subscribe, now),
                    Op::Unsubscribe { sub, topics } => self.on_unsubscribe(slot, id, &sub, topics, now),
                    Op::Ping => self.answer(slot, protocol::pong(id, now.wall_us)),
                }
                None
            }
        };
        if let Some(BadRequest { id, reason }) = refused {
            self.answer_error(slot, id.as_deref(), &reason, now);
        }
    }

    pub(super) fn on_packed(&mut self, slot: u32, packed: &[u8], now: Now) {
        let mut text = Vec::with_capacity(packed.len());
        let said = msgpack::to_json(packed, &mut text);
        match (said, std::str::from_utf8(&text)) {
            (Ok(()), Ok(text)) => self.on_text(slot, text, now),
            (Err(error), _) => self.answer_error(slot, None, &error.to_string(), now),
            (Ok(()), Err(_)) => unreachable!("JSON is UTF-8"),
        }
    }

    fn answer(&mut self, slot: u32, frame: Vec<u8>) {
        self.stats.frames_out += 1;
        self.at(slot).queue_message(frame);
    }

    fn answer_error(&mut self, slot: u32, id: Option<&str>, reason: &str, now: Now) {
        self.stats.errors_out += 1;
        self.answer(slot, protocol::error(id, BAD_REQUEST, reason));
        let errors = self.at(slot).errors.get_or_insert_default();
        if errors.note(now.mono_us) {
            self.close(slot, 4506, "too many malformed messages", Reason::Malformed, now);
        }
    }

    fn answer_frame(&mut self, slot: u32, frame: Frame) {
        self.stats.frames_out += u64::from(frame.parts);
        self.stats.updates_out += u64::from(frame.updates);
        self.at(slot).queue(frame.bytes);
    }

    pub(super) fn on_subscribe(&mut self, slot: u32, id: Option<&str>, op: &Subscribe, now: Now) {
        // Read your writes: what was accepted before is in the inbox already.
        self.take_inbox(now);
        if self.is_early(op.since.as_ref()) {
            return self.wait_for(slot, id, op, now);
        }
        self.answer_subscribe(slot, id, op, now);
    }

    pub(super) fn answer_subscribe(&mut self, slot: u32, id: Option<&str>, op: &Subscribe, now: Now) {
        match self.subscribe(slot, id, op, now) {
            Ok(()) => self.answer_statuses(slot, &op.topics),
            Err(reason) => self.answer_error(slot, id, &reason, now),
        }
    }

    fn subscribe(&mut self, slot: u32, id: Option<&str>, op: &Subscribe, now: Now) -> Result<(), String> {
        let held = self.find_sub(slot, &op.sub);
        if let Some(sub_slot) = held.map(|i| self.at(slot).subs[i].slot)
            && self.close_if_lapsed(slot, sub_slot, now)
        {
            return Ok(());
        }
        let (sub_slot, held_class) = match held {
            Some(i) => (self.at(slot).subs[i].slot, Some(self.at(slot).subs[i].class)),
            None => (self.check_room_for_sub(slot)?, None),
        };
        let held_patterns = self.patterns_of(held_class);
        self.check_room_for_patterns(slot, &held_patterns, &op.topics)?;
        self.check_share(slot, &held_patterns, &op.topics)?;
        let interval_us = match (op.interval_ms, held_class) {
            (None, Some(class)) => self.fanout.classes.get(class).key.interval_us,
            (asked, _) => self.interval_us(asked),
        };
        let wire = self.at(slot).wire;
        let class = self
            .fanout
            .class((sub_slot, wire), interval_us, &held_patterns, &op.topics, now)
            .map_err(|full| full.to_string())?;
        let position = self.fanout.position();
        let patterns = self.fanout.pattern_ids(&op.topics);
        let since = op
            .since
            .as_ref()
            .filter(|since| since.epoch == **self.fanout.epoch() || planted(Bug::ForeignEpoch))
            .filter(|since| self.fanout.answers_since(since.version, &patterns));
        if let Some(i) = held {
            self.settle(slot, i, now);
        }
        self.move_sub(slot, held, &op.sub, sub_slot, class, now);
        let topics = self.pattern_texts(class);
        let epoch = self.fanout.epoch().clone();
        let key = self.fanout.classes.get(class);
        let answer = Subscribed {
            id,
            sub: &op.sub,
            class: key.number,
            topics: &topics,
            interval_ms: key.key.interval_us / 1000,
            epoch: &epoch,
            version: since
                .map_or(position + u64::from(planted(Bug::SubscribedTooHigh)), |since| since.version),
        };
        let answer = answer.frame();
        let frame = match since {
            Some(since) => self.fanout.since(class, &patterns, since.version, now),
            None => self.fanout.snapshot(class, &patterns, now),
        };
        self.stats.snapshots_out += 1;
        self.answer(slot, answer);
        self.answer_frame(slot, frame);
        Ok(())
    }

    fn on_unsubscribe(
        &mut self,
        slot: u32,
        id: Option<&str>,
        name: &str,
        topics: Option<Vec<String>>,
        now: Now,
    ) {
        self.take_inbox(now);
        let Some(i) = self.find_sub(slot, name) else {
            let version = self.fanout.position();
            return self.answer(slot, protocol::unsubscribed(id, name, None, version, &[]));
        };
        let (class, sub_slot) = (self.at(slot).subs[i].class, self.at(slot).subs[i].slot);
        if self.close_if_lapsed(slot, sub_slot, now) {
            return;
        }
        let held = self.patterns_of(Some(class));
        let (removed, left): (Vec<PatternId>, Vec<PatternId>) = match &topics {
            None => (held.clone(), Vec::new()),
            Some(topics) => {
                let named = self.fanout.pattern_ids(topics);
                held.iter().partition(|pattern| named.contains(pattern))
            }
        };
        let removed: Vec<String> = removed.into_iter().map(|p| self.fanout.pattern_text(p)).collect();
        let now_in = if left.is_empty() {
            None
        } else if removed.is_empty() {
            Some(class)
        } else {
            let key = &self.fanout.classes.get(class).key;
            let (wire, interval_us) = (key.wire, key.interval_us);
            match self.fanout.class((sub_slot, wire), interval_us, &left, &[], now) {
                Ok(class) => Some(class),
                Err(full) => return self.answer_error(slot, id, &full.to_string(), now),
            }
        };
        self.settle(slot, i, now);
        let version = self.fanout.position();
        let Some(now_in) = now_in else {
            let sub = self.at(slot).subs.remove(i);
            self.leave_class(slot, sub.class, sub.place, sub.slot);
            self.at(slot).since_us = now.mono_us;
            return self.answer(slot, protocol::unsubscribed(id, name, None, version, &removed));
        };
        if now_in != class {
            self.move_sub(slot, Some(i), name, sub_slot, now_in, now);
        }
        let number = Some(self.fanout.classes.get(now_in).number);
        self.answer(slot, protocol::unsubscribed(id, name, number, version, &removed));
    }

    /// Sends what a subscription is still owed, before an op on it is answered.
    fn settle(&mut self, slot: u32, sub: usize, now: Now) {
        let (class, pos) = (self.at(slot).subs[sub].class, self.at(slot).subs[sub].pos);
        if self.fanout.owes(class, pos) && !planted(Bug::SettleForgotten) {
            let bytes = self.catch_up(slot, sub, now);
            self.at(slot).queue(bytes);
        }
        let position = self.fanout.position();
        self.at(slot).subs[sub].pos = position;
    }

    /// Puts a subscription, new or held, into `class` at the present position.
    fn move_sub(
        &mut self,
        slot: u32,
        held: Option<usize>,
        name: &str,
        sub_slot: u8,
        class: ClassId,
        now: Now,
    ) {
        let pos = self.fanout.position();
        match held {
            Some(i) if self.at(slot).subs[i].class == class => {
                let sub = &mut self.at(slot).subs[i];
                (sub.pos, sub.sent_us) = (pos, now.mono_us);
            }
            Some(i) => {
                let place = self.enter_class(slot, class);
                let sub = &mut self.at(slot).subs[i];
                let (old_class, old_place) = (sub.class, sub.place);
                (sub.class, sub.place, sub.pos, sub.sent_us) = (class, place, pos, now.mono_us);
                self.leave_class(slot, old_class, old_place, sub_slot);
            }
            None => {
                let place = self.enter_class(slot, class);
                let sub = Sub { name: name.into(), class, place, slot: sub_slot, pos, sent_us: now.mono_us };
                let subs = &mut self.at(slot).subs;
                subs.reserve_exact(1);
                subs.push(sub);
            }
        }
    }

    /// Enters a class; gives the place among its members.
    fn enter_class(&mut self, slot: u32, class: ClassId) -> u32 {
        let (address, share) = (self.at(slot).address(), self.share_of(class));
        self.shares.take(address, share);
        self.fanout.join(class, slot)
    }

    /// Leaves a class and tells the member that took the place. The class's members all have it in
    /// the same slot of theirs.
    pub(super) fn leave_class(&mut self, slot: u32, class: ClassId, place: u32, sub_slot: u8) {
        let (address, share) = (self.at(slot).address(), self.share_of(class));
        self.shares.give_back(address, share);
        if let Some(moved) = self.fanout.leave(class, place)
            && let Some(sub) = self.at(moved).sub_in_slot(sub_slot)
        {
            sub.place = place;
        }
    }

    fn find_sub(&mut self, slot: u32, name: &str) -> Option<usize> {
        self.at(slot).subs.iter().position(|sub| &*sub.name == name)
    }

    fn patterns_of(&self, class: Option<ClassId>) -> Vec<PatternId> {
        class.map_or_else(Vec::new, |class| self.fanout.classes.get(class).key.patterns.to_vec())
    }

    pub(super) fn pattern_texts(&self, class: ClassId) -> Vec<String> {
        self.fanout.classes.get(class).key.patterns.iter().map(|p| self.fanout.pattern_text(*p)).collect()
    }

    /// The slot for one subscription more.
    fn check_room_for_sub(&mut self, slot: u32) -> Result<u8, String> {
        let max = self.limits.subscriptions;
        let client = self.at(slot);
        if client.subs.len() >= max {
            return Err(format!("{max} subscriptions are the most a connection may have"));
        }
        Ok(client.free_slot())
    }

    fn check_room_for_patterns(
        &mut self,
        slot: u32,
        held: &[PatternId],
        added: &[String],
    ) -> Result<(), String> {
        let named = self.fanout.pattern_ids(added);
        let repeated = named.iter().filter(|pattern| held.contains(pattern)).count();
        let classes: Vec<ClassId> = self.at(slot).subs.iter().map(|sub| sub.class).collect();
        let have: usize = classes.iter().map(|c| self.fanout.classes.get(*c).key.patterns.len()).sum();
        let (would, max) = (have + added.len() - repeated, self.limits.patterns);
        if would > max {
            return Err(format!("{would} patterns on this connection ({max} are the most)"));
        }
        Ok(())
    }

    /// What a subscription in `class` counts.
    fn share_of(&self, class: ClassId) -> Share {
        Share { patterns: self.fanout.classes.get(class).key.patterns.len(), classes: 1 }
    }

    /// Whether the client's address may hold the subscription with `added`; `held` is what it has now.
    fn check_share(&mut self, slot: u32, held: &[PatternId], added: &[String]) -> Result<(), String> {
        let before = Share { patterns: held.len(), classes: usize::from(!held.is_empty()) };
        let after = |more: usize| Share { patterns: held.len() + more, classes: 1 };
        let address = self.at(slot).address();
        if self.shares.check(address, before, after(added.len())).is_ok() {
            return Ok(());
        }
        // Some may be named twice, or be held already.
        let named: HashSet<&String> = added.iter().collect();
        let repeated = self.fanout.pattern_ids(added).iter().filter(|id| held.contains(id)).count();
        self.shares.check(address, before, after(named.len() - repeated)).map_err(|exceeded| {
            self.stats.shares_refused += 1;
            exceeded.to_string()
        })
    }

    /// What holds for an interval asked for: at least the least, rounded up to the menu.
    fn interval_us(&self, asked_ms: Option<u64>) -> u64 {
        let config = &self.fanout_config;
        let asked = asked_ms.map_or(config.interval, std::time::Duration::from_millis);
        let asked = asked.max(config.interval_min);
        let menu = &config.interval_menu;
        let offered = menu.iter().find(|entry| **entry >= asked).or(menu.last()).copied();
        offered.unwrap_or(asked).as_micros() as u64
    }
}
