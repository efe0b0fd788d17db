//! A drain: when each client gets its notice, its last updates and its close.

use crate::client::Leaving;

/// Reconnections are spread over this long at least, beside the drain itself.
const RECONNECT_SPREAD_MS: u64 = 2_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    pub start_us: u64,
    pub drain_us: u64,
    /// Clients below this slot got their notice.
    pub told: usize,
    pub slots: usize,
    /// Who is going was hurried.
    pub hurried: bool,
}

impl Drain {
    /// Whether some clients were not told yet.
    pub fn telling(&self) -> bool {
        self.told < self.slots
    }

    /// A client's own moment: between a quarter and nine tenths of the drain.
    pub fn leave_us(&self, slot: u32) -> u64 {
        let part = u64::from(spread(slot) % 65);
        self.start_us + self.drain_us / 100 * (25 + part)
    }

    /// Of a client.
    pub fn leaving(&self, slot: u32) -> Leaving {
        Leaving { start_us: self.start_us, leave_us: self.leave_us(slot) }
    }

    /// From then on no close waits for the end of a message.
    pub fn hurry_us(&self) -> u64 {
        self.start_us + self.drain_us / 100 * 95
    }

    pub fn deadline_us(&self) -> u64 {
        self.start_us + self.drain_us
    }

    /// When the shard is needed next.
    pub fn next_us(&self) -> u64 {
        if self.hurried { self.deadline_us() } else { self.hurry_us() }
    }

    pub fn reconnect_after_ms(&self, slot: u32) -> u64 {
        let spread_ms = RECONNECT_SPREAD_MS.max(self.drain_us / 1000);
        100 + u64::from(spread(slot.wrapping_add(1))) % spread_ms
    }
}

/// Scatters slots evenly (Knuth's multiplicative hash).
pub(super) fn spread(slot: u32) -> u32 {
    slot.wrapping_mul(2_654_435_761) >> 8
}
