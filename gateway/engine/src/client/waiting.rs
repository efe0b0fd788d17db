//! What waits in a connection: answers, pongs, input.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::encode::{self, Opcode};

/// Pongs that wait for one client.
const PONGS_BYTES_MAX: usize = 1024;
/// Answers that wait for the end of a message; PROTOCOL.md says so. The last of them may be longer.
const ANSWERS_BYTES_MAX: usize = 8 << 10;

/// What waits for the send in flight, or for an op to be answered. Made only when needed.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Answers and what goes with them, in order. Bounded: no further message is read while it holds any, in the
    /// midst of a message while it [is full](Self::is_full).
    pub queue: VecDeque<Bytes>,
    /// What is left of frames that are being sent, before everything in `queue`: a control frame may pass it.
    pub rest: Bytes,
    /// Input not yet parsed.
    pub held: Vec<u8>,
    /// Pongs to send, encoded.
    pub pongs: Vec<u8>,
}

impl Waiting {
    pub fn is_over(&self) -> bool {
        self.is_clear() && self.held.is_empty() && self.pongs.is_empty()
    }

    /// Nothing is to be sent before a frame of the fan-out.
    pub fn is_clear(&self) -> bool {
        self.queue.is_empty() && self.rest.is_empty()
    }

    /// Whether no further message is to be read before what is queued has left.
    pub fn is_full(&self) -> bool {
        if self.rest.is_empty() {
            return !self.queue.is_empty();
        }
        self.queue.iter().map(Bytes::len).sum::<usize>() > ANSWERS_BYTES_MAX
    }

    /// Of what waits only the close frame is sent, the last that was queued: nothing follows a close frame, and no
    /// message stands in the midst of another (RFC 6455, section 5.4).
    pub fn cut_to_close(&mut self) {
        self.rest = Bytes::new();
        self.queue.drain(..self.queue.len().saturating_sub(1));
    }

    /// Over the bound only the newest ping is answered (RFC 6455, section 5.5.3).
    pub fn push_pong(&mut self, payload: &[u8]) {
        if self.pongs.len() > PONGS_BYTES_MAX {
            self.pongs.clear();
        }
        encode::frame(&mut self.pongs, Opcode::Pong, payload);
    }

    /// Puts pongs in line before what is answered next. They pass what is left of a message by themselves.
    pub fn settle_pongs(&mut self) {
        if !self.pongs.is_empty() && self.rest.is_empty() {
            let pongs = std::mem::take(&mut self.pongs);
            self.queue.push_back(pongs.into());
        }
    }
}
