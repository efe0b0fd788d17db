//! The receive buffers: as a rule one, which all connections share.

use std::{
    cell::{Cell, RefCell},
    ops,
    rc::Rc,
};

use crate::conn_id::ConnId;

/// Buffers that nobody holds, and how many the program holds.
#[derive(Debug)]
pub(super) struct Buffers {
    free: RefCell<Vec<Box<[u8]>>>,
    /// Connections whose buffer was given back.
    returned: RefCell<Vec<ConnId>>,
    lent: Cell<u16>,
    lent_max: u16,
    buffer_bytes: usize,
}

impl Buffers {
    pub(super) fn new(buffers: u16, buffer_bytes: u32) -> Rc<Self> {
        let buffer_bytes = buffer_bytes as usize;
        let (free, returned) = (RefCell::default(), RefCell::default());
        Rc::new(Self { free, returned, lent: Cell::new(0), lent_max: buffers, buffer_bytes })
    }

    pub(super) fn has_free(&self) -> bool {
        self.lent.get() < self.lent_max
    }

    /// A connection whose buffer was given back; each once.
    pub(super) fn take_returned(&self) -> Option<ConnId> {
        self.returned.borrow_mut().pop()
    }

    /// Whether there is one.
    pub(super) fn has_returned(&self) -> bool {
        !self.returned.borrow().is_empty()
    }

    /// Lends one for what `conn` says, which is made where the program still holds those that there are.
    pub(super) fn lend(self: &Rc<Self>, conn: ConnId) -> LentBuf {
        assert!(self.has_free(), "the program holds all {} receive buffers", self.lent_max);
        self.lent.set(self.lent.get() + 1);
        let free = self.free.borrow_mut().pop();
        let bytes = free.unwrap_or_else(|| vec![0; self.buffer_bytes].into());
        LentBuf { bytes, filled: 0, conn, home: self.clone() }
    }
}

/// Goes back when it is dropped.
pub(crate) struct LentBuf {
    bytes: Box<[u8]>,
    filled: usize,
    conn: ConnId,
    home: Rc<Buffers>,
}

impl LentBuf {
    /// All of it, to be written to.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// How much was written; the rest is not shown. `true`: there may be more to come.
    pub(super) fn fill(&mut self, bytes: usize) -> bool {
        self.filled = bytes;
        bytes == self.bytes.len()
    }
}

impl ops::Deref for LentBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl ops::DerefMut for LentBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }
}

impl Drop for LentBuf {
    fn drop(&mut self) {
        self.home.lent.set(self.home.lent.get() - 1);
        self.home.free.borrow_mut().push(std::mem::take(&mut self.bytes));
        self.home.returned.borrow_mut().push(self.conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_lent_again_and_no_more_are_lent_than_there_may_be() {
        let buffers = Buffers::new(2, 16);
        let conn = |slot| ConnId { slot, generation: 0 };
        let first = buffers.lend(conn(1));
        let address = first.bytes.as_ptr();
        drop(first);
        assert_eq!((buffers.take_returned(), buffers.take_returned()), (Some(conn(1)), None));
        let mut again = buffers.lend(conn(2));
        assert_eq!(again.bytes.as_ptr(), address);
        assert!(again.fill(16) && !again.fill(3));
        assert_eq!(again.len(), 3);
        let _second = buffers.lend(conn(3));
        assert!(!buffers.has_free());
        drop(again);
        assert!(buffers.has_free());
    }
}
