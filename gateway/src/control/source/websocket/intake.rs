//! From messages to numbered updates: maps, counts, and holds back what the shards have no room for.

use bytes::Bytes;

use super::{
    Intake,
    counters::{Bad, Counters, add},
    mapping::{Fault, Mapped, Value, map},
};
use crate::{
    changes::{Base, Changes, LongKey},
    config::{Limits, mapping::Entry},
    control::{
        sequencer::{Body, Item, Sequencer},
        source::live::{Counts, Live},
    },
};

/// What a log quotes of a bad message.
const QUOTED_CHARS: usize = 200;

/// Makes items of messages by the source's map.
pub struct Mapping<'a> {
    sequencer: &'a Sequencer,
    entries: &'a [Entry],
    counters: &'a Counters,
    live: Live,
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
        Self { sequencer, entries, counters, live: Live::default(), updates_max, bytes_max, stopped: false }
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
                    match item(mapped, now.wall_us) {
                        Ok(item) => {
                            let each = self.sequencer.each_counts(&item.topic);
                            self.live.push(item, if each { Counts::Every } else { Counts::Newest });
                        }
                        Err(long) => self.bad(Bad::Refused, &long.to_string()),
                    }
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
            self.bad(Bad::Refused, &refused.why.to_string());
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

fn item(mapped: Mapped<'_>, due_us: i64) -> Result<Item, LongKey> {
    let Mapped { topic, ts_us, seq, value } = mapped;
    let body = match value {
        Value::Data(json) => Body::Data(Bytes::copy_from_slice(json.as_bytes())),
        Value::Levels { reset, changes: levels } => {
            let mut changes = Changes::new(if reset { Base::Empty } else { Base::Held });
            for (key, size) in levels {
                match size {
                    Some(size) => changes.set(&key, size.as_bytes())?,
                    None => changes.del(&key)?,
                }
            }
            Body::Changes(changes.into())
        }
    };
    Ok(Item { topic: topic.into(), body, seq, ts_us, due_us })
}
