//! Clients and classes that wait for a frame to be built: in order of coming, one address after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
};

use net::ConnId;

use super::class_id::ClassId;
use crate::address::Address;

/// Which line: what is short waits for a turn with budget left, what is long for the one place where long
/// frames are built, and for room among what is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Lane {
    Short,
    Long,
}

/// Where someone stands, to leave before its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub lane: Lane,
    pub payer: Option<Address>,
    ticket: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    Client(ConnId),
    /// With its number, and when it was due (µs, monotonic).
    Class(ClassId, u64, u64),
}

/// A line of a shard. Each step costs the same however many stand in it.
#[derive(Debug)]
pub struct Line {
    lane: Lane,
    /// By who pays for it; `None`: what is for many addresses.
    queues: HashMap<Option<Address>, BTreeMap<i64, Waiter>>,
    /// Addresses in turn.
    order: VecDeque<Address>,
    /// Addresses that have used up what is theirs, and until when. µs, monotonic.
    asleep: BinaryHeap<Reverse<(u64, Address)>>,
    /// The turn is that of an address.
    alternate: bool,
    first: i64,
    last: i64,
    pub clients: usize,
    pub classes: usize,
}

impl Line {
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            queues: HashMap::new(),
            order: VecDeque::new(),
            asleep: BinaryHeap::new(),
            alternate: false,
            first: 0,
            last: 0,
            clients: 0,
            classes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.clients + self.classes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At the end of what `payer` waits for, or in front of it.
    pub fn push(&mut self, waiter: Waiter, payer: Option<Address>, in_front: bool) -> Place {
        let ticket = if in_front {
            self.first -= 1;
            self.first
        } else {
            self.last += 1;
            self.last
        };
        match waiter {
            Waiter::Client(_) => self.clients += 1,
            Waiter::Class(..) => self.classes += 1,
        }
        if let (Some(address), false) = (payer, self.queues.contains_key(&payer)) {
            self.order.push_back(address);
        }
        self.queues.entry(payer).or_default().insert(ticket, waiter);
        Place { lane: self.lane, payer, ticket }
    }

    /// Whoever stands in front of what `payer` waits for has its turn again. Costs as much as were pushed since
    /// it was popped.
    pub fn keep_turn(&mut self, payer: Option<Address>) {
        self.alternate = payer.is_some();
        let at = self.order.iter().rposition(|address| Some(*address) == payer);
        if let Some(address) = at.and_then(|at| self.order.remove(at)) {
            self.order.push_front(address);
        }
    }

    /// Ends [`Line::keep_turn`]: the turn is the next one's.
    pub fn pass_turn(&mut self, payer: Option<Address>) {
        self.alternate = payer.is_none();
        if payer.is_some() && self.order.front().copied() == payer {
            self.order.rotate_left(1);
        }
    }

    /// Leaves before its turn. Does nothing where it had its turn meanwhile.
    pub fn remove(&mut self, place: Place) {
        // An address keeps its place in the order, which its turn ends.
        if let Some(waiter) = self.queues.get_mut(&place.payer).and_then(|queue| queue.remove(&place.ticket))
        {
            self.uncount(waiter);
        }
        if self.is_empty() {
            self.queues.clear();
            self.order.clear();
            self.asleep.clear();
        }
    }

    /// The next one. `rests`: until when an address has to wait, if it has.
    pub fn pop(
        &mut self,
        now_us: u64,
        mut rests: impl FnMut(Address) -> Option<u64>,
    ) -> Option<(Option<Address>, Waiter)> {
        self.wake(now_us);
        self.alternate = !self.alternate;
        if self.alternate
            && let Some(waiter) = self.pop_shared()
        {
            return Some((None, waiter));
        }
        while let Some(address) = self.order.pop_front() {
            let payer = Some(address);
            let Some(queue) = self.queues.get_mut(&payer) else { continue };
            if queue.is_empty() {
                self.queues.remove(&payer);
                continue;
            }
            if let Some(until_us) = rests(address) {
                self.asleep.push(Reverse((until_us, address)));
                continue;
            }
            let (_, waiter) = queue.pop_first().expect("it is not empty");
            if queue.is_empty() {
                self.queues.remove(&payer);
            } else {
                self.order.push_back(address);
            }
            self.uncount(waiter);
            return Some((payer, waiter));
        }
        self.pop_shared().map(|waiter| (None, waiter))
    }

    /// When the first address that rests has rested. µs, monotonic.
    pub fn next_us(&self) -> Option<u64> {
        self.asleep.peek().map(|Reverse((until_us, _))| *until_us)
    }

    /// Whether someone could have its turn now.
    pub fn is_awake(&self) -> bool {
        let is_shared = || self.queues.get(&None).is_some_and(|queue| !queue.is_empty());
        !self.is_empty() && (!self.order.is_empty() || is_shared())
    }

    /// Nobody rests any more.
    pub fn wake_all(&mut self) {
        self.order.extend(self.asleep.drain().map(|Reverse((_, address))| address));
    }

    fn wake(&mut self, now_us: u64) {
        while let Some(Reverse((until_us, address))) = self.asleep.peek().copied()
            && until_us <= now_us
        {
            self.asleep.pop();
            self.order.push_back(address);
        }
    }

    fn pop_shared(&mut self) -> Option<Waiter> {
        let (_, waiter) = self.queues.get_mut(&None)?.pop_first()?;
        self.uncount(waiter);
        Some(waiter)
    }

    fn uncount(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Client(_) => self.clients -= 1,
            Waiter::Class(..) => self.classes -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slot: u32) -> Waiter {
        Waiter::Client(ConnId { slot, generation: 0 })
    }

    fn address(last: u8) -> Address {
        std::net::IpAddr::from([10, 0, 0, last]).into()
    }

    fn drain(line: &mut Line) -> Vec<u32> {
        let mut slots = Vec::new();
        while let Some((_, Waiter::Client(conn))) = line.pop(0, |_| None) {
            slots.push(conn.slot);
        }
        slots
    }

    #[test]
    fn addresses_take_turns_and_each_keeps_its_order() {
        let mut line = Line::new(Lane::Short);
        for slot in 0..3 {
            line.push(client(slot), Some(address(1)), false);
        }
        line.push(client(10), Some(address(2)), false);
        line.push(client(20), None, false);
        line.push(client(21), None, false);
        assert_eq!(drain(&mut line), [20, 0, 21, 10, 1, 2]);
        assert!(line.is_empty());
    }

    #[test]
    fn who_leaves_is_passed_over_and_who_is_in_front_comes_first() {
        let mut line = Line::new(Lane::Long);
        let places: Vec<Place> =
            (0..3).map(|slot| line.push(client(slot), Some(address(1)), false)).collect();
        line.remove(places[1]);
        line.remove(places[1]);
        line.push(client(9), Some(address(1)), true);
        assert_eq!(line.len(), 3);
        assert_eq!(drain(&mut line), [9, 0, 2]);
    }

    #[test]
    fn who_keeps_its_turn_is_next_until_it_passes_it_on() {
        let mut line = Line::new(Lane::Long);
        for slot in 0..4 {
            line.push(client(slot), Some(address(1)), false);
        }
        line.push(client(10), Some(address(2)), false);
        line.push(client(20), None, false);
        for (payer, slot) in [(None, 20), (Some(address(1)), 0), (None, 20), (Some(address(2)), 10)] {
            for _ in 0..3 {
                assert_eq!(line.pop(0, |_| None), Some((payer, client(slot))));
                line.push(client(slot), payer, true);
                line.keep_turn(payer);
            }
            line.pass_turn(payer);
        }
        assert_eq!(drain(&mut line), [20, 0, 10, 1, 2, 3]);
    }

    #[test]
    fn an_address_that_rests_holds_nobody_up_and_comes_back() {
        let mut line = Line::new(Lane::Short);
        line.push(client(0), Some(address(1)), false);
        line.push(client(1), Some(address(2)), false);
        let rests = |of: Address| (of == address(1)).then_some(50);
        assert_eq!(line.pop(0, rests), Some((Some(address(2)), client(1))));
        assert_eq!(line.pop(0, rests), None);
        assert_eq!((line.len(), line.next_us(), line.is_awake()), (1, Some(50), false));
        assert_eq!(line.pop(50, |_| None), Some((Some(address(1)), client(0))));
    }
}
