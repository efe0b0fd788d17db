//! What a shard builds in the turns to come, for which clients, and the lines for it.

use std::collections::VecDeque;

use net::ConnId;

use super::{addresses::Addresses, pending::Asked};
use crate::{
    address::Address,
    fanout::{
        ClassId, Due, Frame, Long,
        line::{Lane, Line, Place, Waiter},
    },
    settings,
};

/// What an answered `subscribe` makes of its subscription.
#[derive(Debug)]
pub(super) struct Joining {
    /// Held for it.
    pub class: ClassId,
    pub sub_slot: u8,
    /// Where it is answered.
    pub since: Option<u64>,
}

/// A long frame, or one that was made together with one.
#[derive(Debug)]
pub(super) enum Work {
    Made(Frame),
    Long(Box<Long>),
}

#[derive(Debug)]
pub(super) enum Whose {
    Class(Due),
    /// What a subscription is owed, and the `unsubscribe` that is answered with it.
    Sub {
        conn: ConnId,
        sub_slot: u8,
        then: Option<Box<Asked>>,
        /// The answer to a `subscribe` of the same subscription comes next.
        is_followed: bool,
    },
    /// The answer to a `subscribe`.
    Answer {
        conn: ConnId,
        asked: Box<Asked>,
        joining: Joining,
    },
}

#[derive(Debug)]
pub(super) struct Running {
    pub work: Work,
    pub whose: Whose,
}

#[derive(Debug)]
pub(super) struct Builds {
    pub lines: [Line; 2],
    /// What is being built, in order; all of it for the same client or class.
    pub running: VecDeque<Running>,
    pub addresses: Addresses,
    /// The one that is served has its turn in the long line.
    pub granted: bool,
    /// What whose turn it is in the long line needs, for which there is no room.
    pub need_bytes: Option<usize>,
    /// Where it stands: it keeps its turn until there is room.
    pub need_place: Option<Place>,
    /// When it is looked whether there is room by now. µs, monotonic.
    pub room_us: u64,
    /// When it was last told that frames wait. µs, monotonic.
    pub told_us: Option<u64>,
}

impl Builds {
    pub fn new(limits: &settings::Limits) -> Self {
        Self {
            lines: [Line::new(Lane::Short), Line::new(Lane::Long)],
            running: VecDeque::new(),
            addresses: Addresses::new(limits.build_bytes_per_ip),
            granted: false,
            need_bytes: None,
            need_place: None,
            room_us: 0,
            told_us: None,
        }
    }

    /// Every address begins anew.
    pub fn set_rate(&mut self, per_s: usize) {
        if self.addresses.set_rate(per_s) {
            self.lines.iter_mut().for_each(Line::wake_all);
        }
    }

    pub fn is_granted(&self) -> bool {
        self.granted
    }

    /// Whether what is built is counted by address.
    pub fn charges(&self) -> bool {
        self.addresses.is_on()
    }

    /// Whether someone waits for room among what is pinned.
    pub fn wants_room(&self) -> bool {
        self.need_bytes.is_some()
    }

    /// At the end of a line, or in front of it. One that had its turn and found no room keeps it, or the
    /// next one would always take the room when it comes.
    pub fn enter(&mut self, lane: Lane, waiter: Waiter, payer: Option<Address>, in_front: bool) -> Place {
        let line = &mut self.lines[lane as usize];
        let place = line.push(waiter, payer, in_front);
        if self.granted && self.need_bytes.is_some() && lane == Lane::Long {
            line.keep_turn(payer);
            self.need_place = Some(place);
        }
        place
    }

    pub fn leave(&mut self, place: Place) {
        let line = &mut self.lines[place.lane as usize];
        line.remove(place);
        if self.need_place == Some(place) {
            line.pass_turn(place.payer);
            (self.need_bytes, self.need_place) = (None, None);
        }
    }
}
