//! Level-triggered epoll over very many sockets, each known by its index.

use std::{io, os::fd::AsFd, os::fd::OwnedFd, time::Duration};

use rustix::event::{Timespec, epoll};

/// Readiness taken from the kernel at a time.
const EVENTS: usize = 1024;

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// An empty set; the process's soft descriptor limit is raised to the hard one first.
    pub fn new() -> io::Result<Poll> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poll { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Watches a socket for input.
    pub fn add(&self, socket: impl AsFd, index: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(index), epoll::EventFlags::IN)?)
    }

    /// Indexes of the sockets that have input (or ended), after at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<impl Iterator<Item = u64> + use<'_>> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64()))
    }
}
