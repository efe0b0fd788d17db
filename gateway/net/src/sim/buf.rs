//! Received bytes in memory.

use std::{cell::RefCell, ops, rc::Rc};

use crate::conn_id::ConnId;

/// Connections whose received bytes were let go of.
#[derive(Debug, Default, Clone)]
pub struct Returned(Rc<RefCell<Vec<ConnId>>>);

impl Returned {
    pub fn pop(&self) -> Option<ConnId> {
        self.0.borrow_mut().pop()
    }

    /// Bytes of `conn`, which is told when they are dropped.
    pub fn lend(&self, conn: ConnId, bytes: Vec<u8>) -> SimBuf {
        SimBuf { conn, bytes, home: self.clone() }
    }
}

#[derive(Debug)]
pub struct SimBuf {
    conn: ConnId,
    bytes: Vec<u8>,
    home: Returned,
}

impl ops::Deref for SimBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ops::DerefMut for SimBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for SimBuf {
    fn drop(&mut self) {
        self.home.0.borrow_mut().push(self.conn);
    }
}
