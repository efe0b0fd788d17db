//! What subscribers ask, and what they are answered.
//!
//! An op is handled only when nothing waits to be sent to its client, so its answers and the
//! position they state are all there is between the client and its class.

use super::{
    Shard,
    builds::{Joining, Running, Whose, Work},
    pending::Asked,
    tried::Tried,
};
use crate::{
    client::CloseReason,
    clock::Now,
    fanout::Long,
    protocol::{
        encoding::Encoding,
        reply::{self, BAD_REQUEST},
        request::{Op, Request, Subscribe},
    },
};

/// A longer answer counts among what is pinned.
pub(super) const ANSWER_BYTES: usize = 4096;

impl Shard {
    pub(super) fn on_request(&mut self, slot: u32, request: Request, now: Now) {
        let Request { id, op } = request;
        match self.refusal_of(slot, &op) {
            Some((BAD_REQUEST, reason)) => return self.answer_error(slot, id.as_deref(), &reason, now),
            Some((code, reason)) => return self.answer_refusal(slot, id.as_deref(), code, &reason),
            None => {}
        }
        match op {
            Op::Publish(publish) => self.on_publish(slot, id, publish, now),
            Op::Auth(token) => self.on_auth(slot, id, token, now),
            Op::Ping => self.reply(slot, &reply::pong(id.as_deref(), now.wall_us)),
            Op::Subscribe(op) => self.on_subscribe(slot, id, op, now),
            Op::Unsubscribe { .. } => {
                self.take_whole_inbox(now);
                self.ask(slot, id, op, now);
            }
        }
    }

    /// A message whose payload is `json`.
    pub(super) fn reply(&mut self, slot: u32, json: &[u8]) {
        let frames = self.encoding_of(slot).framed(json, self.limits.fragment_bytes);
        self.answer(slot, frames);
    }

    pub(super) fn encoding_of(&mut self, slot: u32) -> Encoding {
        self.at(slot).connection.wire().encoding
    }

    /// `frames`: a message in the client's encoding, or its parts in a row; nothing where it is none there.
    /// Long ones count among what is pinned.
    pub(super) fn answer(&mut self, slot: u32, frames: Vec<u8>) {
        if frames.is_empty() {
            return;
        }
        self.stats.frames_out += 1;
        let long = frames.len() > ANSWER_BYTES;
        let frames = if long { self.fanout.pinned.hold(frames) } else { frames.into() };
        self.at(slot).connection.queue(frames);
    }

    /// An error that is no mistake of the message.
    pub(super) fn answer_refusal(&mut self, slot: u32, id: Option<&str>, code: u16, reason: &str) {
        self.stats.errors_out += 1;
        self.reply(slot, &reply::error(id, code, reason));
    }

    pub(super) fn answer_error(&mut self, slot: u32, id: Option<&str>, reason: &str, now: Now) {
        self.answer_refusal(slot, id, BAD_REQUEST, reason);
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
        self.try_op(slot, Asked::new(id, op, at, false), now);
    }

    /// Asks something for a client, by what was granted.
    pub(super) fn ask_ours(&mut self, slot: u32, op: Op, now: Now) {
        self.take_whole_inbox(now);
        match op {
            Op::Subscribe(op) if self.is_early(op.since.as_ref()) => self.wait_for(slot, None, op, now),
            op => {
                let at = self.fanout.position();
                self.try_op(slot, Asked::new(None, op, at, true), now);
            }
        }
    }

    pub(super) fn try_op(&mut self, slot: u32, mut asked: Box<Asked>, now: Now) {
        let (payer, before) = (self.payer_of(slot), self.fanout.budget.spent());
        let (conn, looked_at) = (self.at(slot).id, self.fanout.topics_looked_at());
        let mut interning = std::mem::take(&mut asked.interning);
        let tried = match &asked.op {
            Op::Subscribe(op) => self.subscribe(slot, &asked, op, &mut interning, now),
            Op::Unsubscribe { sub, .. } => self.unsubscribe(slot, &asked, sub, now),
            Op::Ping | Op::Auth(_) | Op::Publish(_) => unreachable!("it is answered at once: {asked:?}"),
        };
        self.charge(payer, before, now);
        self.weights.charge(conn, self.fanout.topics_looked_at() - looked_at, now.mono_us);
        if matches!(tried, Ok(Tried::Rests | Tried::Waits(_))) {
            asked.interning = interning;
        } else {
            self.fanout.release(&interning.ids);
        }
        match tried {
            Ok(Tried::Done) => {}
            Err(reason) if asked.is_ours => self.answer_refusal(slot, None, BAD_REQUEST, &reason),
            Err(reason) => {
                self.answer_error(slot, asked.id.as_deref(), &reason, now);
                self.close_in_vain(slot, &reason, now);
            }
            Ok(Tried::Rests) => {
                self.at(slot).pend(|pending| (pending.op, pending.op_waits) = (Some(asked), true));
            }
            Ok(Tried::Waits(lane)) => {
                asked.rested = true;
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
            client.member_in_slot(sub_slot).building = true;
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
}
