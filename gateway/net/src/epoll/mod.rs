//! epoll: a descriptor of the process for each connection, and a system call for each accept, receive and send.
//!
//! It makes no call that Linux 5.10 lacks: `epoll_create1`, `epoll_ctl`, `epoll_pwait`, `eventfd2`, `write`, `socket`,
//! `bind`, `listen`, `connect`, `accept4`, `recvfrom`, `sendto`, `setsockopt`, `getsockopt`, `shutdown`,
//! `ioctl(SIOCOUTQ, FIONBIO)`, `openat`, `close`, and `sched_setaffinity` for its thread. Container profiles that forbid
//! io_uring allow all of these. PROTOCOL.md has this list for users.
//!
//! Sockets are watched edge-triggered from their first moment to their last: what the kernel tells once is kept as
//! `readable` and `writable` until a call finds otherwise. Nothing is changed in the kernel's set while a
//! connection lives.

mod accept;
mod buffers;
mod commands;
mod listeners;
mod receive;
mod slots;
mod token;

use std::{
    collections::VecDeque,
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use crate::{
    SocketCounters,
    options::Options,
    setup_error::SetupError,
    socket::{ConnId, Event, Events},
    waker::{Calls, Waker},
};
use buffers::Buffers;
pub(crate) use buffers::LentBuf;
use epoll::{CreateFlags, EventData, EventFlags};
use listeners::Listeners;
use slots::{SlotState, Slots};
use token::Token;

/// What one call tells at most.
const HAPPENED_MAX: usize = 1024;
const NOW: Duration = Duration::ZERO;
/// What is told of a connection.
const CONN: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP);

/// Sockets watched by one epoll descriptor. See the [crate] for how it is used.
pub struct Epoll {
    epoll: OwnedFd,
    slots: Slots,
    listeners: Listeners,
    /// What happened and was not read yet.
    events: VecDeque<Event>,
    /// Connections that may have something to receive, each once.
    readable: VecDeque<ConnId>,
    buffers: Rc<Buffers>,
    /// What the last call told.
    happened: Vec<epoll::Event>,
    waker: Waker,
    counters: SocketCounters,
}

impl Epoll {
    /// `waker` ends its sleep; each needs its own. Of the options those about queues are the ring's alone.
    pub fn new(options: &Options, waker: Waker) -> Result<Self, SetupError> {
        options.check()?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(SetupError::call("epoll_create1"))?;
        if let Some(eventfd) = waker.eventfd() {
            // Each write is told once, whatever the counter stands at, so nobody has to read it.
            watch(&epoll, eventfd, Token::Waker, EventFlags::IN).map_err(SetupError::call("epoll_ctl"))?;
        }
        Ok(Self {
            epoll,
            slots: Slots::new(options.slots),
            listeners: Listeners::new(options.accepts),
            events: VecDeque::new(),
            readable: VecDeque::new(),
            buffers: Buffers::new(options.recv_buffers, options.recv_buffer_bytes),
            happened: Vec::with_capacity(HAPPENED_MAX),
            waker,
            counters: SocketCounters::default(),
        })
    }

    /// As [`Ring::listen`](crate::uring::Ring::listen).
    pub fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        // Fails for what is not a TCP listener, whose peers have no socket address.
        listener.local_addr()?;
        listener.set_nonblocking(true)?;
        watch(&self.epoll, &listener, Token::Listener(self.listeners.next_index()), EventFlags::IN)?;
        self.listeners.add(listener);
        Ok(())
    }

    /// Accepts no more and closes all listeners.
    pub fn stop_listening(&mut self) {
        self.listeners.stop();
    }

    /// Asks the kernel what happened, in one call. An error means that this is unusable.
    pub fn submit(&mut self) -> io::Result<()> {
        self.poll(Some(NOW))
    }

    /// As [`Ring::wait`](crate::uring::Ring::wait). A sleep may be a millisecond longer.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sleep(timeout, Calls::All)
    }

    /// Like [`Epoll::wait`]; `updates_wait`: [`Waker::nudge`] does not end it.
    pub fn rest(&mut self, timeout: Option<Duration>, updates_wait: bool) -> io::Result<()> {
        self.sleep(timeout, if updates_wait { Calls::Urgent } else { Calls::All })
    }

    /// What ends its sleep.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What it did so far.
    pub fn counters(&self) -> SocketCounters {
        self.counters
    }

    fn sleep(&mut self, timeout: Option<Duration>, calls: Calls) -> io::Result<()> {
        if self.has_work() || !self.waker.park(calls) {
            return self.poll(Some(NOW));
        }
        let result = self.poll(timeout);
        self.waker.unpark();
        result
    }

    /// Whether [`Epoll::next`] has something to do.
    fn has_work(&self) -> bool {
        !self.events.is_empty()
            || self.buffers.has_returned()
            || (!self.readable.is_empty() && self.buffers.has_free())
            || (self.listeners.is_ready() && self.slots.has_room())
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let until_retry = self.listeners.until_retry(Instant::now());
        let timeout = [timeout, until_retry].into_iter().flatten().min();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        self.happened.clear();
        self.counters.enters += 1;
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.happened), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for index in 0..self.happened.len() {
            let epoll::Event { flags, data } = self.happened[index];
            match Token::unpack(data.u64()) {
                Token::Conn(conn) => self.happened_to(conn, flags),
                Token::Listener(index) => self.listeners.set_ready(index),
                Token::Waker => {}
            }
        }
        self.listeners.begin_turn(Instant::now());
        Ok(())
    }

    fn happened_to(&mut self, conn: ConnId, flags: EventFlags) {
        let Some(slot) = self.slots.live(conn) else { return };
        let is_over = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let has_ended = is_over || flags.contains(EventFlags::RDHUP);
        slot.hung |= has_ended;
        if slot.state == SlotState::Connecting {
            if flags.contains(EventFlags::OUT) || is_over {
                self.connected(conn);
            }
            // What there is to read will be found by the first receive.
            return;
        }
        slot.writable |= is_over || flags.contains(EventFlags::OUT);
        let must_send = slot.writable && slot.sending;
        if has_ended || flags.contains(EventFlags::IN) {
            slot.readable = true;
            self.list(conn);
        }
        if must_send {
            self.send_rest(conn);
        }
    }

    /// Whether and as what an event of the queue is told.
    fn told(&mut self, event: Event) -> Option<Event> {
        let conn = match &event {
            Event::AcceptFailed { .. } => return Some(event),
            Event::Closed { conn } => {
                self.slots.vacate(*conn);
                return Some(event);
            }
            Event::Accepted { conn, .. }
            | Event::Connected { conn, .. }
            | Event::Received { conn, .. }
            | Event::ReceiveEnded { conn, .. }
            | Event::Sent { conn, .. }
            | Event::SendFailed { conn, .. }
            | Event::Unsent { conn, .. } => *conn,
        };
        let slot = self.slots.live(conn)?;
        match &event {
            Event::Connected { result: Err(_), .. } => {
                slot.end();
                self.events.push_front(Event::Closed { conn });
            }
            Event::Unsent { .. } => slot.querying = false,
            _ => {}
        }
        Some(event)
    }
}

impl Events for Epoll {
    fn next(&mut self) -> Option<Event> {
        self.take_returned();
        while let Some(event) = self.events.pop_front() {
            let told = self.told(event);
            if told.is_some() {
                return told;
            }
        }
        self.accept().or_else(|| self.receive())
    }
}

/// Has the kernel tell each change once.
fn watch(
    epoll: &OwnedFd,
    fd: impl std::os::fd::AsFd,
    token: Token,
    flags: EventFlags,
) -> rustix::io::Result<()> {
    epoll::add(epoll, fd, EventData::new_u64(token.pack()), flags | EventFlags::ET)
}
