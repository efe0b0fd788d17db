//! Fetches a feed from a WebSocket server, as exchanges offer them: connects, subscribes, maps what
//! comes to topics, and begins again when the connection ends.

pub mod connection;
pub mod counters;
mod ended;
mod inlet;
mod intake;
pub mod journal;
pub mod keys;
pub mod map;
pub mod mapping;
mod stamp;

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use engine::{topic::pattern::Pattern, unit::show_duration};
use tokio::time::timeout;

use super::kind::{Context, Kind, Running};
use crate::{document::write::Text, source::link::Link};
use counters::WebsocketCounters;
pub use inlet::{Intake, RETRY};
use intake::Mapping;
use journal::Journal;
use keys::{Websocket, WebsocketKeys, pattern_of};
use map::write;

/// A server that wants to be left alone for longer is asked after this all the same: bans of venues last days,
/// and none is to silence a source for good.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

impl Kind for Websocket {
    fn write(&self, text: &mut Text) {
        self.link.write(text);
        text.keys(&WebsocketKeys { send: self.send.clone(), names: self.names });
    }

    fn write_tables(&self, text: &mut Text) {
        self.map.iter().for_each(|entry| write::entry(text, entry));
    }

    fn topics(&self) -> Vec<Pattern> {
        let mut topics: Vec<Pattern> =
            self.map.iter().filter_map(|entry| Some(pattern_of(entry.topic.as_ref()?))).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    fn link(&self) -> Option<&Link> {
        Some(&self.link)
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move { match run(&self, &with).await {} })
    }
}

/// Runs for good.
async fn run(source: &Websocket, with: &Context) -> Infallible {
    let (sequencer, counters) = (&with.publisher, with.connections());
    counters.activity.begin(sequencer.now().mono_us);
    let mut intake = Mapping::new(sequencer, source, counters, &with.limits);
    let mut link = Reconnecting::new(&source.link, with.stale_after, counters);
    loop {
        intake.begin();
        link.serve(&source.send, &mut intake).await;
    }
}

/// A link across its connections.
pub struct Reconnecting<'a> {
    link: &'a Link,
    stale_after: Option<Duration>,
    journal: Journal<'a>,
    failures: u32,
}

impl<'a> Reconnecting<'a> {
    /// A connection that brings nothing for `stale_after` is made anew.
    pub fn new(link: &'a Link, stale_after: Option<Duration>, counters: &'a WebsocketCounters) -> Self {
        Self { link, stale_after, journal: Journal::new(counters), failures: 0 }
    }

    /// One connection, from connect to the time for the next.
    pub async fn serve(&mut self, texts: &[String], intake: &mut impl Intake) {
        self.journal.connecting();
        let ended = connection::serve(self.link, self.stale_after, texts, intake, &mut self.journal).await;
        intake.lose();
        // A server that lets in and throws out at once, or brings nothing, is not hurried more than one that
        // refuses.
        let lasted = self.journal.ended(&ended, self.link.backoff_max);
        self.failures = if lasted { 1 } else { self.failures + 1 };
        let waiting = async {
            while intake.waits() {
                tokio::time::sleep(RETRY).await;
                intake.publish();
            }
            pending::<()>().await;
        };
        // It ends by the time alone.
        let _ = timeout(self.wait(ended.retry_after()), waiting).await;
    }

    /// Until the next try.
    fn wait(&self, retry_after: Option<Duration>) -> Duration {
        let wanted = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        if wanted > self.link.backoff_max {
            let wait = show_duration(wanted);
            tracing::warn!(source = self.link.name, "left alone as its server wants: tried again in {wait}");
        }
        backoff(self.link, self.failures).max(wanted)
    }
}

/// Twice as long after each failure. Half of it is drawn at random, so that many gateways do not come back together.
fn backoff(link: &Link, failures: u32) -> Duration {
    let doubled = link.backoff_min.saturating_mul(1 << (failures - 1).min(20));
    doubled.min(link.backoff_max).mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use crate::source::url::Url;
    use crate::source::websocket::*;

    fn link() -> Link {
        Link {
            ca: None,
            name: "a".to_owned(),
            url: Url::parse("ws://127.0.0.1:1/").unwrap(),
            host: "a".to_owned(),
            token_file: None,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            message_bytes: 1000,
        }
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_wants_but_not_for_more_than_a_week() {
        let (link, counters) = (link(), WebsocketCounters::default());
        let link = Reconnecting { failures: 1, ..Reconnecting::new(&link, None, &counters) };
        let (hour, week) = (Duration::from_secs(3600), Duration::from_secs(7 * 24 * 3600));
        for wanted in [Duration::from_secs(1), hour, 72 * hour, week] {
            assert_eq!(link.wait(Some(wanted)), wanted);
        }
        assert_eq!(link.wait(Some(Duration::MAX)), week);
        assert!(link.wait(None) <= Duration::from_millis(100));
        assert!(link.wait(Some(Duration::ZERO)) >= Duration::from_millis(50), "never sooner than otherwise");
    }

    #[test]
    fn waits_double_up_to_the_bound_and_differ() {
        let link = link();
        for (failures, full_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (40, 1000)] {
            let waits: Vec<Duration> = (0..100).map(|_| backoff(&link, failures)).collect();
            let (least, most) = (Duration::from_millis(full_ms / 2), Duration::from_millis(full_ms));
            assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }
}
