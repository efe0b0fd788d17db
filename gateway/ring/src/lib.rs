//! An io_uring for very many sockets behind a safe interface, and its simulated twin.
//!
//! [`Ring`] keeps every connection in the ring's own table of files (*direct descriptors*): a
//! connection costs no process descriptor, no task and, while idle, no buffer. Commands queue up
//! and reach the kernel together in [`Ring::submit`]; what happened comes back one by one from
//! [`Ring::next`] without a system call. Connection logic is written against [`Sockets`] and runs
//! on [`sim::SimRing`] as well. With the feature `tls` there is `tls::Tls`, which adds TLS to either.
//!
//! ```no_run
//! use ring::{Event, Options, Ring, Sockets, Waker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ring = Ring::new(&Options::default(), Waker::new()?)?;
//! ring.listen(std::net::TcpListener::bind("127.0.0.1:0")?)?;
//! loop {
//!     ring.wait(None)?;
//!     while let Some(event) = ring.next() {
//!         match event {
//!             Event::Received { conn, bytes } => ring.send(conn, bytes.to_vec().into()),
//!             Event::ReceiveEnded { conn, .. } => ring.close(conn, ring::Close::Orderly),
//!             _ => {}
//!         }
//!     }
//! }
//! # }
//! ```
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod accept;
mod buffers;
mod commands;
mod completions;
mod op;
mod options;
mod park;
mod queues;
mod ring;
mod self_test;
mod setup_error;
pub mod sim;
mod slots;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
mod waker;

pub use options::Options;
#[cfg(feature = "glommio")]
pub use park::Parker;
pub use ring::{Counters, Ring};
pub use self_test::{SelfTestError, self_test};
pub use setup_error::{KERNEL_LEAST, SetupError};
pub use socket::{Close, ConnId, Event, Events, RecvBuf, Sockets};
pub use waker::Waker;
