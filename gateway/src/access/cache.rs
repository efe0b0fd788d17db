//! Tokens whose signature was found good before, so that it is not looked at again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use ring::digest::{SHA256, digest};

type Hash = [u8; 32];

/// By the hash of the whole token. The one that came first makes room.
#[derive(Debug, Default)]
pub struct Cache {
    max: usize,
    payloads: HashMap<Hash, Arc<str>>,
    order: VecDeque<Hash>,
}

impl Cache {
    pub fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    pub fn get(&self, token: &str) -> Option<Arc<str>> {
        if self.payloads.is_empty() { None } else { self.payloads.get(&hash(token)).cloned() }
    }

    pub fn set_max(&mut self, max: usize) {
        self.max = max;
        self.clear();
    }

    pub fn clear(&mut self) {
        (self.payloads, self.order) = (HashMap::new(), VecDeque::new());
    }

    pub fn put(&mut self, token: &str, payload: &Arc<str>) {
        if self.max == 0 {
            return;
        }
        while self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.payloads.remove(&oldest);
        }
        let hash = hash(token);
        if self.payloads.insert(hash, payload.clone()).is_none() {
            self.order.push_back(hash);
        }
    }
}

fn hash(token: &str) -> Hash {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
