//! Topics and the patterns that select them (the contract, section 3).

pub mod changes;
pub mod depth;
pub mod epoch;
pub mod glob;
pub mod key;
pub mod name;
pub mod pattern;
pub mod policy;
pub mod position;
pub mod table;
pub mod template;
