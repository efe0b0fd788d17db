//! What subscribers ask: subscribe, unsubscribe, ping.
//!
//! An op is handled only when nothing waits to be sent to its client, so its answers and the
//! position they state are all there is between the client and its class.

use std::collections::HashSet;

use super::{
    Shard,
    build::{Running, Whose, Work},
    client::Sub,
    pending::Asked,
    shares::Share,
};
use crate::{
    client::CloseReason,
    clock::Now,
    fanout::{ClassId, Frame, Long, PatternId, line::Lane},
    planted::{Bug, planted},
    protocol::{
        self, BAD_REQUEST, Op, Request, Subscribe, Subscribed,
        encoding::{self, Encoding},
    },
    topic::epoch::Epoch,
};

/// A longer answer counts among what is pinned.
const ANSWER_BYTES: usize = 4096;

/// What an answered `subscribe` makes of its subscription.
#[derive(Debug)]
pub(super) struct Joining {
    /// Held for it.
    pub class: ClassId,
    pub sub_slot: u8,
    /// Where it is answered.
    since: Option<u64>,
}

/// How far an op came.
enum Tried {
    /// It was answered, if only with an error.
    Done,
    /// It waits in a line, or (`None`) for what is being built for its client.
    Waits(Option<Lane>),
    /// What its subscription is owed before, and its answer, are to be built.
    Begun { owed: Option<(u8, Box<Long>)>, answer: Option<(Work, Joining)> },
}

/// How much of what a subscription is owed was sent.
enum Settled {
    All,
    Waits(Option<Lane>),
    Long(Box<Long>),
}

impl Shard {
    pub(super) fn on_request(&mut self, slot: u32, request: Request, now: Now) {
        let Request { id, op } = request;
        match op {
            Op::Ping => self.answer(slot, protocol::pong(id.as_deref(), now.wall_us)),
            Op::Subscribe(op) => self.on_subscribe(slot, id, op, now),
            Op::Unsubscribe { .. } => {
                self.take_whole_inbox(now);
                self.ask(slot, id, op, now);
            }
        }
    }

    /// `frames`: a message, or its parts in a row. A long one counts among what is pinned.
    fn answer(&mut self, slot: u32, frames: Vec<u8>) {
        self.stats.frames_out += 1;
        let frames = match self.at(slot).connection.wire().encoding {
            Encoding::Json => frames,
            Encoding::Msgpack => encoding::packed(&frames),
        };
        let long = frames.len() > ANSWER_BYTES;
        let frames = if long { self.fanout.pinned.hold(frames) } else { frames.into() };
        self.at(slot).connection.queue(frames);
    }

    pub(super) fn answer_error(&mut self, slot: u32, id: Option<&str>, reason: &str, now: Now) {
        self.stats.errors_out += 1;
        self.answer(slot, protocol::error(id, BAD_REQUEST, reason));
        if self.at(slot).connection.note_malformed(now) {
            self.close(slot, CloseReason::Malformed, now);
        }
    }

    pub(super) fn on_subscribe(&mut self, slot: u32, id: Option<String>, op: Subscribe, now: Now) {
        // Read your writes: what was accepted before is in the inbox already.
        self.take_whole_inbox(now);
        if self.is_early(op.since.as_ref()) {
            return self.wait_for(slot, id, op, now);
        }
        self.ask(slot, id, Op::Subscribe(op), now);
    }

    /// Answers an op, now or when its turn has come.
    pub(super) fn ask(&mut self, slot: u32, id: Option<String>, op: Op, now: Now) {
        let at = self.fanout.position();
        self.try_op(slot, Box::new(Asked { id, op, at }), now);
    }

    pub(super) fn try_op(&mut self, slot: u32, asked: Box<Asked>, now: Now) {
        let (payer, before) = (self.payer_of(slot), self.fanout.budget.spent());
        let tried = match &asked.op {
            Op::Subscribe(op) => self.subscribe(slot, &asked, op, now),
            Op::Unsubscribe { sub, .. } => self.unsubscribe(slot, &asked, sub, now),
            Op::Ping => Ok(Tried::Done),
        };
        self.charge(payer, before, now);
        match tried {
            Ok(Tried::Done) => {}
            Err(reason) => self.answer_error(slot, asked.id.as_deref(), &reason, now),
            Ok(Tried::Waits(lane)) => {
                self.at(slot).pend(|pending| (pending.op, pending.op_waits) = (Some(asked), true));
                if let Some(lane) = lane {
                    self.wait(slot, lane, now);
                }
            }
            Ok(Tried::Begun { owed, answer }) => self.begin(slot, asked, owed, answer),
        }
    }

    /// What an op needs is built in the turns to come.
    fn begin(
        &mut self,
        slot: u32,
        asked: Box<Asked>,
        owed: Option<(u8, Box<Long>)>,
        answer: Option<(Work, Joining)>,
    ) {
        let client = self.at(slot);
        client.pend(|pending| pending.building = true);
        let conn = client.id;
        let mut asked = Some(asked);
        if let Some((sub_slot, long)) = owed {
            if let Some(sub) = client.sub_in_slot(sub_slot) {
                sub.building = true;
            }
            let then = if answer.is_none() { asked.take() } else { None };
            let whose = Whose::Sub { conn, sub_slot, then };
            self.builds.running.push_back(Running { work: Work::Long(long), whose });
        }
        if let (Some((work, joining)), Some(asked)) = (answer, asked) {
            if let Some(sub) = self.at(slot).sub_in_slot(joining.sub_slot) {
                // It must not be taken further than its answer.
                sub.building = true;
            }
            self.fanout.hold(joining.class);
            self.builds.running.push_back(Running { work, whose: Whose::Answer { conn, asked, joining } });
        }
    }

    fn subscribe(&mut self, slot: u32, asked: &Asked, op: &Subscribe, now: Now) -> Result<Tried, String> {
        let held = self.find_sub(slot, &op.sub);
        if let Some(sub_slot) = held.map(|i| self.at(slot).subs[i].slot)
            && self.close_if_lapsed(slot, sub_slot, now)
        {
            return Ok(Tried::Done);
        }
        let (sub_slot, held_class) = match held {
            Some(i) => (self.at(slot).subs[i].slot, Some(self.at(slot).subs[i].class)),
            None => (self.check_room_for_sub(slot)?, None),
        };
        let held_patterns = self.patterns_of(held_class);
        self.check_room_for_patterns(slot, &held_patterns, &op.topics)?;
        self.check_share(slot, &held_patterns, &op.topics)?;
        let payer = self.payer_of(slot);
        if !self.may_build(payer, now) {
            return Ok(Tried::Waits(Some(Lane::Short)));
        }
        let told =
            self.fanout.patterns_bytes(&held_patterns) + op.topics.iter().map(String::len).sum::<usize>();
        if told > ANSWER_BYTES && !self.fanout.fits(told) {
            self.note_need(told);
            return Ok(Tried::Waits(Some(Lane::Long)));
        }
        let in_epoch =
            |shard: &Self, epoch: Epoch| epoch == shard.fanout.epoch() || planted(Bug::ForeignEpoch);
        let since = op.since.as_ref().filter(|since| in_epoch(self, since.epoch)).map(|since| since.version);
        if !self.builds.is_granted() && self.fanout.is_long(&op.topics, since) {
            return Ok(Tried::Waits(Some(Lane::Long)));
        }
        let owed = match held.map_or(Settled::All, |i| self.settle(slot, i, now)) {
            Settled::All => None,
            Settled::Waits(lane) => return Ok(Tried::Waits(lane)),
            Settled::Long(long) => Some((sub_slot, long)),
        };
        let interval_us = match (op.interval_ms, held_class) {
            (None, Some(class)) => self.fanout.classes.get(class).key.interval_us,
            (asked, _) => self.interval_us(asked),
        };
        let wire = self.at(slot).connection.wire();
        let class = self
            .fanout
            .class((sub_slot, wire), interval_us, &held_patterns, &op.topics, now)
            .map_err(|full| full.to_string())?;
        let patterns = self.fanout.pattern_ids(&op.topics);
        let since = since.filter(|since| self.fanout.answers_since(*since, &patterns));
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

    /// The subscription changes, and the client is told so.
    pub(super) fn finish_subscribe(
        &mut self,
        slot: u32,
        asked: &Asked,
        joining: Joining,
        frame: Frame,
        now: Now,
    ) {
        let Op::Subscribe(op) = &asked.op else { return };
        let Joining { class, sub_slot, since } = joining;
        let held = self.find_sub(slot, &op.sub);
        self.at(slot).built(sub_slot);
        self.move_sub(slot, held, &op.sub, sub_slot, class, frame.version, now);
        let topics = self.pattern_texts(class);
        let epoch = self.fanout.epoch();
        let key = self.fanout.classes.get(class);
        let snapshot = frame.version + u64::from(planted(Bug::SubscribedTooHigh));
        let (number, interval_us) = (key.number, key.key.interval_us);
        let answer = Subscribed {
            id: asked.id.as_deref(),
            sub: &op.sub,
            class: Some(number),
            topics: &topics,
            version: since.unwrap_or(snapshot),
            terms: Some((interval_us / 1000, epoch)),
        };
        let answer = answer.frames(self.fanout_config.frame_bytes_max);
        self.stats.snapshots_out += 1;
        self.answer(slot, answer);
        let bytes = self.count_out(frame);
        self.at(slot).connection.queue(bytes);
        self.answer_statuses(slot, &op.topics);
        if interval_us == 0 && self.fanout.position() > self.fanout.classes.get(class).scanned {
            // What came while the answer was built.
            self.flush(class, now);
        }
    }

    fn unsubscribe(&mut self, slot: u32, asked: &Asked, name: &str, now: Now) -> Result<Tried, String> {
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
                self.at(slot).subs[i].pos = self.fanout.position();
                self.finish_unsubscribe(slot, asked, now);
            }
            Settled::Waits(lane) => return Ok(Tried::Waits(lane)),
            Settled::Long(long) => return Ok(Tried::Begun { owed: Some((sub_slot, long)), answer: None }),
        }
        Ok(Tried::Done)
    }

    /// Takes patterns out of a subscription at its own position.
    pub(super) fn finish_unsubscribe(&mut self, slot: u32, asked: &Asked, now: Now) {
        let Op::Unsubscribe { sub: name, topics } = &asked.op else { return };
        let id = asked.id.as_deref();
        let Some(i) = self.find_sub(slot, name) else { return };
        let (class, sub_slot) = (self.at(slot).subs[i].class, self.at(slot).subs[i].slot);
        let version = self.at(slot).subs[i].pos;
        let held = self.patterns_of(Some(class));
        let (removed, left): (Vec<PatternId>, Vec<PatternId>) = match topics {
            None => (held.clone(), Vec::new()),
            Some(topics) => {
                let named = self.fanout.pattern_ids(topics);
                held.iter().partition(|pattern| named.contains(pattern))
            }
        };
        let removed: Vec<String> = removed.into_iter().map(|p| self.fanout.pattern_text(p)).collect();
        if left.is_empty() {
            let sub = self.at(slot).subs.remove(i);
            self.leave_class(slot, sub.class, sub.place, sub.slot);
            self.at(slot).connection.idles(now);
            return self.answer_unsubscribed(slot, asked, name, None, version, &removed);
        }
        let now_in = if removed.is_empty() {
            class
        } else {
            let key = &self.fanout.classes.get(class).key;
            let (wire, interval_us) = (key.wire, key.interval_us);
            match self.fanout.class((sub_slot, wire), interval_us, &left, &[], now) {
                Ok(class) => class,
                Err(full) => return self.answer_error(slot, id, &full.to_string(), now),
            }
        };
        if now_in != class {
            self.move_sub(slot, Some(i), name, sub_slot, now_in, version, now);
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
        topics: &[String],
    ) {
        let answer = Subscribed { id: asked.id.as_deref(), sub, class, topics, version, terms: None };
        let frames = answer.frames(self.fanout_config.frame_bytes_max);
        self.answer(slot, frames);
    }

    /// Sends what a subscription is still owed, before an op on it is answered.
    fn settle(&mut self, slot: u32, sub: usize, now: Now) -> Settled {
        let (class, pos) = (self.at(slot).subs[sub].class, self.at(slot).subs[sub].pos);
        if self.at(slot).subs[sub].building {
            return Settled::Waits(None);
        }
        if !self.fanout.owes(class, pos) || planted(Bug::SettleForgotten) {
            return Settled::All;
        }
        let payer = self.payer_of(slot);
        if !self.may_build(payer, now) {
            return Settled::Waits(Some(Lane::Short));
        }
        let position = self.fanout.position();
        match self.catch_up(slot, sub, position, now) {
            Ok(Work::Made(frame)) => {
                let bytes = self.count_out(frame);
                self.at(slot).connection.queue(bytes);
                Settled::All
            }
            Ok(Work::Long(long)) => Settled::Long(long),
            Err(lane) => Settled::Waits(Some(lane)),
        }
    }

    /// Puts a subscription, new or held, into `class` at `pos`.
    #[expect(clippy::too_many_arguments, reason = "a subscription is as much")]
    fn move_sub(
        &mut self,
        slot: u32,
        held: Option<usize>,
        name: &str,
        sub_slot: u8,
        class: ClassId,
        pos: u64,
        now: Now,
    ) {
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
                let sub = Sub {
                    name: name.into(),
                    class,
                    place,
                    slot: sub_slot,
                    pos,
                    sent_us: now.mono_us,
                    waits: false,
                    building: false,
                };
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
        let max = self.subscriptions_max;
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
        let (would, max) = (have + added.len() - repeated, self.patterns_max);
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
