//! The submission and completion queues, and the count of what the kernel still works on.

use std::{collections::VecDeque, io, time::Duration};

use io_uring::{
    EnterFlags, IoUring, cqueue, squeue,
    types::{SubmitArgs, Timespec},
};
use socket2::SockAddr;

pub(super) struct Queues {
    uring: IoUring,
    /// Entries that found the submission queue full and the kernel short of memory, each with
    /// whether the next one is linked to it. Bounded by the operations that slots may have.
    backlog: VecDeque<(squeue::Entry, bool)>,
    /// Memory that the kernel reads while it takes an entry from the submission queue, not later.
    #[expect(clippy::vec_box, reason = "the kernel was told where they lie")]
    staged: Vec<Box<SockAddr>>,
    /// Why a submission inside a command failed; told by the next [`Queues::submit`].
    fault: Option<io::Error>,
    /// Operations whose last completion was not read yet.
    pub(super) in_flight: usize,
    pub(super) enters: u64,
    pub(super) overflows: u64,
}

impl Queues {
    pub(super) fn new(uring: IoUring) -> Self {
        let (backlog, staged) = (VecDeque::new(), Vec::new());
        Self { uring, backlog, staged, fault: None, in_flight: 0, enters: 0, overflows: 0 }
    }

    /// Queues one operation; when the queue is full, submits it first.
    ///
    /// # Safety
    ///
    /// Memory that `entry` points to stays valid, and is left alone if the kernel writes to it,
    /// until the operation's last completion was read from [`Queues::pop`], or, where the kernel
    /// only reads it during submission, is given to [`Queues::stage`].
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on.
        unsafe { self.push_linked([entry]) };
    }

    /// Queues operations of which each starts when the one before has succeeded.
    ///
    /// # Safety
    ///
    /// As for [`Queues::push`].
    pub(super) unsafe fn push_linked<const N: usize>(&mut self, entries: [squeue::Entry; N]) {
        self.in_flight += N;
        // A chain ends with the submission, so it must not be cut.
        if self.room() < N
            && let Err(error) = self.flush()
        {
            self.fault = Some(error);
        }
        let direct = self.room() >= N;
        for (i, entry) in entries.into_iter().enumerate() {
            let linked = i + 1 < N;
            let entry = if linked { entry.flags(squeue::Flags::IO_LINK) } else { entry };
            // SAFETY: whoever calls promises that the entry's memory stays valid.
            if !direct || unsafe { self.uring.submission().push(&entry) }.is_err() {
                self.backlog.push_back((entry, linked));
            }
        }
    }

    /// Keeps memory until the kernel has taken everything queued before now.
    pub(super) fn stage(&mut self, memory: Box<SockAddr>) {
        self.staged.push(memory);
    }

    /// Hands everything queued to the kernel and runs the work that it deferred. Without either
    /// this costs no system call.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        if let Some(error) = self.fault.take() {
            return Err(error);
        }
        if self.has_queued() {
            return self.flush();
        }
        if self.kernel_has_work() { self.enter(0).map(drop) } else { Ok(()) }
    }

    /// Submits and sleeps until so many completions can be read or the time is up.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, completions: usize) -> io::Result<()> {
        if let Some(error) = self.fault.take() {
            return Err(error);
        }
        // More than one submission's worth cannot be slept on.
        if !self.backlog.is_empty() {
            self.flush()?;
        }
        let timespec = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        self.enters += 1;
        match self.uring.submitter().submit_with_args(completions, &args) {
            Err(error) if error.raw_os_error() != Some(libc::ETIME) && !is_transient(&error) => Err(error),
            _ => {
                self.forget_staged();
                Ok(())
            }
        }
    }

    /// Reads one completion. Counts the operation as ended with its last one.
    pub(super) fn pop(&mut self) -> Option<cqueue::Entry> {
        let completion = self.uring.completion().next()?;
        if !cqueue::more(completion.flags()) {
            assert!(self.in_flight > 0, "a completion came, and no operation is in flight");
            self.in_flight -= 1;
        }
        Some(completion)
    }

    fn room(&mut self) -> usize {
        if !self.backlog.is_empty() {
            return 0;
        }
        let submission = self.uring.submission();
        submission.capacity() - submission.len()
    }

    fn has_queued(&mut self) -> bool {
        !self.backlog.is_empty() || !self.uring.submission().is_empty()
    }

    fn kernel_has_work(&mut self) -> bool {
        let submission = self.uring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            self.refill();
            let queued = self.uring.submission().len();
            if queued == 0 {
                self.forget_staged();
                return Ok(());
            }
            if self.enter(queued as u32)? == 0 {
                // The kernel is short of memory or wants completions read first: try again later.
                return Ok(());
            }
        }
    }

    /// Moves whole chains from the backlog to the submission queue while they fit.
    fn refill(&mut self) {
        let mut submission = self.uring.submission();
        loop {
            let Some(end) = self.backlog.iter().position(|(_, linked)| !linked) else { return };
            if submission.capacity() - submission.len() <= end {
                return;
            }
            for (entry, _) in self.backlog.drain(..=end) {
                // SAFETY: whoever queued the entry promised that its memory stays valid.
                let pushed = unsafe { submission.push(&entry) };
                assert!(pushed.is_ok(), "the submission queue has room for {} entries", end + 1);
            }
        }
    }

    /// One system call: submits up to `queued` entries and runs deferred work. Gives how many were
    /// taken, none if the kernel cannot at the moment.
    fn enter(&mut self, queued: u32) -> io::Result<usize> {
        self.enters += 1;
        if self.uring.submission().cq_overflow() {
            self.overflows += 1;
        }
        // With deferred task work completions are only posted by a call that asks for them; asking
        // in every submission saves a second call.
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed, and `queued` entries are in the queue.
        match unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, flags, None) } {
            Err(error) if is_transient(&error) => Ok(0),
            result => result,
        }
    }

    fn forget_staged(&mut self) {
        if !self.staged.is_empty() && !self.has_queued() {
            self.staged.clear();
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}
