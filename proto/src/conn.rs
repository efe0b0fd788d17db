//! One connection: what is known between two reads, and the step from bytes to an event.

use crate::{
    Close, Error, Event, HandshakeError, Headers, Limits, Received, Refusal, Request, Response,
    deflate::{Agreement, Deflated},
    encode::Opcode,
    frame::{Context, Header},
    head::{self, Head},
    mask,
    reassembly::{Reassembly, Whole},
};

/// Where a connection stands (RFC 6455, 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The handshake is under way.
    Connecting,
    /// Frames may go both ways.
    Open,
    /// One side sent its close frame, or the peer broke the protocol and waits for ours.
    Closing,
    /// Both sides did, or the handshake failed.
    Closed,
}

/// The protocol state of one connection. It takes 24 bytes, and no heap while nothing is cut.
#[derive(Debug)]
pub struct Conn {
    held: Held,
    phase: Phase,
    role: Role,
    /// Our close frame was written.
    close_sent: bool,
    deflate: Deflate,
}

/// Whether messages may be compressed (RFC 7692).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deflate {
    No,
    /// By a client; the answer has not come.
    Offered,
    /// With the peer's window as a power of two, where its messages may refer back to earlier ones.
    Agreed {
        context_bits: Option<u8>,
    },
}

impl Deflate {
    fn is_agreed(self) -> bool {
        matches!(self, Deflate::Agreed { .. })
    }

    /// A compressed message of the peer.
    fn message(self, is_text: bool, bytes: &[u8]) -> Event<'_> {
        let context_bits = match self {
            Deflate::Agreed { context_bits } => context_bits,
            Deflate::No | Deflate::Offered => None,
        };
        Event::Deflated(Deflated { is_text, bytes, context_bits })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// What the next byte of input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    /// Nothing of interest until the request is answered.
    Answer,
    Frames,
    /// Nothing of interest any more: the peer closed or failed.
    Ended,
    /// The same, and there never were frames.
    Refused,
}

/// What was received in part, and what the last event was delivered from.
#[derive(Debug)]
enum Held {
    Nothing,
    Head(Box<Head>),
    Frames(Box<Reassembly>),
}

impl Conn {
    /// The side that was connected to.
    pub fn server() -> Conn {
        Conn::new(Held::Nothing, Role::Server)
    }

    /// The side that connects; `nonce` is remembered until the answer was checked against it.
    pub fn client(nonce: [u8; 16]) -> Conn {
        let held = Held::Head(Box::new(Head::of_client(nonce)));
        Conn::new(held, Role::Client)
    }

    fn new(held: Held, role: Role) -> Conn {
        Conn { held, phase: Phase::Head, role, close_sent: false, deflate: Deflate::No }
    }

    /// Client: the request has [`deflate::OFFER`](crate::deflate::OFFER).
    pub fn offering_deflate(self) -> Conn {
        Conn { deflate: Deflate::Offered, ..self }
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        match (self.phase, self.close_sent) {
            (Phase::Head | Phase::Answer, _) => State::Connecting,
            (Phase::Frames, false) => State::Open,
            (Phase::Frames, true) | (Phase::Ended, false) => State::Closing,
            (Phase::Ended, true) | (Phase::Refused, _) => State::Closed,
        }
    }

    /// One step: consumes a prefix of `input` (at least a byte, if there is one), unmasks it in
    /// place and answers with at most one event. Call it until all of `input` is used *and* there
    /// was no event: memory that an event was delivered from is given back by the next call, be
    /// its input empty.
    pub fn receive<'a>(&'a mut self, input: &'a mut [u8], limits: &Limits) -> Received<'a> {
        if !matches!(self.held, Held::Nothing) {
            self.give_back();
        }
        match (self.phase, self.role) {
            _ if input.is_empty() => Received { used: 0, event: None },
            (Phase::Frames, _) => self.receive_frame(input, limits),
            (Phase::Head, Role::Server) => self.receive_request(input, limits),
            (Phase::Head, Role::Client) => self.receive_response(input, limits),
            (Phase::Answer | Phase::Ended | Phase::Refused, _) => Received { used: input.len(), event: None },
        }
    }

    /// Server: the 101 was written, with permessage-deflate as it was agreed or without.
    /// [`State::Connecting`] becomes [`State::Open`].
    pub fn upgraded(&mut self, deflate: Option<Agreement>) {
        if self.state() == State::Connecting {
            self.held = Held::Nothing;
            self.phase = Phase::Frames;
            let agreed = |it: Agreement| Deflate::Agreed { context_bits: it.client_context_bits };
            self.deflate = deflate.map_or(Deflate::No, agreed);
        }
    }

    /// Whether permessage-deflate was agreed.
    pub fn deflates(&self) -> bool {
        self.deflate.is_agreed()
    }

    /// Our close frame was written. [`State::Open`] becomes [`State::Closing`], and after the
    /// peer's [`State::Closed`]. From now on all but the peer's close frame is ignored.
    pub fn close_sent(&mut self) {
        self.close_sent = true;
        if let Held::Frames(frames) = &mut self.held {
            frames.ignore_message();
        }
        self.give_back();
    }

    /// Bytes of heap held for input that came in part.
    pub fn buffered(&self) -> usize {
        match &self.held {
            Held::Nothing => 0,
            Held::Head(head) => size_of::<Head>() + head.bytes.capacity(),
            Held::Frames(frames) => size_of::<Reassembly>() + frames.capacity(),
        }
    }

    /// Frees what the last event was delivered from and what nobody will ask for any more.
    fn give_back(&mut self) {
        let needed = match &mut self.held {
            Held::Nothing => return,
            Held::Head(_) => self.phase == Phase::Head,
            Held::Frames(frames) => {
                frames.give_back();
                self.phase == Phase::Frames && !frames.is_idle()
            }
        };
        if !needed {
            self.held = Held::Nothing;
        }
    }
}

/// The handshake.
impl Conn {
    fn receive_request<'a>(&'a mut self, input: &'a [u8], limits: &Limits) -> Received<'a> {
        let found = match &mut self.held {
            Held::Head(head) => head.extend(input, limits, head::request_end),
            _ => match head::request_end(input, limits) {
                Ok(Some(end)) => {
                    self.phase = Phase::Answer;
                    let request = Request::of_head(&input[..end]);
                    return Received { used: end, event: Some(Event::Request(request)) };
                }
                Ok(None) => {
                    self.held = Held::Head(Box::new(Head::begun(input)));
                    Ok((input.len(), false))
                }
                Err(bad) => Err(bad),
            },
        };
        match found {
            Ok((used, false)) => Received { used, event: None },
            Ok((used, true)) => {
                self.phase = Phase::Answer;
                let event = match &self.held {
                    Held::Head(head) => Some(Event::Request(Request::of_head(&head.bytes))),
                    _ => None,
                };
                Received { used, event }
            }
            Err(bad) => {
                let begun = if let Held::Head(head) = &self.held { &head.bytes[..] } else { input };
                let refusal = Refusal { is_head: head::is_head(begun), ..bad.into() };
                self.held = Held::Nothing;
                self.phase = Phase::Refused;
                Received { used: input.len(), event: Some(Event::BadRequest(refusal)) }
            }
        }
    }

    /// A client gets few answers, so all of them go through the held head, which has the nonce.
    fn receive_response<'a>(&'a mut self, input: &'a [u8], limits: &Limits) -> Received<'a> {
        let Held::Head(head) = &mut self.held else {
            unreachable!("a client holds its nonce until the handshake has ended")
        };
        let event = match head.extend(input, limits, head::response_end) {
            Ok((used, false)) => return Received { used, event: None },
            Ok((used, true)) => {
                match head.skip_interim() {
                    Ok(true) => return Received { used, event: None },
                    Ok(false) => {}
                    Err(error) => {
                        self.phase = Phase::Refused;
                        return Received { used: input.len(), event: Some(Event::HandshakeFailed(error)) };
                    }
                }
                let event = response(head, &input[used..], self.deflate == Deflate::Offered);
                if let Event::Response(response) = &event {
                    self.phase = Phase::Frames;
                    // What was offered has the server's messages stand for themselves.
                    let agreed = Deflate::Agreed { context_bits: None };
                    self.deflate = if response.deflate() { agreed } else { Deflate::No };
                    return Received { used, event: Some(event) };
                }
                event
            }
            Err(bad) => Event::HandshakeFailed(bad.into()),
        };
        self.phase = Phase::Refused;
        Received { used: input.len(), event: Some(event) }
    }
}

/// A whole answer; `rest` is what came after its head. `deflate`: it was offered.
fn response<'a>(head: &'a Head, rest: &'a [u8], deflate: bool) -> Event<'a> {
    let (line, fields) = head::split(&head.bytes);
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ');
    let (version, status, reason) = (words.next(), words.next(), words.next());
    match (version, status.and_then(|status| status.parse().ok())) {
        (Some("HTTP/1.1"), Some(101)) => match Response::check(fields, head.nonce, deflate) {
            Ok(response) => Event::Response(response),
            Err(error) => Event::HandshakeFailed(error),
        },
        (_, Some(status)) if status != 101 => {
            let (reason, headers) = (reason.unwrap_or("").to_owned(), Headers(fields));
            Event::Refused { status, reason, headers, body: rest }
        }
        _ => Event::HandshakeFailed(HandshakeError::Malformed(format!("`{line}`"))),
    }
}

/// Frames.
impl Conn {
    fn receive_frame<'a>(&'a mut self, input: &'a mut [u8], limits: &Limits) -> Received<'a> {
        if !matches!(self.held, Held::Nothing) {
            return self.receive_cut(input, limits);
        }
        let masked = self.role == Role::Server;
        let deflate = self.deflate.is_agreed();
        let context =
            Context { masked, deflate, message_bytes: None, message_bytes_max: limits.message_bytes };
        let header = match Header::parse(input, context) {
            Ok(Some(header)) => header,
            Ok(None) => return self.receive_cut(input, limits),
            Err(error) => return self.fail(input.len(), error),
        };
        if !header.fin || input.len() - header.header_bytes < header.payload_bytes {
            return self.receive_cut(input, limits);
        }
        let used = header.header_bytes + header.payload_bytes;
        let payload = &mut input[header.header_bytes..used];
        if masked {
            mask::apply(payload, header.key, 0);
        }
        let event = match header.opcode {
            Opcode::Text | Opcode::Binary if self.close_sent => return Received { used, event: None },
            Opcode::Text | Opcode::Binary if header.deflated => {
                Ok(self.deflate.message(header.opcode == Opcode::Text, payload))
            }
            Opcode::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Event::Text(text)),
                Err(_) => Err(Error::NotUtf8),
            },
            Opcode::Binary => Ok(Event::Binary(payload)),
            opcode => return control(&mut self.phase, self.close_sent, used, opcode, payload),
        };
        conclude(&mut self.phase, used, event)
    }

    /// A frame that is not whole in the input, or a fragment.
    fn receive_cut<'a>(&'a mut self, input: &'a mut [u8], limits: &Limits) -> Received<'a> {
        let masked = self.role == Role::Server;
        if !matches!(self.held, Held::Frames(_)) {
            let deflate = self.deflate.is_agreed();
            self.held = Held::Frames(Box::new(Reassembly::new(masked, deflate)));
        }
        let step = match &mut self.held {
            Held::Frames(frames) => frames.receive(input, self.close_sent, limits.message_bytes),
            _ => unreachable!("set just now"),
        };
        let (used, whole) = match step {
            Ok(step) => step,
            Err(error) => return self.fail(input.len(), error),
        };
        if whole.is_none() {
            self.give_back();
        }
        let (phase, deflate) = (&mut self.phase, self.deflate);
        match (whole, &self.held) {
            (Some(Whole::Message), Held::Frames(frames)) => {
                let event = frames.message_event(|is_text, bytes| deflate.message(is_text, bytes));
                conclude(phase, used, event)
            }
            (Some(Whole::Control(opcode)), Held::Frames(frames)) => {
                control(phase, self.close_sent, used, opcode, frames.control())
            }
            _ => Received { used, event: None },
        }
    }

    fn fail<'a>(&mut self, used: usize, error: Error) -> Received<'a> {
        self.held = Held::Nothing;
        conclude(&mut self.phase, used, Err(error))
    }
}

/// After our own close frame only the peer's is of interest.
fn control<'a>(
    phase: &mut Phase,
    close_sent: bool,
    used: usize,
    opcode: Opcode,
    payload: &'a [u8],
) -> Received<'a> {
    let event = match opcode {
        Opcode::Close => Close::parse(payload).map(Event::Close),
        _ if close_sent => return Received { used, event: None },
        Opcode::Ping => Ok(Event::Ping(payload)),
        _ => Ok(Event::Pong(payload)),
    };
    conclude(phase, used, event)
}

fn conclude<'a>(phase: &mut Phase, used: usize, event: Result<Event<'a>, Error>) -> Received<'a> {
    let event = event.unwrap_or_else(Event::Fail);
    if matches!(event, Event::Close(_) | Event::Fail(_)) {
        *phase = Phase::Ended;
    }
    Received { used, event: Some(event) }
}
