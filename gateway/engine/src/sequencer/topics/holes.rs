//! Updates that are there already, and those that are missing.

use std::sync::Arc;

use super::{Lost, Topics, after};
use crate::{
    protocol::status::TopicState,
    sequencer::{
        checkpoint::Ended,
        publication::{Publication, Why},
    },
    topic::policy::Mode,
    update::TopicId,
};

/// Names of tables that are remembered while they do not exist.
const UNBORN_MAX: usize = 10_000;

impl Topics {
    /// Whether the publisher's count says that the topic has it already.
    pub fn repeats(&mut self, publication: &Publication, at: Option<TopicId>) -> bool {
        let (Some(id), Some(_)) = (at, publication.seq) else { return false };
        let topic = &mut self.directory[id];
        topic.is_doubted = self.doubts.of(&publication.topic).is_some_and(|number| number > topic.settled);
        topic.repeats(publication)
    }

    /// A table does not exist that did, or should: born of a source's change it will lack what was before.
    pub(super) fn lose(&mut self, name: Arc<str>, lost: Lost) {
        self.generation += 1;
        match self.unborn.len() < UNBORN_MAX || self.unborn.contains_key(&name) {
            true => drop(self.unborn.insert(name, lost)),
            false => self.names_are_lost = true,
        }
    }

    /// Topics of an earlier run are lost, and nobody knows their names.
    pub fn lose_names(&mut self) {
        self.generation += 1;
        self.names_are_lost = true;
    }

    /// Tables that are to be remembered beyond this run. Of those that a source refused too a source's change
    /// will tell it.
    pub fn ended(&self) -> Ended {
        let removed = self.directory.iter().filter(|topic| topic.gone && topic.has_gap);
        let mut names: Vec<Arc<str>> =
            removed.map(|topic| &topic.name).chain(self.unborn.keys()).cloned().collect();
        let are_more = self.names_are_lost || names.len() > UNBORN_MAX;
        names.truncate(UNBORN_MAX);
        Ended { names, are_more }
    }

    /// As an earlier run remembered them.
    pub fn lose_ended(&mut self, ended: &Ended) {
        ended.names.iter().for_each(|name| self.lose(name.clone(), Lost::Removed));
        self.names_are_lost |= ended.are_more;
    }

    /// An update that a source brought was refused: a hole, of which its topic's subscribers are told.
    pub fn miss(&mut self, publication: &Publication, at: Option<TopicId>, why: &Why, now_us: u64) {
        if matches!(why, Why::IsCount { .. }) {
            return;
        }
        let Some((id, topic)) = self.directory.living_mut(at) else {
            let may_be_born = !matches!(why, Why::BadTopic(_) | Why::LongCount { .. });
            if may_be_born && matches!(self.mode_at(&publication.topic, at), Mode::Keyed(_)) {
                self.lose(publication.topic.clone(), Lost::Refused);
            }
            return;
        };
        self.generation += 1;
        let was = topic.state;
        let is_news = topic.miss();
        if let (TopicState::Stale, Some(stale_after)) = (was, topic.policy.stale_after) {
            self.deadlines.stale_at(after(now_us, stale_after), id, publication.topic.clone());
        }
        if is_news {
            self.tell(&publication.topic, TopicState::Gap, why.to_string());
        }
    }
}
