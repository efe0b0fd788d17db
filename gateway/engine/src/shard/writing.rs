//! What clients write: it is checked here, numbered elsewhere, and answered here.

use std::sync::Arc;

use net::Sockets;

use super::Shard;
use crate::{
    access::grants::Right,
    client::rate::{Meter, RateLimit},
    clock::Now,
    json::keys::{find_key, is_one_of},
    protocol::{
        encoding::Encoding,
        publish::Publish,
        reply::{self, BAD_REQUEST, FORBIDDEN, NO_ROOM, TOO_MANY},
    },
    sequencer::{Body, Publication},
    settings::Limits,
    topic::pattern::Pattern,
    writes::{Answering, Asker, Write, Wrote},
};

/// Publishes of a connection that are not answered yet; then it is not read from.
const UNDER_WAY_MAX: u8 = 16;

/// What is held against what clients write.
#[derive(Debug)]
pub(super) struct WriteRules {
    value_bytes: usize,
    keys_refused: Vec<String>,
    /// Of a connection.
    rate: RateLimit,
}

impl WriteRules {
    pub fn new(limits: &Limits) -> Self {
        Self {
            value_bytes: limits.value_bytes,
            keys_refused: limits.keys_refused.clone(),
            rate: RateLimit::of(limits.publishes),
        }
    }

    /// What is wrong with what a client writes, whoever it is.
    fn fault(&self, publish: &Publish) -> Option<String> {
        let bytes = publish.body.bytes();
        if bytes > self.value_bytes {
            let (topic, max) = (&publish.topic, self.value_bytes);
            return Some(format!("data of topic {topic} has {bytes} bytes, the most is {max}: divide it"));
        }
        let key = match &publish.body {
            Body::Data(data) => find_key(data, &self.keys_refused),
            Body::Changes(changes) => changes.iter().find_map(|change| {
                let value = change.value?;
                is_one_of(change.key, &self.keys_refused).or_else(|| find_key(value, &self.keys_refused))
            }),
            Body::Gone | Body::Unread(_) => None,
        };
        key.map(|key| format!("an object may not have the key {key:?}"))
    }
}

/// Of a connection that has written something.
#[derive(Debug, Default)]
pub(super) struct Writer {
    meter: Meter,
    under_way: u8,
}

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
        let topic = Pattern::parse(&publish.topic).expect("a topic is a pattern");
        let is_granted = self.granted(slot, Right::Publish).iter().any(|grant| grant.covers(&topic));
        self.stats.not_granted += u64::from(!is_granted);
        (!is_granted).then(|| (FORBIDDEN, format!("publish to {topic} is not granted")))
    }

    fn hand_over(&mut self, slot: u32, id: Option<&str>, publish: Publish, now: Now) {
        let Publish { topic, once, body } = publish;
        let topic = Arc::<str>::from(topic);
        let client = self.at(slot);
        let conn = client.id;
        let by = client.holder().and_then(|holder| holder.encoded_sub()).map(Arc::from);
        let publication = Publication {
            writer: Some(self.conn_of(slot)),
            by,
            once,
            ..Publication::new(topic.clone(), body, now.wall_us)
        };
        let asker = Asker { conn, id: id.map(str::to_owned), topic };
        let answer = Answering::new(self.inbox.clone(), asker);
        let writes = self.shared.writes.clone().expect("it was looked at before");
        let writer = self.guard.writers.get_mut(&slot).expect("who writes is counted by the rate before");
        writer.under_way += 1;
        if writer.under_way == UNDER_WAY_MAX {
            self.at(slot).pend(|pending| pending.is_writing = true);
        }
        if let Err(write) = writes.write(Write { publication, answer }) {
            let reason = "what clients write waits for room: [limits] writes, write_bytes; try again";
            write.answer.give(Wrote::Refused { code: NO_ROOM, reason: reason.into() });
        }
    }

    /// Answers what was written since the last turn. All that it changed is in the inbox, or was taken in.
    pub(super) fn run_wrote(&mut self, net: &mut impl Sockets, now: Now) {
        while let Some((Asker { conn, id, topic }, wrote)) = self.inbox.pop_wrote() {
            let Some(client) = self.client(conn).filter(|client| client.connection.is_open()) else {
                continue;
            };
            if client.pending().is_some_and(|pending| pending.is_writing) {
                client.pend(|pending| pending.is_writing = false);
            }
            let writer = self.guard.writers.get_mut(&conn.slot).expect("its connection is still open");
            writer.under_way -= 1;
            match wrote {
                Wrote::Published { written, reply } => {
                    self.stats.writes += 1;
                    self.reply(
                        conn.slot,
                        &reply::published(id.as_deref(), &topic, written, reply.as_deref()),
                    );
                }
                Wrote::Refused { code, reason } => {
                    self.stats.writes_refused += 1;
                    self.refuse_write(conn.slot, id.as_deref(), code, &reason, now);
                }
            }
            self.advance(conn.slot, net, now);
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
