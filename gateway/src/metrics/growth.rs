//! What clients cost in memory: told at each doubling of their number, and a gauge.

use net::metric::Metric;

/// Of the bytes that a client takes.
pub const METRICS: &[Metric<u64>] = &[Metric::gauge(
    "fanwire_client_memory_bytes",
    "Resident memory that clients have added, by their number; none below 1,000 clients",
    |bytes| *bytes,
)];

/// Before that what else the process does weighs more.
const CLIENTS_MIN: usize = 1000;

/// Memory of the process that one more client has taken, on average. `None`: too few clients to tell.
pub fn bytes_per_client(resident_bytes: u64, before_bytes: u64, clients: usize) -> Option<u64> {
    (clients >= CLIENTS_MIN).then(|| resident_bytes.saturating_sub(before_bytes) / clients as u64)
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
    fn memory_a_client_is_of_what_came_since_the_start() {
        assert_eq!(bytes_per_client(20 << 20, 10 << 20, 10_000), Some(1048));
        assert_eq!(bytes_per_client(9 << 20, 10 << 20, 10_000), Some(0));
        assert_eq!(bytes_per_client(20 << 20, 10 << 20, 999), None);
    }
}
