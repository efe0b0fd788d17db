//! A model of a client that gets the bare values of one topic: each is one that was numbered, after those before it.

use engine::topic::policy::Mode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::epoch::{Entry, Epoch};

#[derive(Debug)]
pub struct Values {
    topic: String,
    /// Where it stands: an epoch, the version up to which it gets nothing, and how many updates of the topic it is past:
    /// several may have one version.
    epoch: usize,
    version: u64,
    past: usize,
    /// What is newer has to come: known once the connection is open.
    owed: Option<(usize, u64)>,
    pub count: u64,
    pub skipped: u64,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What is sent of an update.
fn text(entry: &Entry) -> Option<String> {
    let update: Update<'_> = serde_json::from_slice(&entry.json).expect("an update is JSON");
    let data = update.data?.get();
    Some(if data.starts_with('"') { serde_json::from_str(data).unwrap() } else { data.to_owned() })
}

fn place(epochs: &[Epoch]) -> (usize, u64) {
    (epochs.len() - 1, epochs.last().expect("there is always one").version())
}

impl Values {
    /// Of a client that is about to ask; `snapshot`: also for what there is.
    pub fn new(topic: &str, snapshot: bool, epochs: &[Epoch]) -> Self {
        let (epoch, version) = place(epochs);
        let version = if snapshot { 0 } else { version };
        Self { topic: topic.to_owned(), epoch, version, past: 0, owed: None, count: 0, skipped: 0 }
    }

    pub(super) fn open(&mut self, epochs: &[Epoch]) {
        self.owed = Some(place(epochs));
    }

    pub(super) fn take(&mut self, message: &str, epochs: &[Epoch]) {
        self.count += 1;
        for (at, epoch) in epochs.iter().enumerate().skip(self.epoch) {
            let (from, past) = if at == self.epoch { (self.version, self.past) } else { (0, 0) };
            let Some(topic) = epoch.topic(&self.topic) else { continue };
            let first = if past > 0 { past } else { topic.after(from) };
            let newer = &topic.entries[first..];
            let Some(found) = newer.iter().position(|entry| text(entry).as_deref() == Some(message)) else {
                continue;
            };
            let passed = newer[..found].iter().filter(|entry| !entry.gone).count() as u64;
            // A topic that comes back begins anew, and what came before it was gone is not kept.
            let has_ended = newer[..=found].iter().any(|entry| entry.gone || entry.born);
            let begins = self.count == 1 || at != self.epoch || has_ended;
            let is_kept = matches!(*topic.mode, Mode::Stream(_))
                && !begins
                && !epoch.overran(|topic| epoch.topics[topic].name.as_ref() == self.topic, from, false);
            assert!(
                passed == 0 || !is_kept,
                "{passed} updates of {} are missing before {message}",
                self.topic
            );
            self.skipped += passed;
            (self.epoch, self.version, self.past) = (at, newer[found].version, first + found + 1);
            return;
        }
        panic!("{message} came twice, or nobody published it to {} after {}", self.topic, self.version);
    }

    /// The newest value has come, unless that was before the client was there, or the topic is gone.
    pub fn check_newest(&self, epochs: &[Epoch]) {
        let (epoch, version) = self.owed.expect("it is open");
        let newest = epochs.last().and_then(|epoch| epoch.topic(&self.topic)?.entries.last());
        let is_owed = |entry: &&Entry| epoch + 1 < epochs.len() || entry.version > version;
        if let Some(entry) = newest.filter(|entry| !entry.gone).filter(is_owed) {
            let held = (self.epoch + 1, self.version);
            assert_eq!(held, (epochs.len(), entry.version), "the newest of {} has not come", self.topic);
        }
    }
}
