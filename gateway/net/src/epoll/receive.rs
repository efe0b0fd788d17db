//! Receiving: one read of one connection at a time, in turns.

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use super::Epoll;
use crate::socket::{ConnId, Event, RecvBuf, RecvBytes};

impl Epoll {
    /// Receives on from those whose last bytes the program has let go of.
    pub(super) fn take_returned(&mut self) {
        while let Some(conn) = self.buffers.take_returned() {
            if let Some(slot) = self.slots.live(conn) {
                slot.lent = false;
                self.list(conn);
            }
        }
    }

    /// Puts a connection in line for receiving.
    pub(super) fn list(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        let wanted = slot.readable && !slot.lent && !slot.paused && !slot.ended;
        if wanted && !std::mem::replace(&mut slot.listed, true) {
            self.readable.push_back(conn);
        }
    }

    /// Reads once of the first connection that has something.
    pub(super) fn receive(&mut self) -> Option<Event> {
        while let Some(&conn) = self.readable.front() {
            if !self.buffers.has_free() {
                self.counters.enobufs += 1;
                return None;
            }
            self.readable.pop_front();
            // It may have been closed or paused since.
            let Some(slot) = self.slots.live(conn) else { continue };
            slot.listed = false;
            if slot.paused {
                continue;
            }
            let mut buffer = self.buffers.lend(conn);
            self.counters.enters += 1;
            let error = match recv(slot.fd(), buffer.space(), RecvFlags::empty()) {
                Ok((_, 0)) => None,
                Ok((_, count)) => {
                    // After a short read the kernel tells when more has come, unless the end came with it.
                    slot.readable = buffer.fill(count) || slot.hung;
                    slot.lent = true;
                    return Some(Event::Received { conn, bytes: RecvBuf { inner: RecvBytes::Lent(buffer) } });
                }
                Err(Errno::AGAIN) => {
                    slot.readable = false;
                    continue;
                }
                Err(Errno::INTR) => {
                    self.list(conn);
                    continue;
                }
                Err(error) => Some(error.into()),
            };
            slot.ended = true;
            return Some(Event::ReceiveEnded { conn, error });
        }
        None
    }
}
