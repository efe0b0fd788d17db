//! Listeners, and whether somebody waits at them.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{SocketFlags, acceptfrom_with},
};

/// After an accept that failed for want of something that others may give back.
const BACKOFF: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// No call has found since the kernel told so that nobody waits.
    ready: bool,
}

#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
    /// Whose turn it is: they take turns, so that none waits for another's crowd.
    next: usize,
    /// How many are accepted in a turn, and may still be in this one.
    per_turn: u32,
    left: u32,
    /// Nothing is accepted before.
    retry_at: Option<Instant>,
    /// Is given up for a moment when the process has no descriptor left, so that whoever waits can be refused.
    reserve: Option<OwnedFd>,
}

impl Listeners {
    pub(super) fn new(per_turn: u32) -> Self {
        Self { listeners: Vec::new(), next: 0, per_turn, left: per_turn, retry_at: None, reserve: None }
    }

    /// That of the next one that is added.
    pub(super) fn next_index(&self) -> u8 {
        u8::try_from(self.listeners.len()).expect("a process has few listeners")
    }

    pub(super) fn add(&mut self, socket: TcpListener) {
        self.listeners.push(Listener { socket, ready: false });
        self.reserve = self.reserve.take().or_else(reserve);
    }

    pub(super) fn stop(&mut self) {
        self.listeners.clear();
        self.reserve = None;
    }

    pub(super) fn set_ready(&mut self, index: u8) {
        // It may have been closed since.
        if let Some(listener) = self.listeners.get_mut(usize::from(index)) {
            listener.ready = true;
        }
    }

    /// Whether somebody may be accepted in this turn or the next.
    pub(super) fn is_ready(&self) -> bool {
        self.retry_at.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.left = self.per_turn;
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.reserve = self.reserve.take().or_else(reserve);
        }
    }

    /// Takes a connection that waits: its descriptor, the peer and the place of the listener, or why that could not
    /// be. `None`: nobody waits, or no more in this turn. `calls` counts those of the kernel.
    pub(super) fn accept(
        &mut self,
        calls: &mut u64,
    ) -> Option<rustix::io::Result<(OwnedFd, SocketAddr, u8)>> {
        while self.left > 0 && self.is_ready() {
            let at = self.next_ready()?;
            self.next = at + 1;
            let Listener { socket, ready } = &mut self.listeners[at];
            *calls += 1;
            let error = match acceptfrom_with(&*socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, peer)) => {
                    self.left -= 1;
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    return Some(Ok((fd, peer.expect("a TCP listener's peers have IP addresses"), at as u8)));
                }
                Err(Errno::AGAIN) => {
                    *ready = false;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(error) => error,
            };
            self.left -= 1;
            match error {
                // The peer gave up before it was accepted: the next one may be fine.
                Errno::CONNABORTED => {}
                Errno::MFILE | Errno::NFILE => match self.refuse(at) {
                    Ok(()) => {}
                    // The kernel says that there are no descriptors before it looks whether somebody waits.
                    Err(Errno::AGAIN) => {
                        self.listeners[at].ready = false;
                        continue;
                    }
                    Err(_) => self.back_off(),
                },
                _ => self.back_off(),
            }
            return Some(Err(error));
        }
        None
    }

    /// The first from `next` on at which somebody may wait.
    fn next_ready(&self) -> Option<usize> {
        let count = self.listeners.len();
        (self.next..self.next + count).map(|at| at % count).find(|at| self.listeners[*at].ready)
    }

    /// Accepts with the descriptor in reserve and closes at once, so that the peer learns of it and nobody waits for
    /// what will not come.
    fn refuse(&mut self, at: usize) -> rustix::io::Result<()> {
        drop(self.reserve.take().ok_or(Errno::MFILE)?);
        let refused = acceptfrom_with(&self.listeners[at].socket, SocketFlags::CLOEXEC).map(drop);
        self.reserve = reserve();
        refused
    }

    fn back_off(&mut self) {
        self.retry_at = Some(Instant::now() + BACKOFF);
    }

    /// The time until accepting may be tried again.
    pub(super) fn until_retry(&self, now: Instant) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_duration_since(now))
    }
}

/// What costs a descriptor and does nothing.
fn reserve() -> Option<OwnedFd> {
    File::open("/dev/null").ok().map(OwnedFd::from)
}
