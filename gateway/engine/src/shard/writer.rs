//! What is held against what a client writes, and where it stands with it.

use crate::{
    client::{Meter, RateLimit},
    json::keys::{find_key, is_one_of},
    protocol::publish::{Body, Publish},
    settings::Limits,
};

/// What is held against what clients write.
#[derive(Debug)]
pub(super) struct WriteRules {
    value_bytes: usize,
    keys_refused: Vec<String>,
    /// Of a connection.
    pub rate: RateLimit,
}

impl WriteRules {
    pub fn new(limits: &Limits) -> Self {
        Self {
            value_bytes: limits.value_bytes,
            keys_refused: limits.keys_refused.clone(),
            rate: RateLimit::of(limits.publishes),
        }
    }

    /// What is wrong with what a client writes, whoever it is.
    pub fn fault(&self, publish: &Publish) -> Option<String> {
        let bytes = publish.body.bytes();
        if bytes > self.value_bytes {
            let (topic, max) = (&publish.topic, self.value_bytes);
            return Some(format!("data of topic {topic} has {bytes} bytes, the most is {max}: divide it"));
        }
        let key = match &publish.body {
            Body::Data(data) => find_key(data, &self.keys_refused),
            Body::Changes(changes) => changes.iter().find_map(|change| {
                let value = change.value?;
                is_one_of(change.key, &self.keys_refused).or_else(|| find_key(value, &self.keys_refused))
            }),
        };
        key.map(|key| format!("an object may not have the key {key:?}"))
    }
}

/// Of a connection that has written something.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub meter: Meter,
    pub under_way: u8,
}
