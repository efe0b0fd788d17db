//! Which pattern.

/// Number of an interned pattern; used again when no class names it and it is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternId(pub u32);
