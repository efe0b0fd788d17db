//! The two ways to move bytes, chosen at start.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    str,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    SocketCounters,
    epoll::Epoll,
    options::Options,
    setup_error::SetupError,
    socket::{Close, ConnId, Event, Events, Sockets},
    uring::Ring,
    waker::Waker,
};

/// By which calls of the kernel bytes are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// Linux 6.8, where it is not forbidden. `nofile` bounds each shard.
    IoUring,
    /// Everywhere. `nofile` bounds the process.
    Epoll,
}

impl Io {
    pub const ALL: [Io; 2] = [Io::IoUring, Io::Epoll];

    /// As configurations, logs and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Io::IoUring => "io_uring",
            Io::Epoll => "epoll",
        }
    }
}

impl str::FromStr for Io {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Io::ALL.into_iter().find(|io| io.name() == text);
        found.ok_or_else(|| "write io_uring or epoll".to_owned())
    }
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sockets of one thread, which made it.
pub enum Backend {
    Ring(Box<Ring>),
    Epoll(Box<Epoll>),
}

macro_rules! each {
    ($backend:expr, $sockets:ident => $call:expr) => {
        match $backend {
            Backend::Ring($sockets) => $call,
            Backend::Epoll($sockets) => $call,
        }
    };
}

impl Backend {
    /// `waker` ends its sleep; each needs its own.
    pub fn new(io: Io, options: &Options, waker: Waker) -> Result<Self, SetupError> {
        Ok(match io {
            Io::IoUring => Self::Ring(Box::new(Ring::new(options, waker)?)),
            Io::Epoll => Self::Epoll(Box::new(Epoll::new(options, waker)?)),
        })
    }

    pub fn io(&self) -> Io {
        match self {
            Backend::Ring(_) => Io::IoUring,
            Backend::Epoll(_) => Io::Epoll,
        }
    }

    /// Accepts from `listener`, beside earlier ones, while slots are free. Options set on it, such
    /// as `TCP_NODELAY`, pass to its connections. Fails for what is not a TCP listener.
    pub fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        each!(self, sockets => sockets.listen(listener))
    }

    /// Accepts no more and closes all listeners.
    pub fn stop_listening(&mut self) {
        each!(self, sockets => sockets.stop_listening());
    }

    /// Gives the kernel what it waits for and takes what it has, without sleeping. An error means that the
    /// backend is unusable.
    pub fn submit(&mut self) -> io::Result<()> {
        each!(self, sockets => sockets.submit())
    }

    /// As [`Backend::submit`], and sleeps until something happens, the waker is called or `timeout` has passed.
    /// Returns at once if the waker was called since the last sleep. May return without cause.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        each!(self, sockets => sockets.wait(timeout))
    }

    /// Like [`Backend::wait`], for whoever sends to very many at moments close to each other: see [`Ring::rest`].
    pub fn rest(&mut self, timeout: Option<Duration>, updates_wait: bool) -> io::Result<()> {
        each!(self, sockets => sockets.rest(timeout, updates_wait))
    }

    /// What ends its sleep.
    pub fn waker(&self) -> Waker {
        each!(self, sockets => sockets.waker())
    }

    /// What it did so far.
    pub fn counters(&self) -> SocketCounters {
        each!(self, sockets => sockets.counters())
    }
}

impl Events for Backend {
    fn next(&mut self) -> Option<Event> {
        each!(self, sockets => sockets.next())
    }
}

impl Sockets for Backend {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        each!(self, sockets => sockets.send(conn, bytes));
    }

    fn pause_receive(&mut self, conn: ConnId) {
        each!(self, sockets => sockets.pause_receive(conn));
    }

    fn resume_receive(&mut self, conn: ConnId) {
        each!(self, sockets => sockets.resume_receive(conn));
    }

    fn shutdown(&mut self, conn: ConnId) {
        each!(self, sockets => sockets.shutdown(conn));
    }

    fn query_unsent(&mut self, conn: ConnId) {
        each!(self, sockets => sockets.query_unsent(conn));
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        each!(self, sockets => sockets.close(conn, how));
    }

    fn connect(&mut self, source: Option<SocketAddr>, target: SocketAddr) -> Option<ConnId> {
        each!(self, sockets => sockets.connect(source, target))
    }

    fn open(&self) -> usize {
        each!(self, sockets => sockets.open())
    }

    fn capacity(&self) -> usize {
        each!(self, sockets => sockets.capacity())
    }
}
