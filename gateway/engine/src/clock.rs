//! Time as an argument: what decides gets it from its caller and never asks.

/// A moment on both clocks, in microseconds. Deadlines and ages use `mono_us`; what is written on
/// the wire uses `wall_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the process started.
    pub mono_us: u64,
    /// Since the Unix epoch.
    pub wall_us: i64,
}
