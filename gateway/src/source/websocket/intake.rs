//! From what a connection brings to numbered updates: holds back what the shards have no room for.

use std::{collections::HashSet, sync::Arc};

use engine::{
    sequencer::{Body, Publication, Why, seq::Feed, topics::Doubter},
    settings::Limits,
    topic::{changes::Base, pattern::Pattern},
};

use super::{
    counters::{Bad, WebsocketCounters, add},
    follower::Follower,
    inlet::{Intake, Quit},
    keys::Websocket,
    session::{Heard, Session},
};
use crate::{
    intake::clocked::ClockedSequencer,
    source::{
        live::{Bring, Counts, Live},
        refusals::Refusals,
    },
};

/// Makes publications of messages by the source's map.
pub struct Mapping<'a> {
    sequencer: &'a ClockedSequencer,
    source: &'a Websocket,
    counters: &'a WebsocketCounters,
    session: Session<'a>,
    live: Live,
    refusals: Refusals,
    /// What may wait: as much as in an inbox.
    updates_max: usize,
    bytes_max: usize,
    /// Topics that are remembered.
    topics_max: usize,
    /// Tables of which something came.
    begun: HashSet<Arc<str>>,
    stopped: bool,
    /// The connection has ended that what waits came from.
    is_lost: bool,
    /// Something of the connection was brought, and [`Intake::publish`] has not told it yet.
    is_fresh: bool,
    /// Of one message.
    heard: Vec<Heard>,
}

impl<'a> Mapping<'a> {
    pub fn new(
        sequencer: &'a ClockedSequencer,
        source: &'a Websocket,
        counters: &'a WebsocketCounters,
        limits: &Limits,
    ) -> Self {
        let feed = Feed { source: sequencer.enroll(), connection: 0 };
        Self {
            sequencer,
            source,
            counters,
            session: Session::new(source, counters, feed, limits.topics),
            live: Live::default(),
            refusals: Refusals::default(),
            updates_max: limits.inbox_updates,
            bytes_max: limits.inbox_bytes,
            topics_max: limits.topics,
            begun: HashSet::new(),
            stopped: false,
            is_lost: false,
            is_fresh: false,
            heard: Vec::new(),
        }
    }

    /// Of the connection after the present one.
    fn next_session(&self) -> Session<'a> {
        let feed = Feed { connection: self.session.feed.connection + 1, ..self.session.feed };
        Session::new(self.source, self.counters, feed, self.topics_max)
    }

    fn doubter(&self) -> Doubter {
        Doubter::Source(self.session.feed.source)
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
        if self.begins_with_a_change(&publication) {
            self.push_one(
                publication.lost("its book begins with a change: what it held before has not come"),
            );
        }
        self.push_one(publication);
    }

    /// It is the first of a book that is not there.
    fn begins_with_a_change(&mut self, publication: &Publication) -> bool {
        let Body::Changes(changes) = &publication.body else { return false };
        if self.begun.len() >= self.topics_max || self.begun.contains(&publication.topic) {
            return false;
        }
        self.begun.insert(publication.topic.clone());
        changes.has_prices && changes.base == Base::Held && !self.sequencer.exists(&publication.topic)
    }

    fn push_one(&mut self, publication: Publication) {
        let each = self.sequencer.each_counts(&publication.topic);
        self.live.push(publication, if each { Counts::Every } else { Counts::Newest });
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Update(publication) => self.push(publication),
            Heard::Denied { topics, why } => self.refuse(topics, &why),
        }
    }

    /// What one message made, or what was asked for elsewhere.
    fn hear_all(&mut self) {
        let mut heard = std::mem::take(&mut self.heard);
        heard.drain(..).for_each(|heard| self.hear(heard));
        self.heard = heard;
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
        for Bring { topic, portion, is_news, .. } in
            brought.iter().filter(|b| b.feed == Some(self.session.feed))
        {
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

impl<'a> Intake for Mapping<'a> {
    type Next = Follower<'a>;

    fn begin(&mut self) {
        (self.is_lost, self.is_fresh) = (false, false);
        self.session = self.next_session();
    }

    fn established(&mut self) {
        self.session.established();
    }

    fn take(&mut self, message: &[u8], is_binary: bool) -> Result<Option<String>, Quit> {
        let now_us = self.sequencer.now().wall_us;
        let reply = self.session.take(message, is_binary, now_us, &mut self.heard);
        self.hear_all();
        reply
    }

    fn publish(&mut self) -> bool {
        self.settle() | std::mem::take(&mut self.is_fresh)
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.session.end();
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
        let event = self.session.next().await;
        self.session.answer(event, self.sequencer.now().wall_us, &mut self.heard);
        self.hear_all();
        Ok(())
    }

    fn next(&self) -> Option<Follower<'a>> {
        let bytes_max = self.source.snapshot_bytes;
        Some(Follower::new(self.sequencer, self.counters, self.next_session(), bytes_max))
    }

    fn is_followed_by(&self, next: &Follower<'a>) -> bool {
        next.is_ready(&self.session)
    }

    fn follow(&mut self, next: Follower<'a>) {
        (self.is_lost, self.is_fresh) = (false, false);
        self.session = next.session;
        next.heard.into_iter().for_each(|heard| self.hear(heard));
    }
}
