//! From received bytes to what the client said.

use net::metric::Metric;
use proto::{
    Event, Refusal, Request,
    deflate::{Deflated, Inflater},
    encode::Opcode,
    msgpack,
};

use super::{
    ClientLimits, CloseReason, Connection, Dictionary, Ended, Refused, State,
    answers::Upgrade,
    close,
    handshake::{self, Answer, Situation},
};
use crate::{
    address::Address,
    clock::Now,
    fanout::compress::Compress,
    protocol::{
        encoding::{Encoding, Wire},
        request::{self, BadRequest},
    },
};

/// Input discarded after a refusal or a close frame before the connection is cut.
const DISCARD_BYTES_MAX: u32 = 1 << 20;

/// What a shard lends its connections.
pub struct Tools<'a> {
    pub limits: &'a ClientLimits,
    /// Of a request head.
    pub situation: Situation<'a>,
    /// Counts the connection for the address for which a proxy asks.
    pub admit: &'a mut dyn FnMut(Address) -> Result<(), Refused>,
    /// Made when the first compressed message comes.
    pub inflater: &'a mut Option<Box<Inflater>>,
    pub compress: &'a mut Compress,
    pub counters: &'a mut ClientCounters,
}

/// What connections count.
#[derive(Debug, Default, Clone)]
pub struct ClientCounters {
    /// Messages of clients.
    pub messages_in: u64,
    /// Compressed ones that were read.
    pub inflated: u64,
    /// Gauge: bytes held for what clients' compressed messages may refer back to.
    pub dictionary_bytes: u64,
}

impl ClientCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_messages_in", "Messages of clients", |c| c.messages_in),
        Metric::counter("fanwire_inflated_messages", "Compressed messages of clients", |c| c.inflated),
        Metric::gauge(
            "fanwire_dictionary_bytes",
            "Bytes held for what clients' compressed messages may refer back to",
            |c| c.dictionary_bytes,
        ),
    ];
}

/// What a step of [`Connection::receive`] came to.
#[derive(Debug)]
pub enum Said {
    /// Nothing that others have to know of.
    Nothing,
    /// Input is held until what is queued has left: the socket is to be paused.
    Pause,
    /// It asks for a WebSocket, which nothing but its token may still refuse: it is to be [opened](Connection::open) or
    /// [answered](Connection::answer).
    Upgrade(Box<Upgrade>),
    /// Its request was refused with this status, by a rule of the gateway's where that is named.
    Refused { status: u16, by: Option<Refused>, ended: Option<Ended> },
    /// An op, or why it is none.
    Op(Result<request::Request, BadRequest>),
    /// What a client says that knows no ops.
    Raw(String),
    /// It is closing.
    Ended(Option<Ended>),
    /// It is to be hung up.
    HangUp(CloseReason),
}

/// The same before the connection has acted on it.
enum Heard {
    Nothing,
    Answer(Answer),
    Refusal(Refusal),
    Op(Result<request::Request, BadRequest>),
    Raw(String),
    /// What an echo says.
    Echo(Vec<u8>),
    Close(u16),
    Break(CloseReason, String),
}

impl Connection {
    /// One step: uses some of `input`, at least a byte, and says what it came to. To be called until all of
    /// `input` is used.
    pub fn receive(&mut self, input: &mut [u8], mut tools: Tools<'_>, now: Now) -> (usize, Said) {
        self.heard_us = now.mono_us;
        match self.state {
            State::Closed => return (input.len(), Said::Nothing),
            State::Closing => return (input.len(), self.discard(input.len())),
            State::Open if self.is_stream() => return (input.len(), self.discard(input.len())),
            State::Connecting | State::Open if self.is_blocked() => {
                return (input.len(), self.hold_input(input));
            }
            State::Connecting | State::Open => {}
        }
        let received = self.conn.receive(input, &tools.limits.proto);
        let Some(event) = received.event else { return (received.used, Said::Nothing) };
        if !matches!(event, Event::Ping(_) | Event::Pong(_))
            && let Some(waiting) = &mut self.waiting
        {
            waiting.settle_pongs();
        }
        let (limits, now_us) = (tools.limits, now.mono_us);
        let heard = match event {
            Event::Request(request) => Heard::Answer(answer(&request, &mut tools)),
            Event::BadRequest(refusal) => Heard::Refusal(refusal),
            Event::Ping(_) | Event::Pong(_) if !self.controls.allow(limits.controls, now_us) => {
                Heard::Break(CloseReason::Rate, close::CONTROLS.to_owned())
            }
            Event::Ping(payload) => {
                self.waiting.get_or_insert_default().push_pong(payload);
                Heard::Nothing
            }
            Event::Text(_) | Event::Binary(_) | Event::Deflated(_) => {
                tools.counters.messages_in += 1;
                match event {
                    _ if !self.messages.allow(limits.messages, now_us) => {
                        Heard::Break(CloseReason::Rate, close::MESSAGES.to_owned())
                    }
                    Event::Deflated(message) => {
                        inflate(&message, &mut self.dictionary, self.wire, &mut tools)
                    }
                    message => understand(message, self.wire, tools.situation.echo, tools.compress),
                }
            }
            Event::Close(close) => Heard::Close(close.map_or(1000, |close| close.code)),
            Event::Fail(error) => Heard::Break((&error).into(), error.to_string()),
            // It says that the client is there.
            Event::Pong(_) => Heard::Nothing,
            Event::Response(_) | Event::Refused { .. } | Event::HandshakeFailed(_) => {
                unreachable!("an event of the client's role: {event:?}")
            }
        };
        // Memory that the event was delivered from is given back.
        let used = received.used;
        self.conn.receive(&mut [], &limits.proto);
        (used, self.act(heard, now))
    }

    fn act(&mut self, heard: Heard, now: Now) -> Said {
        match heard {
            Heard::Nothing => Said::Nothing,
            Heard::Answer(
                Answer::Http { status: status @ 400.., bytes, refused }
                | Answer::Close { status, bytes, refused },
            ) => self.refuse(status, bytes, refused, now),
            Heard::Answer(Answer::Http { bytes, .. }) => {
                Said::Ended(self.answer(bytes, CloseReason::ClientClosed, now))
            }
            Heard::Answer(Answer::Upgrade(upgrade)) => Said::Upgrade(upgrade),
            Heard::Refusal(refusal) => self.refuse(refusal.status, handshake::refusal(&refusal), None, now),
            Heard::Op(op) => Said::Op(op),
            Heard::Raw(text) => Said::Raw(text),
            Heard::Echo(frame) => {
                self.queue(frame);
                Said::Nothing
            }
            Heard::Close(code) => Said::Ended(self.close_with(code, CloseReason::ClientClosed, "", now)),
            Heard::Break(reason, text) => Said::Ended(self.close_saying(reason, &text, now)),
        }
    }

    fn refuse(&mut self, status: u16, answer: Vec<u8>, by: Option<Refused>, now: Now) -> Said {
        Said::Refused { status, by, ended: self.answer(answer, CloseReason::Refused, now) }
    }

    /// Whether what comes now is read at once, neither held nor discarded.
    pub fn is_reading(&self) -> bool {
        self.state < State::Closing && !self.is_blocked()
    }

    /// Whether something must leave before anything else may be answered.
    fn is_blocked(&self) -> bool {
        let is_full = self.waiting.as_ref().is_some_and(|waiting| waiting.is_full());
        self.in_flight || is_full || self.is_held()
    }

    /// Keeps input for when the client is no longer busy, and stops receiving. One read more may come, so that
    /// two are held at most, 4 KiB; over TLS the second may end a record, of up to 16 KiB.
    fn hold_input(&mut self, input: &[u8]) -> Said {
        let held = &mut self.waiting.get_or_insert_default().held;
        held.reserve_exact(input.len());
        held.extend_from_slice(input);
        if std::mem::replace(&mut self.is_paused, true) { Said::Nothing } else { Said::Pause }
    }

    fn discard(&mut self, bytes: usize) -> Said {
        self.discarded = self.discarded.saturating_add(bytes as u32);
        if self.discarded > DISCARD_BYTES_MAX {
            Said::HangUp(CloseReason::SocketError)
        } else {
            Said::Nothing
        }
    }
}

/// What a request is answered, once it is known whose it is.
fn answer(request: &Request<'_>, tools: &mut Tools<'_>) -> Answer {
    let situation = &mut tools.situation;
    if let Some(proxies) = situation.proxies {
        situation.peer = proxies.client(request).map_or(situation.peer, Address::from);
        let over = (tools.admit)(situation.peer).err();
        situation.refused = situation.refused.or(over);
    }
    handshake::answer(request, situation)
}

/// A whole message in the subprotocol of its connection. An echo answers each with itself.
fn understand(message: Event<'_>, wire: Wire, echo: bool, compress: &mut Compress) -> Heard {
    let mut back = |opcode, payload| {
        let mut frame = Vec::new();
        compress.frame(&mut frame, opcode, payload, wire);
        Heard::Echo(frame)
    };
    match (message, wire.encoding) {
        (Event::Text(text), _) if echo => back(Opcode::Text, text.as_bytes()),
        (Event::Binary(bytes), _) if echo => back(Opcode::Binary, bytes),
        (Event::Text(text), Encoding::Json) => Heard::Op(request::parse(text)),
        (Event::Binary(packed), Encoding::Msgpack) => Heard::Op(unpack(packed)),
        (Event::Text(text), Encoding::Raw) => Heard::Raw(text.to_owned()),
        (_, encoding) => {
            let text = match encoding {
                Encoding::Msgpack => close::TEXT_FRAMES,
                Encoding::Raw => close::RAW_BINARY_FRAMES,
                Encoding::Json | Encoding::Sse { .. } | Encoding::Ndjson => close::BINARY_FRAMES,
            };
            Heard::Break(CloseReason::UnsupportedData, text.to_owned())
        }
    }
}

fn unpack(packed: &[u8]) -> Result<request::Request, BadRequest> {
    let mut text = Vec::with_capacity(packed.len());
    let said = msgpack::to_json(packed, &mut text);
    said.map_err(|error| BadRequest { id: None, reason: error.to_string() })?;
    request::parse(std::str::from_utf8(&text).expect("JSON is UTF-8"))
}

/// A compressed message, and what the next one may refer back to.
fn inflate(
    message: &Deflated<'_>,
    dictionary: &mut Option<Box<Dictionary>>,
    wire: Wire,
    tools: &mut Tools<'_>,
) -> Heard {
    let before = dictionary.as_deref().map_or(&[][..], Dictionary::bytes);
    let inflater = tools.inflater.get_or_insert_default();
    let inflated = match inflater.inflate_after(before, message, tools.limits.inflate) {
        Ok(inflated) => inflated,
        Err(error) => return Heard::Break((&error).into(), error.to_string()),
    };
    tools.counters.inflated += 1;
    if !inflated.window.is_empty() {
        let had = dictionary.as_deref().map_or(0, Dictionary::taken_bytes);
        let bytes = Dictionary::heap_bytes(inflated.window.len());
        let Situation { peer, dictionaries, .. } = tools.situation;
        if let Err(full) = dictionaries.grow(peer, had, bytes) {
            return Heard::Break(CloseReason::Dictionaries, full.to_string());
        }
        tools.counters.dictionary_bytes += (bytes - had) as u64;
        dictionary.get_or_insert_default().set(inflated.window);
    }
    understand(inflated.message, wire, tools.situation.echo, tools.compress)
}
