//! Topics that are told to be stale together and live again one by one.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use engine::{
    protocol::status::{Change, Status, TOPIC_BYTES, TopicState},
    topic::pattern::Pattern,
};

/// Topics that are told, and listed, in one status.
const CHUNK: usize = 1000;

/// Topics of one cause of which no update has come.
#[derive(Debug, Default)]
pub struct Awaited {
    /// Of their status.
    id: u64,
    since_us: i64,
    reason: Arc<str>,
    topics: HashSet<Arc<str>>,
    bytes: usize,
    /// Chunks of topics for which there was no room.
    beyond: usize,
}

impl Awaited {
    /// At most so many chunks of `topics`, and so many bytes, as `max` says. `cause` tells them from those of other
    /// causes. Gives what is to be told.
    pub fn new(
        cause: impl Hash,
        topics: &[Arc<str>],
        reason: &str,
        (count_max, bytes_max): (usize, usize),
        now_us: i64,
    ) -> (Self, Vec<Change>) {
        let mut topics = topics.to_vec();
        topics.sort_unstable();
        let mut awaited =
            Self { id: id_of(&cause), since_us: now_us, reason: reason.into(), ..Self::default() };
        let mut told = Vec::new();
        for names in topics.chunks(CHUNK).take(count_max) {
            let bytes: usize = names.iter().map(topic_bytes).sum();
            if awaited.bytes + bytes > bytes_max {
                break;
            }
            awaited.bytes += bytes;
            awaited.topics.extend(names.iter().cloned());
            told.push(Change::part(awaited.id, awaited.status(names)));
        }
        awaited.beyond = topics.len().div_ceil(CHUNK) - told.len();
        (awaited, told)
    }

    /// How many chunks of topics found no room.
    pub fn beyond(&self) -> usize {
        self.beyond
    }

    /// Of the topics.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Updates of these topics have come; gives what is to be told. Topics that are not among them are passed
    /// over, and given back.
    pub fn confirm<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a Arc<str>>,
        now_us: i64,
    ) -> (Option<Change>, Vec<Arc<str>>) {
        let (mut confirmed, mut others) = (Vec::new(), Vec::new());
        for topic in topics {
            match self.topics.take(topic) {
                Some(topic) => {
                    self.bytes -= topic_bytes(&topic);
                    confirmed.push(Pattern::of_topic(topic));
                }
                None => others.push(topic.clone()),
            }
        }
        confirmed.sort_unstable();
        let change = (!confirmed.is_empty()).then(|| Change::part(self.id, live(&confirmed, now_us)));
        (change, others)
    }

    /// They are told no more, for another status takes their place: who was told them is told that.
    pub fn end(&self, reason: &str) -> Option<Change> {
        let mut topics: Vec<Arc<str>> = self.topics.iter().cloned().collect();
        topics.sort_unstable();
        let status = Status { reason: reason.into(), ..self.status(&topics) };
        (!topics.is_empty()).then(|| Change { lasts: false, ..Change::whole(self.id, status) })
    }

    /// What is told to who comes now.
    pub fn statuses(&self) -> Vec<Status> {
        let mut topics: Vec<Arc<str>> = self.topics.iter().cloned().collect();
        topics.sort_unstable();
        topics.chunks(CHUNK).map(|names| self.status(names)).collect()
    }

    fn status(&self, names: &[Arc<str>]) -> Status {
        let topics = names.iter().cloned().map(Pattern::of_topic).collect();
        let (since_us, reason) = (self.since_us, self.reason.clone());
        Status { topics, state: TopicState::Stale, since_us, reason }
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

fn topic_bytes(topic: &Arc<str>) -> usize {
    topic.len() + TOPIC_BYTES
}

/// These are live again.
pub fn live(topics: &[Pattern], now_us: i64) -> Status {
    Status { topics: topics.into(), state: TopicState::Live, since_us: now_us, reason: "".into() }
}

/// The same whenever the same is said again, so that who is slow is told the newest only.
pub fn id_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
