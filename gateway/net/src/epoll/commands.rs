//! Commands are carried out at once; what they come to waits among the events.

use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};

use bytes::{Buf, Bytes};
use rustix::{
    io::Errno,
    ioctl::{Getter, ioctl},
    net::{
        AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, bind, connect, send, shutdown,
        socket_with, sockopt,
    },
};

use super::{CONN, Epoll, slots::SlotState, token::Token, watch};
use crate::socket::{Close, ConnId, Event, Sockets};

/// The most that one call sends.
const SEND_BYTES_MAX: usize = 1 << 20;
/// Bytes in the send queue that the peer has not acknowledged.
const SIOCOUTQ: rustix::ioctl::Opcode = libc::TIOCOUTQ as rustix::ioctl::Opcode;

impl Sockets for Epoll {
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        let Some(slot) = self.slots.live(conn) else { return };
        assert!(!slot.sending, "connection {conn:?} has a send in flight already");
        (slot.sending, slot.bytes) = (true, bytes);
        self.counters.sends += 1;
        if slot.writable {
            self.send_rest(conn);
        }
    }

    fn pause_receive(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        slot.paused = true;
    }

    fn resume_receive(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        if std::mem::take(&mut slot.paused) {
            self.list(conn);
        }
    }

    fn shutdown(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        if let Some(fd) = &slot.fd
            && !std::mem::replace(&mut slot.shut, true)
        {
            self.counters.enters += 1;
            // It fails when the peer has reset the connection, which receiving tells.
            let _ = shutdown(fd, Shutdown::Write);
        }
    }

    fn query_unsent(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        let Some(fd) = slot.fd.as_ref().filter(|_| !slot.querying) else { return };
        self.counters.enters += 1;
        match unsent(fd) {
            Ok(bytes) => {
                slot.querying = true;
                self.events.push_back(Event::Unsent { conn, bytes });
            }
            Err(_) => self.counters.unsent_failed += 1,
        }
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(slot) = self.slots.live(conn) else { return };
        if let (Close::Reset, Some(fd)) = (how, &slot.fd) {
            self.counters.enters += 1;
            // It fails for no open socket.
            let _ = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
        }
        self.counters.enters += 1;
        slot.end();
        self.events.push_back(Event::Closed { conn });
    }

    fn connect(&mut self, source: Option<SocketAddr>, target: SocketAddr) -> Option<ConnId> {
        let (conn, slot) = self.slots.occupy(SlotState::Connecting)?;
        self.counters.enters += 4;
        let begun = open(source, target).and_then(|(fd, is_done)| {
            watch(&self.epoll, &fd, Token::Conn(conn), CONN)?;
            slot.fd = Some(fd);
            Ok(is_done)
        });
        match begun {
            Ok(true) => self.connected(conn),
            // The kernel tells when it has ended.
            Ok(false) => {}
            Err(error) => self.events.push_back(Event::Connected { conn, result: Err(error.into()) }),
        }
        Some(conn)
    }

    fn open(&self) -> usize {
        self.slots.open()
    }

    fn capacity(&self) -> usize {
        self.slots.capacity()
    }
}

impl Epoll {
    /// Sends what is left of the send in flight, as far as the kernel takes it.
    pub(super) fn send_rest(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        loop {
            let len = slot.bytes.len().min(SEND_BYTES_MAX);
            self.counters.enters += 1;
            match send(slot.fd(), &slot.bytes[..len], SendFlags::NOSIGNAL) {
                Ok(count) => {
                    slot.bytes.advance(count);
                    let done = slot.bytes.is_empty();
                    self.events.push_back(Event::Sent { conn, bytes: count as u32, done });
                    if done {
                        (slot.sending, slot.bytes) = (false, Bytes::new());
                        return;
                    }
                    self.counters.sends_continued += 1;
                    if count < len {
                        slot.writable = false;
                        return;
                    }
                }
                Err(Errno::AGAIN) => {
                    slot.writable = false;
                    return;
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    (slot.sending, slot.bytes) = (false, Bytes::new());
                    self.events.push_back(Event::SendFailed { conn, error: error.into() });
                    return;
                }
            }
        }
    }

    /// Connecting has ended, for better or worse.
    pub(super) fn connected(&mut self, conn: ConnId) {
        let Some(slot) = self.slots.live(conn) else { return };
        self.counters.enters += 1;
        let result = sockopt::socket_error(slot.fd()).and_then(|result| result);
        if result.is_ok() {
            (slot.state, slot.writable, slot.readable) = (SlotState::Open, true, true);
            self.events.push_back(Event::Connected { conn, result: Ok(()) });
            self.list(conn);
        } else {
            // The kernel would tell of its end once more.
            slot.fd = None;
            self.events.push_back(Event::Connected { conn, result: result.map_err(Into::into) });
        }
    }
}

/// Begins to connect; whether that is done already.
fn open(source: Option<SocketAddr>, target: SocketAddr) -> rustix::io::Result<(OwnedFd, bool)> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    if let Some(source) = source {
        // Without this each connection takes a port of its own, also to different targets.
        bind_without_port(&fd)?;
        bind(&fd, &source)?;
    }
    match connect(&fd, &target) {
        Ok(()) => Ok((fd, true)),
        Err(Errno::INPROGRESS) => Ok((fd, false)),
        Err(error) => Err(error),
    }
}

fn bind_without_port(fd: &OwnedFd) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let (on, bytes) = (&raw const ON, size_of_val(&ON) as libc::socklen_t);
    // SAFETY: `on` points to as many readable bytes as are passed, of a static.
    let code = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, on.cast(), bytes)
    };
    if code == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}

static ON: libc::c_int = 1;

/// Bytes in a socket's send queue, not yet acknowledged.
fn unsent(fd: &OwnedFd) -> rustix::io::Result<u32> {
    // SAFETY: of a TCP socket SIOCOUTQ writes an int, which is what the getter has room for.
    let bytes = unsafe { ioctl(fd, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
    Ok(bytes as u32)
}
