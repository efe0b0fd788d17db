//! What clients write: it is checked here, numbered elsewhere, and answered here.

use std::sync::Arc;

use net::Sockets;

use super::{
    Shard,
    writes::{Answering, Write},
    wrote::{Asker, Wrote},
};
use crate::{
    access::grants::Right,
    clock::Now,
    protocol::{
        encoding::Encoding,
        publish::Publish,
        reply::{self, BAD_REQUEST, FORBIDDEN, NO_ROOM, TOO_MANY},
    },
    topic::pattern::Pattern,
};

/// Publishes of a connection that are not answered yet; then it is not read from.
const UNDER_WAY_MAX: u8 = 16;

impl Shard {
    pub(super) fn on_publish(&mut self, slot: u32, id: Option<String>, publish: Publish, now: Now) {
        let id = id.as_deref();
        if let Some((code, reason)) = self.may_not_publish(slot, &publish) {
            self.stats.writes_refused += 1;
            return self.refuse_write(slot, id, code, &reason, now);
        }
        let rate = self.guard.writes.rate;
        let writer = self.guard.writers.entry(slot).or_default();
        match writer.meter.after_one(rate, now.mono_us) {
            Err(wait_us) => {
                self.stats.writes_limited += 1;
                self.stats.errors_out += 1;
                let reason = "more than [limits] publishes of a connection";
                if self.encoding_of(slot) == Encoding::Raw {
                    return self.drop_raw(slot, TOO_MANY, reason, now);
                }
                return self.reply(slot, &reply::too_many(id, reason, wait_us.div_ceil(1_000)));
            }
            Ok(meter) => writer.meter = meter,
        }
        if let Some(fault) = self.guard.writes.fault(&publish) {
            self.stats.writes_refused += 1;
            return self.refuse_write(slot, id, BAD_REQUEST, &fault, now);
        }
        self.hand_over(slot, id, publish, now);
    }

    fn refuse_write(&mut self, slot: u32, id: Option<&str>, code: u16, reason: &str, now: Now) {
        match code {
            _ if self.encoding_of(slot) == Encoding::Raw => self.drop_raw(slot, code, reason, now),
            BAD_REQUEST => self.answer_error(slot, id, reason, now),
            _ => self.answer_refusal(slot, id, code, reason),
        }
    }

    fn may_not_publish(&mut self, slot: u32, publish: &Publish) -> Option<(u16, String)> {
        if self.chained || self.shared.writes.is_none() {
            let reason = "this gateway takes its updates from another one: publish there";
            return Some((FORBIDDEN, reason.to_owned()));
        }
        let topic = Pattern::of_topic(publish.topic.clone());
        let refused = self.not_granted(slot, Right::Publish, &[topic])?;
        Some((FORBIDDEN, format!("publish to {refused} is not granted")))
    }

    fn hand_over(&mut self, slot: u32, id: Option<&str>, publish: Publish, now: Now) {
        let by = self.at(slot).holder().and_then(|holder| holder.encoded_sub()).map(Arc::from);
        let conn = self.at(slot).id;
        let asker = Asker { conn, id: id.map(str::to_owned), topic: publish.topic.clone() };
        let answer = Answering::new(self.inbox.clone(), asker);
        let write = Box::new(Write { publish, writer: self.conn_of(slot), by, due_us: now.wall_us, answer });
        self.count_under_way(slot, |under_way| under_way + 1);
        let writes = self.shared.writes.as_ref().expect("it was looked at before");
        if let Err(write) = writes.write(write) {
            let reason = "what clients write waits for room: [limits] writes, write_bytes; try again";
            write.answer.give(Wrote::Refused { code: NO_ROOM, reason: reason.into() });
        }
    }

    /// A connection with as much under way as may be is not read from.
    fn count_under_way(&mut self, slot: u32, count: impl FnOnce(u8) -> u8) {
        let writer = self.guard.writers.get_mut(&slot).expect("who writes is counted by the rate before");
        let was_full = writer.under_way == UNDER_WAY_MAX;
        writer.under_way = count(writer.under_way);
        let is_full = writer.under_way == UNDER_WAY_MAX;
        if was_full != is_full {
            self.at(slot).pend(|pending| pending.is_writing = is_full);
        }
    }

    /// Answers what was written since the last turn. All that it changed is in the inbox, or was taken in.
    pub(super) fn run_wrote(&mut self, net: &mut impl Sockets, now: Now) {
        let mut answered = Vec::new();
        while let Some((Asker { conn, id, topic }, wrote)) = self.inbox.pop_wrote() {
            if !self.client(conn).is_some_and(|client| client.connection.is_open()) {
                continue;
            }
            self.count_under_way(conn.slot, |under_way| under_way - 1);
            self.answer_write(conn.slot, id.as_deref(), &topic, wrote, now);
            if answered.last() != Some(&conn) {
                answered.push(conn);
            }
        }
        for conn in answered {
            if self.client(conn).is_some() {
                self.advance(conn.slot, net, now);
            }
        }
    }

    fn answer_write(&mut self, slot: u32, id: Option<&str>, topic: &str, wrote: Wrote, now: Now) {
        match wrote {
            Wrote::Published { v, version, reply } => {
                self.stats.writes += 1;
                self.reply(slot, &reply::published(id, topic, v, version, reply.as_deref()));
            }
            Wrote::Refused { code, reason } => {
                self.stats.writes_refused += 1;
                self.refuse_write(slot, id, code, &reason, now);
            }
        }
    }

    /// The connection has ended: what it wrote may go with it.
    pub(super) fn leave_writing(&mut self, slot: u32) {
        let has_written = self.guard.writers.remove(&slot).is_some();
        if let (true, Some(writes)) = (has_written, &self.shared.writes) {
            writes.left(self.conn_of(slot));
        }
    }
}
