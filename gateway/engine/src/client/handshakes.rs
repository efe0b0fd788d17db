//! How many handshakes may begin, over all shards: all together, and those of each address.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use net::metric::Metric;

use super::{Meter, RateLimit, Refused, SharedRate};
use crate::{address::Address, clock::Now, settings::Limits, striped::Striped};

/// Entries that are not worth a look.
const SWEEP_MIN: usize = 64;

/// Rates, and where everybody stands with them. Touched once a handshake.
#[derive(Debug)]
pub struct Handshakes {
    all: SharedRate,
    of_address: SharedRate,
    meter: AtomicU64,
    addresses: Striped<Meters>,
    /// Of each part of `addresses`.
    addresses_max: AtomicUsize,
    unmetered: AtomicU64,
}

/// Where addresses stand that have begun a handshake lately.
#[derive(Debug, Default)]
struct Meters {
    by_address: HashMap<Address, Meter>,
    /// How many there may be before those at rest are dropped.
    sweep_at: usize,
}

/// A handshake is over a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub rate: Refused,
    /// In so long there is room.
    pub wait_us: u64,
}

impl Handshakes {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge(
            "fanwire_handshake_addresses",
            "Addresses whose handshakes of a moment ago are remembered, where [limits] handshakes_per_ip is on",
            |all| all.addresses() as u64,
        ),
        Metric::counter(
            "fanwire_handshakes_unmetered",
            "Handshakes of addresses that [limits] handshake_addresses had no room for",
            |all| all.unmetered.load(Ordering::Relaxed),
        ),
    ];

    pub fn new(limits: &Limits) -> Self {
        Self {
            all: SharedRate::of(limits.handshakes),
            of_address: SharedRate::of(limits.handshakes_per_ip),
            meter: AtomicU64::new(0),
            addresses: Striped::default(),
            addresses_max: AtomicUsize::new(part_of(limits.handshake_addresses)),
            unmetered: AtomicU64::new(0),
        }
    }

    /// Other rates hold from now on, for what came before too.
    pub fn set_limits(&self, limits: &Limits) {
        self.all.set(limits.handshakes);
        self.of_address.set(limits.handshakes_per_ip);
        self.addresses_max.store(part_of(limits.handshake_addresses), Ordering::Relaxed);
    }

    /// Counts a handshake. First of its address, so that who is over its own rate takes nothing of the others'.
    pub fn begin(&self, address: Address, now: Now) -> Result<(), Over> {
        let (all, of_address) = (self.all.limit(), self.of_address.limit());
        if of_address.is_on() {
            let counted = self.count_of(address, of_address, now.mono_us);
            counted.map_err(|wait_us| Over { rate: Refused::AddressHandshakes, wait_us })?;
        }
        if all.is_on() {
            let after = |meter| Meter::from_bits(meter).after_one(all, now.mono_us);
            let next = |meter| after(meter).ok().map(Meter::to_bits);
            self.meter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|meter| {
                let wait_us = after(meter).err().unwrap_or_default();
                Over { rate: Refused::Handshakes, wait_us }
            })?;
        }
        Ok(())
    }

    fn count_of(&self, address: Address, rate: RateLimit, now_us: u64) -> Result<(), u64> {
        let mut meters = self.addresses.of(address);
        let known = meters.by_address.get(&address).copied();
        let after = known.unwrap_or_default().after_one(rate, now_us)?;
        if known.is_none() && !meters.have_room(self.addresses_max.load(Ordering::Relaxed), now_us) {
            self.unmetered.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        meters.by_address.insert(address, after);
        Ok(())
    }

    /// Addresses that stand below their whole rate, or did lately.
    pub fn addresses(&self) -> usize {
        self.addresses.parts().map(|meters| meters.by_address.len()).sum()
    }
}

/// Of so many addresses, those of one part.
fn part_of(addresses: usize) -> usize {
    addresses.div_ceil(Striped::<Meters>::PARTS)
}

impl Meters {
    /// Whether one more has room among so many; those at rest give theirs.
    fn have_room(&mut self, most: usize, now_us: u64) -> bool {
        if self.by_address.len() >= most.min(self.sweep_at.max(SWEEP_MIN)) {
            self.by_address.retain(|_, meter| !meter.is_at_rest(now_us));
            self.sweep_at = 2 * self.by_address.len();
        }
        self.by_address.len() < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::Keys, unit::Rate};

    fn handshakes(all: Rate, of_address: Rate, addresses: usize) -> Handshakes {
        let limits = Limits {
            handshakes: all,
            handshakes_per_ip: of_address,
            handshake_addresses: addresses,
            ..Limits::defaults()
        };
        Handshakes::new(&limits)
    }

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_us: 0 }
    }

    fn address(n: u32) -> Address {
        Address::V4(n.to_be_bytes())
    }

    #[test]
    fn an_address_over_its_rate_takes_nothing_of_the_others() {
        let all = handshakes(Rate::per_s(5), Rate::per_s(2), 1_000_000);
        let begun = (0..100).filter(|_| all.begin(address(1), at(0)).is_ok()).count();
        assert_eq!(begun, 2);
        let over = Over { rate: Refused::AddressHandshakes, wait_us: 500_000 };
        assert_eq!(all.begin(address(1), at(0)), Err(over));
        assert_eq!((2..100).filter(|n| all.begin(address(*n), at(0)).is_ok()).count(), 3);
        let over = Over { rate: Refused::Handshakes, wait_us: 200_000 };
        assert_eq!(all.begin(address(1000), at(0)), Err(over));
        assert_eq!(all.begin(address(1000), at(200_000)), Ok(()));
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let none = handshakes(Rate::NONE, Rate::NONE, 0);
        assert!((0..1000).all(|n| none.begin(address(n), at(0)).is_ok()));
        assert_eq!((none.addresses(), none.unmetered.into_inner()), (0, 0));
    }

    #[test]
    fn addresses_at_rest_are_forgotten_and_where_there_is_no_room_newcomers_pass() {
        let rate = Rate::per_s(10);
        let all = handshakes(Rate::NONE, rate, 1 << 20);
        for n in 0..1_000_000 {
            assert_eq!(all.begin(address(n), at(u64::from(n) * 100)), Ok(()));
        }
        assert!(all.addresses() <= 64 * SWEEP_MIN, "{}", all.addresses());
        let few = handshakes(Rate::NONE, rate, 64);
        assert!((0..1000).all(|n| few.begin(address(n), at(0)).is_ok()));
        let unmetered = few.unmetered.load(Ordering::Relaxed);
        assert_eq!((few.addresses() as u64 + unmetered, few.addresses() <= 64), (1000, true));
        let known = (0..1000).filter(|n| (0..10).any(|_| few.begin(address(*n), at(0)).is_err())).count();
        assert_eq!(known, few.addresses());
        assert!((0..1000).all(|n| few.begin(address(n), at(2_000_000)).is_ok()));
    }
}
