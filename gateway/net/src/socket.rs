//! What a shard sees of its sockets: events in, commands out.
//!
//! `uring::Ring` implements [`Sockets`] on io_uring, `epoll::Epoll` on epoll, [`sim::SimRing`](crate::sim::SimRing)
//! in memory. Connection logic is written against this trait and knows none of them.

use std::{fmt, io, net::SocketAddr, ops};

use bytes::Bytes;

pub use crate::conn_id::ConnId;

/// What happened. Events of one connection come in the order in which they happened;
/// after [`Event::Closed`] none with that [`ConnId`] follows.
#[derive(Debug)]
pub enum Event {
    /// A listener took a connection. Receiving has begun already. `listener`: which one, in the order in
    /// which they were added. `waited_us`: how long ago that was, where a layer in between had to wait.
    Accepted { conn: ConnId, peer: SocketAddr, listener: u8, waited_us: u32 },
    /// The end of [`Sockets::connect`]; after an error only `Closed` follows, without being asked for.
    Connected { conn: ConnId, result: io::Result<()> },
    /// Bytes arrived. Dropping the buffer gives it back to the kernel; where one is received at a time, no more of this
    /// connection comes before.
    Received { conn: ConnId, bytes: RecvBuf },
    /// The peer will send no more (`error` is `None`: it half-closed) or receiving failed.
    ReceiveEnded { conn: ConnId, error: Option<io::Error> },
    /// `bytes` more of the send in flight lie in the kernel; with `done` all of them do, and the
    /// next send may begin.
    Sent { conn: ConnId, bytes: u32, done: bool },
    /// The send in flight failed; its bytes are released. The connection should be closed.
    SendFailed { conn: ConnId, error: io::Error },
    /// Answer to [`Sockets::query_unsent`]: bytes in the socket's send queue, not yet acknowledged.
    /// If the kernel refuses to say there is no answer, which cannot be mistaken for progress.
    Unsent { conn: ConnId, bytes: u32 },
    /// The connection is gone and its slot free.
    Closed { conn: ConnId },
    /// A listener could not take a connection (the table was full, the process out of memory …).
    AcceptFailed { error: io::Error },
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// `close(2)`: what lies in the kernel is still delivered.
    Orderly,
    /// Linger 0: the peer gets a reset and the kernel drops what it holds at once.
    Reset,
}

/// Where events come from.
pub trait Events {
    /// The next thing that happened. `None`: nothing more for now.
    fn next(&mut self) -> Option<Event>;
}

/// Commands. None of them blocks or fails: their outcome is an [`Event`]. A command for a
/// connection that is closing or gone is ignored.
pub trait Sockets {
    /// Starts sending. `bytes` are held until all of them were taken by the kernel.
    /// At most one send per connection may be in flight: a second one is a bug of the caller and panics.
    fn send(&mut self, conn: ConnId, bytes: Bytes);
    /// Stops receiving; what the kernel had handed over already still arrives as `Received`.
    fn pause_receive(&mut self, conn: ConnId);
    /// Receives again after [`Sockets::pause_receive`]; does nothing when not paused.
    fn resume_receive(&mut self, conn: ConnId);
    /// Half-closes: the peer reads an end of stream after what was sent. Call it when no send is in flight.
    fn shutdown(&mut self, conn: ConnId);
    /// Asks for [`Event::Unsent`]. Does nothing while an answer is awaited.
    fn query_unsent(&mut self, conn: ConnId);
    /// Cancels what is in flight and frees the slot. Of this connection only [`Event::Closed`] is
    /// told from now on, not even what had happened before.
    fn close(&mut self, conn: ConnId, how: Close);
    /// Opens a connection from `source` (port 0: any) to `target`; [`Event::Connected`] follows.
    /// `None` when the table is full.
    fn connect(&mut self, source: Option<SocketAddr>, target: SocketAddr) -> Option<ConnId>;
    /// The certificate that the peer has shown, verified, as DER. Of TLS alone.
    fn certificate(&mut self, _conn: ConnId) -> Option<&[u8]> {
        None
    }
    /// Connections that hold a slot now, also those that are closing.
    fn open(&self) -> usize;
    /// Slots in the table.
    fn capacity(&self) -> usize;
}

/// Received bytes. They may be changed in place (unmasking is). Whoever holds one holds one of the
/// ring's few receive buffers: drop it soon.
pub struct RecvBuf {
    pub(crate) inner: RecvBytes,
}

pub(crate) enum RecvBytes {
    #[cfg(feature = "kernel")]
    Pooled(crate::uring::PooledBuf),
    #[cfg(feature = "kernel")]
    Lent(crate::epoll::LentBuf),
    Sim(crate::sim::SimBuf),
    Owned(Vec<u8>),
}

impl From<Vec<u8>> for RecvBuf {
    fn from(bytes: Vec<u8>) -> Self {
        Self { inner: RecvBytes::Owned(bytes) }
    }
}

impl ops::Deref for RecvBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.inner {
            #[cfg(feature = "kernel")]
            RecvBytes::Pooled(b) => b,
            #[cfg(feature = "kernel")]
            RecvBytes::Lent(b) => b,
            RecvBytes::Sim(b) => b,
            RecvBytes::Owned(b) => b,
        }
    }
}

impl ops::DerefMut for RecvBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.inner {
            #[cfg(feature = "kernel")]
            RecvBytes::Pooled(b) => b,
            #[cfg(feature = "kernel")]
            RecvBytes::Lent(b) => b,
            RecvBytes::Sim(b) => b,
            RecvBytes::Owned(b) => b,
        }
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvBuf({} bytes)", self.len())
    }
}
