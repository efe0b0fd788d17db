//! One connection: proto's client role, and what is received put before the judge. No ring, no clock.

use std::fmt::Write as _;

use net::ConnId;
use proto::{Conn, Event, encode};

use super::{
    interests::Interests,
    manner::Manner,
    reader::{Context, FramePace, Reader},
    say::{OUTBOX_BYTES, say},
    stream::{self, Stream},
    wire::{LIMITS, ask, key},
};
use crate::{
    args::{
        Args,
        raws::Raws,
        template::{Fill, Template},
    },
    judge::subscription::Subscription,
    measure::arrival::wall_us,
};

/// Close codes that have to do with tokens.
const TOKEN_EXPIRED: u16 = 4005;
const BAD_TOKEN: u16 = 4401;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    /// Not connected.
    Idle,
    Connecting,
    Handshake,
    /// Established, and waiting for the first answer.
    Open,
    /// The first answer is whole.
    Ready,
    /// A close frame was sent or answered.
    Closing,
}

/// Why a connection is being ended by us, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    No,
    /// For good: it failed, the server closed it, or the run is over.
    ForGood,
    /// Another one takes its place.
    Replace,
    /// It comes back with `since`.
    Resume,
}

/// A connection of the run: it may be replaced by others in turn.
#[derive(Debug)]
pub struct Client {
    /// Its number among all connections.
    index: u32,
    pub conn: Option<ConnId>,
    pub phase: Phase,
    pub manner: Manner,
    /// Its manner is in force: it reads slowly, or not at all.
    pub held_back: bool,
    pub leave: Leave,
    /// A send is in flight.
    pub sending: bool,
    /// The connection is closed as soon as what is queued was sent.
    pub ending: bool,
    /// The first connect was counted, as ready or as failed.
    pub decided: bool,
    /// This connect counts as established.
    pub established: bool,
    /// It was established at least once.
    pub known: bool,
    /// The server cut it, and it is not back yet.
    pub cut: bool,
    /// The server said that coming back does not help (close codes 4500 to 4999).
    pub barred: bool,
    /// How many addresses further on it connects than its turn is, since connects to those failed.
    pub detour: u16,
    /// Addresses in a row that it could not connect to.
    pub unreached: u16,
    /// Connects that came to nothing since it was last ready.
    pub tries: u8,
    /// What a `notice` asked to wait before coming back.
    pub after_ms: u32,
    /// µs since the run's origin: a slow reader does not read before.
    pub read_from_us: u64,
    /// Which list of patterns.
    pub group: u16,
    /// Counts connects, so that timers of earlier ones are known as such.
    pub attempt: u32,
    /// µs since the run's origin: when the last connect was meant to start.
    pub intended_us: u64,
    pub pace: FramePace,
    /// Bytes to send once no send is in flight.
    pub outbox: Vec<u8>,
    pub subscription: Subscription,
    proto: Conn,
    /// Where it gets server-sent events.
    stream: Option<Box<Stream>>,
}

impl Client {
    pub fn new(index: u32, group: u16, manner: Manner, subscription: Subscription) -> Self {
        Self {
            index,
            conn: None,
            phase: Phase::Idle,
            manner,
            held_back: false,
            leave: Leave::No,
            sending: false,
            ending: false,
            decided: false,
            established: false,
            known: false,
            cut: false,
            barred: false,
            detour: 0,
            unreached: 0,
            tries: 0,
            after_ms: 0,
            read_from_us: 0,
            group,
            attempt: 0,
            intended_us: 0,
            pace: FramePace::default(),
            outbox: Vec::new(),
            subscription,
            proto: Conn::client([0; 16]),
            stream: None,
        }
    }

    /// A connect begins, which was meant to at `intended_us`.
    pub fn connecting(&mut self, conn: ConnId, intended_us: u64, args: &Args) {
        let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        self.proto = Conn::client(nonce);
        if args.deflate {
            self.proto = Conn::client(nonce).offering_deflate();
        }
        self.conn = Some(conn);
        self.phase = Phase::Connecting;
        self.leave = Leave::No;
        self.sending = false;
        self.ending = false;
        self.established = false;
        self.attempt = self.attempt.wrapping_add(1);
        self.intended_us = intended_us;
        self.outbox = nonce.to_vec();
    }

    /// TCP is connected: queues the request.
    pub fn connected(&mut self, args: &Args, interests: &Interests) {
        self.phase = Phase::Handshake;
        let nonce = *self.outbox.first_chunk().expect("the nonce that was put there");
        self.outbox.clear();
        if args.sse {
            return self.ask_for_stream(args, interests);
        }
        let topics = match args.opening.has_topics()
            || args.opening.tokens.as_ref().is_some_and(|tokens| tokens.name_topics())
        {
            true => interests.topics(args, self.index, self.group),
            false => Vec::new(),
        };
        let fill = Fill { conn: self.index, now_us: wall_us(), topics: &topics, ..Fill::default() };
        args.opening.request(&mut self.outbox, nonce, args.deflate, &fill);
    }

    /// Queues the request for a stream of its topics.
    fn ask_for_stream(&mut self, args: &Args, interests: &Interests) {
        self.stream = Some(Box::default());
        let topics = interests.topics(args, self.index, self.group);
        let mut query = format!("topics={}", topics.join(","));
        if let Some(interval_ms) = args.interval_ms {
            let _ = write!(query, "&interval_ms={interval_ms}");
        }
        let id = self.subscription.since().map(|(epoch, version)| format!("{epoch:016x}:{version}"));
        let fill = Fill { conn: self.index, now_us: wall_us(), topics: &topics, ..Fill::default() };
        args.opening.request_stream(&mut self.outbox, &query, id.as_deref(), &fill);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, keep: bool) {
        self.conn = None;
        self.phase = Phase::Idle;
        self.held_back = false;
        self.sending = false;
        self.outbox = Vec::new();
        self.proto = Conn::client([0; 16]);
        self.stream = None;
        self.subscription.disconnected(keep);
    }

    /// Queues what follows the handshake: the texts of `--send`, or a subscribe.
    fn greet(&mut self, context: &Context<'_>, now_us: u64) {
        let topics = context.interests.topics(context.args, self.index, self.group);
        if let Some(raw) = &context.args.raw {
            let fill = Fill { conn: self.index, now_us, topics: &topics, ..Fill::default() };
            return say(&mut self.outbox, &raw.send, &fill);
        }
        let topics = serde_json::json!(topics);
        let mut text = format!(r#"{{"op":"subscribe","id":1,"topics":{topics}"#);
        if let Some(interval_ms) = context.args.interval_ms {
            let _ = write!(text, r#","interval_ms":{interval_ms}"#);
        }
        if let Some((epoch, version)) = self.subscription.since() {
            let _ = write!(text, r#","since":"{epoch:016x}:{version}""#);
        }
        text.push('}');
        ask(&mut self.outbox, &text, context.args.msgpack);
    }

    /// Queues what is repeated. `false`: too much waits for the server already.
    pub fn say_again(&mut self, texts: &[Template], fill: &Fill<'_>) -> bool {
        let room = self.outbox.len() < OUTBOX_BYTES;
        if room {
            say(&mut self.outbox, texts, fill);
        }
        room
    }

    /// Queues a ping whose payload says when it was due. `false`: too much waits for the server already.
    pub fn ping(&mut self, due_us: u64) -> bool {
        let room = self.outbox.len() < OUTBOX_BYTES;
        if room {
            encode::masked_frame(&mut self.outbox, encode::Opcode::Ping, &due_us.to_le_bytes(), key());
        }
        room
    }

    /// It gets server-sent events.
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Queues a close frame.
    pub fn close(&mut self, code: u16) {
        encode::masked_close(&mut self.outbox, code, "", key());
        self.proto.close_sent();
        self.phase = Phase::Closing;
    }

    /// Takes received bytes. `false`: the connection is to be closed once what is queued was sent.
    pub fn receive(&mut self, bytes: &mut [u8], context: &mut Context<'_>) -> bool {
        if let Some(stream) = self.stream.take() {
            return self.receive_stream(stream, bytes, context);
        }
        let mut at = 0;
        loop {
            let received = self.proto.receive(&mut bytes[at..], &LIMITS);
            at += received.used;
            let Some(event) = received.event else {
                if at == bytes.len() {
                    return true;
                }
                continue;
            };
            match event {
                Event::Response(response) => {
                    if let Err(error) = context.args.opening.agree(response.subprotocol(), self.index) {
                        context.tally.failures.add(&error, 1);
                        return false;
                    }
                    context.tally.deflating += u64::from(response.deflate() && !self.known);
                    self.phase = Phase::Open;
                    let now_us = context.arrival.wall_us;
                    self.greet(context, now_us);
                }
                Event::Text(_) | Event::Binary(_) | Event::Deflated(_) if self.phase == Phase::Closing => {}
                Event::Text(_) | Event::Binary(_) | Event::Deflated(_) => {
                    let mut inflated = None;
                    let (is_text, message) = match context.inflations.open(event, &mut inflated) {
                        Ok(opened) => opened,
                        Err(error) => return self.fail(error, context),
                    };
                    let Self { subscription, index, manner, group, pace, after_ms, outbox, .. } = self;
                    let (index, manner, group) = (*index, *manner, *group);
                    let mut reader = Reader { subscription, pace, after_ms, outbox, index, manner, group };
                    let whole = reader.message(is_text, message, context);
                    if whole && self.phase == Phase::Open {
                        self.phase = Phase::Ready;
                    }
                }
                Event::Ping(payload) => {
                    // The newest pong will do, but at 131 bytes each it takes a silent sender to notice.
                    if self.outbox.len() < 4096 && self.phase != Phase::Closing {
                        encode::masked_frame(&mut self.outbox, encode::Opcode::Pong, payload, key());
                    }
                }
                Event::Close(close) => {
                    let (code, reason) = close.map_or((1005, ""), |close| (close.code, close.reason));
                    let reason =
                        if reason.is_empty() { code.to_string() } else { format!("{code} {reason}") };
                    self.closed_by_server(code, &reason, context);
                    return false;
                }
                Event::Refused { status, reason, body, .. } => {
                    let body = String::from_utf8_lossy(body);
                    context.tally.tokens.refused += u64::from(status == 401);
                    context.tally.failures.add(format!("HTTP {status} {reason} {}", body.trim()).trim(), 1);
                    return false;
                }
                Event::HandshakeFailed(error) => {
                    context.tally.failures.add(&error.to_string(), 1);
                    return false;
                }
                Event::Fail(error) => return self.fail(error, context),
                Event::Pong(payload) => context.tally.pings.pong(payload, context.now_us),
                Event::Request(_) | Event::BadRequest(_) => unreachable!("events of the server role"),
            }
        }
    }
}

impl Client {
    /// The same of an HTTP answer that goes on.
    fn receive_stream(&mut self, mut stream: Box<Stream>, bytes: &[u8], context: &mut Context<'_>) -> bool {
        let bytes = stream.join(bytes);
        let mut at = 0;
        if self.phase == Phase::Handshake {
            match stream::head(&bytes) {
                Ok(Some(end)) => (self.phase, at) = (Phase::Open, end),
                Ok(None) => {}
                Err(refused) => {
                    context.tally.tokens.refused += u64::from(refused.starts_with("HTTP 401 "));
                    context.tally.failures.add(&refused, 1);
                    return false;
                }
            }
        }
        while self.phase > Phase::Handshake
            && let Some((message, taken)) = stream::event(&bytes[at..])
        {
            at += taken;
            if message.is_empty() || self.phase == Phase::Closing {
                continue;
            }
            if let Some((code, reason)) = stream::close(message) {
                self.closed_by_server(code, &format!("{code} {reason}"), context);
                return false;
            }
            let Self { subscription, index, manner, group, pace, after_ms, outbox, .. } = self;
            let (index, manner, group) = (*index, *manner, *group);
            let mut reader = Reader { subscription, pace, after_ms, outbox, index, manner, group };
            if reader.message(true, message, context) && self.phase == Phase::Open {
                self.phase = Phase::Ready;
            }
            // It asks for nothing.
            self.outbox.clear();
        }
        stream.keep(&bytes[at..]);
        self.stream = Some(stream);
        true
    }

    /// The server's close frame came; 1005: without a code. `reason`: the code and what stood beside it.
    fn closed_by_server(&mut self, code: u16, reason: &str, context: &mut Context<'_>) {
        if self.leave == Leave::No {
            let early = self.phase == Phase::Open && context.args.raw.as_ref().is_some_and(Raws::waits);
            let kinds = if early { &mut context.tally.failures } else { &mut context.tally.closes };
            kinds.add(reason, 1);
            let tokens = &mut context.tally.tokens;
            match (code, self.phase) {
                // In place of an HTTP answer, as a browser is told.
                (BAD_TOKEN, Phase::Open) => tokens.refused += 1,
                (BAD_TOKEN | TOKEN_EXPIRED, _) => tokens.dropped += 1,
                _ => {}
            }
        }
        self.barred = (4500..5000).contains(&code);
        if context.args.sse {
            self.phase = Phase::Closing;
        } else if self.phase != Phase::Closing {
            self.close(if code == 1005 { 1000 } else { code });
        }
    }

    /// The server broke the protocol.
    fn fail(&mut self, error: proto::Error, context: &mut Context<'_>) -> bool {
        context.tally.faults.violation("a server that breaks RFC 6455");
        context.tally.closes.add(&format!("by us: {error}"), 1);
        self.close(error.close_code());
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        let bytes = size_of::<Client>();
        assert!(bytes <= 256, "{bytes} bytes");
    }
}
