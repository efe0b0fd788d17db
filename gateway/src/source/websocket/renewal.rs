//! `renew`: a connection that is there before the old one ends.

use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

use super::{
    connection::Connection,
    counters::{WebsocketCounters, add},
    dial::Stream,
    ended::Ended,
    inlet::Intake,
    opening::Opens,
    terms::Terms,
};

/// How often it is looked whether a new connection may take over.
const TICK: Duration = Duration::from_millis(50);

/// A connection that is to follow.
pub struct Next<'a, I> {
    pub connection: Connection<'a>,
    pub stream: Box<dyn Stream>,
    pub intake: I,
    /// When all had been said that follows its connect.
    said: Option<Instant>,
}

/// Of one connection: what is to follow it.
pub struct Renewal<'a, I> {
    terms: Terms<'a>,
    counters: &'a WebsocketCounters,
    /// When the next connect begins; `None`: never.
    at: Option<Instant>,
    next: Option<Next<'a, I>>,
    failures: u32,
    /// Why the last one came to nothing, as the log has it.
    told: Option<String>,
}

impl<'a, I: Intake> Renewal<'a, I> {
    pub fn new(terms: Terms<'a>, counters: &'a WebsocketCounters) -> Self {
        let at = terms.renew.map(|age| Instant::now() + age);
        Self { terms, counters, at, next: None, failures: 0, told: None }
    }

    /// Goes on until it is to be looked at what has come; for good where nothing is to follow. `intake`: for a new one.
    pub async fn go_on(&mut self, opens: &mut impl Opens, intake: Option<I>) {
        let (Some(at), Some(intake)) = (self.at, intake) else { return std::future::pending().await };
        let ended = match &mut self.next {
            None => {
                sleep_until(at.into()).await;
                add(&self.counters.connects, 1);
                match self.terms.begin(opens).await {
                    Ok((connection, stream)) => {
                        self.next = Some(Next { connection, stream, intake, said: None });
                        return;
                    }
                    Err(ended) => ended,
                }
            }
            Some(next) => {
                let running = next.connection.run(&mut *next.stream, &mut next.intake, None);
                let Ok(ended) = timeout(TICK, running).await else {
                    next.said = next.said.or_else(|| next.connection.is_said().then(Instant::now));
                    return;
                };
                ended
            }
        };
        self.fail(&ended).await;
    }

    async fn fail(&mut self, ended: &Ended) {
        if let Some(Next { connection, mut stream, .. }) = self.next.take() {
            connection.goodbye(&mut *stream).await;
        }
        self.failures += 1;
        self.counters.ended(ended.end());
        let why = ended.to_string();
        if self.told.as_ref() != Some(&why) {
            let source = self.terms.link.name.as_str();
            tracing::warn!(
                source,
                "the connection that is to follow: {why}; tried again, repeats are only counted"
            );
            self.told = Some(why);
        }
        let wait = self.terms.link.backoff(self.failures).max(ended.retry_after().unwrap_or_default());
        self.at = Some(Instant::now() + wait);
    }

    /// One that may take over: it has said all that follows its connect, and `serving` would miss nothing. What has not
    /// come within `idle` is not waited for, nor where no more can be kept.
    pub fn take(&mut self, serving: &impl Intake<Next = I>) -> Option<Next<'a, I>> {
        let idle = self.terms.link.idle;
        self.next.take_if(|next| {
            let has_waited = next.said.is_some_and(|said| said.elapsed() >= idle);
            let is_ready = next.said.is_some() && serving.is_followed_by(&next.intake);
            is_ready || has_waited || !next.intake.has_room()
        })
    }
}
