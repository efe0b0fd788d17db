//! How far off what `[[topic]]` does by time alone may be.

pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// A deadline that is nearer is not worth a timer.
pub(super) const DEADLINE_MS_MIN: u64 = 10;
