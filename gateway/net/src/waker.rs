//! Ending a ring's sleep from another thread.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{
            AtomicU8,
            Ordering::{AcqRel, Acquire},
        },
    },
};

/// Nobody has called since the ring last looked, and it is awake.
const IDLE: u8 = 0;
/// The ring sleeps or is about to: a call must write to the eventfd.
const PARKED: u8 = 1;
/// Somebody called; the next sleep returns at once.
const NOTIFIED: u8 = 2;
/// As [`PARKED`], and the ring will look by itself before long: only an urgent call must write.
const DOZING: u8 = 3;

/// Which calls end a sleep.
#[cfg(feature = "kernel")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    All,
    /// Those of [`Waker::wake`].
    Urgent,
}

/// Wakes a parked ring from any thread. It is made before its ring, so that queues
/// which lead to the ring's thread can be built first. Clones wake the same ring.
///
/// A call is never lost. The state works like a thread's park token: [`Waker::wake`] swaps in
/// `NOTIFIED`, and only whoever swaps out `PARKED` or `DOZING` writes to the eventfd, so waking a busy ring
/// costs no system call. The ring swaps in `PARKED` before it sleeps and does not sleep if that
/// swaps out `NOTIFIED`. All steps are read-modify-writes of one variable, hence in one order: a
/// call before the ring's swap is seen by it, a call after it sees `PARKED`. What the caller wrote
/// before `wake` (a queue entry) is visible when the sleep has returned: look there after each.
#[derive(Debug, Clone, Default)]
pub struct Waker {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    eventfd: OwnedFd,
    state: AtomicU8,
}

impl Waker {
    /// Fails only when the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // Blocking: io_uring answers EAGAIN on a non-blocking eventfd instead of waiting for it.
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was opened just now and nobody else owns it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { shared: Some(Arc::new(Shared { eventfd, state: AtomicU8::new(IDLE) })) })
    }

    /// A waker that does nothing, for queues that lead to a simulated ring.
    pub fn unconnected() -> Self {
        Self::default()
    }

    /// Ends the ring's present sleep, or its next one if it does not sleep now.
    pub fn wake(&self) {
        if let Some(shared) = &self.shared
            && matches!(shared.state.swap(NOTIFIED, AcqRel), PARKED | DOZING)
        {
            write(&shared.eventfd);
        }
    }

    /// Like [`Waker::wake`], unless the ring sleeps where such calls may wait: it looks by itself before
    /// long, and costs nobody a system call.
    pub fn nudge(&self) {
        if let Some(shared) = &self.shared
            // A write of what stands there already: the ring's own next step sees what came before it.
            && shared.state.compare_exchange(DOZING, DOZING, AcqRel, Acquire).is_err()
        {
            self.wake();
        }
    }
}

#[cfg(feature = "kernel")]
impl Waker {
    /// The ring is about to sleep. `false`: somebody called, so it must not.
    pub(crate) fn park(&self, calls: Calls) -> bool {
        let Some(shared) = &self.shared else { return true };
        let asleep = if calls == Calls::All { PARKED } else { DOZING };
        if shared.state.swap(asleep, AcqRel) != NOTIFIED {
            return true;
        }
        shared.state.swap(IDLE, AcqRel);
        false
    }

    /// The ring woke up or thought better of sleeping.
    pub(crate) fn unpark(&self) {
        if let Some(shared) = &self.shared {
            shared.state.swap(IDLE, AcqRel);
        }
    }

    pub(crate) fn eventfd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.shared.as_ref().map(|shared| shared.eventfd.as_fd())
    }
}

fn write(eventfd: &OwnedFd) {
    let one = 1u64;
    loop {
        // SAFETY: `one` is 8 readable bytes, as many as are passed.
        let written = unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
        // Beside EINTR nothing can fail: the descriptor is owned and its counter far from full.
        if written == 8 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

#[cfg(all(test, feature = "kernel"))]
mod tests {
    use super::*;

    fn count(waker: &Waker) -> i32 {
        let mut poll =
            libc::pollfd { fd: waker.eventfd().unwrap().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut poll, 1, 0) }
    }

    #[test]
    fn only_a_parked_ring_costs_a_write() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert_eq!(count(&waker), 0, "nobody sleeps");
        assert!(!waker.park(Calls::All), "the call is remembered");
        assert!(waker.park(Calls::All), "once");
        waker.wake();
        assert_eq!(count(&waker), 1);
    }

    #[test]
    fn a_ring_that_will_look_by_itself_is_woken_only_by_what_is_urgent() {
        let waker = Waker::new().unwrap();
        assert!(waker.park(Calls::Urgent));
        waker.nudge();
        assert_eq!(count(&waker), 0, "it looks by itself");
        waker.unpark();
        waker.nudge();
        assert!(!waker.park(Calls::Urgent), "before the sleep it is remembered");
        assert!(waker.park(Calls::Urgent), "once");
        waker.wake();
        assert_eq!(count(&waker), 1);
    }

    #[test]
    fn an_unconnected_waker_does_nothing() {
        Waker::unconnected().wake();
    }
}
