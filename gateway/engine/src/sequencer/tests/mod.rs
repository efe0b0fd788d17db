//! What `[[topic]]` promises of tables that clients write, on a clock that the tests move.

mod bound;
mod counting;
mod writers;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Body, Grouping, NotPublished, Publication, Published, Refused, Sequencer, Why, Written,
    checkpoint::{Ended, Restored, RestoredTopic},
    publication_json::{self, PublicationJson},
};
use crate::{
    clock::Now,
    settings::{Keys, Limits},
    shard::inbox::{Inbox, Message},
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{KeyTerms, Keyed, Mode, Policies, Policy, Write},
    },
    update::{Op, Update},
};

const LINGER: Duration = Duration::from_secs(5);

/// A sequencer, what came out of it, and the time.
struct Desk {
    sequencer: Sequencer,
    inbox: Arc<Inbox>,
    now: Now,
}

/// An entry of keyed topics.
fn keyed(pattern: &str, write: Write, key_terms: KeyTerms) -> Policy {
    let mode = Mode::Keyed(Keyed { keys: 10_000, key_tombstones: 100, table_bytes: 1 << 20 });
    Policy { write, key_terms, ..Policy::new(Pattern::parse(pattern).unwrap(), mode) }
}

/// A client's: the subject `by` on a connection.
fn by(writer: u64, by: impl Into<Option<&'static str>>, body: Value) -> Publication {
    Publication { writer: Some(writer), by: by.into().map(Arc::from), ..publisher(body) }
}

/// `{"topic":…,"set":…}` as it is published.
fn publisher(mut body: Value) -> Publication {
    body["topic"] = body.get("topic").cloned().unwrap_or_else(|| json!("room.a"));
    let text = body.to_string();
    let read = PublicationJson::parse(text.as_bytes()).unwrap();
    let body = match read.value {
        publication_json::Value::Data(data) => Body::Data(data.to_owned().into()),
        publication_json::Value::Changes(changes) => Body::Changes(changes.into()),
    };
    Publication::new(&*read.topic, body, 7)
}

fn gone(topic: &str) -> Publication {
    Publication::new(topic, Body::Gone, 7)
}

impl Desk {
    fn new(policy: Policy) -> Self {
        Self::with(policy, Limits::defaults())
    }

    fn with(policy: Policy, limits: Limits) -> Self {
        let inbox = Inbox::new(usize::MAX, usize::MAX, net::Waker::unconnected());
        let policies = Policies::new(vec![policy]);
        let sequencer = Sequencer::new(Epoch::from(1), vec![inbox.clone()], &limits, policies);
        Self { sequencer, inbox, now: Now { mono_us: 1_000_000, wall_us: 9 } }
    }

    /// Another run, which has what this one had.
    fn restart(&self, policy: Policy) -> Self {
        let next = Self::new(policy);
        let saved = self.sequencer.checkpoint();
        let topics = saved.topics.iter().map(|topic| {
            let head = String::from_utf8(topic.json.to_vec()).unwrap();
            let json: Value = match &topic.table {
                None => serde_json::from_str(&head).unwrap(),
                Some(table) => {
                    serde_json::from_str(&format!("{head}\"data\":{}}}", String::from_utf8_lossy(table)))
                        .unwrap()
                }
            };
            RestoredTopic {
                topic: json["topic"].as_str().unwrap().into(),
                mode: topic.mode.to_owned(),
                v: json["v"].as_u64().unwrap(),
                ts_us: 0,
                by: None,
                seq: topic.seq,
                has_gap: topic.has_gap,
                refused: topic.refused,
                body: Body::Data(json["data"].to_string().into()),
            }
        });
        let restored = Restored {
            epoch: Some(saved.epoch),
            is_clean: true,
            version: saved.version,
            v_floor: saved.v_floor,
            topics: topics.collect(),
            ended: Ended::default(),
            damage: None,
        };
        let (_, refused) = next.sequencer.restore(&restored, next.now);
        assert_eq!(refused, []);
        next
    }

    fn write(&self, publication: Publication) -> Result<Written, Why> {
        let mut written = self.sequencer.try_write(&[publication], self.now).expect("there is room");
        written.remove(0)
    }

    fn code(&self, publication: Publication) -> u16 {
        self.write(publication).unwrap_err().code()
    }

    fn publish(&self, publications: &[Publication]) -> Result<Published, Refused> {
        self.sequencer.try_publish(publications, Grouping::Atomic, self.now).map_err(|not| match not {
            NotPublished::Refused(refused) => refused,
            NotPublished::Full => panic!("there is room"),
        })
    }

    fn left(&self, writer: u64) {
        self.sequencer.left(writer, self.now);
    }

    /// Time passes, and what it brings about is done.
    fn pass(&mut self, seconds: u64) {
        self.now.mono_us += seconds * 1_000_000;
        self.sequencer.publish_due(self.now);
    }

    /// The `data` of a topic; `null`: there is none.
    fn data(&self, topic: &str) -> Value {
        self.sequencer
            .get(topic)
            .map_or(Value::Null, |json| serde_json::from_slice::<Value>(&json).unwrap()["data"].clone())
    }

    /// The keys of `room.a`.
    fn keys(&self) -> Vec<String> {
        self.data("room.a").as_object().map_or(Vec::new(), |table| table.keys().cloned().collect())
    }

    /// The updates since they were taken last, by batch.
    fn taken(&self) -> Vec<Vec<Update>> {
        let mut batches = Vec::new();
        while let Some(message) = self.inbox.pop() {
            let (Message::Updates(batch) | Message::Restart { batch, .. }) = message else { continue };
            let updates = batch.ops.iter().filter_map(|op| match op {
                Op::Update(update) => Some(update.clone()),
                _ => None,
            });
            batches.push(updates.collect());
        }
        batches
    }
}
