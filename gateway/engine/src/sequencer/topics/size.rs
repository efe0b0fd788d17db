//! What topics count as, against `[limits] topics_bytes`.

use crate::topic::{
    policy::{TABLE_PLACE_BYTES, TOPIC_PLACE_BYTES},
    table::KEY_BYTES,
};

/// What a topic counts as, with its value or table of `size`.
pub fn topic_size(name: &str, size: usize) -> usize {
    TOPIC_PLACE_BYTES + name.len() + size
}

/// What a table counts as: its keys and values, and their places.
pub(super) fn table_size(keys: usize, bytes: usize) -> usize {
    TABLE_PLACE_BYTES + bytes + keys * KEY_BYTES
}
