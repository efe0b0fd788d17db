//! Clients that know no ops: they get the bare values of one topic, or an HTTP answer that goes on.

use super::Shard;
use crate::{
    access::grants::Right,
    client::{CloseReason, Refused, Upgrade, close},
    clock::Now,
    fanout::ClassId,
    protocol::{
        encoding::{Encoding, Wire},
        event,
        publish::Publish,
        reply,
        request::AUTO,
    },
    topic::{pattern::Pattern, policy::Mode},
};

impl Shard {
    /// Why a request cannot lead to anything, though it may be granted.
    pub(super) fn is_vain(&self, slot: u32, upgrade: &Upgrade) -> Option<Refused> {
        let encoding = upgrade.wire.encoding;
        match &upgrade.subscribe {
            None if encoding.is_stream() && self.granted(slot, Right::Auto).is_empty() => {
                Some(Refused::NoTopics)
            }
            Some(subscribe) if encoding == Encoding::Raw => {
                subscribe.topics.iter().any(|topic| self.is_keyed(topic.as_str())).then_some(Refused::Keyed)
            }
            _ => None,
        }
    }

    /// Whether a topic is keyed, or will be when it comes.
    fn is_keyed(&self, topic: &str) -> bool {
        self.fanout.is_keyed(topic).unwrap_or_else(|| matches!(&*self.topics.of(topic).mode, Mode::Keyed(_)))
    }

    /// What a client of bare values says stands for a `publish` of its topic.
    pub(super) fn on_raw(&mut self, slot: u32, text: &str, now: Now) {
        let class = self.at(slot).subs.first().map(|sub| sub.class);
        let Some(topic) = class.and_then(|class| self.named_in(class).pop()) else { return };
        match Publish::of_text(topic.as_str(), text) {
            Ok(publish) => self.on_publish(slot, None, publish, now),
            Err(reason) => self.drop_raw(slot, reply::BAD_REQUEST, &reason, now),
        }
    }

    /// It is not told, unless it goes on.
    pub(super) fn drop_raw(&mut self, slot: u32, code: u16, reason: &str, now: Now) {
        self.stats.raw_refused += 1;
        if self.at(slot).connection.note_malformed(now) {
            let ended = self.at(slot).connection.close_saying(CloseReason::of_error(code), reason, now);
            self.ended(slot, ended, now);
        }
    }

    /// Judges a client of bare values by what is granted to it now.
    pub(super) fn judge_raw(&mut self, slot: u32, now: Now) {
        let classes: Vec<ClassId> = self.at(slot).subs.iter().map(|sub| sub.class).collect();
        let held: Vec<Pattern> = classes.into_iter().flat_map(|class| self.named_in(class)).collect();
        if self.not_granted(slot, Right::Subscribe, &held).is_some() {
            let (reason, text) = (CloseReason::Forbidden, close::NOT_GRANTED_NOW);
            let ended = self.at(slot).connection.close_saying(reason, text, now);
            self.ended(slot, ended, now);
        }
    }

    /// An op of the gateway's own is refused, and its client cannot ask for anything else.
    pub(super) fn close_in_vain(&mut self, slot: u32, reason: &str, now: Now) {
        if self.at(slot).connection.wire().encoding.takes_ops() {
            return;
        }
        let ended = self.at(slot).connection.close_saying(CloseReason::Idle, reason, now);
        self.ended(slot, ended, now);
    }

    /// How a subscription of that name reaches its client. Where a client comes back by itself, it says where it stood
    /// with what it asked for, not with what is granted as `auto`.
    pub(super) fn wire_of(&mut self, slot: u32, name: &str) -> Wire {
        let wire = self.at(slot).connection.wire();
        match wire.encoding {
            Encoding::Sse { .. } => Wire { encoding: Encoding::Sse { ids: name != AUTO }, ..wire },
            _ => wire,
        }
    }

    /// The gateway is to be left; who comes back by itself is told when.
    pub(super) fn tell_draining(&mut self, slot: u32, reconnect_after_ms: u64) {
        self.reply(slot, &reply::draining(reconnect_after_ms));
        if matches!(self.encoding_of(slot), Encoding::Sse { .. }) {
            self.at(slot).connection.queue(event::retry(reconnect_after_ms));
        }
    }
}
