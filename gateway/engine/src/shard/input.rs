//! From received bytes to messages.

use net::{Close, ConnId, Sockets};
use proto::{
    Event,
    deflate::{Agreement, Deflated},
    encode::Opcode,
};

use super::{Application, Shard};
use crate::{
    client::{
        CloseReason, Dictionary, Phase,
        dictionaries::Full,
        handshake::{self, Answer, Situation},
    },
    clock::Now,
    protocol::{Subscribe, encoding::Encoding},
};

/// Input discarded after a refusal or a close frame before the connection is cut.
const DISCARD_BYTES_MAX: u32 = 1 << 20;

/// What is left to do when an event's borrow of the parser has ended.
enum Then {
    Continue,
    Upgraded(Option<Agreement>, Option<Subscribe>),
}

impl Shard {
    pub(super) fn on_received(&mut self, conn: ConnId, bytes: &mut [u8], net: &mut impl Sockets, now: Now) {
        let Some(client) = self.client(conn) else { return };
        client.heard_us = now.mono_us;
        let (phase, blocked) = (client.phase, client.blocked());
        self.stats.bytes_in += bytes.len() as u64;
        match phase {
            Phase::Closing => {}
            Phase::Leaving | Phase::Lingering => self.discard(conn.slot, bytes.len(), net),
            Phase::Handshake | Phase::Open if blocked => self.hold(conn.slot, bytes, net),
            Phase::Handshake | Phase::Open => {
                self.parse(conn.slot, bytes, net, now);
                self.advance(conn.slot, net, now);
            }
        }
    }

    fn discard(&mut self, slot: u32, bytes: usize, net: &mut impl Sockets) {
        let client = self.at(slot);
        client.discarded = client.discarded.saturating_add(bytes as u32);
        if client.discarded > DISCARD_BYTES_MAX {
            self.hang_up(slot, CloseReason::SocketError, Close::Orderly, net);
        }
    }

    /// Keeps input for when the client is no longer busy, and stops receiving. One read more may come, so that
    /// two are held at most, 4 KiB; over TLS the second may end a record, of up to 16 KiB.
    fn hold(&mut self, slot: u32, bytes: &[u8], net: &mut impl Sockets) {
        let client = self.at(slot);
        let held = &mut client.waiting().held;
        held.reserve_exact(bytes.len());
        held.extend_from_slice(bytes);
        if !client.paused {
            client.paused = true;
            let id = client.id;
            self.stats.receive_pauses += 1;
            net.pause_receive(id);
        }
    }

    /// Parses until the input ends or something must be sent first; the rest is held.
    pub(super) fn parse(&mut self, slot: u32, bytes: &mut [u8], net: &mut impl Sockets, now: Now) {
        let mut conn = std::mem::replace(&mut self.at(slot).conn, proto::Conn::server());
        let limits = self.limits.proto;
        let mut at = 0;
        while at < bytes.len() {
            let client = self.at(slot);
            match client.phase {
                Phase::Handshake | Phase::Open if client.blocked() => {
                    self.hold(slot, &bytes[at..], net);
                    break;
                }
                Phase::Handshake | Phase::Open => {}
                Phase::Leaving | Phase::Lingering => {
                    self.discard(slot, bytes.len() - at, net);
                    break;
                }
                Phase::Closing => break,
            }
            let received = conn.receive(&mut bytes[at..], &limits);
            at += received.used;
            let Some(event) = received.event else { continue };
            if let Then::Upgraded(deflate, subscribe) = self.on_event_of(slot, event, now) {
                conn.upgraded(deflate);
                if let Some(subscribe) = subscribe {
                    self.on_subscribe(slot, None, subscribe, now);
                }
            }
        }
        // Memory that the last event was delivered from is given back.
        conn.receive(&mut [], &limits);
        self.at(slot).conn = conn;
    }

    fn on_event_of(&mut self, slot: u32, event: Event<'_>, now: Now) -> Then {
        if !matches!(event, Event::Ping(_) | Event::Pong(_)) {
            self.at(slot).settle_pongs();
        }
        match event {
            Event::Request(request) => return self.on_request(slot, &request, now),
            Event::BadRequest(refusal) => {
                self.refuse(slot, refusal.status, handshake::refusal(&refusal), now);
            }
            Event::Text(_) | Event::Binary(_) | Event::Deflated(_) if !self.allow_message(slot, now) => {
                self.close_saying(slot, CloseReason::Rate, "too many messages per second", now);
            }
            Event::Ping(_) | Event::Pong(_) if !self.allow_control(slot, now) => {
                self.close_saying(slot, CloseReason::Rate, "too many control frames per second", now);
            }
            Event::Text(_) | Event::Binary(_) => self.on_text_or_binary(slot, event, now),
            Event::Deflated(message) => self.on_deflated(slot, &message, now),
            Event::Ping(payload) => self.at(slot).queue_pong(payload),
            Event::Pong(_) => {}
            Event::Close(close) => {
                let code = close.map_or(1000, |close| close.code);
                self.close_with(slot, code, CloseReason::ClientClosed, "", now);
            }
            Event::Fail(error) => self.fail(slot, &error, now),
            // Events of the client role.
            _ => {}
        }
        Then::Continue
    }

    fn on_text_or_binary(&mut self, slot: u32, message: Event<'_>, now: Now) {
        let encoding = self.at(slot).wire.encoding;
        match (self.application, message) {
            (Application::Broadcast, Event::Text(text)) if encoding == Encoding::Json => {
                self.on_text(slot, text, now);
            }
            (Application::Broadcast, Event::Binary(packed)) if encoding == Encoding::Msgpack => {
                self.on_packed(slot, packed, now);
            }
            (Application::Broadcast, _) => {
                let kind = if encoding == Encoding::Json { "binary" } else { "text" };
                let reason = format!("{kind} frames are not part of {}", encoding.subprotocol());
                self.close_saying(slot, CloseReason::UnsupportedData, &reason, now);
            }
            (Application::Echo, Event::Text(text)) => self.echo(slot, Opcode::Text, text.as_bytes()),
            (Application::Echo, Event::Binary(bytes)) => self.echo(slot, Opcode::Binary, bytes),
            (Application::Echo, _) => {}
        }
    }

    fn on_deflated(&mut self, slot: u32, message: &Deflated<'_>, now: Now) {
        let limits = self.limits.inflate;
        let mut inflater = self.inflater.take().unwrap_or_default();
        let dictionary = self.at(slot).dictionary.as_deref().map_or(&[][..], Dictionary::bytes);
        match inflater.inflate_after(dictionary, message, limits) {
            Ok(inflated) => {
                self.stats.inflated += 1;
                match self.keep(slot, inflated.window) {
                    Ok(()) => self.on_text_or_binary(slot, inflated.message, now),
                    Err(full) => self.close_saying(slot, CloseReason::Dictionaries, &full.to_string(), now),
                }
            }
            Err(error) => self.fail(slot, &error, now),
        }
        self.inflater = Some(inflater);
    }

    /// Keeps what the client's next compressed message may refer back to.
    fn keep(&mut self, slot: u32, window: &[u8]) -> Result<(), Full> {
        if window.is_empty() {
            return Ok(());
        }
        let client = self.at(slot);
        let (address, had, bytes) =
            (client.address(), client.dictionary_bytes(), Dictionary::heap_bytes(window.len()));
        self.shared.dictionaries.grow(address, had, bytes)?;
        self.stats.dictionary_bytes += (bytes - had) as u64;
        self.at(slot).dictionary.get_or_insert_default().set(window);
        Ok(())
    }

    /// The client broke a rule of the protocol.
    fn fail(&mut self, slot: u32, error: &proto::Error, now: Now) {
        self.close_saying(slot, error.into(), &error.to_string(), now);
    }

    fn allow_message(&mut self, slot: u32, now: Now) -> bool {
        self.stats.messages_in += 1;
        let limit = self.limits.messages;
        self.at(slot).messages.allow(limit, now.mono_us)
    }

    fn allow_control(&mut self, slot: u32, now: Now) -> bool {
        let limit = self.limits.controls;
        self.at(slot).controls.allow(limit, now.mono_us)
    }

    fn echo(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let wire = self.at(slot).wire;
        let mut frame = Vec::new();
        self.fanout.compress.frame(&mut frame, opcode, payload, wire);
        self.at(slot).queue(frame);
    }

    fn on_request(&mut self, slot: u32, request: &proto::Request<'_>, now: Now) -> Then {
        let client = self.at(slot);
        let (peer, refused, is_loopback) = (client.peer, client.refused, client.is_loopback);
        let takes_context = self.shared.dictionaries.have_room(peer.into());
        let situation = Situation {
            peer,
            is_loopback,
            hosts: &self.hosts,
            refused,
            draining: self.shared.draining(),
            admin: self.shared.admin,
            admin_tls: self.shared.admin_tls,
            patterns_max: self.limits.patterns,
            compression: &self.compression,
            takes_context,
            echo: self.application == Application::Echo,
        };
        match handshake::answer(request, &situation) {
            Answer::Http { status: status @ 400.., bytes } => self.refuse(slot, status, bytes, now),
            Answer::Http { bytes, .. } => {
                self.at(slot).queue(bytes);
                self.leave(slot, CloseReason::ClientClosed, now);
            }
            Answer::Upgrade { head, wire, deflate, declined, subscribe } => {
                self.stats.compression_declined += u64::from(declined);
                let limits = &self.limits;
                let next_us = now.mono_us + limits.idle_us.min(limits.ping_us).min(limits.stall_us / 4);
                self.wheel.set(slot, next_us);
                let client = self.at(slot);
                (client.phase, client.wire) = (Phase::Open, wire);
                client.since_us = now.mono_us;
                client.queue(head);
                self.clients_open += 1;
                self.stats.accepted += 1;
                return Then::Upgraded(deflate, subscribe);
            }
        }
        Then::Continue
    }
}
