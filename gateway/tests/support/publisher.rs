//! The control plane of a simulation: the real sequencer, and a memory of all it ever numbered.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use engine::{
    sequencer::{Body, Grouping, Publication, SequencerCounters, UpstreamBatch, UpstreamUpdate, Why},
    shard::inbox::{Inbox, Message},
    topic::{changes::Base, policy::Mode},
};
use gateway::{config::Config, intake::clocked::ClockedSequencer};
use serde_json::value::RawValue;

use super::epoch::{Epoch, Table, apply};

pub struct Publisher {
    sequencer: Arc<ClockedSequencer>,
    /// A second shard's inbox: what was numbered is learnt from it.
    tap: Arc<Inbox>,
    /// Never empty; the last is the present one.
    pub epochs: Vec<Epoch>,
    is_forgetful: bool,
    /// Tables as the items say, whatever the sequencer made of them.
    truth: HashMap<Arc<str>, Table>,
    /// Tables of which a change was left out.
    holes: HashSet<Arc<str>>,
}

impl Publisher {
    pub fn new(epoch: &str, inbox: Arc<Inbox>, config: &Config) -> Self {
        let is_forgetful = config.limits.history_bytes < 1 << 20;
        let tap = Inbox::new(usize::MAX, usize::MAX, net::Waker::unconnected());
        Self {
            sequencer: ClockedSequencer::new(
                engine::topic::epoch::Epoch::parse(epoch).expect("16 hex digits"),
                vec![inbox, tap.clone()],
                &config.limits,
                config.topics.clone(),
                Instant::now(),
            ),
            tap,
            epochs: vec![Epoch::new(epoch.into(), 0, is_forgetful)],
            is_forgetful,
            truth: HashMap::new(),
            holes: HashSet::new(),
        }
    }

    /// Publishes; `false`: refused, or the inbox is full.
    pub fn publish(&mut self, items: &[Publication], grouping: Grouping) -> bool {
        let taken = self.sequencer.try_publish(items, grouping);
        let accepted = taken.as_ref().map_or(0, |published| published.accepted);
        self.note(items[..accepted].iter());
        taken.is_ok()
    }

    /// Takes over what another gateway has numbered; `false`: the inbox is full.
    pub fn follow(&mut self, following: &UpstreamBatch) -> bool {
        let Some(refused) = self.sequencer.try_follow(following) else { return false };
        if following.epoch.is_some() {
            self.truth.clear();
            self.holes.clear();
        }
        // A change that makes a table larger than there is room for is left out, and those that follow it until
        // the table comes whole; nothing else.
        let left_out: Vec<&str> = refused
            .iter()
            .map(|why| match why {
                Why::TooManyKeys { topic, .. } => &**topic,
                Why::NotHeld { topic } if self.holes.contains(topic) => &**topic,
                other => panic!("{other} of {following:?}"),
            })
            .collect();
        for UpstreamUpdate { publication: item, .. } in &following.updates {
            if left_out.contains(&&*item.topic) {
                self.holes.insert(item.topic.clone());
            } else if !matches!(&item.body, Body::Changes(changes) if changes.base == Base::Held) {
                self.holes.remove(&item.topic);
            }
        }
        let items = following.updates.iter().map(|update| &update.publication);
        self.note(items.filter(|item| !left_out.contains(&&*item.topic)));
        true
    }

    /// Remembers what was numbered of these items, and that it is what they say.
    fn note<'a>(&mut self, items: impl Iterator<Item = &'a Publication> + Clone) {
        items.clone().for_each(|item| self.note_item(item));
        while let Some(message) = self.tap.pop() {
            match message {
                Message::Updates(batch) => self.current_mut().take(&batch),
                Message::Restart { epoch, batch } => {
                    let is_forgetful = self.is_forgetful;
                    self.epochs.push(Epoch::new(epoch.to_string().into(), batch.version, is_forgetful));
                    self.current_mut().take(&batch);
                }
                other => unreachable!("only updates are published, not {other:?}"),
            }
        }
        for item in items {
            let topic = self.current().topic(&item.topic).expect("it was just updated");
            let last = topic.entries.last().expect("it was just updated");
            if matches!(*topic.mode, Mode::Keyed(_)) {
                assert_eq!(*last.table, self.truth[&item.topic], "the table of {}", item.topic);
            }
        }
    }

    fn note_item(&mut self, item: &Publication) {
        let table = self.truth.entry(item.topic.clone()).or_default();
        match &item.body {
            Body::Gone => table.clear(),
            Body::Unread(_) => {}
            Body::Changes(changes) => apply(table, changes),
            Body::Data(data) => {
                if let Ok(whole) = serde_json::from_slice::<HashMap<String, &RawValue>>(data) {
                    *table = whole.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect();
                }
            }
        }
    }

    pub fn counters(&self) -> SequencerCounters {
        self.sequencer.counters()
    }

    pub fn current(&self) -> &Epoch {
        self.epochs.last().expect("there is always one")
    }

    fn current_mut(&mut self) -> &mut Epoch {
        self.epochs.last_mut().expect("there is always one")
    }

    /// Newest position.
    pub fn version(&self) -> u64 {
        self.current().version()
    }
}
