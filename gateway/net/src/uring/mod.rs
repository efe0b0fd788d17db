//! io_uring: very many sockets in the ring's own table of files.
//!
//! A connection is a *direct descriptor*: it costs no process descriptor, no task and, while idle, no buffer.
//! Commands queue up and reach the kernel together in [`Ring::submit`]; what happened comes back one by one
//! from [`Ring::next`](crate::Events::next) without a system call.

mod accept;
mod buffers;
mod commands;
mod completions;
mod op;
mod park;
mod queues;
mod self_test;
mod slots;

use std::{
    collections::VecDeque,
    io, mem,
    net::TcpListener,
    rc::Rc,
    time::{Duration, Instant},
};

use io_uring::{IoUring, opcode, types::Timespec};

use crate::{
    SocketCounters,
    options::Options,
    setup_error::SetupError,
    socket::{Close, ConnId, Event, Events, Sockets},
    waker::Waker,
};
use accept::Accepts;
use buffers::Pool;
pub(crate) use buffers::PooledBuf;
use op::{Op, Tag};
use queues::Queues;
use slots::Slots;

pub use self_test::{SelfTestError, self_test};

/// An io_uring with its table of connections. See the [crate] for how it is used.
///
/// A ring belongs to the thread that made it.
pub struct Ring {
    // First, so that the kernel's ring is closed before any memory that it knows of is freed.
    queues: Queues,
    slots: Slots,
    accepts: Accepts,
    pool: Rc<Pool>,
    /// Connections waiting for receive buffers, and some that no longer do.
    starved: VecDeque<ConnId>,
    waker: Waker,
    /// The kernel holds a poll of the waker's eventfd.
    wake_armed: bool,
    counters: SocketCounters,
    /// Sends begun since the kernel was last given all that was queued, as far as they are short.
    short_sends: usize,
    accepts_per_listener: u32,
    recv_single: bool,
}

/// After a failed accept.
static BACKOFF: Timespec = Timespec::new().nsec(50_000_000);
/// How long a ring that is dropped waits for the kernel to let go of any more memory.
const DRAIN: Duration = Duration::from_secs(1);

impl Ring {
    /// Makes a ring for this thread. `waker` ends its sleep; each ring needs its own.
    pub fn new(options: &Options, waker: Waker) -> Result<Ring, SetupError> {
        options.check()?;
        let uring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_no_sqarray()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(options.cq_entries)
            .build(options.sq_entries)
            .map_err(SetupError::setup)?;
        let pool = Pool::new(options.recv_buffers, options.recv_buffer_bytes, waker.clone())
            .map_err(SetupError::step("mapping receive buffers"))?;
        register(&uring, options, &pool)?;
        Ok(Ring {
            queues: Queues::new(uring),
            slots: Slots::new(options.slots),
            accepts: Accepts::default(),
            pool,
            starved: VecDeque::new(),
            waker,
            wake_armed: false,
            counters: SocketCounters::default(),
            short_sends: 0,
            accepts_per_listener: options.accepts,
            recv_single: options.recv_single,
        })
    }

    /// Accepts from `listener`, beside earlier ones, while slots are free. Options set on it, such
    /// as `TCP_NODELAY`, pass to its connections. Fails for what is not a TCP listener, and while
    /// earlier listeners are being closed.
    pub fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        self.accepts.add(listener, self.accepts_per_listener)
    }

    /// Accepts no more and closes all listeners. A connection that was accepted before the kernel
    /// learns of it still comes as [`Event::Accepted`].
    pub fn stop_listening(&mut self) {
        for index in self.accepts.stop() {
            self.cancel_of_ring(Tag::of_ring(Op::Accept, index));
        }
    }

    /// Hands all commands to the kernel, in one system call as long as they fit its queue, and
    /// lets it do the work it put off. Without either no call is made.
    ///
    /// An error means that the ring is unusable.
    pub fn submit(&mut self) -> io::Result<()> {
        self.prepare();
        self.short_sends = 0;
        self.queues.submit()
    }

    /// The next thing that happened, without a system call. `None`: nothing more until the next
    /// [`Ring::submit`].
    #[expect(clippy::should_implement_trait, reason = "an iterator would keep the ring borrowed")]
    pub fn next(&mut self) -> Option<Event> {
        while let Some(completion) = self.queues.pop() {
            let event = self.complete(&completion);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// What ends this ring's sleep.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What the ring did so far.
    pub fn counters(&self) -> SocketCounters {
        SocketCounters { enters: self.queues.enters, cq_overflows: self.queues.overflows, ..self.counters }
    }

    /// Queues what waited for slots or buffers to become free.
    pub(crate) fn prepare(&mut self) {
        while let Some(index) = self.accepts.idle()
            && let Some(slot) = self.slots.reserve()
        {
            let entry = self.accepts.arm(index, slot);
            // SAFETY: the entry points to the accept's address buffer, which is left alone until
            // the completion, and freed only after `Ring::drop` has drained.
            unsafe { self.queues.push(entry) };
        }
        while let Some(conn) = self.pool.take_returned() {
            if let Some(slot) = self.slots.live(conn) {
                slot.lent = false;
                self.receive(conn);
            }
        }
        self.feed_starved();
    }

    /// Begins receives anew, at most as many as there may be buffers free: the rest would fail at once.
    fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let mut available = self.pool.available();
        while available > 0
            && let Some(conn) = self.starved.pop_front()
        {
            if let Some(slot) = self.slots.live(conn)
                && mem::take(&mut slot.starved)
            {
                self.receive(conn);
                available -= 1;
            }
        }
        self.pool.set_starved(!self.starved.is_empty());
    }

    /// Puts off accepting for a moment: an error such as "out of files" would only repeat itself.
    pub(crate) fn back_off(&mut self) {
        if !mem::replace(&mut self.accepts.backing_off, true) {
            let entry = opcode::Timeout::new(&BACKOFF).build();
            // SAFETY: the entry points to a static.
            unsafe { self.queues.push(entry.user_data(Tag::of_ring(Op::Backoff, 0).pack())) };
        }
    }

    fn cancel_of_ring(&mut self, target: Tag) {
        let entry = opcode::AsyncCancel::new(target.pack()).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.queues.push(entry.user_data(Tag::of_ring(Op::Housekeeping, 0).pack())) };
    }

    /// Closes everything and takes all memory back from the kernel. `false`: it still holds some and
    /// has not moved for a second.
    fn drain(&mut self) -> bool {
        self.stop_listening();
        // One by one: the kernel would search all operations again for each that "any" matches.
        for slot in 0..self.slots.used() {
            self.close(self.slots.id(slot), Close::Orderly);
        }
        for op in [Op::Wake, Op::Backoff] {
            self.cancel_of_ring(Tag::of_ring(op, 0));
        }
        let mut moved = Instant::now();
        while self.queues.in_flight > 0 {
            let before = self.queues.in_flight;
            if self.queues.wait(Some(Duration::from_millis(100)), 1).is_err() {
                return false;
            }
            while let Some(event) = self.next() {
                if let Event::Accepted { conn, .. } = event {
                    self.close(conn, Close::Orderly);
                }
            }
            if self.queues.in_flight != before {
                moved = Instant::now();
            } else if moved.elapsed() > DRAIN {
                return false;
            }
        }
        true
    }
}

fn register(uring: &IoUring, options: &Options, pool: &Pool) -> Result<(), SetupError> {
    let submitter = uring.submitter();
    submitter
        .register_files_sparse(options.slots)
        .map_err(|error| SetupError::table(error, options.slots))?;
    // SAFETY: the pool's ring has `len` entries and lives, like the buffers it names, until the
    // io_uring was drained and closed.
    unsafe { submitter.register_buf_ring_with_flags(pool.address(), pool.len(), buffers::GROUP, 0) }
        .map_err(SetupError::step("registering the receive buffers"))?;
    // Only half-closing runs on the kernel's worker threads, of which there would be one per call.
    submitter
        .register_iowq_max_workers(&mut [1, 1])
        .map_err(SetupError::step("bounding the kernel's worker threads"))?;
    Ok(())
}

impl Events for Ring {
    fn next(&mut self) -> Option<Event> {
        Ring::next(self)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.drain() {
            return;
        }
        // The kernel may still write to or read from these.
        mem::forget(self.pool.clone());
        mem::forget(mem::replace(&mut self.slots, Slots::new(0)));
        mem::forget(mem::take(&mut self.accepts));
    }
}
