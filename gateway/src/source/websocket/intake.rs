//! From messages to numbered updates: maps, counts, and holds back what the shards have no room for.

use std::sync::Arc;

use bytes::Bytes;
use engine::{
    json::{Node, skip_byte_order_mark},
    sequencer::{Body, Publication, Why, seq::Feed, topics::Doubter},
    settings::Limits,
    topic::{changes::Base, pattern::Pattern},
};

use super::{
    books::Books,
    braced::Filling,
    counters::{Bad, WebsocketCounters, add},
    frames::Encoding,
    inlet::{Intake, Quit},
    keys::Websocket,
    mapping::{MappedPublication, MappedValue, Odd, Said, fault::Fault, map, memory::Memory},
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
    /// What the venue told once on the connection.
    memory: Memory,
    /// Tables by their counts, and snapshots of them.
    books: Books<'a>,
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
    /// A frame that was packed.
    unpacked: Vec<u8>,
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
            memory: Memory::default(),
            books: Books::new(source, counters, limits.topics),
            live: Live::default(),
            refusals: Refusals::default(),
            updates_max: limits.inbox_updates,
            bytes_max: limits.inbox_bytes,
            topics_max: limits.topics,
            stopped: false,
            is_lost: false,
            is_fresh: false,
            unpacked: Vec::new(),
        }
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

    fn push(&mut self, mut publication: Publication) {
        if let Body::Changes(changes) = &mut publication.body
            && changes.base == Base::Whole
            && !self.sequencer.exists(&publication.topic)
            && changes.iter().all(|change| change.value.is_some())
        {
            // There is nothing to compare it with.
            Arc::make_mut(changes).base = Base::Empty;
        }
        let each = self.sequencer.each_counts(&publication.topic);
        self.live.push(publication, if each { Counts::Every } else { Counts::Newest });
    }

    fn hear(&mut self, said: Result<Said<'_>, Odd<'_>>, due_us: i64) -> Result<(), Quit> {
        match said {
            Ok(Said::Update(mapped)) => {
                add(&self.counters.publications, 1);
                let entry = &self.source.map[mapped.entry];
                let (number, whole_at) = (mapped.entry, mapped.whole_at.clone());
                let publication = publication(mapped, self.feed, due_us);
                let (taken, out) = match entry.makes_keys() {
                    true => self.books.take(publication, number, whole_at),
                    false => (Ok(()), vec![publication]),
                };
                out.into_iter().for_each(|publication| self.push(publication));
                taken?;
            }
            Ok(Said::Denied { topics, why }) => {
                self.bad(Bad::Denied, &format!("{}: {why}", topics.join(", ")));
                self.refuse(topics, &why);
            }
            Ok(Said::Remembered(_)) => {}
            Err(odd) => {
                self.bad_text(&odd.fault, odd.text);
                // Its topic lacks it now.
                if let Some(topic) = odd.topic {
                    let lost = Body::Unread(format!("an update cannot be read: {}", odd.fault).into());
                    self.push(Publication { feed: Some(self.feed), ..Publication::new(topic, lost, due_us) });
                }
            }
        }
        Ok(())
    }

    /// These topics will not come, or have not.
    fn refuse(&mut self, topics: Vec<Pattern>, why: &str) {
        // What came before it does not end it.
        self.is_fresh |= self.settle();
        let mut brought = self.counters.activity.brought();
        for topic in topics {
            if brought.refuse(topic.clone(), why.to_owned()) {
                self.sequencer.doubt(self.doubter(), vec![topic], true);
            }
        }
    }

    /// What is said to a message.
    fn reply(&self, message: &Node<'_>, now_us: i64) -> Option<String> {
        let sign = self.source.sign.as_ref().map(|sign| |now_us: i64| sign.sign(now_us));
        let sign = sign.as_ref().map(|sign| sign as &dyn Fn(i64) -> String);
        let with = Filling { now_us, sign, ..Filling::default() };
        let reply = self.source.replies.iter().find_map(|reply| reply.to(message, &with))?;
        add(&self.counters.replies, 1);
        Some(reply)
    }

    /// A message as it was before it was packed.
    fn hear_all(&mut self, message: &[u8]) -> Result<Option<String>, Quit> {
        let now_us = self.sequencer.now().wall_us;
        let message = match Node::parse(skip_byte_order_mark(message)) {
            Ok(message) => message,
            Err(error) => {
                self.bad_text(&Fault::Json(error.to_string()), &String::from_utf8_lossy(message));
                return Ok(None);
            }
        };
        let reply = self.reply(&message, now_us);
        match map(&self.source.map, self.source.names, &mut self.memory, &message) {
            None if reply.is_none() => add(&self.counters.ignored, 1),
            None => {}
            Some(said) => said.into_iter().try_for_each(|said| self.hear(said, now_us))?,
        }
        Ok(reply)
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
    fn begin(&mut self) {
        self.feed.connection += 1;
        (self.is_lost, self.is_fresh) = (false, false);
        self.memory = Memory::default();
        self.books.begin(self.feed);
    }

    fn established(&mut self) {
        self.books.ask_all();
    }

    /// What cannot be mapped of a message is left out and harms nothing else.
    fn take(&mut self, message: &[u8], is_binary: bool) -> Result<Option<String>, Quit> {
        add(&self.counters.messages, 1);
        if !is_binary || self.source.encoding == Encoding::Plain {
            return self.hear_all(message);
        }
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let heard = match self.source.encoding.unpack(message, self.source.link.message_bytes, &mut unpacked)
        {
            Ok(()) => self.hear_all(&unpacked),
            Err(wrong) => {
                self.bad(Bad::Encoding, &wrong);
                Ok(None)
            }
        };
        self.unpacked = unpacked;
        heard
    }

    fn publish(&mut self) -> bool {
        self.settle() | std::mem::take(&mut self.is_fresh)
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.books.clear();
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

    async fn woken(&mut self) -> Result<(), Quit> {
        let event = self.books.next().await;
        let now_us = self.sequencer.now().wall_us;
        let (told, out) = self.books.hear(event, now_us);
        out.into_iter().for_each(|publication| self.push(publication));
        if let Some((topic, why)) = told {
            self.refuse(vec![Pattern::of_topic(topic)], &why);
        }
        Ok(())
    }
}

fn kind(fault: &Fault) -> Bad {
    match fault {
        Fault::Json(_) => Bad::Json,
        Fault::Pointer { .. } => Bad::Pointer,
        Fault::Topic(_) => Bad::Topic,
        Fault::Ts { .. } => Bad::Ts,
        Fault::Full { .. } => Bad::Memory,
    }
}

fn publication(mapped: MappedPublication<'_>, feed: Feed, due_us: i64) -> Publication {
    let MappedPublication { topic, ts_us, seq, value, .. } = mapped;
    let body = match value {
        MappedValue::Data(json) => Body::Data(Bytes::copy_from_slice(json.as_bytes())),
        MappedValue::Changes(changes) => Body::Changes(changes.into()),
    };
    Publication { seq, feed: Some(feed), ts_us, ..Publication::new(topic, body, due_us) }
}
