//! Where a subscriber stands among a gateway's versions.

use std::{fmt, num::NonZeroU64};

use crate::invariant;

/// The version up to which a subscriber was sent everything, or nowhere: nothing was sent in this epoch. In
/// order of how much was sent: nowhere is furthest behind.
///
/// Eight bytes, so that a subscription stays small: inside, a version counts from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(Option<NonZeroU64>);

const _: () = assert!(size_of::<Position>() == size_of::<u64>());

impl Position {
    pub const NOWHERE: Self = Self(None);

    /// Of a client that was sent everything up to `version`.
    pub fn at(version: u64) -> Self {
        let from_one = version.checked_add(1).and_then(NonZeroU64::new);
        invariant!(from_one.is_some(), "versions end at 2^53, not at {version}");
        Self(from_one)
    }

    /// `None`: nowhere.
    pub fn version(self) -> Option<u64> {
        self.0.map(|from_one| from_one.get() - 1)
    }

    pub fn is_nowhere(self) -> bool {
        self == Self::NOWHERE
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            Some(version) => write!(f, "at {version}"),
            None => f.write_str("nowhere"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_sent_nothing_is_behind_everyone() {
        let mut positions = [Position::at(7), Position::NOWHERE, Position::at(0), Position::at(u64::MAX - 1)];
        positions.sort_unstable();
        let versions = positions.map(Position::version);
        assert_eq!(versions, [None, Some(0), Some(7), Some(u64::MAX - 1)]);
        assert!(Position::NOWHERE.is_nowhere() && !Position::at(0).is_nowhere());
    }
}
