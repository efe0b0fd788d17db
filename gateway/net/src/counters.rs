//! Counters of the sockets of one thread.

/// What a ring did, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// System calls (`io_uring_enter`), those of sleeping included.
    pub enters: u64,
    /// Sends that the program asked for.
    pub sends: u64,
    /// Further sends for the rest of one that the kernel took in part.
    pub sends_continued: u64,
    /// Times that a connection found no receive buffer free and had to wait for one.
    pub enobufs: u64,
    /// Receives begun anew after a pause, a lack of buffers, or because the kernel ended one.
    pub receive_rearms: u64,
    /// Times that completions were found waiting outside of a full completion queue.
    pub cq_overflows: u64,
    /// Queries of a send queue's length that the kernel refused.
    pub unsent_failed: u64,
}
