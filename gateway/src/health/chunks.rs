//! Topics that become stale together and live again one by one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use engine::{
    protocol::status::{Change, State, Status, TOPIC_BYTES},
    topic::pattern::Pattern,
};

/// Topics that stand in one status.
const CHUNK: usize = 1000;

/// Topics of one cause, in statuses of [`CHUNK`] topics each.
#[derive(Debug, Default)]
pub struct Chunks {
    /// Which chunk a topic that is not confirmed stands in.
    by_topic: HashMap<Arc<str>, usize>,
    chunks: Vec<Chunk>,
    /// Of topics that are not confirmed.
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    id: u64,
    since_us: i64,
    reason: Arc<str>,
    left: BTreeSet<Pattern>,
    confirmed: Vec<Pattern>,
}

impl Chunks {
    /// At most so many chunks of `topics`, and so many bytes, as `max` says. `cause` tells them from those of other causes. Gives what is to be told.
    pub fn new(
        cause: impl Hash,
        topics: &[Arc<str>],
        reason: &str,
        (count_max, bytes_max): (usize, usize),
        now_us: i64,
    ) -> (Self, Vec<Change>) {
        let mut chunks = Self::default();
        for (at, names) in topics.chunks(CHUNK).take(count_max).enumerate() {
            let bytes: usize = names.iter().map(topic_bytes).sum();
            if chunks.bytes + bytes > bytes_max {
                break;
            }
            chunks.bytes += bytes;
            chunks.by_topic.extend(names.iter().map(|name| (name.clone(), at)));
            chunks.chunks.push(Chunk {
                id: id_of(&(&cause, at)),
                since_us: now_us,
                reason: reason.into(),
                left: names.iter().cloned().map(Pattern::of_topic).collect(),
                confirmed: Vec::new(),
            });
        }
        let begin = |chunk: &Chunk| {
            let status = chunk.status();
            Change { id: chunk.id, news: status.clone(), left: Some(status.clone()), missed: status }
        };
        let told = chunks.chunks.iter().map(begin).collect();
        (chunks, told)
    }

    /// How many chunks of so many topics found no room.
    pub fn beyond(&self, topics: usize) -> usize {
        topics.div_ceil(CHUNK) - self.chunks.len()
    }

    /// Of topics that are not confirmed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Updates of these topics have come; gives what is to be told. Topics that are not among them are
    /// passed over, and given back.
    pub fn confirm<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a Arc<str>>,
        now_us: i64,
    ) -> (Vec<Change>, Vec<Arc<str>>) {
        let mut news: BTreeMap<usize, Vec<Pattern>> = BTreeMap::new();
        let mut others = Vec::new();
        for topic in topics {
            match self.by_topic.remove(topic) {
                Some(at) => {
                    self.bytes -= topic_bytes(topic);
                    news.entry(at).or_default().push(Pattern::of_topic(topic.clone()));
                }
                None => others.push(topic.clone()),
            }
        }
        (news.into_iter().map(|(at, topics)| self.chunks[at].confirm(topics, now_us)).collect(), others)
    }

    /// Another status takes their place: clients that got them get that.
    pub fn end(&self, reason: &str) -> Vec<Change> {
        let end = |chunk: &Chunk| {
            let status = Status { reason: reason.into(), ..chunk.status() };
            Change { id: chunk.id, news: status.clone(), left: None, missed: status }
        };
        self.chunks.iter().filter(|chunk| !chunk.left.is_empty()).map(end).collect()
    }

    /// What a client that comes now gets.
    pub fn statuses(&self) -> impl Iterator<Item = Status> {
        self.chunks.iter().filter(|chunk| !chunk.left.is_empty()).map(Chunk::status)
    }

    /// Topics that are not confirmed.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }
}

impl Chunk {
    fn status(&self) -> Status {
        let topics = self.left.iter().cloned().collect();
        let (since_us, reason) = (self.since_us, self.reason.clone());
        Status { topics, state: State::Stale, since_us, reason }
    }

    fn confirm(&mut self, mut topics: Vec<Pattern>, now_us: i64) -> Change {
        topics.sort();
        for topic in &topics {
            self.left.remove(topic);
        }
        self.confirmed.extend(topics.iter().cloned());
        self.confirmed.sort();
        let left = (!self.left.is_empty()).then(|| self.status());
        Change { id: self.id, news: live(&topics, now_us), left, missed: live(&self.confirmed, now_us) }
    }
}

fn topic_bytes(topic: &Arc<str>) -> usize {
    topic.len() + TOPIC_BYTES
}

/// These are live again.
pub fn live(topics: &[Pattern], now_us: i64) -> Status {
    Status { topics: topics.into(), state: State::Live, since_us: now_us, reason: "".into() }
}

/// The same whenever the same is said again, so that a slow client gets the newest only.
pub fn id_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
