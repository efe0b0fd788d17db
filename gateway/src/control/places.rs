//! Places of the admin listener: a bounded number of connections, of which the oldest idle one makes room, and a
//! few more for those who ask how the gateway is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use tokio::{sync::Notify, time::Instant};

/// Places in reserve, once all others are taken by connections that are not idle.
pub const RESERVE: usize = 16;

const PLAIN: &str = "it is only read and written";

/// Shared by the listener and its connections, all of which live on the control plane's thread.
#[derive(Debug)]
pub struct Places {
    /// `[limits] admin_connections`.
    max: usize,
    seats: Mutex<Seats>,
    /// A place came free, or a connection became idle.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Seats {
    last: u64,
    taken: BTreeMap<u64, Arc<Seat>>,
    in_reserve: usize,
}

/// What is known of one connection.
#[derive(Debug)]
pub struct Seat {
    number: u64,
    in_reserve: AtomicBool,
    phase: Mutex<Phase>,
    /// An answer waits for its reader.
    is_blocked: AtomicBool,
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
    Asked,
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
    places: Arc<Places>,
    seat: Arc<Seat>,
}

/// How a place was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Free,
    /// An idle connection was closed for it.
    Evicted,
    /// All were busy, so that the newcomer had to wait.
    Waited,
}

impl Places {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, seats: Mutex::default(), freed: Notify::new() })
    }

    /// A place for a connection that was accepted.
    pub async fn enter(self: &Arc<Self>) -> (Place, Found) {
        let mut waited = false;
        loop {
            if let Some((seat, found)) = self.try_enter() {
                let found = if waited { Found::Waited } else { found };
                return (Place { places: self.clone(), seat }, found);
            }
            waited = true;
            self.freed.notified().await;
        }
    }

    fn try_enter(&self) -> Option<(Arc<Seat>, Found)> {
        let mut seats = self.seats();
        for (in_reserve, room) in [(false, self.max), (true, RESERVE)] {
            if seats.count(in_reserve) < room {
                return Some((seats.take(in_reserve), Found::Free));
            }
            if seats.evict_oldest_idle(in_reserve) {
                return Some((seats.take(in_reserve), Found::Evicted));
            }
        }
        None
    }

    fn promote(&self, seat: &Seat) -> bool {
        let mut seats = self.seats();
        if !seat.in_reserve() || !seats.taken.contains_key(&seat.number) {
            return !seat.in_reserve();
        }
        if seats.count(false) >= self.max && !seats.evict_oldest_idle(false) {
            return false;
        }
        seat.in_reserve.store(false, Ordering::Relaxed);
        seats.in_reserve -= 1;
        self.freed.notify_one();
        true
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("counting places never panics")
    }
}

impl Seats {
    fn count(&self, in_reserve: bool) -> usize {
        if in_reserve { self.in_reserve } else { self.taken.len() - self.in_reserve }
    }

    fn take(&mut self, in_reserve: bool) -> Arc<Seat> {
        self.last += 1;
        let seat = Arc::new(Seat {
            number: self.last,
            in_reserve: AtomicBool::new(in_reserve),
            phase: Mutex::new(Phase::Head(Instant::now())),
            is_blocked: AtomicBool::new(false),
            evicted: Notify::new(),
            reader: Mutex::default(),
        });
        self.taken.insert(seat.number, seat.clone());
        self.in_reserve += usize::from(in_reserve);
        seat
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Seat>> {
        let seat = self.taken.remove(&number)?;
        self.in_reserve -= usize::from(seat.in_reserve());
        Some(seat)
    }

    fn evict_oldest_idle(&mut self, in_reserve: bool) -> bool {
        let idle = self.taken.values().filter(|seat| seat.in_reserve() == in_reserve);
        let oldest = idle.filter_map(|seat| Some((seat.idle_since()?, seat.number))).min();
        let Some(seat) = oldest.and_then(|(_, number)| self.remove(number)) else { return false };
        seat.evicted.notify_one();
        true
    }
}

impl Seat {
    fn in_reserve(&self) -> bool {
        self.in_reserve.load(Ordering::Relaxed)
    }

    pub fn phase(&self) -> Phase {
        *self.lock_phase()
    }

    /// Since when it only keeps its place.
    fn idle_since(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Head(since) | Phase::Idle(since) if !self.is_blocked.load(Ordering::Relaxed) => {
                Some(since)
            }
            _ => None,
        }
    }

    /// Bytes came.
    pub fn heard(&self) {
        let mut phase = self.lock_phase();
        if let Phase::Idle(_) = *phase {
            *phase = Phase::Head(Instant::now());
        }
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

    /// Whether it is none in reserve, or an ordinary one is free by now, which it becomes.
    pub fn is_ordinary(&self) -> bool {
        self.places.promote(&self.seat)
    }

    /// Whole requests come from here on.
    pub fn ask(&self) -> Asking {
        *self.seat.lock_phase() = Phase::Asked;
        Asking { places: self.places.clone(), seat: self.seat.clone() }
    }

    /// Whether an answer waits for its reader.
    pub fn set_blocked(&self, blocked: bool) {
        let was = self.seat.is_blocked.swap(blocked, Ordering::Relaxed);
        if was && !blocked && self.seat.phase() != Phase::Asked {
            self.seat.begin_idle();
            self.places.freed.notify_one();
        }
    }

    pub fn is_blocked(&self) -> bool {
        self.seat.is_blocked.load(Ordering::Relaxed)
    }

    /// Nothing is answered any more: the connection only waits for its end.
    pub fn begin_lingering(&self) {
        self.seat.is_blocked.store(false, Ordering::Relaxed);
        self.seat.begin_idle();
        self.places.freed.notify_one();
    }

    /// Returns when the place was given to another connection.
    pub async fn evicted(&self) {
        self.seat.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.places.seats().remove(self.seat.number).is_some() {
            self.places.freed.notify_one();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.seat.begin_idle();
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(places: &Arc<Places>) -> Option<(Place, Found)> {
        places.try_enter().map(|(seat, found)| (Place { places: places.clone(), seat }, found))
    }

    fn taken(places: &Places) -> usize {
        places.seats().taken.len()
    }

    fn is_evicted(place: &Place) -> bool {
        !place.places.seats().taken.contains_key(&place.seat.number)
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_makes_room_and_no_busy_one() {
        let places = Places::new(3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(enter(&places).unwrap().0);
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        let asking = held[0].ask();
        let (fourth, found) = enter(&places).unwrap();
        assert_eq!((found, is_evicted(&held[1]), is_evicted(&held[2])), (Found::Evicted, true, false));
        drop(asking);
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        held[0].set_blocked(true);
        // What it was answered is not read yet, so that it is not idle.
        let (_fifth, found) = enter(&places).unwrap();
        assert_eq!((found, is_evicted(&held[0]), is_evicted(&held[2])), (Found::Evicted, false, true));
        assert!(!is_evicted(&fourth));
        assert_eq!(taken(&places), 3);
    }

    #[tokio::test]
    async fn when_all_are_busy_a_reserve_is_left_and_then_others_wait() {
        let places = Places::new(2);
        let busy: Vec<Place> = (0..2).map(|_| enter(&places).unwrap().0).collect();
        let asking: Vec<Asking> = busy.iter().map(Place::ask).collect();
        let reserve: Vec<Place> = (0..RESERVE).map(|_| enter(&places).unwrap().0).collect();
        assert!(!reserve[0].is_ordinary());
        let (_next, found) = enter(&places).unwrap();
        assert_eq!((found, is_evicted(&reserve[0]), is_evicted(&reserve[1])), (Found::Evicted, true, false));
        let last: Vec<Asking> = reserve[1..].iter().chain([&_next]).map(Place::ask).collect();
        assert!(enter(&places).is_none());
        drop(asking);
        assert!(reserve[1].is_ordinary(), "an ordinary place is idle");
        assert!(busy[1].is_ordinary(), "it has one");
        drop((last, reserve, busy));
        assert_eq!(taken(&places), 1);
        let waited = { places.clone().enter().await.1 };
        assert_eq!(waited, Found::Free);
    }
}
