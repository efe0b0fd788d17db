//! What a fan-out counts.

#[derive(Debug, Default, Clone)]
pub struct Counters {
    pub updates_in: u64,
    pub updates_framed: u64,
    pub frames_built: u64,
    pub conflated: u64,
    pub classes_refused: u64,
    pub patterns_refused: u64,
    /// Tombstones of keys dropped, and updates dropped from histories of streams.
    pub key_tombstones_dropped: u64,
    pub stream_dropped: u64,
    /// Times that a topic gave all of them back, since there were `[limits] history_bytes`.
    pub histories_dropped: u64,
    /// Gaps told in frames built.
    pub gaps: u64,
}
