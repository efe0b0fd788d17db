//! One connection: proto's client role, and what is received put before the judge. No ring, no clock.

use std::fmt::Write as _;

use proto::{Conn, Event, Limits, encode, handshake};
use ring::ConnId;

use crate::{
    args::Args,
    judge::{
        Applied, Subscription,
        catalog::Catalog,
        message::{Cache, Message},
    },
    stamp::Arrival,
    tally::{Second, Tally},
};

/// The gateway's parts are far smaller; other servers may send what they like.
const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 20 };

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// How fast it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Full,
    Slow,
    Stalled,
    /// It was one of those two, and reads at full speed since the window's end.
    Released,
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
    pub conn: Option<ConnId>,
    pub phase: Phase,
    pub pace: Pace,
    pub leave: Leave,
    /// A send is in flight.
    pub sending: bool,
    /// The connection is closed as soon as what is queued was sent.
    pub ending: bool,
    /// The first connect was counted, as ready or as failed.
    pub decided: bool,
    /// µs since the run's origin: a slow reader does not read before.
    pub read_from_us: u64,
    /// Which list of patterns.
    pub group: u16,
    /// Counts connects, so that timers of earlier ones are known as such.
    pub attempt: u32,
    /// µs since the run's origin: the start of the last connect.
    pub connect_us: u64,
    /// Bytes to send once no send is in flight.
    pub outbox: Vec<u8>,
    pub subscription: Subscription,
    proto: Conn,
}

/// What input is handled with.
#[derive(Debug)]
pub struct Context<'a> {
    pub args: &'a Args,
    pub catalogs: &'a mut [Catalog],
    pub cache: &'a mut Cache,
    pub tally: &'a mut Tally,
    pub second: &'a mut Second,
    pub arrival: Arrival,
    /// The arrival lies in the window.
    pub measured: bool,
}

impl Client {
    pub fn new(group: u16, pace: Pace) -> Self {
        Self {
            conn: None,
            phase: Phase::Idle,
            pace,
            leave: Leave::No,
            sending: false,
            ending: false,
            decided: false,
            read_from_us: 0,
            group,
            attempt: 0,
            connect_us: 0,
            outbox: Vec::new(),
            subscription: Subscription::default(),
            proto: Conn::client([0; 16]),
        }
    }

    /// A connect begins.
    pub fn connecting(&mut self, conn: ConnId, now_us: u64) {
        let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        self.proto = Conn::client(nonce);
        self.conn = Some(conn);
        self.phase = Phase::Connecting;
        self.leave = Leave::No;
        self.sending = false;
        self.ending = false;
        self.attempt = self.attempt.wrapping_add(1);
        self.connect_us = now_us;
        self.outbox = nonce.to_vec();
    }

    /// TCP is connected: queues the request.
    pub fn connected(&mut self, args: &Args) {
        self.phase = Phase::Handshake;
        let nonce = *self.outbox.first_chunk().expect("the nonce that was put there");
        self.outbox.clear();
        let protocols: &[&str] = if args.raw.is_some() { &[] } else { &["fanwire.json.v1"] };
        handshake::request(&mut self.outbox, &args.url.host, &args.url.target, nonce, protocols);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, keep: bool) {
        self.conn = None;
        self.phase = Phase::Idle;
        self.sending = false;
        self.outbox = Vec::new();
        self.proto = Conn::client([0; 16]);
        self.subscription.disconnected(keep);
    }

    /// Queues a close frame.
    pub fn close(&mut self, code: u16) {
        encode::masked_close(&mut self.outbox, code, "", key());
        self.proto.close_sent();
        self.phase = Phase::Closing;
    }

    /// Takes received bytes. `false`: the connection is to be closed once what is queued was sent.
    pub fn receive(&mut self, bytes: &mut [u8], context: &mut Context<'_>) -> bool {
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
                Event::Response(_) => {
                    self.phase = Phase::Open;
                    greet(&mut self.outbox, &self.subscription, context.args, self.group);
                }
                Event::Text(text) if self.phase != Phase::Closing => {
                    let Self { subscription, pace, group, .. } = self;
                    let whole = message(subscription, *pace, *group, text.as_bytes(), context);
                    if whole && self.phase == Phase::Open {
                        self.phase = Phase::Ready;
                    }
                }
                Event::Binary(payload) if self.phase != Phase::Closing => {
                    if context.args.raw.is_none() {
                        context.tally.faults.violation("a binary message without a binary subprotocol");
                    } else {
                        count_raw(payload, self.pace, context);
                    }
                }
                Event::Ping(payload) => {
                    // The newest pong will do, but at 131 bytes each it takes a silent sender to notice.
                    if self.outbox.len() < 4096 && self.phase != Phase::Closing {
                        encode::masked_frame(&mut self.outbox, encode::Opcode::Pong, payload, key());
                    }
                }
                Event::Close(close) => {
                    let code = close.map_or(1005, |close| close.code);
                    if self.leave == Leave::No {
                        let reason = close.map_or("", |close| close.reason);
                        let comma = if reason.is_empty() { "" } else { " " };
                        context.tally.closes.add(&format!("{code}{comma}{reason}"), 1);
                    }
                    if self.phase != Phase::Closing {
                        self.close(if code == 1005 { 1000 } else { code });
                    }
                    return false;
                }
                Event::Refused { status, reason, body } => {
                    let body = String::from_utf8_lossy(body);
                    context.tally.failures.add(format!("HTTP {status} {reason} {}", body.trim()).trim(), 1);
                    return false;
                }
                Event::HandshakeFailed(error) => {
                    context.tally.failures.add(&error.to_string(), 1);
                    return false;
                }
                Event::Fail(error) => {
                    context.tally.faults.violation("a server that breaks RFC 6455");
                    context.tally.closes.add(&format!("by us: {error}"), 1);
                    self.close(error.close_code());
                    return false;
                }
                Event::Text(_) | Event::Binary(_) | Event::Pong(_) => {}
                Event::Request(_) | Event::BadRequest(_) => unreachable!("events of the server role"),
            }
        }
    }
}

/// Queues what follows the handshake: the texts of `--send`, or a subscribe.
fn greet(outbox: &mut Vec<u8>, subscription: &Subscription, args: &Args, group: u16) {
    if let Some(raw) = &args.raw {
        for text in &raw.send {
            encode::masked_frame(outbox, encode::Opcode::Text, text.as_bytes(), key());
        }
        return;
    }
    let topics = serde_json::json!(args.groups[usize::from(group)]);
    let mut text = format!(r#"{{"op":"subscribe","id":1,"topics":{topics}"#);
    if let Some(interval_ms) = args.interval_ms {
        let _ = write!(text, r#","interval_ms":{interval_ms}"#);
    }
    if let Some((epoch, version)) = subscription.since() {
        let _ = write!(text, r#","since":"{epoch:016x}:{version}""#);
    }
    text.push('}');
    encode::masked_frame(outbox, encode::Opcode::Text, text.as_bytes(), key());
}

/// Handles a text message. `true`: a batch or snapshot is whole now.
fn message(
    subscription: &mut Subscription,
    pace: Pace,
    group: u16,
    text: &[u8],
    context: &mut Context<'_>,
) -> bool {
    if context.args.raw.is_some() {
        count_raw(text, pace, context);
        return false;
    }
    let catalog = &mut context.catalogs[usize::from(group)];
    let tally = &mut *context.tally;
    match context.cache.parse(text, group, catalog, subscription.epoch()) {
        Message::Frame(frame) => {
            let resumed = subscription.since().is_some();
            let arrival_us = context.arrival.wall_us;
            let sampled = context.measured && pace == Pace::Full;
            let Tally { faults, arrival, .. } = tally;
            let applied = subscription.apply(&frame, catalog, faults, &mut |ts| {
                if sampled {
                    arrival.record(arrival_us.saturating_sub(ts));
                }
            });
            if frame.snapshot {
                tally.snapshots += 1;
            } else {
                count(text.len(), frame.updates.len(), context);
            }
            let Applied::Whole(whole) = applied else { return false };
            if whole.first && whole.snapshot && resumed {
                context.tally.resumed_by_snapshot += 1;
            }
            if let Some(oldest) = whole.oldest
                && !whole.first
                && !whole.snapshot
            {
                sample(arrival_us.saturating_sub(oldest), pace, context);
            }
            if context.measured {
                context.tally.conflated += whole.conflated;
            }
            return true;
        }
        Message::Subscribed(answer) => {
            tally.interval_ms = tally.interval_ms.max(answer.interval_ms);
            subscription.subscribed(&answer, context.args.interval_ms, &mut tally.faults);
        }
        Message::Error { code, reason } => tally.errors.add(&format!("{code} {reason}"), 1),
        Message::Notice(code) => tally.notices.add(&code, 1),
        Message::Malformed(why) => {
            tally.faults.violation("a message that is not as the contract says");
            tally.errors.add(&why, 1);
        }
        Message::Other => {}
    }
    false
}

fn count_raw(payload: &[u8], pace: Pace, context: &mut Context<'_>) {
    count(payload.len(), 0, context);
    let stamp = context.args.raw.as_ref().map(|raw| &raw.stamp);
    if let Some(us) = stamp.and_then(|stamp| stamp.age_us(payload, context.arrival)) {
        sample(us, pace, context);
        if context.measured && pace == Pace::Full {
            context.tally.arrival.record(us);
        }
    }
}

fn count(payload_bytes: usize, updates: usize, context: &mut Context<'_>) {
    context.second.frames += 1;
    context.second.updates += updates as u64;
    if context.measured {
        context.tally.frames += 1;
        context.tally.updates += updates as u64;
        context.tally.payload_bytes += payload_bytes as u64;
    }
}

fn sample(us: u64, pace: Pace, context: &mut Context<'_>) {
    if pace != Pace::Full {
        if context.measured {
            context.tally.slow_visible.record(us);
        }
        return;
    }
    context.second.visible.record(us);
    if context.measured {
        context.tally.visible.record(us);
    }
}

fn key() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
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
