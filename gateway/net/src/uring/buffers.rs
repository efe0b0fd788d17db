//! The receive buffers: one pool for all connections, lent to the kernel as a provided-buffer ring.

use std::{
    cell::{Cell, RefCell},
    io, mem, ops,
    ptr::{self, NonNull},
    rc::Rc,
    slice,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;

use crate::{conn_id::ConnId, waker::Waker};

/// The only group of provided buffers in a ring.
pub(super) const GROUP: u16 = 0;

/// Buffers and the ring of descriptors through which the kernel learns which ones are free.
///
/// A buffer is owned either by the kernel (its id stands in the ring of descriptors, or a
/// completion that names it was not read yet) or by exactly one [`PooledBuf`].
pub(super) struct Pool {
    entries: Mapping,
    bytes: Mapping,
    buffers: u16,
    buffer_bytes: u32,
    /// Where the next free buffer's descriptor is written; runs over and is masked.
    tail: Cell<u16>,
    /// Buffers owned by a `PooledBuf`.
    lent: Cell<u16>,
    /// Connections that receive one buffer at a time, whose last one was given back.
    returned: RefCell<Vec<ConnId>>,
    /// A connection waits for a buffer.
    starved: Cell<bool>,
    waker: Waker,
}

impl Pool {
    /// `buffers` is a power of two up to 32768. All of them are free. Memory is taken on first use.
    pub(super) fn new(buffers: u16, buffer_bytes: u32, waker: Waker) -> io::Result<Rc<Self>> {
        let pool = Self {
            entries: Mapping::new(usize::from(buffers) * mem::size_of::<BufRingEntry>())?,
            bytes: Mapping::new(usize::from(buffers) * buffer_bytes as usize)?,
            buffers,
            buffer_bytes,
            tail: Cell::new(0),
            lent: Cell::new(0),
            returned: RefCell::default(),
            starved: Cell::new(false),
            waker,
        };
        (0..buffers).for_each(|id| pool.offer(id));
        Ok(Rc::new(pool))
    }

    /// The page-aligned ring of descriptors, to be registered with [`Pool::len`] entries.
    pub(super) fn address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    pub(super) fn len(&self) -> u16 {
        self.buffers
    }

    /// Buffers not lent to the program.
    pub(super) fn available(&self) -> u16 {
        self.buffers - self.lent.get()
    }

    /// Tells the pool whether a connection waits for a buffer, so that one given back wakes the ring.
    pub(super) fn set_starved(&self, starved: bool) {
        self.starved.set(starved);
    }

    /// A connection whose buffer was given back; each once.
    pub(super) fn take_returned(&self) -> Option<ConnId> {
        self.returned.borrow_mut().pop()
    }

    /// Takes over a buffer that the kernel filled. `conn` is [told](Pool::take_returned) when it is given back.
    ///
    /// # Safety
    ///
    /// A completion of the ring that this pool is registered with named `id`, with its first `len`
    /// bytes filled, and `take` was not called for that completion before.
    pub(super) unsafe fn take(self: &Rc<Self>, id: u16, len: u32, conn: Option<ConnId>) -> PooledBuf {
        assert!(
            id < self.buffers && len <= self.buffer_bytes,
            "the kernel named buffer {id} with {len} bytes"
        );
        assert!(
            self.lent.get() < self.buffers,
            "the kernel named a buffer, and all {} are lent",
            self.buffers
        );
        self.lent.set(self.lent.get() + 1);
        PooledBuf { pool: self.clone(), id, len, conn }
    }

    fn give_back(&self, id: u16) {
        assert!(self.lent.get() > 0, "buffer {id} is given back twice");
        self.lent.set(self.lent.get() - 1);
        self.offer(id);
        if self.starved.replace(false) {
            self.waker.wake();
        }
    }

    /// Hands a buffer that nobody uses to the kernel.
    fn offer(&self, id: u16) {
        let tail = self.tail.get();
        let base = self.entries.start.cast::<BufRingEntry>();
        let index = usize::from(tail & (self.buffers - 1));
        let address = self.buffer(id) as u64;
        // SAFETY: `index` is below `buffers`, for which the mapping was sized. The kernel reads an
        // entry only below the published tail, and the ring is as long as there are buffers, so it
        // is done with this one. The fields are written one by one because the first entry's
        // fourth field is the tail.
        unsafe {
            let entry = &mut *base.add(index).as_ptr();
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(id);
        }
        let tail = tail.wrapping_add(1);
        self.tail.set(tail);
        // SAFETY: the pointer is to the first entry's tail field: aligned, mapped as long as `self`,
        // written by nobody else, and read by the kernel atomically.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base.as_ptr()).cast_mut()) }
            .store(tail, Ordering::Release);
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        assert!(id < self.buffers, "buffer {id} of {}", self.buffers);
        // SAFETY: `id` is below `buffers`, so the offset lies in the mapping.
        unsafe { self.bytes.start.as_ptr().add(usize::from(id) * self.buffer_bytes as usize) }
    }
}

/// A filled buffer; goes back to its pool when dropped.
pub(crate) struct PooledBuf {
    pool: Rc<Pool>,
    id: u16,
    len: u32,
    conn: Option<ConnId>,
}

impl ops::Deref for PooledBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `take` promised that `len` bytes are filled; until it is given back the buffer is
        // this value's alone.
        unsafe { slice::from_raw_parts(self.pool.buffer(self.id), self.len as usize) }
    }
}

impl ops::DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the slice the only one.
        unsafe { slice::from_raw_parts_mut(self.pool.buffer(self.id), self.len as usize) }
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        self.pool.give_back(self.id);
        self.pool.returned.borrow_mut().extend(self.conn);
    }
}

/// Zeroed, page-aligned memory that is backed on first touch.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; whoever held pointers into it held the mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_offered_again_and_a_held_one_is_not() {
        let pool = Pool::new(4, 64, Waker::unconnected()).unwrap();
        assert_eq!((pool.available(), pool.tail.get()), (4, 4));
        // SAFETY: no kernel is involved; each id is taken once and given back.
        let mut held = unsafe { pool.take(2, 5, None) };
        held.copy_from_slice(b"hello");
        assert_eq!(&held[..], b"hello");
        assert_eq!(pool.available(), 3);
        drop(held);
        assert_eq!((pool.available(), pool.tail.get()), (4, 5));
    }
}
