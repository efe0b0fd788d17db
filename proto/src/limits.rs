//! Bounds of what a peer sends.

/// What a peer may make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest HTTP head, in bytes.
    pub head_bytes: usize,
    /// Most header fields in it; values above 256 mean 256.
    pub headers: usize,
    /// Longest message over all its fragments, and so the longest frame, in bytes.
    pub message_bytes: usize,
}
