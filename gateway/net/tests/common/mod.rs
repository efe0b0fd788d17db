//! A backend with a listener on loopback, and waiting for its events with a bound.
#![allow(dead_code, reason = "each test uses a part")]

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use net::{Backend, ConnId, Event, Events, Io, Options, Waker};
use socket2::{Domain, Socket, Type};

/// No step of a test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(5);

/// Makes a test of each function for each backend.
#[allow(unused_macros, reason = "each test uses a part")]
macro_rules! on_each {
    ($($name:ident)*) => {
        mod io_uring {
            $(#[test] fn $name() { super::$name(net::Io::IoUring); })*
        }
        mod epoll {
            $(#[test] fn $name() { super::$name(net::Io::Epoll); })*
        }
    };
}
#[allow(unused_imports, reason = "each test uses a part")]
pub(crate) use on_each;

pub struct Host {
    pub sockets: Backend,
    pub address: SocketAddr,
}

pub fn small() -> Options {
    Options {
        slots: 64,
        sq_entries: 64,
        cq_entries: 1024,
        recv_buffers: 64,
        accepts: 4,
        ..Options::default()
    }
}

/// A listener on loopback with a long backlog.
pub fn listener(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

impl Host {
    pub fn new(io: Io, options: &Options) -> Self {
        let mut sockets = Backend::new(io, options, Waker::new().unwrap()).unwrap();
        let listener = listener("127.0.0.1:0");
        let address = listener.local_addr().unwrap();
        sockets.listen(listener).unwrap();
        sockets.submit().unwrap();
        Self { sockets, address }
    }

    /// The next event; panics if none comes.
    pub fn event(&mut self) -> Event {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(event) = self.sockets.next() {
                return event;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no event within {LIMIT:?}");
            self.sockets.wait(Some(left)).unwrap();
        }
    }

    /// Events for as long as `time`.
    pub fn events_for(&mut self, time: Duration) -> Vec<Event> {
        let end = Instant::now() + time;
        let mut events = Vec::new();
        loop {
            events.extend(std::iter::from_fn(|| self.sockets.next()));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return events;
            }
            self.sockets.wait(Some(left)).unwrap();
        }
    }

    /// A client of the standard library and the connection that the backend has with it.
    pub fn client(&mut self) -> (TcpStream, ConnId) {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        match self.event() {
            Event::Accepted { conn, peer, .. } => {
                assert_eq!(peer, client.local_addr().unwrap());
                (client, conn)
            }
            other => panic!("{other:?} instead of Accepted"),
        }
    }

    /// The connections of these clients, by the peers' addresses.
    pub fn accept_all(&mut self, clients: &[TcpStream]) -> Vec<ConnId> {
        let mut by_peer = HashMap::new();
        while by_peer.len() < clients.len() {
            match self.event() {
                Event::Accepted { conn, peer, .. } => assert!(by_peer.insert(peer, conn).is_none()),
                other => panic!("{other:?} instead of Accepted"),
            }
        }
        clients.iter().map(|client| by_peer[&client.local_addr().unwrap()]).collect()
    }

    /// Reads until `count` bytes of one connection have come.
    pub fn receive(&mut self, from: ConnId, count: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < count {
            match self.event() {
                Event::Received { conn, bytes } if conn == from => received.extend_from_slice(&bytes),
                other => panic!("{other:?} instead of Received from {from:?}"),
            }
        }
        received
    }

    /// Waits for the end of a connection, past whatever else it tells.
    pub fn closed(&mut self, wanted: ConnId) {
        loop {
            match self.event() {
                Event::Closed { conn } if conn == wanted => return,
                Event::Closed { conn } => panic!("{conn:?} closed instead of {wanted:?}"),
                _ => {}
            }
        }
    }
}

/// Bytes that differ everywhere, so that a loss or a swap shows.
pub fn pattern(seed: u64, count: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| rng.u8(..)).collect()
}
