//! How connections end: by a close frame, by their peer, at once.

use net::{Close, ConnId, Sockets};

use super::Shard;
use crate::{
    client::{CloseReason, Ended, State},
    clock::Now,
};

impl Shard {
    /// Queues a close frame; the connection ends when it was sent.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason, now: Now) {
        let ended = self.at(slot).connection.close(reason, now);
        self.ended(slot, ended, now);
    }

    /// A connection is closing: it is no subscriber any more, and has another deadline.
    pub(super) fn ended(&mut self, slot: u32, ended: Option<Ended>, now: Now) {
        if let Some(ended) = ended {
            self.unsubscribe_all(slot, ended);
            self.set_timer(slot, now);
        }
    }

    /// The connection stops being a subscriber.
    fn unsubscribe_all(&mut self, slot: u32, ended: Ended) {
        self.leave_lines(slot);
        while let Some(sub) = self.at(slot).subs.pop() {
            self.leave_class(slot, sub.class, sub.place, sub.slot);
        }
        self.leave_writing(slot);
        self.give_up_access(slot);
        if ended.dictionary_bytes > 0 {
            self.stats.client.dictionary_bytes -= ended.dictionary_bytes as u64;
            let address = self.at(slot).address;
            self.shared.dictionaries.release(address, ended.dictionary_bytes);
        }
        self.stats.ended(ended.reason);
        self.clients_open -= usize::from(ended.was_open);
    }

    /// The socket is gone.
    pub(super) fn gone(&mut self, slot: u32) {
        if let Some(ended) = self.at(slot).connection.hang_up(CloseReason::SocketError) {
            self.unsubscribe_all(slot, ended);
        }
    }

    /// Closes at once, without a word.
    pub(super) fn hang_up(&mut self, slot: u32, reason: CloseReason, net: &mut impl Sockets) {
        let client = self.at(slot);
        let (id, was_closed) = (client.id, client.connection.state() == State::Closed);
        if let Some(ended) = client.connection.hang_up(reason) {
            self.unsubscribe_all(slot, ended);
        }
        if !was_closed {
            self.wheel.clear(slot);
            net.close(id, if reason.resets() { Close::Reset } else { Close::Orderly });
        }
    }

    pub(super) fn reset_all(&mut self, net: &mut impl Sockets) {
        for slot in 0..self.clients.len() {
            if self.clients[slot].is_some() {
                self.hang_up(slot as u32, CloseReason::Draining, net);
            }
        }
    }

    /// What came is no TLS.
    pub(super) fn on_broken(&mut self, conn: ConnId, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        match client.connection.broke(now) {
            Err(reason) => self.hang_up(conn.slot, reason, net),
            Ok(ended) => {
                if let Some(ended) = ended {
                    self.unsubscribe_all(conn.slot, ended);
                }
                self.set_timer(conn.slot, now);
                self.advance(conn.slot, net, now);
            }
        }
    }

    pub(super) fn on_receive_ended(&mut self, conn: ConnId, failed: bool, net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        match client.connection.receive_ended(failed) {
            Some(reason) => self.hang_up(conn.slot, reason, net),
            None => self.advance(conn.slot, net, now),
        }
    }

    pub(super) fn on_send_failed(&mut self, conn: ConnId, net: &mut impl Sockets) {
        if self.client(conn).is_some() {
            self.hang_up(conn.slot, CloseReason::SocketError, net);
        }
    }
}
