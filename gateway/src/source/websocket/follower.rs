//! What takes in for a connection that is to follow, as long as the older one serves.

use engine::sequencer::Publication;

use super::{
    counters::{WebsocketCounters, add},
    inlet::{Intake, Quit},
    session::{Heard, Session},
};
use crate::intake::clocked::ClockedSequencer;

/// It answers its server and follows the counts of its books, and publishes nothing.
pub struct Follower<'a> {
    sequencer: &'a ClockedSequencer,
    counters: &'a WebsocketCounters,
    pub session: Session<'a>,
    /// In the order in which it came.
    pub heard: Vec<Heard>,
    /// Those of `heard` that were measured.
    measured: usize,
    bytes: usize,
    bytes_max: usize,
}

impl<'a> Follower<'a> {
    pub fn new(
        sequencer: &'a ClockedSequencer,
        counters: &'a WebsocketCounters,
        session: Session<'a>,
        bytes_max: usize,
    ) -> Self {
        Self { sequencer, counters, session, heard: Vec::new(), measured: 0, bytes: 0, bytes_max }
    }

    /// It brought something, and has whole what the connection that serves has whole.
    pub fn is_ready(&self, serving: &Session<'_>) -> bool {
        !self.heard.is_empty() && self.session.is_as_whole_as(serving)
    }

    fn measure(&mut self) {
        let had_room = self.has_room();
        let bytes = |heard: &Heard| match heard {
            Heard::Update(publication) => publication.body.bytes(),
            Heard::Denied { why, .. } => why.len(),
        };
        let fresh = &self.heard[self.measured..];
        self.bytes += fresh.iter().map(|heard| size_of::<Publication>() + bytes(heard)).sum::<usize>();
        self.measured = self.heard.len();
        if had_room && !self.has_room() {
            add(&self.counters.waits, 1);
        }
    }
}

impl Intake for Follower<'_> {
    type Next = Self;

    fn take(&mut self, message: &[u8], is_binary: bool) -> Result<Option<String>, Quit> {
        let now_us = self.sequencer.now().wall_us;
        let reply = self.session.take(message, is_binary, now_us, &mut self.heard);
        self.measure();
        reply
    }

    /// Whatever comes shows that its server lives.
    fn publish(&mut self) -> bool {
        true
    }

    fn established(&mut self) {
        self.session.established();
    }

    fn lose(&mut self) {}

    fn waits(&self) -> bool {
        false
    }

    /// TCP holds the server back beyond.
    fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    async fn woken(&mut self) -> Result<(), Quit> {
        let event = self.session.next().await;
        self.session.answer(event, self.sequencer.now().wall_us, &mut self.heard);
        self.measure();
        Ok(())
    }
}
