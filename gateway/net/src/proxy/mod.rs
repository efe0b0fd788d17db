//! Proxies between sockets and their user: [`Proxied`] is [`Sockets`] whose connections may have to begin with a
//! header of the PROXY protocol, and whoever drives it sees the clients that those headers name.
//!
//! ```text
//!   user ◀──Accepted { peer: the client }── a header is read, beneath TLS ◀──Accepted { peer: the proxy }── ring
//! ```
//!
//! A connection is told once its header is whole, with what came behind it. One that is no proxy's, or whose header
//! is bad, late or missing, is never told of: it is closed without a word, and counted.

mod header;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use bytes::Bytes;

use crate::{
    Close, ConnId, Event, Events, Sockets,
    counters::{ProxyCounters, ProxyFailure},
    networks::Networks,
};
pub use header::{HEADER_BYTES_MAX, Header, LOCAL_HEADER};

/// Moments that are kept of connections that wait no more, beside as many as wait.
const PAST_MAX: usize = 64;

/// How connections have to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose headers are believed.
    pub trusted: Networks,
    /// From accept to a whole header.
    pub patience_us: u64,
}

/// Sockets of which some are proxies'.
#[derive(Debug)]
pub struct Proxied<S> {
    net: S,
    /// `None`: no connection has a header.
    rule: Option<Rule>,
    /// Connections that the user does not know. `None`: it is closed already.
    waiting: HashMap<ConnId, Option<Waiting>>,
    /// When they are given up, in order. Some may wait no more.
    due: VecDeque<(u64, ConnId)>,
    /// What came behind the header of the connection that was told of last.
    rest: Option<(ConnId, Vec<u8>)>,
    /// µs, monotonic.
    now_us: u64,
    counters: ProxyCounters,
}

/// A connection whose header is not whole.
#[derive(Debug)]
struct Waiting {
    peer: SocketAddr,
    listener: u8,
    /// When it was accepted. µs, monotonic.
    since_us: u64,
    received: Vec<u8>,
}

impl<S: Sockets> Proxied<S> {
    /// `rule`: how the connections of every listener begin; `None`: with what the client says.
    pub fn new(net: S, rule: Option<Rule>) -> Self {
        Self {
            net,
            rule,
            waiting: HashMap::new(),
            due: VecDeque::new(),
            rest: None,
            now_us: 0,
            counters: ProxyCounters::default(),
        }
    }

    /// Connections accepted from now on begin so.
    pub fn set_rule(&mut self, rule: Option<Rule>) {
        self.rule = rule;
    }

    pub fn proxy_counters(&self) -> ProxyCounters {
        ProxyCounters { waiting: self.waiting.len() as u64, ..self.counters }
    }

    /// What happens from now on happens at `now_us`; whoever has waited too long is closed.
    pub fn begin_turn(&mut self, now_us: u64) {
        self.now_us = now_us;
        while let Some(&(due_us, conn)) = self.due.front()
            && (due_us <= now_us || !self.waits(conn))
        {
            self.due.pop_front();
            self.refuse(conn, ProxyFailure::Late);
        }
    }

    /// When [`Proxied::begin_turn`] is next needed without an event. µs, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        self.due.front().map(|(due_us, _)| *due_us)
    }

    /// Whether its header is waited for.
    fn waits(&self, conn: ConnId) -> bool {
        matches!(self.waiting.get(&conn), Some(Some(_)))
    }

    /// An event of `net` as its user is to see it; `None`: not at all.
    fn translate(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Accepted { conn, peer, listener, .. } => match &self.rule {
                None => Some(event),
                Some(rule) => {
                    let (is_trusted, due_us) =
                        (rule.trusted.contains(peer.ip()), self.now_us + rule.patience_us);
                    self.wait(conn, Waiting { peer, listener, since_us: self.now_us, received: Vec::new() });
                    if is_trusted {
                        self.due.push_back((due_us, conn));
                    } else {
                        self.refuse(conn, ProxyFailure::Untrusted);
                    }
                    None
                }
            },
            Event::Received { conn, bytes } if self.waiting.contains_key(&conn) => self.receive(conn, &bytes),
            Event::ReceiveEnded { conn, .. } if self.waiting.contains_key(&conn) => {
                self.refuse(conn, ProxyFailure::Ended);
                None
            }
            Event::Closed { conn } => self.waiting.remove(&conn).is_none().then_some(event),
            other => Some(other),
        }
    }

    fn wait(&mut self, conn: ConnId, waiting: Waiting) {
        let before = self.waiting.insert(conn, Some(waiting));
        assert!(before.is_none(), "{conn:?} is accepted twice");
        if self.due.len() > 2 * self.waiting.len() + PAST_MAX {
            let waiting = &self.waiting;
            self.due.retain(|(_, conn)| matches!(waiting.get(conn), Some(Some(_))));
        }
    }

    /// Takes what came of a connection that the user does not know, and gives its accept once its header is whole.
    fn receive(&mut self, conn: ConnId, bytes: &[u8]) -> Option<Event> {
        let waiting = self.waiting.get_mut(&conn)?.as_mut()?;
        waiting.received.extend_from_slice(bytes);
        let header = match Header::read(&waiting.received) {
            Ok(header) => header?,
            Err(failure) => {
                self.refuse(conn, failure);
                return None;
            }
        };
        let Waiting { peer, listener, since_us, mut received } = self.waiting.remove(&conn)??;
        received.drain(..header.bytes);
        self.rest = (!received.is_empty()).then_some((conn, received));
        self.counters.headers += 1;
        let waited_us = u32::try_from(self.now_us - since_us).unwrap_or(u32::MAX);
        Some(Event::Accepted { conn, peer: header.source.unwrap_or(peer), listener, waited_us })
    }

    /// Closes a connection that the user does not know, where it is not closed yet.
    fn refuse(&mut self, conn: ConnId, failure: ProxyFailure) {
        if let Some(waiting @ Some(_)) = self.waiting.get_mut(&conn) {
            *waiting = None;
            self.counters.refused[failure as usize] += 1;
            self.net.close(conn, Close::Orderly);
        }
    }
}

impl<S: Sockets + Events> Events for Proxied<S> {
    fn next(&mut self) -> Option<Event> {
        if let Some((conn, rest)) = self.rest.take() {
            return Some(Event::Received { conn, bytes: rest.into() });
        }
        loop {
            let event = self.net.next()?;
            if let Some(event) = self.translate(event) {
                return Some(event);
            }
        }
    }
}

/// Whoever drives or plays what is beneath needs all of it.
impl<S> Deref for Proxied<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.net
    }
}

impl<S> DerefMut for Proxied<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.net
    }
}

impl<S: Sockets> Sockets for Proxied<S> {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        self.net.send(conn, bytes);
    }

    fn pause_receive(&mut self, conn: ConnId) {
        self.net.pause_receive(conn);
    }

    fn resume_receive(&mut self, conn: ConnId) {
        self.net.resume_receive(conn);
    }

    fn shutdown(&mut self, conn: ConnId) {
        self.net.shutdown(conn);
    }

    fn query_unsent(&mut self, conn: ConnId) {
        self.net.query_unsent(conn);
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        self.rest.take_if(|(of, _)| *of == conn);
        self.net.close(conn, how);
    }

    fn connect(&mut self, source: Option<SocketAddr>, target: SocketAddr) -> Option<ConnId> {
        self.net.connect(source, target)
    }

    fn open(&self) -> usize {
        self.net.open()
    }

    fn capacity(&self) -> usize {
        self.net.capacity()
    }
}
