//! What a client waits for: an op that is not answered yet, its turn to have something built.

use std::collections::VecDeque;

use net::ConnId;

use crate::{
    access::verify::Compact,
    client::{Hold, Upgrade},
    fanout::{Interning, PatternId, line::Place},
    protocol::request::{Op, Subscribe},
};

/// An op that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub id: Option<String>,
    pub op: Op,
    /// The position at which it came: everything up to there has to be in its answer.
    pub at: u64,
    /// The reload of the rules since which it was not judged.
    pub judged: u64,
    /// The gateway asks for its client, by what was granted: it is told what becomes of it, without an `id`.
    pub is_ours: bool,
    /// It has had its turn. What its own tries look at is for the next op to rest for, or it would rest for ever.
    pub rested: bool,
    /// Its patterns, as far as they are interned, while it waits.
    pub interning: Interning,
}

impl Asked {
    /// Of the client, granted to it at reload `judged` of the rules.
    pub fn new(id: Option<String>, op: Op, at: u64, judged: u64) -> Box<Self> {
        Box::new(Self { id, op, at, judged, is_ours: false, rested: false, interning: Interning::default() })
    }

    pub fn subscribe(&self) -> Option<&Subscribe> {
        if let Op::Subscribe(subscribe) = &self.op { Some(subscribe) } else { None }
    }
}

/// A `subscribe` that waits. Its client is blocked meanwhile, so there is at most one a client.
#[derive(Debug)]
pub(super) struct Ahead {
    pub conn: ConnId,
    pub asked: Box<Asked>,
    /// µs, monotonic.
    pub until_us: u64,
}

/// What a client that subscribed is still to be told of these patterns: what is not live of the changes after
/// one and up to another. One status is told at a time.
#[derive(Debug)]
pub(super) struct Untold {
    pub patterns: Box<[PatternId]>,
    pub after: u64,
    pub until: u64,
}

/// What showed a token that is being verified.
#[derive(Debug)]
pub(super) enum Shown {
    /// The request for a WebSocket.
    Upgrade(Box<Upgrade>),
    /// The op `auth`.
    Auth { id: Option<String> },
}

/// A token that is being verified elsewhere.
#[derive(Debug)]
pub(super) struct Checking {
    /// Until there is a place for it.
    pub token: Option<Compact>,
    pub by: Shown,
}

/// What a client waits for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// A `subscribe` waits for the gateway to reach its `since`.
    pub ahead: bool,
    /// Its token is being verified.
    pub checking: Option<Box<Checking>>,
    /// What it holds is to be compared with what it is granted, after what it waits for now.
    pub is_judged: bool,
    /// Ops that come after that: those of the gateway, and behind them at most one of the client.
    pub queue: VecDeque<Box<Asked>>,
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
    /// As much as may be under way of what it writes is.
    pub is_writing: bool,
    /// Statuses that follow an answer.
    pub untold: Option<Box<Untold>>,
}

impl Pending {
    pub fn is_over(&self) -> bool {
        self.hold() == Hold::Nothing && self.places.iter().all(Option::is_none) && !self.called
    }

    /// What an op that is not answered yet keeps the connection from.
    pub fn hold(&self) -> Hold {
        if self.ahead {
            Hold::All
        } else if self.op.is_some()
            || self.building
            || self.untold.is_some()
            || self.checking.is_some()
            || self.is_judged
            || self.is_writing
            || !self.queue.is_empty()
        {
            Hold::Input
        } else {
            Hold::Nothing
        }
    }

    /// Whether an op of it is not answered, or not told to the end.
    fn is_busy(&self) -> bool {
        self.op.is_some() || self.op_waits || self.building || self.untold.is_some()
    }

    /// Whether what it holds is to be compared with what it is granted now. An op that waits, for however long, comes
    /// after that.
    pub fn take_judged(&mut self) -> bool {
        if self.building || self.untold.is_some() || !std::mem::take(&mut self.is_judged) {
            return false;
        }
        if let Some(op) = self.op.take() {
            self.op_waits = false;
            self.queue.push_front(op);
        }
        true
    }

    /// The next op in the queue, once the client waits for nothing else.
    pub fn take_queued(&mut self) -> Option<Box<Asked>> {
        if self.is_busy() { None } else { self.queue.pop_front() }
    }

    /// Whether there is one to take.
    pub fn has_queued(&self) -> bool {
        !self.is_busy() && !self.queue.is_empty()
    }

    /// An op that is to be tried again.
    pub fn take_op(&mut self) -> Option<Box<Asked>> {
        if self.op_waits || self.building { None } else { self.op.take() }
    }
}
