//! Asks a venue for the whole of topics: a few at once, at a pace, and later where it refuses.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep_until};

use crate::{
    fetch::{self, Failed, HttpUrl, Wanted},
    source::link::Link,
    tls,
};

/// Requests of a source under way at once, and of all sources: each holds a descriptor.
const AT_ONCE: usize = 4;
static ALL: Semaphore = Semaphore::const_new(32);
/// What has not come after so long is told.
const LATE: Duration = Duration::from_secs(1);
/// A server that wants to be left alone for longer is asked after this all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The whole of a topic, asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub topic: Arc<str>,
    /// That says what becomes of the answer.
    pub entry: usize,
    pub url: String,
    pub every: Duration,
    /// How often it was asked for in vain.
    pub failures: u32,
}

/// What happened to one.
#[derive(Debug)]
pub enum Event {
    Answer(Ask, Result<Vec<u8>, String>),
    /// It was asked for a while ago.
    Late(Arc<str>),
}

/// Those of a connection.
#[derive(Debug)]
pub struct Snapshots<'a> {
    link: &'a Link,
    tls: Option<Arc<ClientConfig>>,
    /// By when each may be asked at the earliest, and in the order in which they came.
    queue: BTreeMap<(Instant, u64), Ask>,
    /// Those that came to the queue.
    queued: u64,
    running: JoinSet<(Ask, Result<Vec<u8>, Failed>)>,
    /// When the next one may be asked.
    next_at: Instant,
    late: VecDeque<(Instant, Arc<str>)>,
}

impl<'a> Snapshots<'a> {
    pub fn new(link: &'a Link) -> Self {
        let (queue, late, next_at) = (BTreeMap::new(), VecDeque::new(), Instant::now());
        Self { link, tls: None, queue, queued: 0, running: JoinSet::new(), next_at, late }
    }

    /// The connection has ended: nothing is awaited any more.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.late.clear();
        self.running.abort_all();
        self.running = JoinSet::new();
    }

    pub fn ask(&mut self, ask: Ask) {
        let now = Instant::now();
        let at = match ask.failures {
            0 => {
                self.late.push_back((now + LATE, ask.topic.clone()));
                now
            }
            failures => now + self.link.backoff(failures),
        };
        self.queue.insert((at, self.queued), ask);
        self.queued += 1;
    }

    /// Waits for what happens next; for good where nothing is asked for. Nothing is lost when it is left in the middle.
    pub async fn next(&mut self) -> Event {
        loop {
            let begins_at = self.begin();
            let late_at = self.late.front().map(|(at, _)| *at);
            let at = |at: Option<Instant>| at.unwrap_or_else(Instant::now).into();
            tokio::select! {
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    // One that was aborted or panicked is asked for no more.
                    let Ok((ask, answer)) = done else { continue };
                    return self.answered(ask, answer);
                }
                () = sleep_until(at(begins_at)), if begins_at.is_some() => {}
                () = sleep_until(at(late_at)), if late_at.is_some() => {
                    if let Some((_, topic)) = self.late.pop_front() {
                        return Event::Late(topic);
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Begins those whose time has come; gives when the next one's does.
    fn begin(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.running.len() < AT_ONCE {
            let (at, _) = *self.queue.first_key_value()?.0;
            let at = at.max(self.next_at);
            if at > now {
                return Some(at);
            }
            let (_, ask) = self.queue.pop_first()?;
            self.next_at = now + ask.every;
            let (tls, bytes_max) = (self.tls(&ask.url), self.link.message_bytes);
            self.running.spawn(async move {
                let _turn = ALL.acquire().await;
                let answer = get(&ask.url, tls, bytes_max).await;
                (ask, answer)
            });
        }
        None
    }

    /// Made once: the certificates that the host trusts are many.
    fn tls(&mut self, url: &str) -> Result<Option<Arc<ClientConfig>>, String> {
        if self.tls.is_none() && url.starts_with("https:") {
            self.tls = Some(tls::client::client(self.link.ca.as_deref())?);
        }
        Ok(self.tls.clone())
    }

    fn answered(&mut self, ask: Ask, answer: Result<Vec<u8>, Failed>) -> Event {
        if let Some(wait) = answer.as_ref().err().and_then(Failed::retry_after) {
            self.next_at = self.next_at.max(Instant::now() + wait.min(RETRY_AFTER_MAX));
        }
        Event::Answer(ask, answer.map_err(|failed| failed.to_string()))
    }
}

async fn get(
    url: &str,
    tls: Result<Option<Arc<ClientConfig>>, String>,
    bytes_max: usize,
) -> Result<Vec<u8>, Failed> {
    let (url, tls) = (HttpUrl::parse(url)?, tls?);
    let wanted = Wanted::get(&url, "application/json", bytes_max);
    fetch::within(fetch::PATIENCE, &wanted, tls.as_ref()).await
}
