//! Waiting for room: whoever publishes more than the inboxes have room for sleeps and tries again.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::intake::clocked::ClockedSequencer;
use engine::sequencer::{Body, Grouping, NotPublished, Publication, Published, Refused, Why, once::Once};
use tokio::sync::Mutex;

use crate::intake::workers::rest;

/// A publish that took so long lets others have their turn before the next one.
const LONG: Duration = Duration::from_millis(2);

/// How long a publisher sleeps that found an inbox full.
const WAIT: Duration = Duration::from_millis(1);

/// The sequencer for those who can wait. They fill an eighth of the inboxes, so that live sources find room, and what
/// these bring is not behind much.
///
/// A batch goes to every shard or to none, so one shard that takes nothing holds all publishers up: values must not
/// differ by shard. What holds then: a publisher by HTTP gives up at its deadline ([`Why::Late`], `[limits]
/// admin_body`) and passes the turn on; a live source keeps the newest of each topic and waits without the turn; a
/// replay waits within the turn for as long as it takes. `/metrics` names the shard (`fanwire_shard_up`).
#[derive(Debug)]
pub struct Publisher {
    sequencer: Arc<ClockedSequencer>,
    /// They are served in the order in which they came.
    turn: Mutex<()>,
    /// What publishers named lately.
    pub(super) once: Mutex<Once<(), ()>>,
}

impl Deref for Publisher {
    type Target = Arc<ClockedSequencer>;

    fn deref(&self) -> &Arc<ClockedSequencer> {
        &self.sequencer
    }
}

impl Publisher {
    pub fn new(sequencer: Arc<ClockedSequencer>) -> Arc<Self> {
        Arc::new(Self { sequencer, turn: Mutex::new(()), once: Mutex::default() })
    }

    /// Publishes all publications, waiting for room where an inbox is full. Gives the position after them.
    pub async fn publish(&self, publications: &[Publication], grouping: Grouping) -> Result<u64, Refused> {
        let _turn = self.turn.lock().await;
        self.publish_in_turn(publications, grouping, None).await
    }

    /// The same until `deadline`, after which there was [no room](Why::Late): one shard that takes nothing keeps
    /// every publisher waiting.
    pub async fn publish_by(
        &self,
        publications: &[Publication],
        grouping: Grouping,
        deadline: tokio::time::Instant,
    ) -> Result<u64, Refused> {
        let turn = tokio::time::timeout_at(deadline, self.turn.lock()).await;
        let _turn = turn.map_err(|_| Refused { index: 0, why: Why::Late })?;
        self.publish_in_turn(publications, grouping, Some(deadline)).await
    }

    async fn publish_in_turn(
        &self,
        publications: &[Publication],
        grouping: Grouping,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<u64, Refused> {
        let mut done = 0;
        let mut waited = false;
        loop {
            let began = Instant::now();
            let published = if self.sequencer.is_crowded() {
                Err(NotPublished::Full)
            } else {
                self.sequencer.try_publish(&publications[done..], grouping)
            };
            match published {
                Ok(Published { accepted, version, .. }) => {
                    done += accepted;
                    let took = began.elapsed();
                    // A long publish must not keep the control plane from everything else.
                    if done < publications.len() || took >= LONG {
                        rest(took).await;
                    }
                    if done == publications.len() {
                        return Ok(version);
                    }
                }
                Err(NotPublished::Full) if deadline.is_some_and(|at| tokio::time::Instant::now() >= at) => {
                    return Err(Refused { index: done, why: Why::Late });
                }
                Err(NotPublished::Full) => {
                    if !waited {
                        waited = true;
                        self.sequencer.count_wait();
                    }
                    tokio::time::sleep(WAIT).await;
                }
                Err(NotPublished::Refused(refused)) => {
                    return Err(Refused { index: done + refused.index, why: refused.why });
                }
            }
        }
    }

    /// Removes a topic: its `gone` takes the next `v`. Gives the position after it.
    pub async fn remove(&self, topic: &str, deadline: tokio::time::Instant) -> Result<u64, Why> {
        let due_us = self.sequencer.now().wall_us;
        let publication = Publication::new(topic, Body::Gone, due_us);
        self.publish_by(&[publication], Grouping::Single, deadline).await.map_err(|refused| refused.why)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use engine::{shard::inbox::Inbox, topic::epoch::Epoch};

    use super::*;
    use crate::{config::Config, system::Machine};

    const UPDATES: usize = 800;

    #[tokio::test]
    async fn who_can_wait_leaves_room_for_who_cannot() {
        let machine = Machine { cpus: vec![0], cpus_busy: 1, nofile_hard: 20_000, no_io_uring: None };
        let text = format!("[limits]\ninbox_updates = {UPDATES}\n");
        let config = Config::parse(&text, "x.toml", Path::new(""), &machine).unwrap();
        let inbox = Inbox::of(&config.limits, net::Waker::unconnected());
        let (epoch, start) = (Epoch::from(1), Instant::now());
        let inboxes = vec![inbox.clone()];
        let sequencer = ClockedSequencer::new(epoch, inboxes, &config.limits, config.topics, start);
        let publisher = Publisher::new(sequencer.clone());
        let one = |n: usize| [Publication::new(format!("t{n}"), Body::Data("0".into()), 0)];
        let soon = || tokio::time::Instant::now() + Duration::from_millis(20);
        // Each is a birth and an update.
        for n in 0..=UPDATES / 16 {
            publisher.publish_by(&one(n), Grouping::Single, soon()).await.unwrap();
        }
        let late = publisher.publish_by(&one(0), Grouping::Single, soon()).await.unwrap_err();
        assert_eq!(late.why, Why::Late);
        let taken = inbox.depth();
        assert!((UPDATES / 8..UPDATES / 4).contains(&taken), "{taken}");
        // A live source goes on.
        while sequencer.try_publish(&one(0), Grouping::Single).is_ok() {}
        assert!(inbox.depth() >= UPDATES, "{}", inbox.depth());
        while inbox.pop().is_some() {}
        publisher.publish_by(&one(0), Grouping::Single, soon()).await.unwrap();
    }
}
