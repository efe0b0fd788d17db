//! Connections that listeners take.

use std::{net::SocketAddr, os::fd::OwnedFd};

use super::{CONN, Epoll, slots::SlotState, token::Token, watch};
use crate::socket::Event;

impl Epoll {
    /// Takes a connection that waits, or tells why that could not be. `None`: nobody waits, or there is no room.
    pub(super) fn accept(&mut self) -> Option<Event> {
        if !self.slots.has_room() {
            return None;
        }
        Some(match self.listeners.accept(&mut self.counters.enters)? {
            Ok((fd, peer, listener)) => self.accepted(fd, peer, listener),
            Err(error) => Event::AcceptFailed { error: error.into() },
        })
    }

    fn accepted(&mut self, fd: OwnedFd, peer: SocketAddr, listener: u8) -> Event {
        let (conn, slot) = self.slots.occupy(SlotState::Open).expect("there is room for it");
        self.counters.enters += 1;
        slot.writable = true;
        let watched = watch(&self.epoll, &fd, Token::Conn(conn), CONN);
        slot.fd = Some(fd);
        match watched {
            Ok(()) => Event::Accepted { conn, peer, listener, waited_us: 0 },
            Err(error) => {
                // Nobody has heard of it yet.
                slot.end();
                self.slots.vacate(conn);
                Event::AcceptFailed { error: error.into() }
            }
        }
    }
}
