//! Sockets that take everything at once and keep nothing, so that what is measured is the shard.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::Bytes;
use net::{Close, ConnId, Event, Events, Sockets};

pub struct Wire {
    /// By slot: the generation of who is in it, or of its next one.
    generations: Vec<u32>,
    free: Vec<u32>,
    events: VecDeque<Event>,
    /// Peers read only when they are told to: what they are sent is held until [`Wire::release`].
    pub holds_sends: bool,
    held: VecDeque<(ConnId, Bytes)>,
    /// Sends so far, and their bytes.
    pub sends: u64,
    pub bytes: u64,
}

impl Wire {
    pub fn new(slots: usize) -> Self {
        let (generations, free) = (vec![0; slots], (0..slots as u32).rev().collect());
        Self {
            generations,
            free,
            events: VecDeque::new(),
            holds_sends: false,
            held: VecDeque::new(),
            sends: 0,
            bytes: 0,
        }
    }

    /// A peer connects.
    pub fn accept(&mut self, peer: SocketAddr) -> ConnId {
        let slot = self.free.pop().expect("a cost makes as many slots as it needs");
        let conn = ConnId { slot, generation: self.generations[slot as usize] };
        self.events.push_back(Event::Accepted { conn, peer, listener: 0, waited_us: 0 });
        conn
    }

    /// A peer sends.
    pub fn receive(&mut self, conn: ConnId, bytes: Vec<u8>) {
        self.events.push_back(Event::Received { conn, bytes: bytes.into() });
    }

    /// A peer ends the connection.
    pub fn end(&mut self, conn: ConnId) {
        self.events.push_back(Event::ReceiveEnded { conn, error: None });
    }

    /// The peer that was sent something longest ago reads it.
    pub fn release(&mut self) {
        if let Some((conn, bytes)) = self.held.pop_front() {
            self.events.push_back(Event::Sent { conn, bytes: bytes.len() as u32, done: true });
        }
    }

    fn is_live(&self, conn: ConnId) -> bool {
        self.generations[conn.slot as usize] == conn.generation
    }
}

impl Events for Wire {
    fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.events.pop_front()?;
            match &event {
                Event::Closed { conn } => self.free.push(conn.slot),
                Event::Received { conn, .. }
                | Event::ReceiveEnded { conn, .. }
                | Event::Sent { conn, .. }
                    if !self.is_live(*conn) =>
                {
                    continue;
                }
                _ => {}
            }
            return Some(event);
        }
    }
}

impl Sockets for Wire {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        self.sends += 1;
        self.bytes += bytes.len() as u64;
        if self.holds_sends {
            return self.held.push_back((conn, bytes));
        }
        self.events.push_back(Event::Sent { conn, bytes: bytes.len() as u32, done: true });
    }

    fn close(&mut self, conn: ConnId, _how: Close) {
        if self.is_live(conn) {
            self.generations[conn.slot as usize] += 1;
            self.events.push_back(Event::Closed { conn });
        }
    }

    fn pause_receive(&mut self, _conn: ConnId) {}

    fn resume_receive(&mut self, _conn: ConnId) {}

    fn shutdown(&mut self, _conn: ConnId) {}

    /// Nothing is ever unsent, and nobody waits for an answer that says so.
    fn query_unsent(&mut self, _conn: ConnId) {}

    fn connect(&mut self, _source: Option<SocketAddr>, _target: SocketAddr) -> Option<ConnId> {
        None
    }

    fn open(&self) -> usize {
        self.generations.len() - self.free.len()
    }

    fn capacity(&self) -> usize {
        self.generations.len()
    }
}
