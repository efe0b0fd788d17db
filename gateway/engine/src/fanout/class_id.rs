//! Which class.

/// Number of a class in its shard's table; used again. What clients see is [`Class::number`](super::Class::number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u32);
