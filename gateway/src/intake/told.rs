//! What shards are told that are no updates.

use std::{sync::Arc, time::Duration};

use engine::shard::inbox::{Inbox, Message};

/// How often a full inbox is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Puts a message into every inbox, waiting where one is full.
pub async fn tell(inboxes: &[Arc<Inbox>], message: impl Fn() -> Message) {
    for inbox in inboxes {
        while inbox.push(message()).is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}
