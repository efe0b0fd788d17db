//! A table of addresses that many threads share, in parts that are locked each by itself: who touches one address
//! seldom meets who touches another.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::address::Address;

/// A power of two.
const STRIPES: usize = 64;

/// What is kept of addresses, in parts of the form `T`.
#[derive(Debug)]
pub struct Striped<T>(Box<[Mutex<T>]>);

impl<T: Default> Default for Striped<T> {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl<T> Striped<T> {
    /// How many parts there are.
    pub const PARTS: usize = STRIPES;

    /// The part of an address.
    pub fn of(&self, address: Address) -> MutexGuard<'_, T> {
        let bits = match address {
            Address::V4(octets) => u64::from(u32::from_be_bytes(octets)),
            Address::V6(half) => u64::from_be_bytes(half),
        };
        // Knuth's multiplicative hash: neighbours part.
        let place = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - STRIPES.ilog2());
        lock(&self.0[place as usize])
    }

    /// One part after the other.
    pub fn parts(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0.iter().map(lock)
    }
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_address_is_found_again_and_neighbours_spread_over_the_parts() {
        let table: Striped<HashSet<Address>> = Striped::default();
        let near = (0..640u32).map(|i| Address::V4((0x0a00_0000 + i).to_be_bytes()));
        let lines = (0..640u64).map(|i| Address::V6((0x2001_0db8_0000_0000 + i).to_be_bytes()));
        for addresses in [near.collect::<Vec<_>>(), lines.collect()] {
            for address in &addresses {
                table.of(*address).insert(*address);
                assert!(table.of(*address).contains(address));
            }
            let most = table.parts().map(|part| part.len()).max();
            assert!(most < Some(40), "{most:?} of 640 in one of {STRIPES} parts");
            table.parts().for_each(|mut part| part.clear());
        }
    }
}
