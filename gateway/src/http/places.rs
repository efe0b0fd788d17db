//! Places of the admin listener: a bounded number of connections, of which the oldest that only keeps its place
//! makes room, and a few more for those who ask how the gateway is. Whoever comes gets a place at once.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use engine::address::Address;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::counters::AdminCounters;
use crate::system::ADMIN_RESERVE;

/// Places in reserve, once all others are taken by connections that are busy: for one request each. The oldest
/// makes room, so their number is also how many have to come before a newcomer has lost its place again.
pub const RESERVE: usize = ADMIN_RESERVE;
/// In reserve a connection has so long from accept on.
pub const RESERVE_TIME: Duration = Duration::from_secs(2);
/// A connection whose answers did not keep up with its requests for so long makes room, if it sends no body.
pub const STUCK: Duration = Duration::from_secs(5);
/// A newcomer has so long to say something before another newcomer may take its place, unless many come.
const GRACE: Duration = Duration::from_millis(50);

const PLAIN: &str = "it is only read and written";

/// Shared by the listener and its connections, all of which live on the control plane's thread.
#[derive(Debug)]
pub struct Places {
    /// `[limits] admin_connections`.
    max: AtomicUsize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    last: u64,
    /// By number: the oldest first.
    taken: BTreeMap<u64, Arc<Seat>>,
    in_reserve: usize,
}

/// What is known of one connection.
#[derive(Debug)]
pub struct Seat {
    number: u64,
    address: Address,
    came: Instant,
    in_reserve: AtomicBool,
    phase: Mutex<Phase>,
    /// An answer waits for its reader.
    is_blocked: AtomicBool,
    /// Since when there was always a request to answer.
    busy_since: Mutex<Option<Instant>>,
    evicted: Notify,
    /// Who reads from it, to look at the clock again when it becomes idle.
    reader: Mutex<Option<Waker>>,
}

/// Where a connection stands between two requests. Instants: since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A request head is awaited and has begun, or the very first one is.
    Head(Instant),
    /// Nothing came after the last answer.
    Idle(Instant),
    /// A request is being answered.
    Asked { has_body: bool },
}

/// A taken place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
}

/// A request being answered, until it is dropped.
#[derive(Debug)]
pub struct Asking {
    seat: Arc<Seat>,
    /// It came before the answer to the last one was sent.
    pub is_ahead: bool,
}

/// How a place was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Free,
    /// An idle connection was closed for it.
    Evicted,
    /// A busy one was reset for it.
    Reset,
}

impl Found {
    pub fn count(self, counters: &AdminCounters) {
        match self {
            Found::Free => {}
            Found::Evicted => drop(counters.connections_evicted.fetch_add(1, Ordering::Relaxed)),
            Found::Reset => drop(counters.connections_reset.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Places {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), seats: Mutex::default() })
    }

    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Who has a place keeps it.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A place for a connection that was accepted, from `address`.
    pub fn enter(self: &Arc<Self>, address: Address) -> (Place, Found) {
        let mut seats = self.seats();
        let now = Instant::now();
        let idle = |in_reserve| self.oldest_idle(&seats, address, in_reserve, now);
        let (in_reserve, given, found) = if seats.count(false) < self.max() {
            (false, None, Found::Free)
        } else if let Some(idle) = idle(false) {
            (false, Some(idle), Found::Evicted)
        } else if let Some(stuck) = seats.oldest_stuck(now) {
            (false, Some(stuck), Found::Reset)
        } else if seats.count(true) < RESERVE {
            (true, None, Found::Free)
        } else if let Some(idle) = idle(true) {
            (true, Some(idle), Found::Evicted)
        } else {
            (true, seats.oldest_in_reserve(), Found::Reset)
        };
        if let Some(number) = given {
            seats.evict(number);
        }
        (Place { places: self.clone(), seat: seats.take(address, in_reserve, now) }, found)
    }

    /// The idle connection that makes room for one of `address`: of that itself, where it holds half of the places.
    fn oldest_idle(&self, seats: &Seats, address: Address, in_reserve: bool, now: Instant) -> Option<u64> {
        // A later connection, by number or time, gets to say something first.
        let newest = (seats.last.saturating_sub(self.max().min(RESERVE) as u64), now - GRACE);
        let max = if in_reserve { RESERVE } else { self.max() };
        let held = seats.of(in_reserve).filter(|seat| seat.address == address).count();
        let is_crowd = 2 * held >= max;
        seats.oldest_idle(in_reserve, newest, |seat| !is_crowd || seat.address == address)
    }

    /// `None`: it stays in reserve.
    fn promote(&self, seat: &Seat) -> Option<Found> {
        let mut seats = self.seats();
        if !seat.in_reserve() || !seats.taken.contains_key(&seat.number) {
            return (!seat.in_reserve()).then_some(Found::Free);
        }
        let mut found = Found::Free;
        if seats.count(false) >= self.max() {
            let now = Instant::now();
            let (number, how) = match self.oldest_idle(&seats, seat.address, false, now) {
                Some(idle) => (idle, Found::Evicted),
                None => (seats.oldest_of_a_crowd(seat.address, now)?, Found::Reset),
            };
            seats.evict(number);
            found = how;
        }
        seat.in_reserve.store(false, Ordering::Relaxed);
        seats.in_reserve -= 1;
        Some(found)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("counting places never panics")
    }
}

impl Seats {
    fn count(&self, in_reserve: bool) -> usize {
        if in_reserve { self.in_reserve } else { self.taken.len() - self.in_reserve }
    }

    fn of(&self, in_reserve: bool) -> impl Iterator<Item = &Arc<Seat>> {
        self.taken.values().filter(move |seat| seat.in_reserve() == in_reserve)
    }

    fn take(&mut self, address: Address, in_reserve: bool, now: Instant) -> Arc<Seat> {
        self.last += 1;
        let seat = Arc::new(Seat {
            number: self.last,
            address,
            came: now,
            in_reserve: AtomicBool::new(in_reserve),
            phase: Mutex::new(Phase::Head(now)),
            is_blocked: AtomicBool::new(false),
            busy_since: Mutex::default(),
            evicted: Notify::new(),
            reader: Mutex::default(),
        });
        self.taken.insert(seat.number, seat.clone());
        self.in_reserve += usize::from(in_reserve);
        seat
    }

    fn remove(&mut self, number: u64) -> bool {
        let Some(seat) = self.taken.remove(&number) else { return false };
        self.in_reserve -= usize::from(seat.in_reserve());
        seat.evicted.notify_one();
        true
    }

    fn evict(&mut self, number: u64) {
        let was_taken = self.remove(number);
        assert!(was_taken, "only who has a place makes room");
    }

    /// Among those that are not newer than `newest` by number or time, or were answered.
    fn oldest_idle(
        &self,
        in_reserve: bool,
        newest: (u64, Instant),
        may_go: impl Fn(&Seat) -> bool,
    ) -> Option<u64> {
        let seats = self.of(in_reserve).filter(|seat| may_go(seat));
        let idle = seats.filter_map(|seat| Some((seat.idle_since(newest)?, seat.number)));
        idle.min().map(|(_, number)| number)
    }

    /// Among the ordinary ones.
    fn oldest_stuck(&self, now: Instant) -> Option<u64> {
        let stuck = self.of(false).filter_map(|seat| Some((seat.stuck_since(now)?, seat.number)));
        stuck.min().map(|(_, number)| number)
    }

    /// The one that has been busy for longest, of the address that holds the most ordinary places: one that holds
    /// more than `newcomer` will with its new one.
    fn oldest_of_a_crowd(&self, newcomer: Address, now: Instant) -> Option<u64> {
        let mut held = HashMap::<Address, usize>::new();
        self.of(false).for_each(|seat| *held.entry(seat.address).or_default() += 1);
        let own = held.get(&newcomer).copied().unwrap_or_default();
        let (crowd, count) = held.into_iter().max_by_key(|(address, count)| (*count, *address))?;
        let busy_since = |seat: &Seat| seat.busy_since.lock().expect(PLAIN).unwrap_or(now);
        let crowding = self.of(false).filter(|seat| count > own + 1 && seat.address == crowd);
        crowding.min_by_key(|seat| (busy_since(seat), seat.number)).map(|seat| seat.number)
    }

    fn oldest_in_reserve(&self) -> Option<u64> {
        self.of(true).next().map(|seat| seat.number)
    }
}

impl Seat {
    fn in_reserve(&self) -> bool {
        self.in_reserve.load(Ordering::Relaxed)
    }

    pub fn phase(&self) -> Phase {
        *self.lock_phase()
    }

    pub fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Since when it only keeps its place; while it awaits a head, one newer than `newest` does not yet.
    fn idle_since(&self, newest: (u64, Instant)) -> Option<Instant> {
        match self.phase() {
            _ if self.is_blocked() => None,
            Phase::Head(since) if self.number > newest.0 && since > newest.1 => None,
            Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Asked { .. } => None,
        }
    }

    /// Since when it is [`STUCK`].
    fn stuck_since(&self, now: Instant) -> Option<Instant> {
        let publishes = self.phase() == Phase::Asked { has_body: true } && !self.is_blocked();
        let since = *self.busy_since.lock().expect(PLAIN);
        since.filter(|since| !publishes && now.duration_since(*since) >= STUCK)
    }

    /// Bytes came.
    pub fn heard(&self) {
        let mut phase = self.lock_phase();
        if let Phase::Idle(_) = *phase {
            *phase = Phase::Head(Instant::now());
        }
    }

    /// All that it asked is answered, and the answers are sent.
    pub fn caught_up(&self) {
        *self.busy_since.lock().expect(PLAIN) = None;
    }

    /// `waker` is woken when it becomes idle.
    pub fn wake_when_idle(&self, waker: &Waker) {
        *self.reader.lock().expect(PLAIN) = Some(waker.clone());
    }

    fn begin_idle(&self) {
        *self.lock_phase() = Phase::Idle(Instant::now());
        if let Some(waker) = self.reader.lock().expect(PLAIN).take() {
            waker.wake();
        }
    }

    fn lock_phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().expect(PLAIN)
    }
}

impl Place {
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Of its connection's peer.
    pub fn address(&self) -> Address {
        self.seat.address
    }

    /// From one in reserve to an ordinary one that is free by now, kept by who is idle, or of the address that holds
    /// the most, with more than this one's. `None`: it stays in reserve.
    pub fn promote(&self) -> Option<Found> {
        self.places.promote(&self.seat)
    }

    pub fn is_in_reserve(&self) -> bool {
        self.seat.in_reserve()
    }

    /// A whole request head came.
    pub fn ask(&self, has_body: bool) -> Asking {
        *self.seat.lock_phase() = Phase::Asked { has_body };
        let mut busy_since = self.seat.busy_since.lock().expect(PLAIN);
        let is_ahead = busy_since.is_some();
        busy_since.get_or_insert_with(Instant::now);
        Asking { seat: self.seat.clone(), is_ahead }
    }

    /// Whether an answer waits for its reader.
    pub fn set_blocked(&self, blocked: bool) {
        let was = self.seat.is_blocked.swap(blocked, Ordering::Relaxed);
        if was && !blocked && !matches!(self.seat.phase(), Phase::Asked { .. }) {
            self.seat.begin_idle();
        }
    }

    /// Nothing is answered any more: the connection only waits for its end.
    pub fn begin_lingering(&self) {
        self.seat.is_blocked.store(false, Ordering::Relaxed);
        self.seat.begin_idle();
    }

    /// Returns when the place was given to another connection, or its time in reserve is over.
    pub async fn lost(&self) {
        let over = async {
            if self.seat.in_reserve() {
                sleep_until(self.seat.came + RESERVE_TIME).await;
            }
            if !self.seat.in_reserve() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.seat.evicted.notified() => {}
            () = over => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats().remove(self.seat.number);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.seat.begin_idle();
    }
}

#[cfg(test)]
mod tests;
