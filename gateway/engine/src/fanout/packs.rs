//! Updates as MessagePack: made when a frame first needs them, and shared by all frames that have them.

use proto::msgpack;

use crate::update::{TopicId, Update};

/// Of each topic the last update that a frame needed.
#[derive(Debug, Default)]
pub(super) struct Packs {
    /// By topic, as far as one was needed.
    packs: Vec<Pack>,
}

#[derive(Debug, Default, Clone)]
struct Pack {
    /// Which update it is: its version, and its count among the topic's.
    of: (u64, u64),
    packed: Box<[u8]>,
}

impl Packs {
    /// Makes that of an update, unless it is there.
    pub(super) fn make(&mut self, update: &Update) {
        let at = update.topic.0 as usize;
        if at >= self.packs.len() {
            self.packs.resize(at + 1, Pack::default());
        }
        let (pack, of) = (&mut self.packs[at], (update.version, update.v));
        if pack.of != of {
            *pack = Pack { of, packed: packed(&update.json).into() };
        }
    }

    /// What was made of an update; empty where nothing was.
    pub(super) fn get(&self, update: &Update) -> &[u8] {
        let pack = self.packs.get(update.topic.0 as usize);
        pack.filter(|pack| pack.of == (update.version, update.v)).map_or(&[], |pack| &pack.packed)
    }

    /// Gives back what is kept of a topic.
    pub(super) fn forget(&mut self, topic: TopicId) {
        if let Some(pack) = self.packs.get_mut(topic.0 as usize) {
            *pack = Pack::default();
        }
    }
}

fn packed(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    msgpack::from_json(json, &mut out).expect("updates were checked to be JSON");
    out
}
