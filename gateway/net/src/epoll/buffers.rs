//! The receive buffers: as a rule one, which all connections share.

use std::{
    cell::{Cell, RefCell},
    ops,
    rc::Rc,
};

/// Buffers that nobody holds, and how many the program holds.
#[derive(Debug)]
pub(super) struct Buffers {
    free: RefCell<Vec<Box<[u8]>>>,
    lent: Cell<u16>,
    lent_max: u16,
    buffer_bytes: usize,
}

impl Buffers {
    pub(super) fn new(buffers: u16, buffer_bytes: u32) -> Rc<Self> {
        let buffer_bytes = buffer_bytes as usize;
        Rc::new(Self { free: RefCell::default(), lent: Cell::new(0), lent_max: buffers, buffer_bytes })
    }

    pub(super) fn has_free(&self) -> bool {
        self.lent.get() < self.lent_max
    }

    /// Lends one, which is made where the program still holds those that there are.
    pub(super) fn lend(self: &Rc<Self>) -> LentBuf {
        assert!(self.has_free(), "the program holds all {} receive buffers", self.lent_max);
        self.lent.set(self.lent.get() + 1);
        let free = self.free.borrow_mut().pop();
        let bytes = free.unwrap_or_else(|| vec![0; self.buffer_bytes].into());
        LentBuf { bytes, filled: 0, home: self.clone() }
    }
}

/// Goes back when it is dropped.
pub(crate) struct LentBuf {
    bytes: Box<[u8]>,
    filled: usize,
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_lent_again_and_no_more_are_lent_than_there_may_be() {
        let buffers = Buffers::new(2, 16);
        let first = buffers.lend();
        let address = first.bytes.as_ptr();
        drop(first);
        let mut again = buffers.lend();
        assert_eq!(again.bytes.as_ptr(), address);
        assert!(again.fill(16) && !again.fill(3));
        assert_eq!(again.len(), 3);
        let _second = buffers.lend();
        assert!(!buffers.has_free());
        drop(again);
        assert!(buffers.has_free());
    }
}
