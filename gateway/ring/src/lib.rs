//! An io_uring for very many sockets behind a safe interface, and its simulated twin.
mod buffers;
pub mod sim;
mod socket;
mod waker;
pub use socket::{Close, ConnId, Event, RecvBuf, Sockets};
pub use waker::Waker;
