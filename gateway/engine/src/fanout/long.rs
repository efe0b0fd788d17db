//! A frame too long for one part: what goes into it is fixed when it is begun, and it is encoded part by
//! part over the turns of a shard.

use std::rc::Rc;

use bytes::Bytes;

use super::{
    Fanout,
    frame::{Encoder, Frame, Parts},
    keyed::Keyed,
    pick::{Pick, missing, picked},
    readers::{CacheKey, Readers},
    topics::Memory,
};
use crate::{
    protocol::{
        batch::{Envelope, Piece, part_room},
        update::{self, GAP_BYTES_MAX},
    },
    topic::epoch::Epoch,
};

/// An update as it was when the frame was begun.
#[derive(Debug)]
enum Text {
    Whole(Bytes),
    /// So many updates before it are missing.
    Gap(u64, Bytes),
    /// Its head, and the table.
    Table(Bytes, Rc<Keyed>),
}

/// A frame that is being built.
#[derive(Debug)]
pub struct Long {
    /// What others who wait may ask for too; `None`: it is for a whole class.
    key: Option<CacheKey>,
    readers: Readers,
    class: u64,
    ts_us: i64,
    from: Option<u64>,
    version: u64,
    oldest_us: Option<i64>,
    epoch: Option<Epoch>,
    texts: std::vec::IntoIter<Text>,
    /// A table's text that did not fit into the last part.
    carried: Option<Vec<u8>>,
    parts: Parts,
    gaps: u64,
}

impl Long {
    fn envelope(&self) -> Envelope {
        let Self { class, ts_us, from, version, oldest_us, epoch, .. } = *self;
        Envelope { class, ts_us, from, version, oldest_us, epoch }
    }

    /// Takes the updates of the next part: what is made for them, and what is as it was taken in.
    fn take(&mut self, room: usize) -> (Vec<u8>, Vec<(std::ops::Range<usize>, Bytes)>) {
        let (mut made, mut taken, mut len) = (Vec::new(), Vec::new(), 0);
        if let Some(carried) = self.carried.take() {
            len = carried.len();
            made = carried;
            taken.push((0..len, Bytes::new()));
        }
        while let Some(text) = self.texts.as_slice().first() {
            // A table's text is known when it was made.
            let least = match text {
                Text::Whole(json) | Text::Table(json, _) => json.len() + 1,
                Text::Gap(_, json) => json.len() + GAP_BYTES_MAX,
            };
            if !taken.is_empty() && len + least > room {
                break;
            }
            let start = made.len();
            let rest = match self.texts.next() {
                None => break,
                Some(Text::Whole(json)) => json,
                Some(Text::Gap(missing, json)) => {
                    self.gaps += 1;
                    json.slice_ref(update::write_gap(&mut made, missing, &json))
                }
                Some(Text::Table(head, keyed)) => {
                    made.extend_from_slice(&head);
                    keyed.write(self.from, &mut made);
                    Bytes::new()
                }
            };
            let bytes = made.len() - start + rest.len() + 1;
            if !taken.is_empty() && len + bytes > room && rest.is_empty() {
                self.carried = Some(made.split_off(start));
                break;
            }
            len += bytes;
            taken.push((start..made.len(), rest));
        }
        (made, taken)
    }

    fn is_done(&self) -> bool {
        self.carried.is_none() && self.texts.as_slice().is_empty()
    }
}

impl Fanout {
    /// Begins a frame of what was picked. `bytes`: of it, about.
    pub(super) fn begin_long(
        &mut self,
        readers: Readers,
        key: Option<CacheKey>,
        envelope: &Envelope,
        picks: &[Pick],
        bytes: usize,
    ) -> Box<Long> {
        let Envelope { class, ts_us, from, version, oldest_us, epoch } = *envelope;
        let mut texts = Vec::with_capacity(picks.len());
        for pick in picks {
            let (topic, update) = picked(&self.topics, *pick);
            let json = update.json.clone();
            let missing = missing(topic, update, pick.at, from);
            texts.push(match &topic.memory {
                Memory::Keyed(keyed) if !update.gone => Text::Table(json, keyed.clone()),
                Memory::Stream(_) if missing > 0 => Text::Gap(missing, json),
                _ => Text::Whole(json),
            });
        }
        self.budget.spend_collected(picks.len());
        let (part_bytes, fragment_bytes) = (self.part_bytes, self.compress.fragment_bytes);
        let parts = Parts::with_capacity(bytes, picks.len(), part_bytes, fragment_bytes, readers.wire);
        let texts = texts.into_iter();
        Box::new(Long {
            key,
            readers,
            class,
            ts_us,
            from,
            version,
            oldest_us,
            epoch,
            texts,
            carried: None,
            parts,
            gaps: 0,
        })
    }

    /// Encodes one part more; the frame, when it was the last.
    pub fn step(&mut self, long: &mut Long) -> Option<Frame> {
        let (made, taken) = long.take(part_room(self.part_bytes));
        let pieces: Vec<Piece<'_>> =
            taken.iter().map(|(made, rest)| Piece { made: made.clone(), rest, packed: &[] }).collect();
        let (done, envelope) = (long.is_done(), long.envelope());
        let Readers { wire, all: for_class, .. } = long.readers;
        let epoch = self.epoch;
        let (compress, budget) = (&mut self.compress, &mut self.budget);
        let mut encoder = Encoder { wire, epoch, for_class, compress, budget };
        encoder.part(&mut long.parts, &envelope, &made, &pieces, !done);
        if !done {
            return None;
        }
        let frame = std::mem::take(&mut long.parts).finish(wire, &self.pinned);
        self.counters.gaps += long.gaps;
        self.counters.frames_built += u64::from(frame.parts);
        self.counters.updates_framed += u64::from(frame.updates);
        if let Some(key) = long.key.take() {
            self.keep(key, &frame);
        }
        Some(frame)
    }

    /// For those who asked before it was begun.
    fn keep(&mut self, key: CacheKey, frame: &Frame) {
        if frame.version == self.position {
            self.cache(key, frame.clone());
        } else {
            self.kept = Some((key, frame.clone()));
        }
    }
}
