//! The table of connections.

use std::os::fd::OwnedFd;

use bytes::Bytes;

use crate::socket::ConnId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    Free,
    Connecting,
    Open,
    /// Only its end is still to be told.
    Closing,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// The rest of the send in flight.
    pub(super) bytes: Bytes,
    /// `None`: it could not be opened, or is closed.
    pub(super) fd: Option<OwnedFd>,
    pub(super) generation: u32,
    pub(super) state: SlotState,
    pub(super) sending: bool,
    /// No call has found since the kernel told so that there is nothing to read, or no room to write.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// It stands among those that may have something to receive.
    pub(super) listed: bool,
    /// The program holds what was received last, and no more is received before.
    pub(super) lent: bool,
    /// The program wants no bytes.
    pub(super) paused: bool,
    /// The peer's side has ended: a short read is not the last.
    pub(super) hung: bool,
    /// The program knows that.
    pub(super) ended: bool,
    /// Half-closed by us.
    pub(super) shut: bool,
    /// An answer about the send queue was not read yet.
    pub(super) querying: bool,
}

/// A slot is all the memory of its connection.
const _: () = assert!(size_of::<Slot>() <= 56);

impl Slot {
    fn new(generation: u32) -> Self {
        Self {
            bytes: Bytes::new(),
            fd: None,
            generation,
            state: SlotState::Free,
            sending: false,
            readable: false,
            writable: false,
            listed: false,
            lent: false,
            paused: false,
            hung: false,
            ended: false,
            shut: false,
            querying: false,
        }
    }

    /// Of a connection that is open.
    pub(super) fn fd(&self) -> &OwnedFd {
        self.fd.as_ref().expect("a connection that is open has a descriptor")
    }

    /// Closes its descriptor, which takes it out of the kernel's set, and lets go of its bytes.
    pub(super) fn end(&mut self) {
        (self.state, self.bytes, self.sending) = (SlotState::Closing, Bytes::new(), false);
        self.fd = None;
    }
}

/// Slots with a list of the free ones. Memory of slots never used is never touched.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Slots that were used before, the one freed last on top.
    free: Vec<u32>,
    capacity: usize,
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity as usize;
        Self { slots: Vec::with_capacity(capacity), free: Vec::new(), capacity }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Slots with a connection.
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.open() < self.capacity
    }

    /// A slot for a new connection; `None`: all are taken.
    pub(super) fn occupy(&mut self, state: SlotState) -> Option<(ConnId, &mut Slot)> {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.slots.len() < self.capacity => {
                self.slots.push(Slot::new(0));
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[at as usize];
        assert_eq!(slot.state, SlotState::Free, "slot {at} is taken twice");
        slot.state = state;
        Some((ConnId { slot: at, generation: slot.generation }, slot))
    }

    /// A connection is gone. Its [`ConnId`] means nobody from now on.
    pub(super) fn vacate(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn.slot as usize];
        assert_eq!(
            (slot.generation, slot.state),
            (conn.generation, SlotState::Closing),
            "{conn:?} ends and was not closed"
        );
        *slot = Slot::new(conn.generation.wrapping_add(1));
        self.free.push(conn.slot);
    }

    /// The slot of a connection that takes commands: it is there and not closing.
    pub(super) fn live(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        let live = slot.generation == conn.generation
            && matches!(slot.state, SlotState::Open | SlotState::Connecting);
        live.then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacated_slot_answers_to_its_next_user_only() {
        let mut slots = Slots::new(2);
        let (first, slot) = slots.occupy(SlotState::Open).unwrap();
        slot.end();
        assert!(slots.live(first).is_none());
        slots.vacate(first);
        let (second, _) = slots.occupy(SlotState::Connecting).unwrap();
        assert_eq!((second.slot, second.generation), (first.slot, first.generation + 1));
        assert!(slots.live(first).is_none() && slots.live(second).is_some());
        assert!(
            slots.occupy(SlotState::Open).is_some() && slots.occupy(SlotState::Open).is_none(),
            "two slots in all"
        );
    }
}
