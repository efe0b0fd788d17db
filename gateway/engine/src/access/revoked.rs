//! Tokens that do not hold any more, though they would.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use thiserror::Error;

/// Whose tokens are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// The one of this name.
    Jti(Box<str>),
    /// All of this subject.
    Sub(Box<str>),
}

impl Revoked {
    /// Whether a token of this subject and name is meant.
    pub fn is(&self, sub: Option<&str>, jti: Option<&str>) -> bool {
        match self {
            Revoked::Jti(revoked) => jti == Some(&**revoked),
            Revoked::Sub(revoked) => sub == Some(&**revoked),
        }
    }
}

/// There is no room: nothing is forgotten early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("[limits] revocations = {max} are held already; raise that, or revoke for a shorter time")]
pub struct Full {
    pub max: usize,
}

/// What is revoked, and until when. Asked where a token is accepted only, and not locked while it is empty.
#[derive(Debug, Default)]
pub struct Revocations {
    max: AtomicUsize,
    held: AtomicUsize,
    /// Those for which there was no room.
    refused: AtomicU64,
    until_us: Mutex<HashMap<Revoked, i64>>,
}

impl Revocations {
    pub fn new(max: usize) -> Self {
        Self { max: max.into(), ..Self::default() }
    }

    /// How many may be held. More may have been taken over.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// What holds already stays.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Times are µs since the Unix epoch. One that is held for longer stays as it is.
    pub fn revoke(&self, revoked: Revoked, until_us: i64, now_us: i64) -> Result<(), Full> {
        let mut held = self.until_us.lock().unwrap_or_else(PoisonError::into_inner);
        let max = self.max();
        held.retain(|_, until_us| *until_us > now_us);
        if held.len() >= max && !held.contains_key(&revoked) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.held.store(held.len(), Ordering::Release);
            return Err(Full { max });
        }
        self.hold(&mut held, revoked, until_us);
        Ok(())
    }

    /// Takes over one that was held before, also where no more may be held now.
    pub fn restore(&self, revoked: Revoked, until_us: i64) {
        let mut held = self.until_us.lock().unwrap_or_else(PoisonError::into_inner);
        self.hold(&mut held, revoked, until_us);
    }

    fn hold(&self, held: &mut HashMap<Revoked, i64>, revoked: Revoked, until_us: i64) {
        let until = held.entry(revoked).or_insert(until_us);
        *until = until_us.max(*until);
        self.held.store(held.len(), Ordering::Release);
    }

    /// Whether a token of this subject and name is revoked.
    pub fn has(&self, sub: Option<&str>, jti: Option<&str>, now_us: i64) -> bool {
        if self.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let held = self.until_us.lock().unwrap_or_else(PoisonError::into_inner);
        let names = [sub.map(|sub| Revoked::Sub(sub.into())), jti.map(|jti| Revoked::Jti(jti.into()))];
        names.into_iter().flatten().any(|name| held.get(&name).is_some_and(|until_us| *until_us > now_us))
    }

    /// All that hold at `now_us`.
    pub fn list(&self, now_us: i64) -> Vec<(Revoked, i64)> {
        let held = self.until_us.lock().unwrap_or_else(PoisonError::into_inner);
        let live = held.iter().filter(|(_, until_us)| **until_us > now_us);
        live.map(|(revoked, until_us)| (revoked.clone(), *until_us)).collect()
    }

    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// For how many there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use crate::access::revoked::*;

    #[test]
    fn nothing_is_forgotten_early_and_what_is_over_makes_room() {
        let sub = |name: &str| Revoked::Sub(name.into());
        let revocations = Revocations::new(2);
        assert!(!revocations.has(Some("a"), None, 0));
        revocations.revoke(sub("a"), 100, 0).unwrap();
        revocations.revoke(Revoked::Jti("a".into()), 50, 0).unwrap();
        assert!(revocations.has(Some("a"), None, 99) && revocations.has(None, Some("a"), 49));
        assert!(!revocations.has(Some("a"), None, 100) && !revocations.has(Some("b"), Some("b"), 0));
        assert_eq!(revocations.revoke(sub("c"), 100, 49), Err(Full { max: 2 }));
        revocations.revoke(sub("a"), 70, 49).unwrap();
        assert!(revocations.has(Some("a"), None, 99), "a shorter one ends none");
        revocations.revoke(sub("c"), 100, 50).unwrap();
        assert_eq!((revocations.list(50).len(), revocations.refused()), (2, 1));
    }

    #[test]
    fn what_is_over_is_counted_no_more_also_where_there_is_no_room() {
        let sub = |name: &str| Revoked::Sub(name.into());
        let revocations = Revocations::new(3);
        ["a", "b"].into_iter().for_each(|name| revocations.revoke(sub(name), 50, 0).unwrap());
        revocations.revoke(sub("c"), 100, 50).unwrap();
        assert_eq!(revocations.len(), 1);
        revocations.set_max(0);
        revocations.revoke(sub("d"), 200, 100).unwrap_err();
        assert!(revocations.is_empty());
    }
}
