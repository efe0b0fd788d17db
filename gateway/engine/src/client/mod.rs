//! One connection: what a shard remembers of a client. Small, since there are very many.

pub mod close;
pub mod dictionaries;
mod dictionary;
pub mod handshake;
mod rate;

use std::{collections::VecDeque, net::IpAddr};

use bytes::Bytes;
use net::ConnId;
use proto::encode::{self, Opcode};

pub use close::CloseReason;
pub use dictionary::Dictionary;
pub use rate::{ErrorWindow, Rate, RateLimit};

use crate::{
    address::Address,
    fanout::{ClassId, line::Place},
    protocol::{Op, encoding::Wire},
    shard::{Untold, shared::Refused},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the request head.
    Handshake,
    /// A WebSocket.
    Open,
    /// The last bytes (a refusal, a close frame) are on their way; input is discarded.
    Leaving,
    /// Half-closed; input is discarded until the peer closes too, for a bounded time.
    Lingering,
    /// The ring was told to close it.
    Closing,
}

/// Pongs that wait for one client.
const PONGS_BYTES_MAX: usize = 1024;

/// A subscription of a connection.
#[derive(Debug)]
pub struct Sub {
    pub name: Box<str>,
    pub class: ClassId,
    /// Place among the class's members.
    pub place: u32,
    /// 0 to 7; part of the class's key.
    pub slot: u8,
    /// Version of the last thing sent: the client's position.
    pub pos: u64,
    /// When anything was last sent. µs, monotonic.
    pub sent_us: u64,
    /// What it is owed waits for its turn to be built.
    pub waits: bool,
    /// What it is owed is being built: nothing else of it is sent before that.
    pub building: bool,
}

/// An op that is not answered yet.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: Option<String>,
    pub op: Op,
    /// The position at which it came: everything up to there has to be in its answer.
    pub at: u64,
}

/// What waits for the send in flight. Made only when needed.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Answers and what goes with them, in order. Bounded: no further message is read while it holds any.
    pub queue: VecDeque<Bytes>,
    /// Input not yet parsed; see `hold` of the shard.
    pub held: Vec<u8>,
    /// Pongs to send, encoded.
    pub pongs: Vec<u8>,
    /// A `subscribe` waits for the gateway to reach its `since`.
    pub ahead: bool,
    /// An op whose answer cannot be built yet.
    pub op: Option<Box<Asked>>,
    /// It waits for its turn.
    pub op_waits: bool,
    /// The answer to an op is being built.
    pub building: bool,
    /// By line: where the client stands in it.
    pub places: [Option<Place>; 2],
    /// Its turn came while it was busy.
    pub called: bool,
    /// Statuses that follow an answer.
    pub untold: Option<Box<Untold>>,
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.queue.is_empty()
            && self.held.is_empty()
            && self.pongs.is_empty()
            && !self.waits()
            && self.places.iter().all(Option::is_none)
            && !self.called
    }

    /// Whether an op is not answered yet.
    fn waits(&self) -> bool {
        self.ahead || self.op.is_some() || self.building || self.untold.is_some()
    }
}

/// Where the connection stands with our own ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingState {
    None,
    /// Being sent.
    Sending,
    /// In the kernel since then (µs, monotonic), with that many bytes in the send queue after it.
    Waiting {
        since_us: u64,
        unsent: Option<u32>,
    },
}

#[derive(Debug)]
pub struct Client {
    pub id: ConnId,
    pub conn: proto::Conn,
    pub peer: IpAddr,
    pub phase: Phase,
    pub wire: Wire,
    /// It came to a listener that only this machine reaches.
    pub is_loopback: bool,
    /// Counted in [`crate::shard::shared::Shared`].
    pub admitted: bool,
    /// To be told no.
    pub refused: Option<Refused>,
    pub in_flight: bool,
    pub paused: bool,
    /// The peer sends no more.
    pub peer_done: bool,
    pub ping: PingState,
    /// Why it ended, once known; counted once.
    pub ended: Option<CloseReason>,
    pub subs: Vec<Sub>,
    pub waiting: Option<Box<Waiting>>,
    pub dictionary: Option<Box<Dictionary>>,
    pub errors: Option<Box<ErrorWindow>>,
    pub messages: Rate,
    pub controls: Rate,
    /// Since when it is in this phase, or without a subscription. µs, monotonic, like all below.
    pub since_us: u64,
    /// When bytes last came from it.
    pub heard_us: u64,
    /// When the send in flight began or last moved.
    pub progress_us: u64,
    /// When a send that had been waiting for the peer last moved: a sign of life.
    pub moved_us: u64,
    /// Bytes discarded while leaving.
    pub discarded: u32,
    /// Changes of statuses that it was told of, or that do not concern it.
    pub told: u64,
    /// It was told what was not live when it subscribed first.
    pub greeted: bool,
}

impl Client {
    pub fn new(id: ConnId, peer: IpAddr, now_us: u64) -> Self {
        Self {
            id,
            conn: proto::Conn::server(),
            peer,
            phase: Phase::Handshake,
            wire: Wire::default(),
            is_loopback: false,
            admitted: false,
            refused: None,
            in_flight: false,
            paused: false,
            peer_done: false,
            ping: PingState::None,
            ended: None,
            subs: Vec::new(),
            waiting: None,
            dictionary: None,
            errors: None,
            messages: Rate::default(),
            controls: Rate::default(),
            since_us: now_us,
            heard_us: now_us,
            progress_us: now_us,
            moved_us: now_us,
            discarded: 0,
            told: 0,
            greeted: false,
        }
    }

    /// As limits count it.
    pub fn address(&self) -> Address {
        self.peer.into()
    }

    /// Heap taken for what its next compressed message may refer back to.
    pub fn dictionary_bytes(&self) -> usize {
        self.dictionary.as_ref().map_or(0, |dictionary| Dictionary::heap_bytes(dictionary.bytes().len()))
    }

    /// Heap taken for input that waits.
    pub fn held_bytes(&self) -> u64 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.held.capacity() as u64)
    }

    /// Whether something must leave before anything else may be answered.
    pub fn blocked(&self) -> bool {
        self.in_flight || self.waiting.as_ref().is_some_and(|w| !w.queue.is_empty() || w.waits())
    }

    /// Whether an op of it is not answered yet, through no fault of its own.
    pub fn is_kept_waiting(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.waits())
    }

    /// Whether the answer to an op is being built.
    pub fn is_being_answered(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.building)
    }

    /// Whether a fan-out may hand it a frame.
    pub fn ready(&self) -> bool {
        let free = |waiting: &Waiting| waiting.queue.is_empty() && !waiting.ahead;
        self.phase == Phase::Open && !self.in_flight && self.waiting.as_deref().is_none_or(free)
    }

    pub fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    pub fn queue(&mut self, bytes: impl Into<Bytes>) {
        self.waiting().queue.push_back(bytes.into());
    }

    /// A text frame with a message of the gateway, in the client's encoding.
    pub fn queue_message(&mut self, text: impl Into<Bytes>) {
        let frame = self.wire.encoding.frames(text.into());
        self.queue(frame);
    }

    /// Answers a ping (RFC 6455, 5.5.3). Over the bound only the newest is answered.
    pub fn queue_pong(&mut self, payload: &[u8]) {
        let pongs = &mut self.waiting().pongs;
        if pongs.len() > PONGS_BYTES_MAX {
            pongs.clear();
        }
        encode::frame(pongs, Opcode::Pong, payload);
    }

    /// Puts pongs in line before what is answered next.
    pub fn settle_pongs(&mut self) {
        if let Some(waiting) = &mut self.waiting
            && !waiting.pongs.is_empty()
        {
            let pongs = std::mem::take(&mut waiting.pongs);
            waiting.queue.push_back(pongs.into());
        }
    }

    /// There is nothing more to do for it now.
    pub fn rest(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.called = false;
            self.tidy();
        }
    }

    /// What was built for a subscription is there: an op that waited for it goes on.
    pub fn built(&mut self, sub_slot: u8) {
        if let Some(sub) = self.sub_in_slot(sub_slot) {
            sub.building = false;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.op_waits = waiting.places.iter().any(Option::is_some);
        }
    }

    /// Gives memory back when nothing waits.
    pub fn tidy(&mut self) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_over()) {
            self.waiting = None;
        }
    }

    pub fn sub_in_slot(&mut self, slot: u8) -> Option<&mut Sub> {
        self.subs.iter_mut().find(|sub| sub.slot == slot)
    }

    /// The lowest slot no subscription holds.
    pub fn free_slot(&self) -> u8 {
        let taken = |slot: &u8| self.subs.iter().any(|sub| sub.slot == *slot);
        (0..=u8::MAX).find(|slot| !taken(slot)).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_small() {
        assert!(size_of::<Client>() <= 200, "{}", size_of::<Client>());
        assert!(size_of::<Sub>() <= 48, "{}", size_of::<Sub>());
    }
}
