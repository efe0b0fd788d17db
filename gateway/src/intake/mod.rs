//! Ways in: what a publisher's body says or a client writes, and the wait until the shards' inboxes have room for it.

pub mod check;
pub mod clocked;
pub mod once;
pub mod publish;
pub mod publisher;
pub mod sanitize;
pub mod schema;
pub mod told;
pub mod workers;
pub mod writers;
