//! What every tier is.

/// A way of masking: `bytes`, and the key that meets `bytes[0]`.
pub type Tier = fn(&mut [u8], [u8; 4]);
