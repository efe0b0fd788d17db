//! What is built for each address: since who reconnects is a new connection, its rate is the address's.

use std::collections::HashMap;

use crate::address::Address;

/// Entries that are not worth a look.
const SWEEP_MIN: usize = 64;
/// An address may have built at once what it may in so many seconds.
const BURST_S: i64 = 4;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What is left; below zero it is owed.
    left: i64,
    at_us: u64,
}

/// A token bucket for each address that something was built for lately.
#[derive(Debug)]
pub struct Addresses {
    /// Bytes of each second; 0: no limit.
    per_s: i64,
    buckets: HashMap<Address, Bucket>,
    /// How many there may be before full ones are dropped.
    sweep_at: usize,
}

impl Addresses {
    /// `per_s`: `[limits] build_bytes_per_ip`.
    pub fn new(per_s: usize) -> Self {
        Self { per_s: per_s as i64, buckets: HashMap::new(), sweep_at: SWEEP_MIN }
    }

    /// `true`: it is another one, and everybody begins anew.
    pub fn set_rate(&mut self, per_s: usize) -> bool {
        let has_changed = self.per_s != per_s as i64;
        if has_changed {
            *self = Self::new(per_s);
        }
        has_changed
    }

    /// Whether there is a limit.
    pub fn is_on(&self) -> bool {
        self.per_s > 0
    }

    /// Until when nothing may be built for an address, where it has used up what is its. µs, monotonic.
    pub fn rests(&self, address: Address, now_us: u64) -> Option<u64> {
        let bucket = self.buckets.get(&address)?;
        let left = self.left(bucket, now_us);
        (left <= 0).then(|| now_us + ((1 - left) as u64 * 1_000_000).div_ceil(self.per_s as u64))
    }

    pub fn charge(&mut self, address: Address, bytes: u64, now_us: u64) {
        if self.per_s == 0 || bytes == 0 {
            return;
        }
        let full = Bucket { left: BURST_S * self.per_s, at_us: now_us };
        let left = self.left(self.buckets.get(&address).unwrap_or(&full), now_us);
        self.buckets.insert(address, Bucket { left: left - bytes as i64, at_us: now_us });
        if self.buckets.len() > self.sweep_at {
            let (per_s, full) = (self.per_s, BURST_S * self.per_s);
            self.buckets.retain(|_, bucket| level(bucket, per_s, now_us) < full);
            self.sweep_at = (2 * self.buckets.len()).max(SWEEP_MIN);
        }
    }

    fn left(&self, bucket: &Bucket, now_us: u64) -> i64 {
        level(bucket, self.per_s, now_us)
    }
}

fn level(bucket: &Bucket, per_s: i64, now_us: u64) -> i64 {
    let us = now_us.saturating_sub(bucket.at_us).min(3_600_000_000) as i128;
    let gained = (us * i128::from(per_s) / 1_000_000) as i64;
    bucket.left.saturating_add(gained).min(BURST_S * per_s)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(bytes: [u8; 4]) -> Address {
        IpAddr::from(bytes).into()
    }

    #[test]
    fn who_has_used_up_its_share_rests_and_others_do_not() {
        let (a, b) = (address([10, 0, 0, 1]), address([10, 0, 0, 2]));
        let mut addresses = Addresses::new(1_000);
        addresses.charge(a, 4_500, 0);
        let until_us = addresses.rests(a, 0).unwrap();
        assert!((500_000..=502_000).contains(&until_us), "{until_us}");
        assert_eq!((addresses.rests(b, 0), addresses.rests(a, until_us)), (None, None));
    }

    #[test]
    fn addresses_with_nothing_used_are_forgotten_and_without_a_limit_none_is_kept() {
        let mut addresses = Addresses::new(1_000);
        for i in 0..10_000u32 {
            addresses.charge(address(i.to_be_bytes()), 100, u64::from(i) * 100_000);
        }
        assert!(addresses.buckets.len() <= SWEEP_MIN, "{}", addresses.buckets.len());
        let mut unlimited = Addresses::new(0);
        unlimited.charge(address([10, 0, 0, 1]), u64::MAX / 2, 0);
        assert_eq!(unlimited.rests(address([10, 0, 0, 1]), 0), None);
    }
}
