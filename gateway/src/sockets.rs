//! How large a shard's sockets are, and by which calls they move bytes.

use engine::shard::SLOTS_RESERVED;
use net::{Io, Options};

/// Requests and client messages are mostly far smaller; longer ones come in pieces.
const RECV_BUFFER_BYTES: u32 = 2048;

/// Those of one shard.
#[derive(Debug, Clone, Copy)]
pub struct Sockets {
    pub io: Io,
    pub slots: usize,
}

impl Sockets {
    /// Room for every connection on one shard, as far as `nofile` allows.
    pub fn new(io: Io, connections_max: usize, nofile: usize) -> Self {
        Self { io, slots: (connections_max + SLOTS_RESERVED).min(nofile) }
    }

    pub fn options(self) -> Options {
        Options {
            slots: self.slots as u32,
            recv_buffer_bytes: RECV_BUFFER_BYTES,
            // What is held for a busy client stays within its bound.
            recv_single: true,
            ..Options::default()
        }
    }
}
