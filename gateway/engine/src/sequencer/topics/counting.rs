//! Topics that hold the number of keys of others.

use std::sync::Arc;

use super::{Admitted, Topics, topic_size};
use crate::{
    clock::Now,
    sequencer::publication::{Body, Publication, Why},
    topic::{
        name::TOPIC_BYTES_MAX,
        policy::{COUNT_SUFFIX, Policy, count_topic},
    },
    update::{Op, TopicId},
};

/// What the number takes, whatever it is.
const NUMBER_BYTES: usize = 20;

/// A topic whose keys are counted, before an update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// `None`: it was not there.
    keys: Option<usize>,
    /// Its number is of an earlier run, and told to be.
    is_restored: bool,
}

impl Topics {
    /// `None`: the topic's keys are not counted.
    pub(super) fn counted(&self, name: &str, at: Option<TopicId>) -> Option<Counted> {
        if !self.policy_at(name, at).key_terms.are_counted {
            return None;
        }
        let topic = at.map(|id| &self.directory[id]);
        let is_restored = topic.is_some_and(|topic| topic.is_restored);
        Some(Counted { keys: self.keys_of(at), is_restored })
    }

    /// `None`: there is no such topic.
    fn keys_of(&self, at: Option<TopicId>) -> Option<usize> {
        self.directory.get(at?).filter(|topic| !topic.gone).map(|topic| topic.keys())
    }

    /// After an update of a topic its number of keys, in the same step.
    pub(super) fn count_keys(
        &mut self,
        id: TopicId,
        publication: &Publication,
        before: Counted,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        let keys = self.keys_of(Some(id));
        if keys != before.keys || before.is_restored {
            self.set_count(&publication.topic, keys, publication.due_us, version, now_us, ops);
        }
    }

    /// `None`: the topic that is counted is gone.
    fn set_count(
        &mut self,
        counted: &str,
        keys: Option<usize>,
        due_us: i64,
        version: u64,
        now_us: u64,
        ops: &mut Vec<Op>,
    ) {
        let body = keys.map_or(Body::Gone, |keys| Body::Data(keys.to_string().into()));
        let publication = Publication::new(count_topic(counted), body, due_us);
        let at = self.find(&publication.topic);
        let lives = at.is_some_and(|id| !self.directory[id].gone);
        if lives || keys.is_some() {
            self.enter(&publication, Admitted { at, changes: None }, None, version, now_us, ops);
        }
    }

    /// After topics of an earlier run are there: numbers that are not, or are wrong. Gives whether there were any.
    pub fn count_again(&mut self, version: u64, now: Now, ops: &mut Vec<Op>) -> bool {
        let mut wrong: Vec<(Arc<str>, Option<usize>)> = Vec::new();
        for topic in self.directory.iter().filter(|topic| !topic.gone) {
            let count = || self.directory.by_name(&count_topic(&topic.name)).filter(|count| !count.gone);
            if topic.policy.key_terms.are_counted {
                let told = format!("\"data\":{}}}", topic.keys());
                if !count().is_some_and(|count| count.json.ends_with(told.as_bytes())) {
                    wrong.push((topic.name.clone(), Some(topic.keys())));
                }
            } else if let Some(counted) = self.policies.counted(&topic.name)
                && self.keys_of(self.find(counted)).is_none()
            {
                wrong.push((counted.into(), None));
            }
        }
        for (counted, keys) in &wrong {
            self.set_count(counted, *keys, now.wall_us, version, now.mono_us, ops);
        }
        !wrong.is_empty()
    }

    /// Whether a publication is of a topic that nobody but the gateway publishes.
    pub(super) fn check_count(&self, publication: &Publication) -> Result<(), Why> {
        let topic = &publication.topic;
        let counted = self.policies.counted(topic);
        counted.map_or(Ok(()), |of| Err(Why::IsCount { topic: topic.clone(), counted: of.into() }))
    }
}

/// What a topic's number is held against `[limits] topics_bytes` as; 0: its keys are not counted.
pub(super) fn count_size(policy: &Policy, topic: &str) -> usize {
    if policy.key_terms.are_counted { topic_size(topic, COUNT_SUFFIX.len() + NUMBER_BYTES) } else { 0 }
}

/// Whether the name of a topic leaves room for that of its number.
pub(super) fn check_name(policy: &Policy, topic: &Arc<str>) -> Result<(), Why> {
    let (bytes, max) = (topic.len(), TOPIC_BYTES_MAX - COUNT_SUFFIX.len());
    if policy.key_terms.are_counted && bytes > max {
        return Err(Why::LongCount { topic: topic.clone(), bytes, max });
    }
    Ok(())
}
