//! What a client's messages mean: put before the judge, counted and timed.

use std::rc::Rc;

use super::{
    inflations::Inflations,
    interests::Interests,
    manner::Manner,
    say::{OUTBOX_BYTES, say},
    wire::ask,
};
use crate::{
    args::{Args, raws::Raws, template::Fill},
    judge::{
        cache::MessageCache,
        catalog::NOT_SUBSCRIBED,
        message::{Message, UpdateFrame},
        subscription::{Applied, Subscription},
    },
    measure::{
        arrival::Arrival,
        tally::{Second, Tally},
    },
};

/// The notice before a token's end.
const TOKEN_EXPIRING: &str = "token_expiring";

/// How evenly frames with updates come to one connection within the window.
#[derive(Debug, Clone, Copy, Default)]
pub struct FramePace {
    /// µs since the run's origin: ready since then.
    pub from_us: u64,
    /// The same of the last frame; before the window's begin: none yet.
    pub last_us: u64,
    pub gap_us_max: u32,
    pub frames: u32,
}

impl FramePace {
    fn frame(&mut self, now_us: u64, begin_us: u64) {
        self.frames = self.frames.saturating_add(1);
        self.gap(now_us, begin_us);
        self.last_us = now_us;
    }

    /// The longest time without a frame, if the next one came at `now_us`.
    pub fn gap(&mut self, now_us: u64, begin_us: u64) -> u32 {
        let gap_us = now_us.saturating_sub(self.last_us.max(begin_us));
        self.gap_us_max = self.gap_us_max.max(u32::try_from(gap_us).unwrap_or(u32::MAX));
        self.gap_us_max
    }
}

/// What input is handled with.
#[derive(Debug)]
pub struct Context<'a> {
    pub args: &'a Args,
    pub interests: &'a mut Interests,
    pub inflations: &'a mut Inflations,
    pub cache: &'a mut MessageCache,
    pub tally: &'a mut Tally,
    pub second: &'a mut Second,
    pub arrival: Arrival,
    /// The arrival, and the window's begin, in µs since the run's origin.
    pub now_us: u64,
    pub begin_us: u64,
    /// The arrival lies in the window.
    pub measured: bool,
}

/// What of a client a message concerns; the text itself is still borrowed from its protocol state.
pub struct Reader<'a> {
    pub subscription: &'a mut Subscription,
    pub pace: &'a mut FramePace,
    pub after_ms: &'a mut u32,
    pub outbox: &'a mut Vec<u8>,
    /// Its number among all connections.
    pub index: u32,
    pub manner: Manner,
    pub group: u16,
}

impl Reader<'_> {
    /// Handles a message. `true`: a batch or snapshot is whole now, or it is what `--ready` waits for.
    pub fn message(&mut self, is_text: bool, message: &[u8], context: &mut Context<'_>) -> bool {
        if let Some(raw) = &context.args.raw {
            count_raw(message, self.manner, self.pace, context);
            return raw.listens() && self.hear(raw, message, context);
        }
        if is_text == context.args.msgpack {
            context.tally.faults.violation(match is_text {
                true => "a text message where MessagePack was agreed",
                false => "a binary message without a binary subprotocol",
            });
            return false;
        }
        let payload_bytes = message.len();
        let unpacked;
        let message = if is_text {
            message
        } else {
            match context.inflations.unpack(message) {
                Ok(json) => {
                    unpacked = json;
                    &*unpacked
                }
                Err(error) => {
                    context.tally.faults.violation("a message that is not as the contract says");
                    context.tally.errors.add(&error.to_string(), 1);
                    return false;
                }
            }
        };
        let catalog = &mut context.interests.catalogs[usize::from(self.group)];
        let tally = &mut *context.tally;
        match context.cache.parse(message, self.group, catalog, self.subscription.epoch()) {
            Message::Frame(frame) => return self.frame(&frame, payload_bytes, context),
            Message::Subscribed(answer) => {
                tally.interval_ms = tally.interval_ms.max(answer.interval_ms);
                self.subscription.subscribed(&answer, context.args.interval_ms, &mut tally.faults);
            }
            Message::Authorized { answers } => {
                tally.tokens.accept(answers.map(|auth| auth.at_us), context.now_us);
            }
            Message::Error { code, reason, answers } => {
                tally.errors.add(&format!("{code} {reason}"), 1);
                tally.tokens.refused += u64::from(answers.is_some());
            }
            Message::Notice { code, reconnect_after_ms } => {
                if reconnect_after_ms > 0 {
                    *self.after_ms = reconnect_after_ms;
                }
                tally.notices.add(&code, 1);
                if &*code == TOKEN_EXPIRING {
                    self.renew(context);
                }
            }
            Message::Malformed(why) => {
                tally.faults.violation("a message that is not as the contract says");
                tally.errors.add(&why, 1);
            }
            Message::Other => {}
        }
        false
    }

    fn frame(&mut self, frame: &Rc<UpdateFrame>, bytes: usize, context: &mut Context<'_>) -> bool {
        if context.interests.are_own() {
            self.check_own(frame, context);
        }
        let catalog = &context.interests.catalogs[usize::from(self.group)];
        let resumed = self.subscription.since().is_some();
        let arrival_us = context.arrival.wall_us;
        let sampled = context.measured && self.manner == Manner::Full;
        let Tally { faults, arrival, arrival_negative, .. } = &mut *context.tally;
        let applied = self.subscription.apply(frame, catalog, faults, &mut |ts| {
            if sampled {
                *arrival_negative += u64::from(ts > arrival_us);
                arrival.record(arrival_us.saturating_sub(ts));
            }
        });
        if frame.snapshot {
            context.tally.snapshots += 1;
        } else {
            count(bytes, frame.updates.len(), context);
        }
        let Applied::Whole(whole) = applied else { return false };
        if whole.first && whole.snapshot && resumed {
            context.tally.resumed_by_snapshot += 1;
        }
        if let Some(oldest) = whole.oldest
            && !whole.first
            && !whole.snapshot
        {
            if sampled {
                context.tally.visible_negative += u64::from(oldest > arrival_us);
                self.pace.frame(context.now_us, context.begin_us);
            }
            sample(arrival_us.saturating_sub(oldest), self.manner, context);
        }
        if context.measured {
            context.tally.conflated += whole.conflated;
        }
        true
    }
}

impl Reader<'_> {
    /// Shows a token in place of the one that expires, where there is another.
    fn renew(&mut self, context: &Context<'_>) {
        let topics = context.interests.topics(context.args, self.index, self.group);
        let tokens = context.args.opening.tokens.as_ref();
        if let Some(token) = tokens.and_then(|tokens| tokens.renewed(self.index, &topics)) {
            let op = format!(r#"{{"op":"auth","id":"{}","token":"{token}"}}"#, context.now_us);
            ask(self.outbox, &op, context.args.msgpack);
        }
    }

    /// Where everyone has topics of its own, the catalog knows those of all. The list is drawn again
    /// only for topics that are not held yet.
    fn check_own(&self, frame: &UpdateFrame, context: &mut Context<'_>) {
        let held = self.subscription.held();
        let new = frame.updates.iter().map(|update| update.word).filter(|word| held.get(*word).is_none());
        let new: Vec<u32> = new.collect();
        if !new.is_empty() && !context.interests.has(self.index, &new) {
            context.tally.faults.violation(NOT_SUBSCRIBED);
        }
    }
}

impl Reader<'_> {
    /// Answers what `--reply` answers. `true`: `--ready` waits for this message.
    fn hear(&mut self, raw: &Raws, message: &[u8], context: &mut Context<'_>) -> bool {
        for reply in &raw.replies {
            let Some(matched) = reply.to.find(message) else { continue };
            if self.outbox.len() >= OUTBOX_BYTES {
                context.tally.errors.add("by us: a --reply left out, the server does not read", 1);
                continue;
            }
            let topics = context.interests.topics(context.args, self.index, self.group);
            let now_us = context.arrival.wall_us;
            let fill = Fill { conn: self.index, now_us, topics: &topics, matched };
            say(self.outbox, [&reply.text], &fill);
        }
        raw.ready.as_ref().is_some_and(|ready| ready.find(message).is_some())
    }
}

fn count_raw(payload: &[u8], manner: Manner, pace: &mut FramePace, context: &mut Context<'_>) {
    count(payload.len(), 0, context);
    if context.measured {
        pace.frame(context.now_us, context.begin_us);
    }
    let stamp = context.args.raw.as_ref().map(|raw| &raw.stamp);
    if let Some(us) = stamp.and_then(|stamp| stamp.age_us(payload, context.arrival)) {
        sample(us, manner, context);
        if context.measured && manner == Manner::Full {
            context.tally.arrival.record(us);
        }
    }
}

fn count(payload_bytes: usize, updates: usize, context: &mut Context<'_>) {
    context.second.frames += 1;
    context.second.updates += updates as u64;
    if context.measured {
        context.tally.frames += 1;
        context.tally.updates += updates as u64;
        context.tally.payload_bytes += payload_bytes as u64;
    }
}

fn sample(us: u64, manner: Manner, context: &mut Context<'_>) {
    if manner != Manner::Full {
        if context.measured {
            context.tally.slow_visible.record(us);
        }
        return;
    }
    context.second.visible.record(us);
    if context.measured {
        context.tally.visible.record(us);
    }
}
