//! From messages to numbered updates: maps, counts, and holds back what the shards have no room for.

use bytes::Bytes;

use super::{
    Intake,
    counters::{Bad, Counters, add},
    mapping::{Fault, Mapped, Value, map},
};
use crate::{
    changes::{Base, Changes},
    config::{Limits, mapping::Entry},
    control::{
        seq::Feed,
        sequencer::{Body, Item, Sequencer},
        source::{
            live::{Counts, Live},
            refusals::Refusals,
        },
    },
};

/// What a log quotes of a bad message.
const QUOTED_CHARS: usize = 200;

/// Makes items of messages by the source's map.
pub struct Mapping<'a> {
    sequencer: &'a Sequencer,
    entries: &'a [Entry],
    counters: &'a Counters,
    feed: Feed,
    live: Live,
    refusals: Refusals,
    /// What may wait: as much as in an inbox.
    updates_max: usize,
    bytes_max: usize,
    stopped: bool,
}

impl<'a> Mapping<'a> {
    pub fn new(
        sequencer: &'a Sequencer,
        entries: &'a [Entry],
        counters: &'a Counters,
        limits: &Limits,
    ) -> Self {
        let (updates_max, bytes_max) = (limits.inbox_updates, limits.inbox_bytes);
        let feed = Feed { source: sequencer.enroll(), connection: 0 };
        let (live, refusals) = (Live::default(), Refusals::default());
        Self { sequencer, entries, counters, feed, live, refusals, updates_max, bytes_max, stopped: false }
    }

    /// A connection begins.
    pub fn begin(&mut self) {
        self.feed.connection += 1;
    }

    /// Counts; the first of each kind is logged.
    fn bad(&self, bad: Bad, what: &str) {
        if self.counters.bad(bad) == 0 {
            let (source, kind) = (self.counters.name(), bad.name());
            tracing::warn!(source, kind, "not published: {what}; more of this kind are only counted");
        }
    }
}

impl Intake for Mapping<'_> {
    /// A message that cannot be mapped is left out and harms no other.
    fn take(&mut self, message: &[u8]) -> Result<(), String> {
        let now = self.sequencer.now();
        add(&self.counters.messages, 1);
        self.counters.activity.touch(now.mono_us);
        match map(self.entries, message) {
            Ok(None) => add(&self.counters.ignored, 1),
            Ok(Some(mapped)) => {
                add(&self.counters.items, mapped.len() as u64);
                for mapped in mapped {
                    let item = item(mapped, self.feed, now.wall_us);
                    let each = self.sequencer.each_counts(&item.topic);
                    self.live.push(item, if each { Counts::Every } else { Counts::Newest });
                }
            }
            Err(fault) => {
                let quoted: String = String::from_utf8_lossy(message).chars().take(QUOTED_CHARS).collect();
                self.bad(kind(&fault), &format!("{fault}; the message of {} bytes: {quoted}", message.len()));
            }
        }
        Ok(())
    }

    fn publish(&mut self) {
        let outcome = self.live.publish(self.sequencer);
        if outcome.conflated > 0 {
            self.sequencer.count_conflated(outcome.conflated);
        }
        for refused in outcome.refused {
            self.counters.bad(Bad::Refused);
            self.refusals.tell(self.counters.name(), &refused.why, self.sequencer);
        }
        let stop = !self.has_room();
        if stop && !self.stopped {
            add(&self.counters.waits, 1);
        }
        self.stopped = stop;
    }

    fn waits(&self) -> bool {
        !self.live.is_idle()
    }

    /// An update that counts by itself and found no room stops receiving.
    fn has_room(&self) -> bool {
        !self.live.every_waits() && self.live.len() < self.updates_max && self.live.bytes() < self.bytes_max
    }
}

fn kind(fault: &Fault) -> Bad {
    match fault {
        Fault::Json(_) => Bad::Json,
        Fault::Pointer { .. } => Bad::Pointer,
        Fault::Topic(_) => Bad::Topic,
        Fault::Ts { .. } => Bad::Ts,
    }
}

fn item(mapped: Mapped<'_>, feed: Feed, due_us: i64) -> Item {
    let Mapped { topic, ts_us, seq, value } = mapped;
    let body = match value {
        Value::Data(json) => Body::Data(Bytes::copy_from_slice(json.as_bytes())),
        Value::Levels { reset, changes: levels } => {
            let mut changes = Changes::new(if reset { Base::Empty } else { Base::Held });
            for (key, size) in levels {
                let written = match size {
                    Some(size) => changes.set(&key, size.as_bytes()),
                    None => changes.del(&key),
                };
                // It is refused in its turn, after what came before it.
                written.unwrap_or_else(|long| changes.refuse(long));
            }
            Body::Changes(changes.into())
        }
    };
    Item { seq, feed: Some(feed), ts_us, ..Item::new(topic, body, due_us) }
}
