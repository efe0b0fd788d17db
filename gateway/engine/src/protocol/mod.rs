//! The wire: what clients ask, what the gateway sends them, and how it is written.
//!
//! ```text
//! request    what clients ask               reply       error, pong, notice
//! encoding   how messages are written       subscribed  the answer to subscribe and unsubscribe
//! event      server-sent events             raw         of an update only its data
//!                                           batch       batches and snapshots, of updates
//!                                           update      one update as it stands in them
//! publish    what clients write
//! fragment   where frames may be cut        status      what cannot be relied upon
//! ```
//!
//! Messages are JSON until a frame is made; [`encoding::Encoding`] frames an answer or a status, [`crate::fanout`]
//! batches and snapshots. Pings, pongs and closes are no messages: the connection ([`crate::client`]) makes them, and `proto` writes all frames.

pub mod batch;
pub mod encoding;
pub mod event;
pub mod fragment;
pub mod publish;
pub mod raw;
pub mod reply;
pub mod request;
pub mod status;
pub mod subscribed;
pub mod update;
