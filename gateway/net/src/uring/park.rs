//! Sleeping until the kernel has something, a time is over or a [`Waker`](crate::Waker) calls.

use std::{io, os::fd::AsRawFd, time::Duration};

use io_uring::{opcode, types::Fd};

use super::{
    Ring,
    op::{Op, Tag},
};
use crate::waker::Calls;

/// A sleep as short as this is not ended by the ends of short sends: see [`Ring::rest`].
const PATIENCE: Duration = Duration::from_millis(1);

impl Ring {
    /// Submits and blocks this thread until there is something to read, the waker is called or
    /// `timeout` has passed. Returns at once if the waker was called since the last sleep. May return
    /// without cause.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sleep(timeout, Calls::All, 0)
    }

    /// Like [`Ring::wait`], for whoever sends to very many at moments close to each other: one system
    /// call hands their frames over and sleeps until the next moment.
    ///
    /// A sleep of up to a millisecond is not ended by the ends of the short sends that it begins with,
    /// nearly all of which the kernel takes at once. They are read when it is over. Where one of them
    /// takes longer, so may something else that happens, but no longer than that sleep. `updates_wait`:
    /// [`Waker::nudge`](crate::Waker::nudge) does not end it.
    pub fn rest(&mut self, timeout: Option<Duration>, updates_wait: bool) -> io::Result<()> {
        let is_short = timeout.is_some_and(|timeout| timeout <= PATIENCE);
        let calls = if updates_wait { Calls::Urgent } else { Calls::All };
        self.sleep(timeout, calls, if is_short { self.short_sends } else { 0 })
    }

    /// `expected`: completions that do not end it.
    fn sleep(&mut self, timeout: Option<Duration>, calls: Calls, expected: usize) -> io::Result<()> {
        self.prepare();
        self.poll_waker();
        self.short_sends = 0;
        if !self.waker.park(calls) {
            return self.queues.submit();
        }
        let result = self.queues.wait(timeout, expected + 1);
        self.waker.unpark();
        result
    }

    /// Lets the waker's eventfd end a wait. One multishot poll does for all waits, as it completes
    /// on every write, whatever the counter stood at.
    fn poll_waker(&mut self) {
        if let Some(eventfd) = self.waker.eventfd()
            && !self.wake_armed
        {
            self.wake_armed = true;
            let entry =
                opcode::PollAdd::new(Fd(eventfd.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
            // SAFETY: the entry points to no memory.
            unsafe { self.queues.push(entry.user_data(Tag::of_ring(Op::Wake, 0).pack())) };
        }
    }
}
