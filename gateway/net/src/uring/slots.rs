//! The table of connections, one entry per direct descriptor.

use std::ops::{Index, IndexMut};

use bytes::Bytes;

use crate::socket::ConnId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    Free,
    /// Held in reserve for an accept.
    Reserved,
    Connecting,
    Open,
    Closing,
}

/// What an operation in the kernel's hands needs, and where the connection stands.
#[derive(Debug)]
pub(super) struct Slot {
    /// The rest of the send in flight; the kernel reads it until the send's completion.
    pub(super) bytes: Bytes,
    pub(super) generation: u32,
    /// Operations whose last completion was not read yet.
    pub(super) in_flight: u16,
    pub(super) state: SlotState,
    pub(super) sending: bool,
    /// The kernel holds a receive.
    pub(super) receiving: bool,
    /// The program holds what was received last, and no more is received before.
    pub(super) lent: bool,
    /// The kernel holds a cancellation of that receive.
    pub(super) cancelling: bool,
    /// The program wants no bytes.
    pub(super) paused: bool,
    /// Waits in line for receive buffers.
    pub(super) starved: bool,
    /// The peer sends no more, or receiving failed.
    pub(super) ended: bool,
    /// Half-closed by us.
    pub(super) shut: bool,
    /// The kernel holds a query of the send queue's length.
    pub(super) querying: bool,
}

/// A slot is its connection's whole memory; the rest is the kernel's.
const _: () = assert!(size_of::<Slot>() <= 64);

impl Slot {
    fn new() -> Self {
        Self {
            bytes: Bytes::new(),
            generation: 0,
            in_flight: 0,
            state: SlotState::Free,
            sending: false,
            receiving: false,
            lent: false,
            cancelling: false,
            paused: false,
            starved: false,
            ended: false,
            shut: false,
            querying: false,
        }
    }
}

/// Slots with a list of the free ones. Memory of slots never used is never touched.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Slots that were used before, the one freed last on top.
    free: Vec<u32>,
    capacity: u32,
    /// Slots with a connection.
    open: usize,
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        let slots = Vec::with_capacity(capacity as usize);
        Self { slots, free: Vec::new(), capacity, open: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Slots that were ever used; those from here on never were.
    pub(super) fn used(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn reserve(&mut self) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.capacity() => {
                self.slots.push(Slot::new());
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        assert_eq!(self[slot].state, SlotState::Free, "slot {slot} is reserved twice");
        self[slot].state = SlotState::Reserved;
        Some(slot)
    }

    /// A reserved slot becomes a connection.
    pub(super) fn occupy(&mut self, slot: u32, state: SlotState) -> ConnId {
        assert_eq!(self[slot].state, SlotState::Reserved, "slot {slot} is occupied without a reservation");
        self.open += 1;
        self[slot].state = state;
        ConnId { slot, generation: self[slot].generation }
    }

    /// A reserved slot is not needed.
    pub(super) fn release(&mut self, slot: u32) {
        assert_eq!(self[slot].state, SlotState::Reserved, "slot {slot} is released without a reservation");
        self[slot].state = SlotState::Free;
        self.free.push(slot);
    }

    /// A connection is gone. Its [`ConnId`] means nobody from now on.
    pub(super) fn vacate(&mut self, slot: u32) {
        let vacated = &mut self[slot];
        // The kernel would write into the next user's slot.
        assert_eq!(
            (vacated.state, vacated.in_flight),
            (SlotState::Closing, 0),
            "slot {slot} is vacated in use"
        );
        *vacated = Slot { generation: vacated.generation.wrapping_add(1), ..Slot::new() };
        self.open -= 1;
        self.free.push(slot);
    }

    /// The slot of a connection that takes commands: it is there and not closing.
    pub(super) fn live(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        let live = slot.generation == conn.generation
            && matches!(slot.state, SlotState::Open | SlotState::Connecting);
        live.then_some(slot)
    }

    pub(super) fn id(&self, slot: u32) -> ConnId {
        ConnId { slot, generation: self[slot].generation }
    }
}

impl Index<u32> for Slots {
    type Output = Slot;
    fn index(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacated_slot_answers_to_its_next_user_only() {
        let mut slots = Slots::new(2);
        let slot = slots.reserve().unwrap();
        let first = slots.occupy(slot, SlotState::Open);
        assert!(slots.live(first).is_some());
        slots[slot].state = SlotState::Closing;
        assert!(slots.live(first).is_none());
        slots.vacate(slot);
        let again = slots.reserve().unwrap();
        let second = slots.occupy(again, SlotState::Open);
        assert_eq!((second.slot, second.generation), (first.slot, first.generation + 1));
        assert!(slots.live(first).is_none());
        assert!(slots.reserve().is_some() && slots.reserve().is_none(), "two slots in all");
    }
}
