//! Completions become events.

use std::io;

use bytes::{Buf, Bytes};
use io_uring::cqueue;

use super::{
    Ring,
    op::{Op, Tag},
    slots::SlotState,
};
use crate::socket::{ConnId, Event, RecvBuf, RecvBytes};

impl Ring {
    /// What one completion means to the program, if anything.
    pub(super) fn complete(&mut self, completion: &cqueue::Entry) -> Option<Event> {
        let tag = Tag::unpack(completion.user_data());
        let result = match completion.result() {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            count => Ok(count as u32),
        };
        let more = cqueue::more(completion.flags());
        match tag.op {
            Op::Accept => return self.accepted(tag.index, result),
            Op::Backoff => self.accepts.backing_off = false,
            Op::Wake => self.wake_armed &= more,
            Op::Housekeeping => {}
            _ => {
                let buffer = cqueue::buffer_select(completion.flags());
                return self.complete_of_conn(tag, result, buffer, more);
            }
        }
        None
    }

    fn accepted(&mut self, index: u32, result: io::Result<u32>) -> Option<Event> {
        let (slot, listener, peer) = self.accepts.completed(index, result.is_ok());
        if let Err(error) = result {
            self.slots.release(slot);
            return match error.raw_os_error() {
                Some(libc::ECANCELED) => None,
                // The peer gave up before it was accepted: the next one may be fine.
                Some(libc::ECONNABORTED) => Some(Event::AcceptFailed { error }),
                _ => {
                    self.back_off();
                    Some(Event::AcceptFailed { error })
                }
            };
        }
        let conn = self.slots.occupy(slot, SlotState::Open);
        self.receive(conn);
        let peer = peer.expect("a TCP listener's peers have IP addresses");
        Some(Event::Accepted { conn, peer, listener, waited_us: 0 })
    }

    fn complete_of_conn(
        &mut self,
        tag: Tag,
        result: io::Result<u32>,
        buffer: Option<u16>,
        more: bool,
    ) -> Option<Event> {
        let conn = self.slots.id(tag.index);
        assert!(tag.fits(conn.generation), "a completion came for {tag:?} after {conn:?} took its slot");
        let slot = &mut self.slots[conn.slot];
        assert!(slot.in_flight > 0, "{tag:?} completed, and {conn:?} has no operation in flight");
        slot.in_flight -= u16::from(!more);
        let closing = slot.state == SlotState::Closing;
        let bytes = buffer.map(|id| {
            let len = *result.as_ref().unwrap_or(&0);
            let owner = self.recv_single.then_some(conn);
            // SAFETY: this completion, which is read once, names the buffer and how much it holds.
            RecvBuf { inner: RecvBytes::Pooled(unsafe { self.pool.take(id, len, owner) }) }
        });
        if closing {
            return self.complete_while_closing(conn, tag.op);
        }
        match tag.op {
            Op::Receive => self.received(conn, result, bytes, more),
            Op::Send => self.sent(conn, result),
            Op::Cancel => self.cancelled(conn, result),
            Op::Unsent => {
                assert!(slot.querying, "{conn:?} got an answer to no query");
                slot.querying = false;
                match result {
                    Ok(bytes) => Some(Event::Unsent { conn, bytes }),
                    Err(_) => {
                        self.counters.unsent_failed += 1;
                        None
                    }
                }
            }
            Op::Prepare => {
                let error = result.err()?;
                // Connecting, which is linked to this, is yet to complete as cancelled.
                slot.state = SlotState::Closing;
                Some(Event::Connected { conn, result: Err(error) })
            }
            Op::Connect => Some(self.connected(conn, result)),
            // Half-closing fails when the peer has reset the connection, which receiving tells.
            _ => None,
        }
    }

    /// The only event left is the end, which comes when the kernel has let go of the slot.
    fn complete_while_closing(&mut self, conn: ConnId, op: Op) -> Option<Event> {
        if op == Op::Connect {
            self.close_file(conn);
        }
        if self.slots[conn.slot].in_flight > 0 {
            return None;
        }
        self.slots.vacate(conn.slot);
        Some(Event::Closed { conn })
    }

    fn connected(&mut self, conn: ConnId, result: io::Result<u32>) -> Event {
        if result.is_ok() {
            self.slots[conn.slot].state = SlotState::Open;
            self.receive(conn);
        } else {
            self.slots[conn.slot].state = SlotState::Closing;
            self.close_file(conn);
        }
        Event::Connected { conn, result: result.map(drop) }
    }

    fn received(
        &mut self,
        conn: ConnId,
        result: io::Result<u32>,
        bytes: Option<RecvBuf>,
        more: bool,
    ) -> Option<Event> {
        let slot = &mut self.slots[conn.slot];
        assert!(slot.receiving && !slot.ended, "{conn:?} received, and receives not: {slot:?}");
        if !more {
            slot.receiving = false;
            slot.cancelling = false;
        }
        let error = match result {
            Ok(0) => None,
            Ok(_) => {
                if self.recv_single {
                    slot.lent = true;
                } else if !more {
                    self.receive(conn);
                }
                let bytes = bytes.expect("the kernel names the buffer of what it received");
                return Some(Event::Received { conn, bytes });
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => {
                    self.counters.enobufs += 1;
                    self.starve(conn);
                    return None;
                }
                // Paused, and maybe resumed since.
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {
                    self.receive(conn);
                    return None;
                }
                _ => Some(error),
            },
        };
        slot.ended = true;
        Some(Event::ReceiveEnded { conn, error })
    }

    /// Puts a connection in line for receive buffers.
    fn starve(&mut self, conn: ConnId) {
        if self.slots[conn.slot].paused {
            return;
        }
        self.slots[conn.slot].starved = true;
        if self.starved.len() >= self.slots.capacity() {
            let slots = &mut self.slots;
            self.starved.retain(|&conn| slots.live(conn).is_some_and(|slot| slot.starved));
        }
        self.starved.push_back(conn);
    }

    fn sent(&mut self, conn: ConnId, result: io::Result<u32>) -> Option<Event> {
        let slot = &mut self.slots[conn.slot];
        assert!(slot.sending, "a send of {conn:?} completed, and none is in flight");
        let failure = match result {
            Ok(count) if count > 0 || slot.bytes.is_empty() => {
                slot.bytes.advance(count as usize);
                let done = slot.bytes.is_empty();
                if done {
                    slot.sending = false;
                    slot.bytes = Bytes::new();
                } else {
                    self.counters.sends_continued += 1;
                    self.send_rest(conn);
                }
                return Some(Event::Sent { conn, bytes: count, done });
            }
            Ok(_) => io::ErrorKind::WriteZero.into(),
            Err(error) => error,
        };
        slot.sending = false;
        slot.bytes = Bytes::new();
        Some(Event::SendFailed { conn, error: failure })
    }

    /// A receive that the cancellation did not find is still there and must be cancelled again.
    fn cancelled(&mut self, conn: ConnId, result: io::Result<u32>) -> Option<Event> {
        let slot = &self.slots[conn.slot];
        if result.is_err() && slot.cancelling && slot.receiving && slot.paused {
            self.cancel(conn, Op::Receive);
        }
        None
    }
}
