//! Memory for what clients' compressed messages may refer back to, over all shards.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use thiserror::Error;

use crate::{address::Address, invariant, striped::Striped};

/// How many bytes of it are taken, and by which addresses. Touched when a client's dictionary grows, which
/// ends at 32 KiB, and when the client goes.
#[derive(Debug)]
pub struct Dictionaries {
    bytes_max: AtomicUsize,
    /// Of one address; 0: no limit.
    address_bytes_max: AtomicUsize,
    bytes: AtomicUsize,
    by_address: Striped<HashMap<Address, usize>>,
}

/// No room. As text it is the reason of a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Full {
    /// [compression] dictionaries.
    #[error(
        "no room to go on with your compression context ([compression] dictionaries); offer client_no_context_takeover"
    )]
    Gateway,
    /// [compression] dictionaries_per_ip.
    #[error(
        "compression contexts of your address: [compression] dictionaries_per_ip; offer client_no_context_takeover"
    )]
    Address,
}

impl Dictionaries {
    /// `address_bytes_max`: of one address; 0: no limit.
    pub fn new(bytes_max: usize, address_bytes_max: usize) -> Self {
        let (bytes_max, address_bytes_max) =
            (AtomicUsize::new(bytes_max), AtomicUsize::new(address_bytes_max));
        Self { bytes_max, address_bytes_max, bytes: AtomicUsize::new(0), by_address: Striped::default() }
    }

    /// What is taken stays. As for [`Dictionaries::new`].
    pub fn set_max(&self, bytes_max: usize, address_bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.address_bytes_max.store(address_bytes_max, Ordering::Relaxed);
    }

    fn address_bytes_max(&self) -> usize {
        match self.address_bytes_max.load(Ordering::Relaxed) {
            0 => usize::MAX,
            bytes => bytes,
        }
    }

    /// Makes room for a dictionary of `address` that takes `bytes` instead of `had`, or changes nothing.
    pub fn grow(&self, address: Address, had: usize, bytes: usize) -> Result<(), Full> {
        invariant!(had <= bytes, "a dictionary of {had} bytes shrinks to {bytes}");
        let more = bytes - had;
        if more == 0 {
            return Ok(());
        }
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let room = |taken: usize| taken.checked_add(more).filter(|would| *would <= bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).map_err(|_| Full::Gateway)?;
        let mut by_address = self.by_address.of(address);
        let taken = by_address.get(&address).copied().unwrap_or(0);
        if taken + more > self.address_bytes_max() {
            self.bytes.fetch_sub(more, Ordering::Relaxed);
            return Err(Full::Address);
        }
        by_address.insert(address, taken + more);
        Ok(())
    }

    /// Gives back a dictionary of `address` that takes `bytes`.
    pub fn release(&self, address: Address, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut by_address = self.by_address.of(address);
        let taken = by_address.get_mut(&address).expect("a dictionary is counted");
        *taken -= bytes;
        if *taken == 0 {
            by_address.remove(&address);
        }
    }

    /// Whether a client more of `address` may have a dictionary: less than nine tenths are taken, of all and
    /// of the address's share.
    pub fn have_room(&self, address: Address) -> bool {
        let below = |taken: usize, max: usize| taken < max - max / 10;
        if !below(self.bytes(), self.bytes_max.load(Ordering::Relaxed)) {
            return false;
        }
        let by_address = self.by_address.of(address);
        below(by_address.get(&address).copied().unwrap_or(0), self.address_bytes_max())
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Addresses that have any.
    pub fn addresses(&self) -> usize {
        self.by_address.parts().map(|part| part.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::client::dictionaries::*;

    const A: Address = Address::V4([192, 0, 2, 1]);
    const B: Address = Address::V4([192, 0, 2, 2]);

    fn dictionaries(dictionaries: usize, dictionaries_per_ip: usize) -> Dictionaries {
        Dictionaries::new(dictionaries, dictionaries_per_ip)
    }

    #[test]
    fn bytes_are_exact_for_all_and_for_each_address_and_refusals_take_none() {
        let all = dictionaries(100, 60);
        assert_eq!(all.grow(A, 0, 40), Ok(()));
        assert_eq!(all.grow(A, 40, 60), Ok(()));
        assert_eq!(all.grow(A, 60, 61), Err(Full::Address));
        assert_eq!(all.grow(B, 0, 41), Err(Full::Gateway));
        assert_eq!(all.grow(B, 0, 40), Ok(()));
        assert_eq!((all.bytes(), all.addresses()), (100, 2));
        all.release(A, 60);
        assert_eq!((all.bytes(), all.addresses()), (40, 1));
        all.release(B, 40);
        assert_eq!((all.bytes(), all.addresses()), (0, 0));
        let unshared = dictionaries(100, 0);
        assert_eq!(unshared.grow(A, 0, 100), Ok(()));
        unshared.set_max(200, 60);
        assert_eq!(unshared.grow(A, 100, 101), Err(Full::Address));
        assert_eq!((unshared.grow(B, 0, 60), unshared.addresses()), (Ok(()), 2));
    }

    #[test]
    fn at_nine_tenths_there_is_none_for_a_client_more() {
        let all = dictionaries(1000, 500);
        assert_eq!(all.grow(A, 0, 449), Ok(()));
        assert!(all.have_room(A) && all.have_room(B));
        assert_eq!(all.grow(A, 449, 450), Ok(()));
        assert!(!all.have_room(A) && all.have_room(B));
        assert_eq!(all.grow(B, 0, 449), Ok(()));
        assert!(all.have_room(B));
        assert_eq!(all.grow(A, 450, 451), Ok(()));
        assert!(!all.have_room(Address::V6([1; 8])));
        assert!(!dictionaries(0, 0).have_room(A));
    }

    #[test]
    fn reasons_fit_a_close_frame() {
        for full in [Full::Gateway, Full::Address] {
            assert!(full.to_string().len() <= 123, "{full}");
        }
    }
}
