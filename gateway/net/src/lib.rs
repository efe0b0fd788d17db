//! Very many sockets behind a safe interface: events come in, commands go out.
//!
//! [`Sockets`] and [`Events`] are the seam that connection logic is written against. Behind it is
//! [`uring::Ring`] on io_uring or [`epoll::Epoll`], one of which is a [`Backend`] (feature `kernel`), or
//! [`sim::SimRing`] in memory; with the feature `tls`, `tls::Tls` adds TLS to each of them, and with `proxy`,
//! `proxy::Proxied` the PROXY protocol beneath it.
//!
//! ```no_run
//! # #[cfg(feature = "kernel")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use net::{Backend, Close, Event, Events, Io, Options, Sockets, Waker};
//!
//! let mut sockets = Backend::new(Io::Epoll, &Options::default(), Waker::new()?)?;
//! sockets.listen(std::net::TcpListener::bind("127.0.0.1:0")?)?;
//! loop {
//!     sockets.wait(None)?;
//!     while let Some(event) = sockets.next() {
//!         match event {
//!             Event::Received { conn, bytes } => sockets.send(conn, bytes.to_vec().into()),
//!             Event::ReceiveEnded { conn, .. } => sockets.close(conn, Close::Orderly),
//!             _ => {}
//!         }
//!     }
//! }
//! # }
//! # #[cfg(not(feature = "kernel"))]
//! # fn main() {}
//! ```
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

#[cfg(feature = "kernel")]
mod backend;
mod backlog;
mod conn_id;
mod counters;
#[cfg(feature = "kernel")]
pub mod epoll;
pub mod metric;
mod networks;
#[cfg(feature = "kernel")]
mod options;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "kernel")]
mod setup_error;
pub mod sim;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "kernel")]
pub mod uring;
mod waker;

#[cfg(feature = "kernel")]
pub use backend::{Backend, Io};
pub use backlog::Backlog;
pub use counters::{ProxyCounters, ProxyFailure, SocketCounters, TlsCounters, TlsFailure};
pub use networks::{Network, Networks, NoNetwork};
#[cfg(feature = "kernel")]
pub use options::Options;
#[cfg(feature = "kernel")]
pub use setup_error::{KERNEL_LEAST, SetupError, patiently};
pub use socket::{Close, ConnId, Event, Events, RecvBuf, Sockets};
pub use waker::Waker;
