//! Sleeping until the kernel has something, a timer elapses or a [`Waker`](crate::Waker) calls.

use std::{
    io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use io_uring::{opcode, types::Fd};

use super::{
    Ring,
    op::{Op, Tag},
};

impl Ring {
    /// Ends the next sleep, or those until then, when `after` has passed; replaces what was asked
    /// for before. `None`: no timer. It brings no event and is not repeated.
    pub fn wake_at(&mut self, after: Option<Duration>) {
        self.deadline = after.and_then(|after| Instant::now().checked_add(after));
    }

    /// Submits and blocks this thread until there is something to read, the waker is called, the
    /// timer of [`Ring::wake_at`] elapses or `timeout` has passed. Returns at once if the waker was
    /// called since the last sleep. May return without cause.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.prepare();
        self.poll_waker();
        if !self.waker.park() {
            return self.queues.submit();
        }
        let until_deadline = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = match (timeout, until_deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let result = self.queues.wait(timeout);
        self.waker.unpark();
        self.forget_elapsed();
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

    fn forget_elapsed(&mut self) -> bool {
        let elapsed = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if elapsed {
            self.deadline = None;
        }
        elapsed
    }
}

#[cfg(feature = "glommio")]
pub use in_executor::Parker;

#[cfg(feature = "glommio")]
mod in_executor {
    use std::{
        io,
        mem::ManuallyDrop,
        os::fd::{AsRawFd, FromRawFd},
        sync::atomic::{Ordering::SeqCst, fence},
        time::Instant,
    };

    use glommio::io::BufferedFile;
    use io_uring::{
        opcode,
        types::{TimeoutFlags, Timespec},
    };

    use crate::uring::{
        Ring,
        op::{Op, Tag},
        queues::Staged,
    };
    use crate::waker::Waker;

    /// Parks a task of a glommio executor on a ring, and the executor with it if it has nothing
    /// else to do.
    pub struct Parker {
        /// Never dropped, as that would close the descriptor, which is the waker's.
        eventfd: ManuallyDrop<BufferedFile>,
        /// Keeps the descriptor open.
        _waker: Waker,
    }

    impl Parker {
        /// # Panics
        ///
        /// Outside of a glommio executor, and when the ring's waker is unconnected.
        pub fn new(ring: &Ring) -> Self {
            let waker = ring.waker();
            let eventfd = waker.eventfd().expect("a parker needs a ring with a connected waker").as_raw_fd();
            // SAFETY: the descriptor is open as long as the waker that is kept beside the file, and
            // the file, never dropped, does not close it.
            let eventfd = ManuallyDrop::new(unsafe { BufferedFile::from_raw_fd(eventfd) });
            Self { eventfd, _waker: waker }
        }

        /// Submits and sleeps until there is something to read from `ring`, its waker is called or
        /// the timer of [`Ring::wake_at`] elapses. Returns at once if one of them happened since
        /// the last sleep, or if `idle`, asked last of all, says no. May return without cause.
        ///
        /// No wake-up is lost: while the ring is awake its eventfd is silent; here it is switched
        /// on first, then the kernel is asked once more, then the [`Waker`] is told; whatever
        /// happens before is found by the last look, whatever happens after writes to the eventfd.
        pub async fn park(&self, ring: &mut Ring, idle: impl Fn() -> bool) -> io::Result<()> {
            if !ring.may_sleep()? {
                return Ok(());
            }
            let result = if idle() { self.eventfd.read_at(0, 8).await.map(drop) } else { Ok(()) };
            ring.awake();
            result.map_err(io::Error::from)
        }
    }

    impl Ring {
        /// Submits and prepares to sleep on the eventfd. `false`: there is something to do.
        fn may_sleep(&mut self) -> io::Result<bool> {
            self.prepare();
            if self.forget_elapsed() || self.queues.has_completions() {
                return self.queues.submit().map(|()| false);
            }
            self.arm_timer();
            self.queues.notify(true);
            // The kernel must not miss that the eventfd is on if the look below finds nothing.
            fence(SeqCst);
            let looked = self.queues.submit_and_look();
            let sleeps = looked.is_ok() && self.queues.is_quiet() && self.waker.park();
            if !sleeps {
                self.queues.notify(false);
            }
            looked.map(|()| sleeps)
        }

        fn awake(&mut self) {
            self.waker.unpark();
            self.queues.notify(false);
        }

        /// Has the kernel's timer fire at the deadline or before. An early one costs a short
        /// waking, less than moving the timer at each sleep.
        fn arm_timer(&mut self) {
            let Some(deadline) = self.deadline else { return };
            if self.timer.is_some_and(|timer| timer <= deadline) {
                return;
            }
            let after = deadline.saturating_duration_since(Instant::now());
            let timespec = Box::new(Timespec::from(after));
            let timer = Tag::of_ring(Op::Timer, 0).pack();
            let entry = match self.timer {
                None => opcode::Timeout::new(&*timespec).build().user_data(timer),
                Some(_) => opcode::TimeoutUpdate::new(timer, &*timespec)
                    .flags(TimeoutFlags::empty())
                    .build()
                    .user_data(Tag::of_ring(Op::Housekeeping, 0).pack()),
            };
            // SAFETY: the time is read during submission and staged until then.
            unsafe { self.queues.push(entry) };
            self.queues.stage(Staged::Time(timespec));
            self.timer = Some(deadline);
        }
    }
}
