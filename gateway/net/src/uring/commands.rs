//! Commands become entries of the submission queue.

use std::{net::SocketAddr, ptr};

use bytes::Bytes;
use io_uring::{
    opcode, squeue,
    types::{DestinationSlot, Fixed},
};
use socket2::SockAddr;

use super::{
    Ring, buffers,
    op::{Op, Tag},
    slots::SlotState,
};
use crate::socket::{Close, ConnId, Sockets};

/// The most that one operation sends; larger frames go on in further ones.
const SEND_BYTES_MAX: usize = 1 << 20;
/// Whoever sends no more is not waiting to go on with something longer.
const SEND_BYTES_SHORT: usize = 8 << 10;
/// `SOCKET_URING_OP_SIOCOUTQ`, Linux 6.7.
const SIOCOUTQ: u32 = 1;

// Socket options are read when the operation runs, which may be after its submission.
static ON: libc::c_int = 1;
static LINGER_ZERO: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

impl Sockets for Ring {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        let Some(slot) = self.slots.live(conn) else { return };
        assert!(!slot.sending, "connection {conn:?} has a send in flight already");
        slot.sending = true;
        slot.bytes = bytes;
        self.counters.sends += 1;
        self.send_rest(conn);
    }

    fn pause_receive(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        slot.paused = true;
        if slot.receiving && !slot.cancelling {
            slot.cancelling = true;
            self.cancel(conn, Op::Receive);
        }
    }

    fn resume_receive(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        if std::mem::take(&mut slot.paused) {
            self.receive(conn);
        }
    }

    fn shutdown(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        if !std::mem::replace(&mut slot.shut, true) {
            let entry = opcode::Shutdown::new(Fixed(conn.slot), libc::SHUT_WR).build();
            // SAFETY: the entry points to no memory.
            unsafe { self.push(conn, Op::Shutdown, entry) };
        }
    }

    fn query_unsent(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        if !std::mem::replace(&mut slot.querying, true) {
            let entry = opcode::UringCmd16::new(Fixed(conn.slot), SIOCOUTQ).build();
            // SAFETY: the entry points to no memory.
            unsafe { self.push(conn, Op::Unsent, entry) };
        }
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(slot) = self.slots.live(conn) else { return };
        let connecting = slot.state == SlotState::Connecting;
        let (receiving, sending) = (slot.receiving, slot.sending);
        slot.state = SlotState::Closing;
        if connecting {
            // The socket may not be in its slot yet: it is closed when connecting has ended.
            return self.cancel(conn, Op::Connect);
        }
        if how == Close::Reset {
            let entry = set_option(conn, libc::SOL_SOCKET, libc::SO_LINGER, &LINGER_ZERO);
            // SAFETY: the entry points to a static.
            unsafe { self.push(conn, Op::Linger, entry) };
        }
        // By user data, which the kernel finds by hash; by file it would look at every operation.
        if receiving {
            self.cancel(conn, Op::Receive);
        }
        if sending {
            self.cancel(conn, Op::Send);
        }
        self.close_file(conn);
    }

    fn connect(&mut self, source: Option<SocketAddr>, target: SocketAddr) -> Option<ConnId> {
        let slot = self.slots.reserve()?;
        let conn = self.slots.occupy(slot, SlotState::Connecting);
        let tag = |op, entry: squeue::Entry| entry.user_data(Tag::of_conn(op, conn).pack());
        let fd = Fixed(conn.slot);
        let domain = if target.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let index = DestinationSlot::try_from_slot_target(conn.slot).ok();
        let socket = opcode::Socket::new(domain, libc::SOCK_STREAM, 0).file_index(index).build();
        let socket = tag(Op::Prepare, socket);
        let no_delay = set_option(conn, libc::IPPROTO_TCP, libc::TCP_NODELAY, &ON);
        let no_delay = tag(Op::Prepare, no_delay);
        let target = Box::new(SockAddr::from(target));
        let connect = opcode::Connect::new(fd, target.as_ptr().cast(), target.len()).build();
        let connect = tag(Op::Connect, connect);
        if let Some(source) = source {
            // Without this each connection takes a port of its own, also to different targets.
            let no_port = set_option(conn, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &ON);
            let no_port = tag(Op::Prepare, no_port);
            let source = Box::new(SockAddr::from(source));
            let bind = opcode::Bind::new(fd, source.as_ptr().cast(), source.len()).build();
            let bind = tag(Op::Prepare, bind);
            self.slots[conn.slot].in_flight += 5;
            // SAFETY: options are statics; addresses are read during submission and staged below.
            unsafe { self.queues.push_linked([socket, no_delay, no_port, bind, connect]) };
            self.queues.stage(source);
        } else {
            self.slots[conn.slot].in_flight += 3;
            // SAFETY: as above.
            unsafe { self.queues.push_linked([socket, no_delay, connect]) };
        }
        self.queues.stage(target);
        Some(conn)
    }

    fn open(&self) -> usize {
        self.slots.open()
    }

    fn capacity(&self) -> usize {
        self.slots.capacity()
    }
}

impl Ring {
    /// Queues an operation of a connection.
    ///
    /// # Safety
    ///
    /// As for [`Queues::push`](super::queues::Queues::push).
    unsafe fn push(&mut self, conn: ConnId, op: Op, entry: squeue::Entry) {
        self.slots[conn.slot].in_flight += 1;
        // SAFETY: passed on.
        unsafe { self.queues.push(entry.user_data(Tag::of_conn(op, conn).pack())) };
    }

    /// Sends what is left of the send in flight.
    pub(super) fn send_rest(&mut self, conn: ConnId) {
        let bytes = &self.slots[conn.slot].bytes;
        self.short_sends += usize::from(bytes.len() <= SEND_BYTES_SHORT);
        let len = bytes.len().min(SEND_BYTES_MAX) as u32;
        let entry =
            opcode::Send::new(Fixed(conn.slot), bytes.as_ptr(), len).flags(libc::MSG_NOSIGNAL).build();
        // SAFETY: the slot holds the bytes, which do not move with it, until the completion. A ring
        // that is dropped drains first or leaks its slots.
        unsafe { self.push(conn, Op::Send, entry) };
    }

    /// Begins to receive, unless that is not wanted now or has begun.
    pub(super) fn receive(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn.slot];
        let wanted = slot.state == SlotState::Open && !slot.paused && !slot.ended;
        if !wanted || slot.receiving || slot.lent || slot.starved {
            return;
        }
        slot.receiving = true;
        let fd = Fixed(conn.slot);
        let entry = if self.recv_single {
            // No more than one of the pool's buffers, which all are of one length.
            let entry = opcode::Recv::new(fd, ptr::null_mut(), 0).buf_group(buffers::GROUP).build();
            entry.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, buffers::GROUP).build()
        };
        // SAFETY: the kernel writes to the buffers that the pool offers to it.
        unsafe { self.push(conn, Op::Receive, entry) };
    }

    pub(super) fn cancel(&mut self, conn: ConnId, op: Op) {
        let entry = opcode::AsyncCancel::new(Tag::of_conn(op, conn).pack()).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.push(conn, Op::Cancel, entry) };
    }

    pub(super) fn close_file(&mut self, conn: ConnId) {
        let entry = opcode::Close::new(Fixed(conn.slot)).build();
        // SAFETY: the entry points to no memory.
        unsafe { self.push(conn, Op::Close, entry) };
    }
}

fn set_option<T>(conn: ConnId, level: libc::c_int, name: libc::c_int, value: &'static T) -> squeue::Entry {
    let (level, name, bytes) = (level as u32, name as u32, size_of::<T>() as u32);
    opcode::SetSockOpt::new(Fixed(conn.slot), level, name, ptr::from_ref(value).cast(), bytes).build()
}
