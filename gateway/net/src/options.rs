//! How large a ring, or what stands for it on epoll, is.

use crate::setup_error::SetupError;

/// Sizes of a [`Backend`](crate::Backend). None of them grows later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Connections at once: entries of a ring's table of files. At most `RLIMIT_NOFILE`, which
    /// the kernel applies to each ring by itself, and to a process with epoll as a whole.
    pub slots: u32,
    /// Commands that reach the kernel in one system call of a ring; a power of two.
    pub sq_entries: u32,
    /// Completions that may wait to be read from a ring; a power of two, at least `2 * sq_entries`. What does
    /// not fit waits in kernel memory and costs more.
    pub cq_entries: u32,
    /// Receive buffers of all connections together; a power of two up to 32768.
    pub recv_buffers: u16,
    /// Bytes of one receive buffer, and so the most one [`Event::Received`](crate::Event) carries.
    pub recv_buffer_bytes: u32,
    /// One read at a time: a connection whose receiving is paused gets at most one more, where else as much
    /// comes as a ring's kernel had read by then. Costs a command for each read. With epoll it is always so.
    pub recv_single: bool,
    /// Accepts kept waiting per listener of a ring; with epoll, accepts in a turn. Each holds a free slot in reserve, but
    /// the last slots of the table can be reached too.
    pub accepts: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 1024,
            sq_entries: 512,
            cq_entries: 16384,
            recv_buffers: 1024,
            recv_buffer_bytes: 4096,
            recv_single: false,
            accepts: 64,
        }
    }
}

/// Slots must leave room for the kernel's own reserved index values.
const SLOTS_MAX: u32 = 1 << 24;
/// Bound by the kernel (`IORING_MAX_ENTRIES`).
const SQ_ENTRIES_MAX: u32 = 32768;
const RECV_BUFFERS_MAX: u16 = 32768;
const RECV_BUFFER_BYTES_MAX: u32 = 1 << 20;
const ACCEPTS_MAX: u32 = 4096;

impl Options {
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        let power = |name, value: u32, min: u32, max: u32| {
            range(name, value, min, max)?;
            if value.is_power_of_two() { Ok(()) } else { Err(SetupError::NotPowerOfTwo { name, value }) }
        };
        range("slots", self.slots, 1, SLOTS_MAX)?;
        power("sq_entries", self.sq_entries, 16, SQ_ENTRIES_MAX)?;
        power("cq_entries", self.cq_entries, 2 * self.sq_entries, 2 * SQ_ENTRIES_MAX)?;
        power("recv_buffers", self.recv_buffers.into(), 1, RECV_BUFFERS_MAX.into())?;
        range("recv_buffer_bytes", self.recv_buffer_bytes, 1, RECV_BUFFER_BYTES_MAX)?;
        range("accepts", self.accepts, 1, ACCEPTS_MAX)
    }
}

fn range(name: &'static str, value: u32, min: u32, max: u32) -> Result<(), SetupError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(SetupError::OutOfRange { name, value, min, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_allowed_and_wrong_sizes_are_named() {
        Options::default().check().unwrap();
        let refused = |options: Options| options.check().unwrap_err().to_string();
        assert!(refused(Options { slots: 0, ..Options::default() }).contains("slots is 0"));
        assert!(refused(Options { recv_buffers: 100, ..Options::default() }).contains("recv_buffers is 100"));
        assert!(refused(Options { cq_entries: 512, ..Options::default() }).contains("cq_entries is 512"));
    }
}
