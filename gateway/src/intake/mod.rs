//! Ways in: what a publisher's body says, and the wait until the shards' inboxes have room for it.

pub mod clocked;
pub mod publish;
pub mod publisher;
pub mod told;
pub mod workers;
