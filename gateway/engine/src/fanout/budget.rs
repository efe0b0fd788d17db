//! What a turn of a shard may build, and how much of it frames take.

use super::pinned::Pinned;
use crate::protocol::encoding::{Encoding, Wire};

/// How many times as long it takes to make MessagePack of JSON as to copy it, and to compress it.
const MSGPACK_COST: usize = 4;
const DEFLATE_COST: usize = 8;
/// And how many bytes are copied in the time in which an update is looked up.
const PICK_COST: usize = 16;

/// A longer frame counts as large, one that is not made in one go as long.
const SMALL_BYTES: usize = 4096;

/// Bytes that may be built: in a turn, and as long as others are pinned.
#[derive(Debug)]
pub struct Budget {
    /// Of a turn.
    bytes: usize,
    left: usize,
    /// Spent since the start, and bytes of frames built.
    spent: u64,
    built: u64,
    pinned_bytes_max: usize,
}

impl Budget {
    /// `bytes`: `[fanout] build_bytes`; `pinned_bytes_max`: `[limits] pinned_bytes`.
    pub fn new(bytes: usize, pinned_bytes_max: usize) -> Self {
        Self { bytes, left: bytes, spent: 0, built: 0, pinned_bytes_max }
    }

    pub fn set(&mut self, bytes: usize, pinned_bytes_max: usize) {
        (self.bytes, self.pinned_bytes_max) = (bytes, pinned_bytes_max);
        self.left = self.left.min(bytes);
    }

    pub fn begin_turn(&mut self) {
        self.left = self.bytes;
    }

    /// Whether something more may be built in this turn.
    pub fn is_left(&self) -> bool {
        self.left > 0
    }

    /// Whether half of what a turn may build is left: who waited takes no more, so that who is due now finds some.
    pub fn is_half_left(&self) -> bool {
        self.left > self.bytes / 2
    }

    /// What was spent so far: bytes of JSON, by how long it takes to make of them what is sent.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Bytes of JSON that were made into frames so far.
    pub fn built(&self) -> u64 {
        self.built
    }

    /// Notes that so many updates were looked up and kept for a frame.
    pub fn spend_collected(&mut self, picks: usize) {
        self.left = self.left.saturating_sub(picks * PICK_COST);
        self.spent += (picks * PICK_COST) as u64;
    }

    /// Notes that so much JSON was made into frames for `wire`.
    pub fn spend(&mut self, bytes: usize, wire: Wire) {
        let encode = if wire.encoding == Encoding::Msgpack { MSGPACK_COST } else { 1 };
        let cost = bytes * encode.max(if wire.window_bits.is_some() { DEFLATE_COST } else { 1 });
        self.left = self.left.saturating_sub(cost);
        self.spent += cost as u64;
        self.built += bytes as u64;
    }

    /// Whether so many bytes more may be pinned. Long frames leave a quarter to others, and large ones a
    /// sixteenth to small ones. What is longer than all that goes alone.
    pub fn fits(&self, bytes: usize, short_bytes: usize, pinned: &Pinned) -> bool {
        let max = self.pinned_bytes_max;
        let most = match bytes {
            ..=SMALL_BYTES => max,
            bytes if bytes <= short_bytes => max - max / 16,
            _ => max - max / 4,
        };
        let pinned = pinned.of_all();
        pinned + bytes <= most || pinned <= max / 8
    }
}
