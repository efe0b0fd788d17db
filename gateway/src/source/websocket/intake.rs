//! From messages to numbered updates: maps, counts, and holds back what the shards have no room for.

use bytes::Bytes;
use engine::{
    sequencer::{Body, Publication, Why, seq::Feed, topics::Doubter},
    settings::Limits,
    topic::changes::{Base, Changes},
};

use super::{
    Intake,
    counters::{Bad, WebsocketCounters, add},
    keys::Websocket,
    mapping::{Fault, MappedPublication, MappedValue, Odd, Said, map},
};
use crate::{
    intake::clocked::ClockedSequencer,
    source::{
        live::{Bring, Counts, Live},
        refusals::Refusals,
    },
};

/// What a log quotes of a bad message.
const QUOTED_CHARS: usize = 200;

/// Makes publications of messages by the source's map.
pub struct Mapping<'a> {
    sequencer: &'a ClockedSequencer,
    source: &'a Websocket,
    counters: &'a WebsocketCounters,
    feed: Feed,
    live: Live,
    refusals: Refusals,
    /// What may wait: as much as in an inbox.
    updates_max: usize,
    bytes_max: usize,
    /// Topics that are remembered.
    topics_max: usize,
    stopped: bool,
    /// The connection has ended that what waits came from.
    is_lost: bool,
    /// Something of the connection was brought, and [`Intake::publish`] has not told it yet.
    is_fresh: bool,
}

impl<'a> Mapping<'a> {
    pub fn new(
        sequencer: &'a ClockedSequencer,
        source: &'a Websocket,
        counters: &'a WebsocketCounters,
        limits: &Limits,
    ) -> Self {
        Self {
            sequencer,
            source,
            counters,
            feed: Feed { source: sequencer.enroll(), connection: 0 },
            live: Live::default(),
            refusals: Refusals::default(),
            updates_max: limits.inbox_updates,
            bytes_max: limits.inbox_bytes,
            topics_max: limits.topics,
            stopped: false,
            is_lost: false,
            is_fresh: false,
        }
    }

    /// A connection begins.
    pub fn begin(&mut self) {
        self.feed.connection += 1;
        (self.is_lost, self.is_fresh) = (false, false);
    }

    /// Counts; the first of each kind is logged.
    fn bad(&self, bad: Bad, what: &str) {
        if self.counters.bad(bad) == 0 {
            let (source, kind) = (self.counters.name(), bad.name());
            tracing::warn!(source, kind, "not published: {what}; more of this kind are only counted");
        }
    }

    fn bad_text(&self, fault: &Fault, text: &str) {
        let quoted: String = text.chars().take(QUOTED_CHARS).collect();
        self.bad(kind(fault), &format!("{fault}; of {} bytes: {quoted}", text.len()));
    }

    fn doubter(&self) -> Doubter {
        Doubter::Source(self.feed.source)
    }

    fn push(&mut self, publication: Publication) {
        let each = self.sequencer.each_counts(&publication.topic);
        self.live.push(publication, if each { Counts::Every } else { Counts::Newest });
    }

    fn hear(&mut self, said: Result<Said<'_>, Odd<'_>>, due_us: i64) {
        match said {
            Ok(Said::Update(mapped)) => {
                add(&self.counters.publications, 1);
                self.push(publication(mapped, self.feed, due_us));
            }
            Ok(Said::Denied { topics, why }) => {
                self.bad(Bad::Denied, &format!("{}: {why}", topics.join(", ")));
                // What came before it does not end it.
                self.is_fresh |= self.settle();
                let mut brought = self.counters.activity.brought();
                for topic in topics {
                    if brought.refuse(topic.clone(), why.clone()) {
                        self.sequencer.doubt(self.doubter(), vec![topic], true);
                    }
                }
            }
            Err(odd) => {
                self.bad_text(&odd.fault, odd.text);
                // Its topic lacks it now.
                if let Some(topic) = odd.topic {
                    let lost = Body::Unread(odd.fault.to_string().into());
                    self.push(Publication { feed: Some(self.feed), ..Publication::new(topic, lost, due_us) });
                }
            }
        }
    }

    /// Publishes what has room; `true`: some of it is of this connection.
    fn settle(&mut self) -> bool {
        let outcome = self.live.publish(self.sequencer);
        if outcome.conflated > 0 {
            self.sequencer.count_conflated(outcome.conflated);
        }
        // The log said what cannot be read when it came.
        for refused in outcome.refused.iter().filter(|r| !matches!(r.why, Why::Unread { .. })) {
            self.counters.bad(Bad::Refused);
            self.refusals.tell(self.counters.name(), &refused.why, self.sequencer);
        }
        let stop = !self.has_room();
        if stop && !self.stopped {
            add(&self.counters.waits, 1);
        }
        self.stopped = stop;
        let is_fresh = self.note_brought(&outcome.brought);
        if is_fresh {
            self.counters.activity.touch(self.sequencer.now().mono_us);
        }
        is_fresh
    }

    /// `true`: there are some of this connection among them.
    fn note_brought(&self, brought: &[Bring]) -> bool {
        if self.is_lost {
            return false;
        }
        let (mut known, mut any) = (self.counters.activity.brought(), false);
        // What waited longer than its connection lasted says nothing of the next one.
        for Bring { topic, portion, is_news, .. } in brought.iter().filter(|b| b.feed == Some(self.feed)) {
            if *is_news {
                for ended in known.end_refusals(topic, *portion) {
                    self.sequencer.doubt(self.doubter(), vec![ended], false);
                }
            }
            known.bring(topic, *portion, self.topics_max);
            any = true;
        }
        any
    }
}

impl Intake for Mapping<'_> {
    /// What cannot be mapped of a message is left out and harms nothing else.
    fn take(&mut self, message: &[u8]) -> Result<(), String> {
        let now = self.sequencer.now();
        add(&self.counters.messages, 1);
        match map(&self.source.map, self.source.names, message) {
            Ok(None) => add(&self.counters.ignored, 1),
            Ok(Some(said)) => {
                said.into_iter().for_each(|said| self.hear(said, now.wall_us));
            }
            Err(fault) => self.bad_text(&fault, &String::from_utf8_lossy(message)),
        }
        Ok(())
    }

    fn publish(&mut self) -> bool {
        self.settle() | std::mem::take(&mut self.is_fresh)
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.sequencer.end_doubts(self.doubter());
        self.counters.activity.brought().lose(|topic| self.sequencer.exists(topic));
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

fn publication(mapped: MappedPublication<'_>, feed: Feed, due_us: i64) -> Publication {
    let MappedPublication { topic, ts_us, seq, value } = mapped;
    let body = match value {
        MappedValue::Data(json) => Body::Data(Bytes::copy_from_slice(json.as_bytes())),
        MappedValue::Levels { reset, changes: levels, depth, goes_on } => {
            let base = if reset { Base::Empty } else { Base::Held };
            let mut changes = Changes::new(base);
            (changes.depth, changes.goes_on) = (depth, goes_on);
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
    Publication { seq, feed: Some(feed), ts_us, ..Publication::new(topic, body, due_us) }
}
