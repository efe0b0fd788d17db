//! What a shard remembers of a client: its connection, and what it has of the fan-out.

use net::ConnId;

use super::{access::Access, pending::Pending};
use crate::{
    access::{holder::Holder, rules::Rules},
    address::Address,
    client::{Connection, Hold, Leaving, Refused},
    clock::Now,
    fanout::ClassId,
    protocol::request::AUTO,
    topic::position::Position,
};

/// A subscription of a client.
#[derive(Debug)]
pub(super) struct Sub {
    pub name: Box<str>,
    pub class: ClassId,
    /// Place among the class's members.
    pub place: u32,
    /// 0 to 7; part of the class's key.
    pub slot: u8,
    /// Up to the last thing sent.
    pub pos: Position,
    /// When anything was last sent. µs, monotonic.
    pub sent_us: u64,
    /// What it is owed waits for its turn to be built.
    pub waits: bool,
    /// What it is owed is being built: nothing else of it is sent before that.
    pub building: bool,
}

/// Where a connection stands in the counts of [`Shared`](super::shared::Shared).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In none: it is only to be refused.
    Refused,
    /// In that of all. A proxy is to tell with the request whose it is.
    Awaited,
    /// In that of all alone, since its address has all that it may have: it is to be refused.
    Surplus,
    /// In that of all alone, since there was no limit for its address when it came.
    Uncounted,
    /// In that of all, and in its address's.
    Admitted,
}

impl Standing {
    /// `is_counted`: its address counts it.
    pub fn admitted(is_counted: bool) -> Self {
        if is_counted { Self::Admitted } else { Self::Uncounted }
    }
}

/// A client. Small, since there are very many.
#[derive(Debug)]
pub(super) struct Client {
    pub id: ConnId,
    pub connection: Connection,
    /// As limits count it.
    pub address: Address,
    /// It came to a listener that only this machine reaches.
    pub is_loopback: bool,
    /// Its peer is one of `[server] trusted_proxies`.
    pub is_proxied: bool,
    pub standing: Standing,
    /// Its moment in a drain has come, or it has reached its age: what is queued for it is its last flush.
    pub is_leaving: bool,
    /// It has unsubscribed from what is granted as `auto`, and gets no more of that before its next token.
    pub declines_auto: bool,
    /// Its request is to be refused.
    pub refused: Option<Refused>,
    pub subs: Vec<Sub>,
    /// What it has shown. `None`: nothing, and it needs nothing.
    pub access: Option<Box<Access>>,
    /// What it waits for. Made only when needed.
    pending: Option<Box<Pending>>,
    /// Changes of statuses that it got, or that do not concern it.
    pub told: u64,
}

const _: () = assert!(size_of::<Client>() <= 200 && size_of::<Sub>() <= 48);

impl Client {
    /// `accepted`: when that was.
    pub fn new(id: ConnId, address: Address, accepted: Now) -> Self {
        Self {
            id,
            connection: Connection::new(accepted),
            address,
            is_loopback: false,
            is_proxied: false,
            standing: Standing::Refused,
            is_leaving: false,
            declines_auto: false,
            refused: None,
            subs: Vec::new(),
            access: None,
            pending: None,
            told: 0,
        }
    }

    /// It leaves, and no drain is why.
    pub fn leaving(&self) -> Option<Leaving> {
        (self.is_leaving && self.connection.is_open()).then_some(Leaving::NOW)
    }

    /// What it waits for, if anything.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_deref()
    }

    /// Changes what it waits for, and what its connection is kept from by that.
    pub fn pend<T>(&mut self, change: impl FnOnce(&mut Pending) -> T) -> T {
        let pending = self.pending.get_or_insert_default();
        let changed = change(pending);
        self.connection.hold(pending.hold());
        if pending.is_over() {
            self.pending = None;
        }
        changed
    }

    /// It waits for nothing any more.
    pub fn take_pending(&mut self) -> Option<Box<Pending>> {
        self.connection.hold(Hold::Nothing);
        self.pending.take()
    }

    /// Whether the answer to an op is being built.
    pub fn is_being_answered(&self) -> bool {
        self.pending().is_some_and(|pending| pending.building)
    }

    /// There is nothing more to do for it now.
    pub fn rest(&mut self) {
        if self.pending.is_some() {
            self.pend(|pending| pending.called = false);
        }
    }

    /// What was built for a subscription is there: an op that waited for it goes on.
    pub fn built(&mut self, sub_slot: u8) {
        if let Some(sub) = self.sub_in_slot(sub_slot) {
            sub.building = false;
        }
        if self.pending.is_some() {
            self.pend(|pending| pending.op_waits = pending.places.iter().any(Option::is_some));
        }
    }

    pub fn sub_in_slot(&mut self, slot: u8) -> Option<&mut Sub> {
        self.subs.iter_mut().find(|sub| sub.slot == slot)
    }

    /// The subscription of a member of a class of that slot.
    #[inline]
    pub fn member_in_slot(&mut self, slot: u8) -> &mut Sub {
        self.sub_in_slot(slot).expect("a class's members hold it in its slot")
    }

    pub fn holder(&self) -> Option<&Holder> {
        match self.access.as_deref() {
            Some(Access::Holds(holder)) => Some(holder),
            _ => None,
        }
    }

    /// Whether it has to show a token before anything else.
    pub fn waits_for_token(&self) -> bool {
        matches!(self.access.as_deref(), Some(Access::Waits(_)))
    }

    /// When its token, or its lack of one, is next to be looked at. µs, monotonic.
    pub fn access_due_us(&self, rules: &Rules, now: Now) -> u64 {
        match self.access.as_deref().filter(|_| self.connection.is_open()) {
            None => u64::MAX,
            Some(Access::Waits(waits)) => waits.until_us,
            Some(Access::Holds(holder)) => {
                let in_us = holder.due_us(rules.leeway_us).saturating_sub(now.wall_us);
                now.mono_us.saturating_add(in_us.max(0) as u64)
            }
        }
    }

    /// Without the one that the gateway made for it.
    pub fn own_subs(&self) -> impl Iterator<Item = &Sub> {
        self.subs.iter().filter(|sub| &*sub.name != AUTO)
    }

    /// The lowest slot no subscription holds.
    pub fn free_slot(&self) -> u8 {
        let taken = |slot: &u8| self.subs.iter().any(|sub| sub.slot == *slot);
        (0..=u8::MAX).find(|slot| !taken(slot)).expect("there are more slots than subscriptions")
    }
}
