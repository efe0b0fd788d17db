//! What clients cost in memory: told at each doubling of their number, and a gauge.

use std::sync::{Mutex, PoisonError};

use net::metric::Metric;

/// Of the bytes that a client takes.
pub const METRICS: &[Metric<u64>] = &[Metric::gauge(
    "fanwire_client_memory_bytes",
    "Resident memory added since there was no client, less what topics and history count as more, by the number of clients; none below 1,000",
    |bytes| *bytes,
)];

/// Before that what else the process does weighs more.
const CLIENTS_MIN: usize = 1000;

/// What the process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub resident_bytes: u64,
    /// Of topics and of history, as their gauges count them.
    pub values_bytes: u64,
}

/// What it held when there was no client, last.
#[derive(Debug, Default)]
pub struct Baseline(Mutex<Option<Held>>);

impl Baseline {
    /// There is no client.
    pub fn note(&self, held: Held) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// Memory that one more client has taken, on average. `None`: too few clients to tell.
    pub fn bytes_per_client(&self, now: Held, clients: usize) -> Option<u64> {
        let before = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let values_added = now.values_bytes.saturating_sub(before.values_bytes);
        let added = now.resident_bytes.saturating_sub(before.resident_bytes + values_added);
        (clients >= CLIENTS_MIN).then(|| added / clients as u64)
    }
}

/// Doublings of the number of clients.
#[derive(Debug)]
pub struct Doublings {
    /// The next number that is told.
    next: usize,
}

impl Default for Doublings {
    fn default() -> Self {
        Self { next: CLIENTS_MIN }
    }
}

impl Doublings {
    /// Whether there are twice as many clients as were told last. Each number is told once.
    pub fn reached(&mut self, clients: usize) -> bool {
        let is_reached = clients >= self.next;
        while clients >= self.next {
            self.next *= 2;
        }
        is_reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubling_is_told_once_however_fast_clients_come_and_go() {
        let mut doublings = Doublings::default();
        let told: Vec<usize> = [10, 999, 1000, 1001, 4100, 3000, 7999, 8000, 100, 8001, 16_000]
            .into_iter()
            .filter(|clients| doublings.reached(*clients))
            .collect();
        assert_eq!(told, [1000, 4100, 8000, 16_000]);
    }

    #[test]
    fn memory_a_client_is_of_what_came_since_there_was_none_and_topics_are_no_clients() {
        let held = |resident_mib: u64, values_mib: u64| Held {
            resident_bytes: resident_mib << 20,
            values_bytes: values_mib << 20,
        };
        let baseline = Baseline::default();
        assert_eq!(baseline.bytes_per_client(held(20, 0), 10_000), None);
        // A source fills topics before anybody comes.
        baseline.note(held(10, 0));
        baseline.note(held(110, 50));
        assert_eq!(baseline.bytes_per_client(held(120, 50), 10_000), Some(1048));
        // And while clients are here.
        assert_eq!(baseline.bytes_per_client(held(150, 80), 10_000), Some(1048));
        assert_eq!(baseline.bytes_per_client(held(109, 40), 10_000), Some(0));
        assert_eq!(baseline.bytes_per_client(held(120, 50), 999), None);
    }
}
