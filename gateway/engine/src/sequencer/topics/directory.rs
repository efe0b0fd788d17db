//! Topics by number, and their numbers by name.

use std::{
    collections::BTreeMap,
    ops::{Bound, Index, IndexMut},
    sync::Arc,
};

use super::topic::Topic;
use crate::update::TopicId;

/// All topics and the tombstones among them. A name is looked up once for an update; after that its number leads
/// to it.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// In order, as topics are listed.
    numbers: BTreeMap<Arc<str>, TopicId>,
    /// By number; `None`: it was forgotten and waits in `free`.
    slots: Vec<Option<Topic>>,
    free: Vec<TopicId>,
}

impl Directory {
    /// The number of the topic of that name; it holds until a topic is forgotten.
    pub fn find(&self, name: &str) -> Option<TopicId> {
        self.numbers.get(name).copied()
    }

    /// `None`: there is no topic of that number any more.
    pub fn get(&self, id: TopicId) -> Option<&Topic> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// The topic that was found, where it exists.
    pub fn living_mut(&mut self, at: Option<TopicId>) -> Option<(TopicId, &mut Topic)> {
        let id = at?;
        self.get_mut(id).filter(|topic| !topic.gone).map(|topic| (id, topic))
    }

    pub fn by_name(&self, name: &str) -> Option<&Topic> {
        self.get(self.find(name)?)
    }

    /// Enters a topic whose name is not there yet, under a number of its own.
    pub fn insert(&mut self, topic: Topic) -> TopicId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            TopicId(self.slots.len() as u32 - 1)
        });
        self.numbers.insert(topic.name.clone(), id);
        self.slots[id.0 as usize] = Some(topic);
        id
    }

    /// Forgets a topic; its number is given out again.
    pub fn remove(&mut self, id: TopicId) -> Option<Topic> {
        let topic = self.slots.get_mut(id.0 as usize)?.take()?;
        self.numbers.remove(&topic.name);
        self.free.push(id);
        Some(topic)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.numbers.values().map(|id| &self[*id])
    }

    /// The same, from a name on.
    pub fn range(&self, from: Bound<&str>) -> impl Iterator<Item = &Topic> {
        self.numbers.range::<str, _>((from, Bound::Unbounded)).map(|(_, id)| &self[*id])
    }
}

impl Index<TopicId> for Directory {
    type Output = Topic;

    fn index(&self, id: TopicId) -> &Topic {
        self.get(id).expect("a number that was found holds until a topic is forgotten")
    }
}

impl IndexMut<TopicId> for Directory {
    fn index_mut(&mut self, id: TopicId) -> &mut Topic {
        self.get_mut(id).expect("a number that was found holds until a topic is forgotten")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::policy::Policies;

    fn topic(name: &str) -> Topic {
        Topic::unborn(name.into(), Policies::default().of(name).clone(), 0)
    }

    #[test]
    fn a_number_leads_to_its_topic_and_is_given_out_again_when_that_is_forgotten() {
        let mut directory = Directory::default();
        let (b, a) = (directory.insert(topic("b")), directory.insert(topic("a")));
        assert_eq!((directory.find("a"), directory.find("b"), directory.find("c")), (Some(a), Some(b), None));
        assert!(directory.iter().map(|topic| &*topic.name).eq(["a", "b"]), "in order");
        assert!(directory.remove(b).is_some() && directory.remove(b).is_none());
        assert!(directory.get(b).is_none() && directory.by_name("b").is_none());
        assert_eq!(directory.insert(topic("c")), b);
        assert_eq!(&*directory[b].name, "c");
        assert!(directory.range(Bound::Excluded("a")).map(|topic| &*topic.name).eq(["c"]));
    }
}
