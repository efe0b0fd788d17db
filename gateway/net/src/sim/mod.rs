//! A ring in memory: the same commands and events, no kernel, everything decided by one seed.
//!
//! The test plays the peers (`peer_*`) and the kernel's limits ([`SimRing::set_window`]); the logic
//! under test gets events from [`SimRing::next`] and commands the ring as [`Sockets`]. Events of one
//! connection keep their order, those of different ones are mixed at random; received bytes are cut
//! and sends are taken in random parts.

mod buf;
mod conn;

use std::{collections::HashMap, io, net::SocketAddr};

use bytes::Bytes;

use crate::socket::{Close, ConnId, Event, Events, Sockets};
use buf::Returned;
pub(crate) use buf::SimBuf;
use conn::Conn;

/// What the peer sees of a connection's end, once it has read all bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerEnd {
    /// Not over.
    Open,
    /// Half-closed or closed in order.
    Ended,
    /// Reset; bytes that the peer had not read are gone.
    Reset,
}

/// Sockets in memory.
#[derive(Debug)]
pub struct SimRing {
    rng: fastrand::Rng,
    /// The connection in each slot, and the generation that its next one gets.
    slots: Vec<(Option<ConnId>, u32)>,
    free: Vec<u32>,
    conns: HashMap<ConnId, Conn>,
    returned: Returned,
    /// Connections that may have an event or something to do, each once.
    active: Vec<ConnId>,
    recv_bytes_max: usize,
    send_bytes_max: usize,
    window_bytes: usize,
    connect_error: Option<io::ErrorKind>,
}

impl SimRing {
    /// A ring with `slots` slots. The same seed and the same calls give the same events.
    pub fn new(slots: u32, seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            slots: vec![(None, 0); slots as usize],
            free: (0..slots).rev().collect(),
            conns: HashMap::new(),
            returned: Returned::default(),
            active: Vec::new(),
            recv_bytes_max: 4096,
            send_bytes_max: usize::MAX,
            window_bytes: usize::MAX,
            connect_error: None,
        }
    }

    /// The most bytes that one `Received` carries; 4096 at first.
    pub fn set_recv_bytes_max(&mut self, bytes: usize) {
        self.recv_bytes_max = bytes.max(1);
    }

    /// The most bytes that one step of a send moves; unlimited at first.
    pub fn set_send_bytes_max(&mut self, bytes: usize) {
        self.send_bytes_max = bytes.max(1);
    }

    /// The window of connections made from now on.
    pub fn set_default_window(&mut self, bytes: usize) {
        self.window_bytes = bytes;
    }

    /// Bytes that the kernel holds for a peer that does not read; more of a send waits. 0 stalls it.
    pub fn set_window(&mut self, conn: ConnId, bytes: usize) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.window_bytes = bytes;
        }
        self.activate(conn);
    }

    /// Makes every later `connect` end with this error, or succeed again.
    pub fn set_connect_error(&mut self, error: Option<io::ErrorKind>) {
        self.connect_error = error;
    }

    /// A peer connects; `Accepted` follows. `None`: the table is full, the peer waits in the backlog.
    pub fn accept(&mut self, peer: SocketAddr) -> Option<ConnId> {
        self.accept_at(peer, 0)
    }

    /// The same, at the listener with that index.
    pub fn accept_at(&mut self, peer: SocketAddr, listener: u8) -> Option<ConnId> {
        let conn = self.occupy()?;
        self.conns.get_mut(&conn)?.events.push_back(Event::Accepted { conn, peer, listener, waited_us: 0 });
        Some(conn)
    }

    /// The peer sends. `false`: the connection is gone or the peer had ended its side.
    pub fn peer_send(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        let Some(c) = self.conns.get_mut(&conn).filter(|c| c.peer_can_send()) else { return false };
        c.inbound.extend(bytes);
        self.activate(conn);
        true
    }

    /// The peer reads up to `max` bytes of what it was sent, which makes room for more.
    pub fn peer_read(&mut self, conn: ConnId, max: usize) -> Vec<u8> {
        let Some(c) = self.conns.get_mut(&conn) else { return Vec::new() };
        let count = c.kernel.len().min(max);
        let bytes = c.kernel.drain(..count).collect();
        self.activate(conn);
        bytes
    }

    /// The peer half-closes: after what it sent, `ReceiveEnded` without error.
    pub fn peer_close(&mut self, conn: ConnId) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.peer_closed = true;
        }
        self.activate(conn);
    }

    /// The peer resets: what is under way in both directions is lost.
    pub fn peer_reset(&mut self, conn: ConnId) {
        if let Some(c) = self.conns.get_mut(&conn).filter(|c| !c.closed) {
            c.peer_reset = true;
            c.inbound.clear();
            c.kernel.clear();
        }
        self.activate(conn);
    }

    /// How the connection ended for the peer; bytes may be left to read before that.
    pub fn peer_end(&self, conn: ConnId) -> PeerEnd {
        match self.conns.get(&conn) {
            None => PeerEnd::Reset,
            Some(c) if c.reset || c.peer_reset => PeerEnd::Reset,
            Some(c) if c.shut || c.closed => PeerEnd::Ended,
            Some(_) => PeerEnd::Open,
        }
    }

    /// Whether the program has closed the connection and been told that it is gone.
    pub fn is_gone(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_none_or(|c| c.closed)
    }

    /// Drops the peer's side of a connection that is over, which else is kept for looking at.
    pub fn peer_forget(&mut self, conn: ConnId) {
        if self.conns.get(&conn).is_some_and(|c| c.closed) {
            self.conns.remove(&conn);
        }
    }

    /// Bytes of the send in flight that the kernel has not taken yet.
    pub fn in_flight(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).and_then(|c| c.sending.as_ref()).map_or(0, Bytes::len)
    }

    /// Bytes kept in memory by all sends in flight, what was taken of them included.
    pub fn held_bytes(&self) -> usize {
        self.slots
            .iter()
            .filter_map(|(conn, _)| self.conns.get(conn.as_ref()?))
            .filter_map(|c| c.held_bytes)
            .sum()
    }

    /// Whether the program has paused receiving.
    pub fn is_paused(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|c| c.paused)
    }

    /// The next event of a random connection, after random progress of others. `None`: nothing
    /// happens until a peer or the program does something.
    #[expect(clippy::should_implement_trait, reason = "an iterator would keep the ring borrowed")]
    pub fn next(&mut self) -> Option<Event> {
        self.take_returned();
        loop {
            let (index, conn) = self.pick()?;
            if !self.progress(conn) {
                self.deactivate(index);
                continue;
            }
            let Some(c) = self.conns.get_mut(&conn) else { continue };
            let Some(event) = c.events.pop_front() else { continue };
            match event {
                Event::Sent { done: true, .. } | Event::SendFailed { .. } => c.held_bytes = None,
                Event::Closed { .. } => {
                    self.deactivate(index);
                    self.vacate(conn);
                }
                _ => {}
            }
            return Some(event);
        }
    }

    /// Lets one random connection progress without handing its events out, so that they pile up as
    /// they do while a program is busy. `false`: none can.
    pub fn step(&mut self) -> bool {
        self.take_returned();
        while let Some((index, conn)) = self.pick() {
            if self.progress(conn) {
                return true;
            }
            self.deactivate(index);
        }
        false
    }

    /// Receives on from those whose last bytes the program has let go of.
    fn take_returned(&mut self) {
        while let Some(conn) = self.returned.pop() {
            if let Some(c) = self.conns.get_mut(&conn) {
                c.lent = false;
                self.activate(conn);
            }
        }
    }

    fn pick(&mut self) -> Option<(usize, ConnId)> {
        if self.active.is_empty() {
            return None;
        }
        let index = self.rng.usize(..self.active.len());
        Some((index, self.active[index]))
    }

    fn activate(&mut self, conn: ConnId) {
        if let Some(c) = self.conns.get_mut(&conn).filter(|c| !c.active && !c.closed) {
            c.active = true;
            self.active.push(conn);
        }
    }

    fn deactivate(&mut self, index: usize) {
        let conn = self.active.swap_remove(index);
        if let Some(c) = self.conns.get_mut(&conn) {
            c.active = false;
        }
    }

    /// Does one thing that the connection can do now. `false`: none, and no event waits.
    fn progress(&mut self, conn: ConnId) -> bool {
        let Some(c) = self.conns.get_mut(&conn).filter(|c| !c.closed) else { return false };
        if c.closing {
            return !c.events.is_empty();
        }
        let can_receive = c.can_receive();
        let can_send = c.can_send();
        let can_answer = c.querying;
        let mut choices = [(can_receive, 0u8), (can_send, 1), (can_answer, 2)];
        self.rng.shuffle(&mut choices);
        let Some((_, choice)) = choices.into_iter().find(|(possible, _)| *possible) else {
            return !c.events.is_empty();
        };
        match choice {
            0 => c.receive(conn, &mut self.rng, self.recv_bytes_max, &self.returned),
            1 => c.send(conn, &mut self.rng, self.send_bytes_max),
            _ => c.answer(conn),
        }
        true
    }

    fn occupy(&mut self) -> Option<ConnId> {
        let slot = self.free.pop()?;
        let (user, generation) = &mut self.slots[slot as usize];
        assert!(user.is_none(), "slot {slot} is in use");
        let conn = ConnId { slot, generation: *generation };
        *user = Some(conn);
        self.conns.insert(conn, Conn { window_bytes: self.window_bytes, ..Conn::default() });
        self.activate(conn);
        Some(conn)
    }

    fn vacate(&mut self, conn: ConnId) {
        if let Some(c) = self.conns.get_mut(&conn) {
            assert!(c.events.is_empty(), "{conn:?} has events after Closed");
            c.closed = true;
            if c.reset || c.peer_reset {
                self.conns.remove(&conn);
            }
        }
        let (user, generation) = &mut self.slots[conn.slot as usize];
        assert_eq!(*user, Some(conn), "the slot of {conn:?} has another user");
        *user = None;
        *generation = generation.wrapping_add(1);
        self.free.push(conn.slot);
    }

    /// A connection that takes commands.
    fn live(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&conn).filter(|c| !c.closing && !c.closed)
    }
}

impl Events for SimRing {
    fn next(&mut self) -> Option<Event> {
        SimRing::next(self)
    }
}

impl Sockets for SimRing {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        let Some(c) = self.live(conn) else { return };
        assert!(c.held_bytes.is_none(), "connection {conn:?} has a send in flight already");
        c.held_bytes = Some(bytes.len());
        c.sending = Some(bytes);
        self.activate(conn);
    }

    fn pause_receive(&mut self, conn: ConnId) {
        let (mut rng, max, returned) = (self.rng.fork(), self.recv_bytes_max, self.returned.clone());
        let Some(c) = self.live(conn) else { return };
        // What the kernel had handed over already.
        if !c.paused && c.can_receive() && rng.bool() {
            c.receive(conn, &mut rng, max, &returned);
        }
        c.paused = true;
    }

    fn resume_receive(&mut self, conn: ConnId) {
        let Some(c) = self.live(conn) else { return };
        c.paused = false;
        self.activate(conn);
    }

    fn shutdown(&mut self, conn: ConnId) {
        let Some(c) = self.live(conn) else { return };
        assert!(c.held_bytes.is_none(), "connection {conn:?} was half-closed with a send in flight");
        c.shut = true;
    }

    fn query_unsent(&mut self, conn: ConnId) {
        let Some(c) = self.live(conn) else { return };
        c.querying = true;
        self.activate(conn);
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(c) = self.live(conn) else { return };
        c.closing = true;
        (c.sending, c.held_bytes) = (None, None);
        c.inbound.clear();
        c.events.clear();
        if how == Close::Reset {
            c.reset = true;
            c.kernel.clear();
        } else {
            c.shut = true;
        }
        c.events.push_back(Event::Closed { conn });
        self.activate(conn);
    }

    fn connect(&mut self, _source: Option<SocketAddr>, _target: SocketAddr) -> Option<ConnId> {
        let error = self.connect_error;
        let conn = self.occupy()?;
        let c = self.conns.get_mut(&conn)?;
        let result = error.map_or(Ok(()), |kind| Err(kind.into()));
        c.events.push_back(Event::Connected { conn, result });
        if error.is_some() {
            c.closing = true;
            c.events.push_back(Event::Closed { conn });
        }
        Some(conn)
    }

    fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn capacity(&self) -> usize {
        self.slots.len()
    }
}
