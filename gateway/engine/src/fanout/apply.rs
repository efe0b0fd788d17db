//! Batches are taken in: topics are born, change and go, and what is kept of their past stays bounded.

use std::rc::Rc;

use super::{Fanout, topics::Memory};
use crate::{
    invariant,
    topic::{
        epoch::Epoch,
        policy::{Behind, Mode},
    },
    update::{Batch, Op, TopicId, Update},
};

/// Topics that an update looks at for something to give back.
const HISTORIES_LOOKED_AT: usize = 64;

impl Fanout {
    /// Everything held ends; `batch` has all there is in the new epoch. The caller puts every member
    /// [nowhere](crate::topic::position::Position::NOWHERE), from where [`Fanout::catch_up`] gives a snapshot.
    pub fn restart(&mut self, epoch: Epoch, batch: &Batch) {
        self.drop_cache();
        for id in self.topics.ids() {
            self.forget(id);
        }
        self.patterns.restart();
        self.restarted |= epoch != self.epoch;
        self.epoch = epoch;
        self.position = batch.version;
        self.take_in(batch);
        self.classes.restart(batch.version);
        self.floor = batch.version;
    }

    pub fn apply(&mut self, batch: &Batch) {
        invariant!(
            batch.version >= self.position,
            "a batch of version {} follows one of {}",
            batch.version,
            self.position
        );
        self.take_in(batch);
    }

    fn take_in(&mut self, batch: &Batch) {
        self.cache.clear();
        for op in &batch.ops {
            match op {
                Op::Birth { topic, name, mode } => {
                    self.count_streams(mode, 1);
                    self.topics.insert(*topic, name.clone(), mode);
                    self.patterns.birth(*topic, &mut self.topics);
                }
                Op::Update(update) => {
                    invariant!(
                        update.version <= batch.version,
                        "an update of version {} in a batch of {}",
                        update.version,
                        batch.version
                    );
                    self.update(update);
                }
                Op::Forget { topic } => self.forget(*topic),
            }
        }
        self.position = batch.version;
    }

    fn forget(&mut self, id: TopicId) {
        let topic = self.topics.remove(id).expect("only a topic that is held is forgotten");
        self.floor = self.floor.max(topic.version());
        self.give_back(topic.memory.history_bytes());
        match &topic.memory {
            Memory::Latest => {}
            Memory::Keyed(keyed) => self.keys -= keyed.len(),
            Memory::Stream(stream) => self.count_streams(&Mode::Stream(stream.policy().clone()), -1),
        }
        self.patterns.forget(&topic.nodes);
        self.packs.forget(id);
    }

    fn update(&mut self, update: &Update) {
        let topic = self.topics.get_mut(update.topic).expect("a topic is born before its first update");
        invariant!(
            topic.version() <= update.version,
            "{}: version {} follows {}",
            topic.name,
            update.version,
            topic.version()
        );
        topic.update = Some(Update { changes: None, ..update.clone() });
        let history_before = topic.memory.history_bytes();
        match &mut topic.memory {
            Memory::Latest => {}
            Memory::Keyed(keyed) => {
                let before = keyed.len();
                let keyed = Rc::make_mut(keyed);
                match &update.changes {
                    Some(changes) => {
                        let dropped = keyed.apply(changes, update.version);
                        self.counters.key_tombstones_dropped += dropped as u64;
                    }
                    None => keyed.empty(update.version),
                }
                self.keys = self.keys + keyed.len() - before;
            }
            Memory::Stream(stream) => {
                self.counters.stream_dropped += stream.push(update.clone()) as u64;
            }
        }
        self.history_bytes = self.history_bytes - history_before + topic.memory.history_bytes();
        self.classes.waiting.next_update();
        let stir = |class| self.classes.stir(class, self.position);
        let counts = self.flush_updates > 0;
        self.patterns.touch(&topic.nodes, (update.version, update.due_us), self.drain, counts, stir);
        if self.history_bytes > self.history_bytes_max {
            self.bound_history(update.topic);
        }
    }

    /// Topics give back what they keep of the past, in turn and a few at a time, at last the one that changed.
    fn bound_history(&mut self, changed: TopicId) {
        for _ in 0..HISTORIES_LOOKED_AT {
            if self.history_bytes <= self.history_bytes_max {
                return;
            }
            self.hand = TopicId((self.hand.0 + 1) % self.topics.ids_end().max(1));
            if self.hand != changed {
                self.drop_history(self.hand);
            }
        }
        if self.history_bytes > self.history_bytes_max {
            self.drop_history(changed);
        }
    }

    fn drop_history(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        let bytes = topic.memory.history_bytes();
        if bytes == 0 {
            return;
        }
        match &mut topic.memory {
            Memory::Latest => {}
            Memory::Keyed(keyed) => {
                self.counters.key_tombstones_dropped += Rc::make_mut(keyed).drop_history() as u64;
            }
            Memory::Stream(stream) => self.counters.stream_dropped += stream.drop_history() as u64,
        }
        self.give_back(bytes);
        self.counters.histories_dropped += 1;
    }

    fn give_back(&mut self, bytes: usize) {
        invariant!(
            bytes <= self.history_bytes,
            "topics give back {bytes} bytes of the {} that they hold",
            self.history_bytes
        );
        self.history_bytes -= bytes;
    }

    fn count_streams(&mut self, mode: &Mode, change: isize) {
        if let Mode::Stream(policy) = mode {
            self.streams = self.streams.saturating_add_signed(change);
            if policy.behind == Behind::Close {
                self.closing = self.closing.saturating_add_signed(change);
            }
        }
    }
}
