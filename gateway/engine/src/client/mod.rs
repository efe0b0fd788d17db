//! One connection: what is known of it, and what it decides. It knows no shard, no class and no socket. Of the
//! fan-out it borrows the compressor, for what an echo says.

pub mod answers;
pub mod close;
mod connection;
pub mod cors;
pub mod dictionaries;
mod dictionary;
mod due;
mod gate;
pub mod handshake;
pub mod handshakes;
mod limits;
mod ping;
mod query;
mod rate;
mod receive;
mod refused;
mod send;
mod situation;
mod stream;
mod subscriber;
mod waiting;

/// Whom connections serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// Subscribers of the fan-out.
    Broadcast,
    /// Every message is answered with itself; for conformance suites.
    Echo,
}

pub use answers::Upgrade;
pub use close::CloseReason;
pub use connection::{Connection, Ended, Hold, State};
pub use dictionary::Dictionary;
pub use due::{DRAIN_CHECK_US, Due, Leaving, Terms};
pub use limits::{ClientLimits, HEAD_BYTES};
pub use rate::{ERRORS_MAX, ERRORS_WINDOW_US, ErrorWindow, Meter, RateLimit, SharedRate};
pub use receive::{ClientCounters, Said, Tools};
pub use refused::Refused;
pub use send::Next;
