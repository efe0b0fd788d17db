//! What shards are told that are no updates.

use std::{sync::Arc, time::Duration};

use engine::shard::inbox::{Inbox, Message};

/// How often full inboxes are tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Puts a message into every inbox. Where one is full it tries again; the others have theirs by then.
pub async fn tell(inboxes: &[Arc<Inbox>], message: impl Fn() -> Message) {
    let mut untold: Vec<&Arc<Inbox>> = inboxes.iter().collect();
    loop {
        untold.retain(|inbox| inbox.push(message()).is_err());
        if untold.is_empty() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether it told all of them within a moment.
    fn told(inboxes: &[Arc<Inbox>]) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let telling = async { tokio::time::timeout(4 * AGAIN, tell(inboxes, || Message::Stop)).await };
        runtime.block_on(telling).is_ok()
    }

    #[test]
    fn a_shard_that_takes_nothing_keeps_no_other_from_being_told() {
        let inboxes: Vec<_> = (0..3).map(|_| Inbox::new(1, 1, net::Waker::new().unwrap())).collect();
        while inboxes[0].push(Message::Stop).is_ok() {}
        assert!(!told(&inboxes));
        let waiting: Vec<_> = inboxes[1..].iter().map(|inbox| inbox.messages()).collect();
        assert_eq!(waiting, [1, 1]);
        while inboxes[0].pop().is_some() {}
        assert!(told(&inboxes));
    }
}
