//! A link across its connections.

use std::time::Duration;

use engine::unit::show_duration;
use tokio::time::timeout;

use super::{
    counters::WebsocketCounters,
    ended::Ended,
    inlet::{Intake, RETRY},
    journal::Journal,
    opening::Opens,
    renewal::Renewal,
    terms::Terms,
};

/// A server that wants to be left alone for longer is asked after this all the same: bans of venues last days,
/// and none is to silence a source for good.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A link across its connections.
pub struct Reconnecting<'a> {
    terms: Terms<'a>,
    journal: Journal<'a>,
    failures: u32,
}

impl<'a> Reconnecting<'a> {
    pub fn new(terms: Terms<'a>, counters: &'a WebsocketCounters) -> Self {
        Self { terms, journal: Journal::new(counters), failures: 0 }
    }

    /// One connection, with those that take its place as it ages, to the time for the next.
    pub async fn serve(&mut self, opens: &mut impl Opens, intake: &mut impl Intake) {
        let ended = self.connect(opens, intake).await;
        intake.lose();
        // A server that lets in and throws out at once, or brings nothing, is not hurried more than one that
        // refuses.
        let lasted = self.journal.ended(&ended, self.terms.link.backoff_max);
        self.failures = if lasted { 1 } else { self.failures + 1 };
        let waiting = async {
            while intake.waits() {
                tokio::time::sleep(RETRY).await;
                intake.publish();
            }
            std::future::pending::<()>().await;
        };
        // It ends by the time alone.
        let _ = timeout(self.wait(ended.retry_after()), waiting).await;
    }

    async fn connect(&mut self, opens: &mut impl Opens, intake: &mut impl Intake) -> Ended {
        self.journal.connecting();
        intake.begin();
        let (mut connection, mut stream) = match self.terms.begin(opens).await {
            Ok(begun) => begun,
            Err(ended) => return ended,
        };
        let counters = self.journal.counters();
        let mut renewal = Renewal::new(self.terms, counters);
        loop {
            let next = intake.next().filter(|_| self.terms.renew.is_some());
            tokio::select! {
                ended = connection.run(&mut *stream, intake, Some(&mut self.journal)) => {
                    connection.goodbye(&mut *stream).await;
                    return ended;
                }
                () = renewal.go_on(opens, next) => {}
            }
            let Some(next) = renewal.take(intake) else { continue };
            connection.leave();
            connection.goodbye(&mut *stream).await;
            intake.lose();
            self.journal.connected();
            intake.follow(next.intake);
            intake.publish();
            (connection, stream) = (next.connection, next.stream);
            renewal = Renewal::new(self.terms, counters);
        }
    }

    /// Until the next try.
    fn wait(&self, retry_after: Option<Duration>) -> Duration {
        let wanted = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        if wanted > self.terms.link.backoff_max {
            let wait = show_duration(wanted);
            tracing::warn!(
                source = self.terms.link.name,
                "left alone as its server wants: tried again in {wait}"
            );
        }
        self.terms.link.backoff(self.failures).max(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{link::Link, url::Url};

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
        let terms = Terms { link: &link, stale_after: None, renew: None };
        let link = Reconnecting { failures: 1, ..Reconnecting::new(terms, &counters) };
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
            let waits: Vec<Duration> = (0..100).map(|_| link.backoff(failures)).collect();
            let (least, most) = (Duration::from_millis(full_ms / 2), Duration::from_millis(full_ms));
            assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }
}
