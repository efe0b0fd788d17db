//! Memory of frames that are alive.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

use crate::invariant;

/// Bytes of all frames of a shard that are alive: in flight, queued or cached.
#[derive(Debug, Clone, Default)]
pub struct Pinned(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    own: AtomicUsize,
    /// Of all shards of the process.
    all: Arc<AtomicUsize>,
}

impl Pinned {
    /// `all`: what all shards count in.
    pub fn new(all: Arc<AtomicUsize>) -> Self {
        Self(Arc::new(Counts { own: AtomicUsize::new(0), all }))
    }

    pub fn bytes(&self) -> usize {
        self.0.own.load(Ordering::Relaxed)
    }

    /// Of all shards.
    pub fn of_all(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }

    /// Bytes that count for as long as they live.
    pub fn hold(&self, bytes: Vec<u8>) -> Bytes {
        for counter in self.counters() {
            counter.fetch_add(bytes.capacity(), Ordering::Relaxed);
        }
        Bytes::from_owner(Held { bytes, pinned: self.clone() })
    }

    fn counters(&self) -> [&AtomicUsize; 2] {
        [&self.0.own, &self.0.all]
    }
}

struct Held {
    bytes: Vec<u8>,
    pinned: Pinned,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.bytes.capacity();
        let held = self.pinned.counters().map(|counter| counter.fetch_sub(bytes, Ordering::Relaxed));
        invariant!(held.iter().all(|held| *held >= bytes), "{bytes} bytes are given back, of {held:?} held");
    }
}
