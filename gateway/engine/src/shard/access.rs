//! Where a client stands with `[access]`.

use crate::{access::holder::Holder, protocol::request::Subscribe};

/// A client that has shown nothing, and needs nothing, has none.
#[derive(Debug)]
pub(super) enum Access {
    /// It has to show a token.
    Waits(Waits),
    Holds(Holder),
}

const _: () = assert!(size_of::<Access>() <= 64);

#[derive(Debug)]
pub(super) struct Waits {
    /// µs, monotonic.
    pub until_us: u64,
    /// What rode on its URL.
    pub subscribe: Option<Box<Subscribe>>,
}
