//! Topics and the patterns that select them (PROTOCOL.md, "Topics, patterns, subscriptions").

pub mod changes;
pub mod depth;
pub mod encoded;
pub mod epoch;
pub mod key;
pub mod name;
pub mod pattern;
pub mod policy;
pub mod position;
pub mod price;
pub mod stars;
pub mod table;
pub mod template;
