//! Very many sockets behind a safe interface: events come in, commands go out.
//!
//! [`Sockets`] and [`Events`] are the seam that connection logic is written against. Behind it is
//! [`uring::Ring`] on io_uring (feature `uring`) or [`sim::SimRing`] in memory; with the feature `tls`,
//! `tls::Tls` adds TLS to either.
//!
//! ```no_run
//! # #[cfg(feature = "uring")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use net::{
//!     Close, Event, Events, Sockets, Waker,
//!     uring::{Options, Ring},
//! };
//!
//! let mut ring = Ring::new(&Options::default(), Waker::new()?)?;
//! ring.listen(std::net::TcpListener::bind("127.0.0.1:0")?)?;
//! loop {
//!     ring.wait(None)?;
//!     while let Some(event) = ring.next() {
//!         match event {
//!             Event::Received { conn, bytes } => ring.send(conn, bytes.to_vec().into()),
//!             Event::ReceiveEnded { conn, .. } => ring.close(conn, Close::Orderly),
//!             _ => {}
//!         }
//!     }
//! }
//! # }
//! # #[cfg(not(feature = "uring"))]
//! # fn main() {}
//! ```
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod counters;
pub mod metric;
pub mod sim;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "uring")]
pub mod uring;
mod waker;

pub use counters::{Counters, TlsCounters, TlsFailure};
pub use socket::{Close, ConnId, Event, Events, RecvBuf, Sockets};
pub use waker::Waker;
