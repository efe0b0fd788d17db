//! TLS between a ring and its user: [`Tls`] is [`Sockets`] whose connections may be encrypted, and whoever
//! drives it does not notice. rustls does the cryptography and knows no sockets.
//!
//! ```text
//!   user ──send(Bytes)──▶ a record of at most 16 KiB is sealed when the socket is free ──▶ ring
//!   user ◀──Received──── whole records opened; a part waits for the rest            ◀──── ring
//! ```
//!
//! A connection holds no buffer between records. Handshakes are answered a few at a time
//! ([`Tls::begin_turn`]), so that a storm of them does not keep established connections waiting.

mod anyone;
mod http;
mod outcome;
mod session;
mod sessions;
mod side;

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};

use crate::{Close, ConnId, Event, Events, Sockets, counters::TlsCounters};
pub use anyone::Anyone;
pub use http::{METHOD_BYTES, answer_to_http, may_be_http};
pub use session::ALERT_DECODE_ERROR;
use session::{Session, Step};
use sessions::Sessions;

/// What is bounded.
#[derive(Debug, Clone, Copy)]
pub struct TlsLimits {
    /// Handshake messages answered between two turns of [`Tls::begin_turn`]; each may take 0.2 ms.
    pub handshakes_per_turn: usize,
    /// Sealed bytes that the kernel has not taken yet, of all connections. Records get shorter as room runs
    /// out; one of 1 KiB every connection may have beyond.
    pub sealed_bytes: usize,
}

/// Sockets of which some speak TLS.
#[derive(Debug)]
pub struct Tls<S> {
    net: S,
    sessions: Sessions,
    /// The sessions' own events, before those of `net`.
    events: VecDeque<Event>,
    /// With handshake messages not looked at yet.
    deferred: VecDeque<ConnId>,
    /// For connections of the listener with that index.
    server: Option<(u8, Arc<ServerConfig>)>,
    limits: TlsLimits,
    /// Handshake messages that may still be answered in this turn.
    budget: usize,
    counters: TlsCounters,
}

impl<S: Sockets> Tls<S> {
    /// `server`: the index of the listener whose connections speak TLS, in the order in which the ring was
    /// told to listen, and how.
    pub fn new(net: S, server: Option<(u8, Arc<ServerConfig>)>, limits: TlsLimits) -> Self {
        Self {
            net,
            sessions: Sessions::default(),
            events: VecDeque::new(),
            deferred: VecDeque::new(),
            server,
            limits,
            budget: limits.handshakes_per_turn,
            counters: TlsCounters::default(),
        }
    }

    /// Connections accepted from now on speak so.
    pub fn set_server(&mut self, config: Arc<ServerConfig>) {
        if let Some((_, held)) = &mut self.server {
            *held = config;
        }
    }

    pub fn set_limits(&mut self, limits: TlsLimits) {
        self.limits = limits;
    }

    /// What is encrypted by this.
    pub fn inner(&mut self) -> &mut S {
        &mut self.net
    }

    pub fn counters(&self) -> TlsCounters {
        self.counters
    }

    /// Handshakes may be answered again.
    pub fn begin_turn(&mut self) {
        self.budget = self.limits.handshakes_per_turn;
        while self.budget > 0
            && let Some(conn) = self.deferred.pop_front()
        {
            self.receive(conn, &mut []);
        }
    }

    /// Whether handshakes, or events, wait for the next turn.
    pub fn waits(&self) -> bool {
        !self.deferred.is_empty() || !self.events.is_empty()
    }

    /// Like [`Sockets::connect`], to a server that speaks TLS under that name.
    pub fn connect_tls(
        &mut self,
        source: Option<SocketAddr>,
        target: SocketAddr,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Option<ConnId>, rustls::Error> {
        let session = Session::client(config, name)?;
        let conn = self.net.connect(source, target);
        if let Some(conn) = conn {
            self.insert(conn, session);
        }
        Ok(conn)
    }

    fn insert(&mut self, conn: ConnId, session: Session) {
        self.sessions.insert(conn, session);
        self.counters.sessions += 1;
    }

    fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.sessions.get(conn)
    }

    fn remove(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.remove(conn) {
            self.counters.sessions -= 1;
            self.counters.sealed_bytes -= session.sealed_bytes() as u64;
        }
    }

    /// An event of `net` as its user is to see it; `None`: not at all, or others in its place.
    fn translate(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Accepted { conn, listener, .. } => {
                if let Some((tls, config)) = &self.server
                    && *tls == listener
                {
                    match Session::server(config.clone()) {
                        Ok(session) => self.insert(conn, session),
                        Err(error) => {
                            // rustls refuses a broken configuration only, which was checked at the start.
                            self.events.push_back(ended(conn, io::Error::other(error)));
                        }
                    }
                }
                Some(event)
            }
            Event::Connected { conn, result: Ok(()) } if self.session(conn).is_some() => {
                self.receive(conn, &mut []);
                Some(event)
            }
            Event::Received { conn, mut bytes } => {
                if self.session(conn).is_none() {
                    return Some(Event::Received { conn, bytes });
                }
                self.counters.received_bytes += bytes.len() as u64;
                self.receive(conn, &mut bytes);
                None
            }
            Event::ReceiveEnded { conn, error: None }
                if self.session(conn).is_some_and(Session::defer_end) =>
            {
                None
            }
            Event::Sent { conn, bytes, done } if self.session(conn).is_some() => self.sent(conn, bytes, done),
            Event::Closed { conn } => {
                self.remove(conn);
                Some(event)
            }
            other => Some(other),
        }
    }

    fn receive(&mut self, conn: ConnId, bytes: &mut [u8]) {
        let budget = self.budget;
        let Some(session) = self.session(conn) else { return };
        let was_open = session.is_open();
        if budget == 0 && !bytes.is_empty() && session.can_defer(bytes) {
            if session.defer(bytes) {
                self.deferred.push_back(conn);
                self.counters.deferred += 1;
            }
            return;
        }
        let (mut plain, unsaid) = (Vec::new(), session.control_bytes());
        let step = session.receive(bytes, &mut plain);
        let is_ended = session.take_end() && !matches!(step, Step::Ended);
        let (is_open, resumed) = (session.is_open(), session.is_resumed());
        let (answers, is_asked) = (session.control_bytes() > unsaid, !plain.is_empty());
        if !was_open && answers {
            self.budget = budget.saturating_sub(1);
        }
        if is_open && !was_open {
            self.counters.handshakes += 1;
            self.counters.resumed += u64::from(resumed);
        }
        if is_asked {
            self.events.push_back(Event::Received { conn, bytes: plain.into() });
        }
        match step {
            Step::Goes => {}
            Step::Ended => self.events.push_back(Event::ReceiveEnded { conn, error: None }),
            Step::Failed { failure, error } => {
                self.counters.failed[failure as usize] += 1;
                self.events.push_back(ended(conn, error));
            }
        }
        if is_ended {
            self.events.push_back(Event::ReceiveEnded { conn, error: None });
        }
        self.advance(conn);
    }

    fn sent(&mut self, conn: ConnId, bytes: u32, done: bool) -> Option<Event> {
        let session = self.session(conn)?;
        let (of_user, freed, rest) = session.sent(done);
        self.counters.sealed_bytes -= freed as u64;
        if done {
            self.advance(conn);
        }
        of_user.then_some(Event::Sent { conn, bytes, done: done && !rest })
    }

    /// Sends what is next, if the socket is free.
    fn advance(&mut self, conn: ConnId) {
        let room = self.limits.sealed_bytes.saturating_sub(self.counters.sealed_bytes as usize);
        let Some(session) = self.session(conn) else { return };
        match session.next(room) {
            session::Next::Nothing => {}
            session::Next::Send { bytes, is_short } => {
                self.counters.sealed_bytes += bytes.len() as u64;
                self.counters.shortened += u64::from(is_short);
                self.net.send(conn, bytes);
            }
            session::Next::Shutdown => self.net.shutdown(conn),
        }
    }
}

/// The session has ended by itself. What it says last is on its way then, and lost where the user closes the
/// connection at once.
fn ended(conn: ConnId, error: io::Error) -> Event {
    Event::ReceiveEnded { conn, error: Some(error) }
}

impl<S: Sockets + Events> Events for Tls<S> {
    fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(event) = self.events.pop_front() {
                let (Event::Received { conn, .. } | Event::ReceiveEnded { conn, .. }) = event else {
                    unreachable!("a session tells of nothing else")
                };
                // It may have been closed since.
                if self.session(conn).is_some() {
                    return Some(event);
                }
            }
            let event = self.net.next()?;
            if let Some(event) = self.translate(event) {
                return Some(event);
            }
        }
    }
}

impl<S: Sockets> Sockets for Tls<S> {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        match self.session(conn) {
            None => self.net.send(conn, bytes),
            Some(session) => {
                session.send(bytes);
                self.advance(conn);
            }
        }
    }

    fn pause_receive(&mut self, conn: ConnId) {
        self.net.pause_receive(conn);
    }

    fn resume_receive(&mut self, conn: ConnId) {
        self.net.resume_receive(conn);
    }

    /// Says so to the peer first, with an alert.
    fn shutdown(&mut self, conn: ConnId) {
        match self.session(conn) {
            None => self.net.shutdown(conn),
            Some(session) => {
                session.shutdown();
                self.advance(conn);
            }
        }
    }

    fn query_unsent(&mut self, conn: ConnId) {
        self.net.query_unsent(conn);
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        self.remove(conn);
        self.net.close(conn, how);
    }

    fn connect(&mut self, source: Option<SocketAddr>, target: SocketAddr) -> Option<ConnId> {
        self.net.connect(source, target)
    }

    fn certificate(&mut self, conn: ConnId) -> Option<&[u8]> {
        self.session(conn)?.certificate()
    }

    fn open(&self) -> usize {
        self.net.open()
    }

    fn capacity(&self) -> usize {
        self.net.capacity()
    }
}
