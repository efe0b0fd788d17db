//! Clients whose token waits to be verified.

use std::collections::VecDeque;

use net::ConnId;

/// How often it is looked whether there is a place for another check.
pub const AGAIN_US: u64 = 2_000;

/// Tokens that wait for a place among those being verified elsewhere.
#[derive(Debug, Default)]
pub(super) struct Unchecked {
    pub line: VecDeque<ConnId>,
    /// When to try again. µs, monotonic.
    pub again_us: u64,
}

impl Unchecked {
    pub fn len(&self) -> usize {
        self.line.len()
    }

    pub fn next_us(&self) -> Option<u64> {
        (!self.line.is_empty()).then_some(self.again_us)
    }
}
