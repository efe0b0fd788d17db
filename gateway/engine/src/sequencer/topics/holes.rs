//! Updates that are there already, and those that are missing.

use std::sync::Arc;

use super::{Lost, Topics, after};
use crate::{
    policy::Mode,
    sequencer::item::{Item, Why},
    status::State,
};

/// Names of tables that are remembered while they do not exist.
const UNBORN_MAX: usize = 10_000;

impl Topics {
    /// Whether the publisher's count says that the topic has it already.
    pub fn repeats(&mut self, item: &Item) -> bool {
        let Some(topic) = self.by_name.get_mut(&*item.topic).filter(|_| item.seq.is_some()) else {
            return false;
        };
        topic.is_doubted = self.doubts.of(&item.topic).is_some_and(|number| number > topic.settled);
        topic.repeats(item)
    }

    /// A table does not exist that did, or should: born of a source's change it will lack what was before.
    pub(super) fn lose(&mut self, name: Arc<str>, lost: Lost) {
        match self.unborn.len() < UNBORN_MAX || self.unborn.contains_key(&name) {
            true => drop(self.unborn.insert(name, lost)),
            false => self.names_are_lost = true,
        }
    }

    /// Topics of an earlier run are lost, and nobody knows their names.
    pub fn lose_names(&mut self) {
        self.names_are_lost = true;
    }

    /// An update that a source brought was refused: a hole, of which its topic's subscribers are told.
    pub fn miss(&mut self, item: &Item, why: &Why, now_us: u64) {
        let Some(topic) = self.by_name.get_mut(&*item.topic).filter(|topic| !topic.gone) else {
            let may_be_born = !matches!(why, Why::BadTopic(_));
            if may_be_born && matches!(self.mode(&item.topic), Mode::Keyed(_)) {
                self.lose(item.topic.clone(), Lost::Refused);
            }
            return;
        };
        self.generation += 1;
        let was = topic.state;
        let is_news = topic.miss();
        if let (State::Stale, Some(stale_after)) = (was, topic.policy.stale_after) {
            self.deadlines.stale_at(after(now_us, stale_after), topic.id, item.topic.clone());
        }
        if is_news {
            self.tell(&item.topic, State::Gap, why.to_string());
        }
    }
}
