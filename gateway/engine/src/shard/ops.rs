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
        request::{Op, Request},
    },
};

/// A longer answer counts among what is pinned.
pub(super) const ANSWER_BYTES: usize = 4096;

impl Shard {
    pub(super) fn on_request(&mut self, slot: u32, request: Request, now: Now) {
        let Request { id, op } = request;
        if self.refuses(slot, id.as_deref(), &op, now) {
            return;
        }
        match op {
            Op::Publish(publish) => self.on_publish(slot, id, publish, now),
            Op::Auth(token) => self.on_auth(slot, id, token, now),
            Op::Ping => self.reply(slot, &reply::pong(id.as_deref(), now.wall_us)),
            Op::Subscribe(_) | Op::Unsubscribe { .. } => self.ask(slot, id, op, now),
        }
    }

    /// Whether a client may not do what it asks; it is told so.
    pub(super) fn refuses(&mut self, slot: u32, id: Option<&str>, op: &Op, now: Now) -> bool {
        let refusal = self.refusal_of(slot, op);
        match &refusal {
            Some((BAD_REQUEST, reason)) => self.answer_error(slot, id, reason, now),
            Some((code, reason)) => self.answer_refusal(slot, id, *code, reason),
            None => {}
        }
        refusal.is_some()
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

    /// What a client asks, and was not refused.
    pub(super) fn asked(&self, id: Option<String>, op: Op) -> Box<Asked> {
        Asked::new(id, op, self.fanout.position(), self.guard.reloads)
    }

    pub(super) fn ask(&mut self, slot: u32, id: Option<String>, op: Op, now: Now) {
        let asked = self.asked(id, op);
        self.begin_op(slot, asked, now);
    }

    /// Answers an op, now or when its turn has come.
    pub(super) fn begin_op(&mut self, slot: u32, mut asked: Box<Asked>, now: Now) {
        // Read your writes: what was accepted before is in the inbox already.
        self.take_whole_inbox(now);
        asked.at = self.fanout.position();
        if asked.subscribe().is_some_and(|op| self.is_early(op.since.as_ref())) {
            return self.wait_for(slot, asked, now);
        }
        self.go_on_with(slot, asked, now);
    }

    /// Answers an op that may have waited, unless it is not granted any more.
    pub(super) fn go_on_with(&mut self, slot: u32, mut asked: Box<Asked>, now: Now) {
        let was_judged = std::mem::replace(&mut asked.judged, self.guard.reloads) == self.guard.reloads;
        let is_refused = !was_judged
            && match asked.is_ours {
                true => self.is_outdated(slot, &asked.op),
                false => self.refuses(slot, asked.id.as_deref(), &asked.op, now),
            };
        if is_refused {
            return self.fanout.release(&asked.interning.ids);
        }
        self.try_op(slot, asked, now);
    }

    fn try_op(&mut self, slot: u32, mut asked: Box<Asked>, now: Now) {
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
            let whose = Whose::Sub { conn, sub_slot, then, is_followed: answer.is_some() };
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
