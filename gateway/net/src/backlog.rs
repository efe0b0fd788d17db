//! What clients say waits while anything else has happened: an op may take a thousand times as long as to note that a
//! send is done, and who is not noted gets no next frame.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use bytes::Bytes;

use crate::{Close, ConnId, Event, Events, Sockets};

/// Sockets whose events come in the order in which they are to be looked at: what was said last. Those of one connection
/// come in the order in which they happened: what happens to one that has said something waits behind that. So a
/// connection has few events here, where its sockets receive one buffer at a time.
#[derive(Debug)]
pub struct Backlog<S> {
    net: S,
    /// What waits to be looked at.
    waiting: VecDeque<Event>,
    /// By slot: how much of it is of that connection.
    counts: Vec<u32>,
}

impl<S> Backlog<S> {
    pub fn new(net: S) -> Self {
        Self { net, waiting: VecDeque::new(), counts: Vec::new() }
    }

    fn count(&mut self, conn: ConnId) -> &mut u32 {
        let slot = conn.slot as usize;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, 0);
        }
        &mut self.counts[slot]
    }

    fn has_waiting(&self, conn: ConnId) -> bool {
        self.counts.get(conn.slot as usize).is_some_and(|count| *count > 0)
    }
}

impl<S> Deref for Backlog<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.net
    }
}

impl<S> DerefMut for Backlog<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.net
    }
}

fn is_said(event: &Event) -> bool {
    matches!(event, Event::Received { .. } | Event::ReceiveEnded { .. })
}

/// Whose it is.
fn owner(event: &Event) -> Option<ConnId> {
    match event {
        Event::Accepted { conn, .. }
        | Event::Connected { conn, .. }
        | Event::Received { conn, .. }
        | Event::ReceiveEnded { conn, .. }
        | Event::Sent { conn, .. }
        | Event::SendFailed { conn, .. }
        | Event::Unsent { conn, .. }
        | Event::Closed { conn } => Some(*conn),
        Event::AcceptFailed { .. } => None,
    }
}

impl<S: Events> Events for Backlog<S> {
    fn next(&mut self) -> Option<Event> {
        while let Some(event) = self.net.next() {
            match owner(&event) {
                Some(conn) if is_said(&event) || self.has_waiting(conn) => {
                    *self.count(conn) += 1;
                    self.waiting.push_back(event);
                }
                _ => return Some(event),
            }
        }
        let event = self.waiting.pop_front()?;
        if let Some(conn) = owner(&event) {
            *self.count(conn) -= 1;
        }
        Some(event)
    }
}

impl<S: Sockets> Sockets for Backlog<S> {
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
        if self.has_waiting(conn) {
            self.waiting.retain(|event| owner(event) != Some(conn));
            *self.count(conn) = 0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimRing;

    const HOST: std::net::Ipv4Addr = std::net::Ipv4Addr::LOCALHOST;

    /// Connections that are there.
    fn connected(net: &mut Backlog<SimRing>, count: u16) -> Vec<ConnId> {
        let conns: Vec<ConnId> = (1..=count).map(|port| net.accept((HOST, port).into()).unwrap()).collect();
        (0..count).for_each(|_| assert!(matches!(net.next(), Some(Event::Accepted { .. }))));
        conns
    }

    fn speaker(event: &Event) -> Option<ConnId> {
        owner(event).filter(|_| is_said(event))
    }

    #[test]
    fn what_is_said_waits_for_what_happens_to_others_and_is_of_one_read_a_connection() {
        let mut net = Backlog::new(SimRing::new(8, 1));
        let conns = connected(&mut net, 5);
        let (silent, speaking) = conns.split_last().unwrap();
        net.set_recv_bytes_max(1);
        for conn in speaking {
            assert!(net.peer_send(*conn, b"abc"));
        }
        let Some(Event::Received { conn: first, bytes }) = net.next() else { panic!("who spoke is heard") };
        assert_eq!(net.waiting.len(), 3);
        net.send(*silent, Bytes::from_static(b"x"));
        assert!(matches!(net.next(), Some(Event::Sent { conn, .. }) if conn == *silent));
        drop(bytes);
        let mut said = vec![first];
        while let Some(event) = net.next() {
            said.extend(speaker(&event));
            assert!(net.waiting.len() <= speaking.len(), "no connection has two");
        }
        assert_eq!(said.len(), 4 * 3);
        said[..4].sort_unstable();
        assert_eq!(said[..4], *speaking, "nobody's second word comes before another's first");
    }

    #[test]
    fn what_happens_to_one_connection_stays_in_its_order() {
        for seed in 0..50 {
            let mut net = Backlog::new(SimRing::new(8, seed));
            let conns = connected(&mut net, 2);
            assert!(net.peer_send(conns[0], b"a") && net.peer_send(conns[1], b"b"));
            // One of them is heard, and the other waits.
            let heard = net.next().and_then(|event| owner(&event)).unwrap();
            let other = conns[usize::from(heard == conns[0])];
            net.send(other, Bytes::from_static(b"x"));
            let events: Vec<Event> = std::iter::from_fn(|| net.next()).collect();
            let of_other: Vec<bool> =
                events.iter().filter(|event| owner(event) == Some(other)).map(is_said).collect();
            assert_eq!(of_other, [true, false], "seed {seed}: a send ends before what was said is heard");
            assert!(net.waiting.is_empty() && !net.has_waiting(other));
        }
    }

    #[test]
    fn of_who_is_closed_nothing_is_told_but_that() {
        let mut net = Backlog::new(SimRing::new(8, 1));
        let conns = connected(&mut net, 3);
        for conn in &conns {
            assert!(net.peer_send(*conn, b"abc"));
        }
        let first = net.next().and_then(|event| owner(&event)).unwrap();
        let other = *conns.iter().find(|conn| **conn != first).unwrap();
        net.close(other, Close::Orderly);
        let of_other: Vec<Event> =
            std::iter::from_fn(|| net.next()).filter(|event| owner(event) == Some(other)).collect();
        assert!(matches!(of_other[..], [Event::Closed { .. }]), "{of_other:?}");
    }
}
