//! Listeners and the accepts kept waiting at each.
//!
//! A multishot accept would not tell the peers' addresses of direct descriptors, so each accept is
//! a single shot with an address buffer and a slot of its own. The kernel wakes one of them per
//! connection.

use std::{
    alloc, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener},
    os::fd::AsRawFd,
    ptr::NonNull,
};

use io_uring::{
    opcode, squeue,
    types::{DestinationSlot, Fd},
};

use super::op::{Op, Tag};

/// Where the kernel writes a peer's address. Reached by pointer only, as the kernel shares it.
struct Peer(NonNull<PeerAddress>);

#[repr(C)]
struct PeerAddress {
    address: libc::sockaddr_storage,
    bytes: libc::socklen_t,
}

impl Peer {
    fn new() -> Self {
        let layout = alloc::Layout::new::<PeerAddress>();
        // SAFETY: the layout is not empty. All zeroes is a valid value.
        match NonNull::new(unsafe { alloc::alloc_zeroed(layout) }) {
            Some(memory) => Self(memory.cast()),
            None => alloc::handle_alloc_error(layout),
        }
    }

    /// What the last accept wrote; `None` for an address family that TCP does not have.
    fn read(&self) -> Option<SocketAddr> {
        // SAFETY: allocated and initialised in `new`; the accept that wrote to it is complete.
        let peer = unsafe { self.0.as_ptr().read_volatile() };
        let address = &raw const peer.address;
        match i32::from(peer.address.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which type it is, and the storage is large enough for all.
                let v4 = unsafe { address.cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read() };
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout. No accept is in flight: the ring drains
        // before it drops its accepts, and leaks them if it cannot.
        unsafe { alloc::dealloc(self.0.as_ptr().cast(), alloc::Layout::new::<PeerAddress>()) };
    }
}

struct Accept {
    listener: usize,
    peer: Peer,
    /// The slot held in reserve while the kernel has the accept.
    slot: u32,
}

/// All accepts of all listeners. An accept is known by its index.
#[derive(Default)]
pub(super) struct Accepts {
    /// Kept until the ring goes, or until their accepts were cancelled.
    listeners: Vec<TcpListener>,
    accepts: Vec<Accept>,
    /// Accepts that the kernel does not have.
    idle: Vec<u32>,
    stopped: bool,
    /// Accepting failed a moment ago; nothing is armed until a timer has passed.
    pub(super) backing_off: bool,
}

impl Accepts {
    pub(super) fn add(&mut self, listener: TcpListener, accepts: u32) -> io::Result<()> {
        if self.stopped && !self.accepts.is_empty() {
            return Err(io::Error::other(
                "earlier listeners are still being closed; submit and read events first",
            ));
        }
        // Fails for what is not a TCP listener, whose peers have no socket address.
        listener.local_addr()?;
        // On a non-blocking listener io_uring answers EAGAIN instead of waiting.
        listener.set_nonblocking(false)?;
        self.stopped = false;
        let first = self.accepts.len() as u32;
        let listener_index = self.listeners.len();
        self.listeners.push(listener);
        self.accepts.extend((0..accepts).map(|_| Accept {
            listener: listener_index,
            peer: Peer::new(),
            slot: 0,
        }));
        self.idle.extend(first..first + accepts);
        Ok(())
    }

    /// An accept that could be armed now.
    pub(super) fn idle(&self) -> Option<u32> {
        if self.stopped || self.backing_off { None } else { self.idle.last().copied() }
    }

    /// The operation for an idle accept into a reserved slot. It points to the accept's own address
    /// buffer, which is not touched again before [`Accepts::completed`].
    pub(super) fn arm(&mut self, index: u32, slot: u32) -> squeue::Entry {
        assert_eq!(self.idle.pop(), Some(index), "the accept that is armed is the last idle one");
        let accept = &mut self.accepts[index as usize];
        accept.slot = slot;
        let peer = accept.peer.0.as_ptr();
        // SAFETY: allocated in `Peer::new`; the accept was idle, so the kernel does not use it.
        let (address, bytes) = unsafe {
            (*peer).bytes = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            (&raw mut (*peer).address, &raw mut (*peer).bytes)
        };
        let fd = Fd(self.listeners[accept.listener].as_raw_fd());
        let slot = DestinationSlot::try_from_slot_target(slot).ok();
        let entry = opcode::Accept::new(fd, address.cast(), bytes).file_index(slot).build();
        entry.user_data(Tag::of_ring(Op::Accept, index).pack())
    }

    /// The kernel is done with an accept: its reserved slot, its listener, and the peer if one came.
    pub(super) fn completed(&mut self, index: u32, taken: bool) -> (u32, u8, Option<SocketAddr>) {
        let accept = &self.accepts[index as usize];
        let peer = if taken { accept.peer.read() } else { None };
        self.idle.push(index);
        let (slot, listener) = (accept.slot, accept.listener as u8);
        self.close_if_stopped();
        (slot, listener, peer)
    }

    /// Arms no more. Gives the accepts to cancel; the listeners close when the last has ended.
    pub(super) fn stop(&mut self) -> Vec<u32> {
        self.stopped = true;
        let armed = (0..self.accepts.len() as u32).filter(|index| !self.idle.contains(index)).collect();
        self.close_if_stopped();
        armed
    }

    fn close_if_stopped(&mut self) {
        if self.stopped && self.idle.len() == self.accepts.len() {
            self.listeners.clear();
            self.accepts.clear();
            self.idle.clear();
        }
    }
}
