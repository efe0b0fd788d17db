//! What the shards count, asked of them for whoever wants to know.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engine::shard::{
    inbox::{Inbox, Message},
    stats::Stats,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout_at},
};

/// How long a shard has to answer a scrape.
const SCRAPE: Duration = Duration::from_secs(1);
/// A shard that has answered so recently counts as one that answers.
const FRESH: Duration = SCRAPE;

/// Asks the shards: once for all who wait, who hear of it at the same time. No connection asks by itself, for it may
/// end before it is answered.
#[derive(Debug)]
pub struct Scraper {
    inboxes: Vec<Arc<Inbox>>,
    last: watch::Sender<Arc<Scrape>>,
    is_asking: AtomicBool,
}

/// What the shards said.
#[derive(Debug)]
pub struct Scrape {
    /// When they were asked. Earlier callers get the same answer.
    asked: Option<Instant>,
    /// A shard that does not answer keeps its last figures, so that no sum goes back.
    pub shards: Vec<Shard>,
    /// What was made of it, once somebody wanted that.
    pub text: OnceLock<Result<Bytes, fmt::Error>>,
}

#[derive(Debug, Clone)]
pub struct Shard {
    pub up: bool,
    pub stats: Box<Stats>,
}

impl Scrape {
    fn new(asked: Option<Instant>, shards: Vec<Shard>) -> Arc<Self> {
        Arc::new(Self { asked, shards, text: OnceLock::new() })
    }

    fn is_since(&self, came: Instant) -> bool {
        self.asked.is_some_and(|asked| asked >= came)
    }

    /// Shards that did not answer.
    pub fn silent(&self) -> Vec<usize> {
        let silent = self.shards.iter().enumerate().filter(|(_, shard)| !shard.up);
        silent.map(|(index, _)| index).collect()
    }

    /// Whether one takes no new clients, as it does not keep up.
    pub fn refuses(&self) -> bool {
        self.shards.iter().any(|shard| shard.stats.refuses_clients())
    }
}

impl Scraper {
    pub fn new(inboxes: &[Arc<Inbox>]) -> Arc<Self> {
        let unknown = Shard { up: false, stats: Box::default() };
        let last = watch::Sender::new(Scrape::new(None, vec![unknown; inboxes.len()]));
        Arc::new(Self { inboxes: inboxes.to_vec(), last, is_asking: AtomicBool::new(false) })
    }

    /// What they said last.
    pub fn last(&self) -> Arc<Scrape> {
        self.last.borrow().clone()
    }

    /// What the shards say now.
    pub async fn now(self: &Arc<Self>) -> Arc<Scrape> {
        let came = Instant::now();
        let mut scrapes = self.last.subscribe();
        loop {
            let last = scrapes.borrow_and_update().clone();
            if last.is_since(came) {
                return last;
            }
            if !self.is_asking.swap(true, Ordering::Relaxed) {
                tokio::spawn(self.clone().ask());
            }
            scrapes.changed().await.expect("its sender is here");
        }
    }

    /// What they said a moment ago, where all of them did: so there is nothing to wait for. Else what they say now.
    pub async fn recent(self: &Arc<Self>) -> Arc<Scrape> {
        let last = self.last.borrow().clone();
        let is_good = last.is_since(Instant::now() - FRESH) && last.silent().is_empty();
        if is_good { last } else { self.now().await }
    }

    /// Asks again and again, so that well shards have always answered a moment ago, and tells each time.
    pub async fn keep_recent(self: &Arc<Self>, tell: impl Fn(&Scrape)) -> Infallible {
        loop {
            tell(&*self.now().await);
            sleep(FRESH / 2).await;
        }
    }

    async fn ask(self: Arc<Self>) {
        let asked = Instant::now();
        let questions = self.inboxes.iter().map(|inbox| {
            let (ask, answer) = oneshot::channel();
            // The scraper may have given up waiting. A full inbox gives the question back, which drops it: then
            // there is no answer.
            drop(inbox.push(Message::Scrape(Box::new(|stats| drop(ask.send(stats))))));
            answer
        });
        let answers: Vec<_> = questions.collect();
        let mut shards = self.last.borrow().shards.clone();
        for (answer, shard) in answers.into_iter().zip(&mut shards) {
            shard.up = false;
            if let Ok(Ok(stats)) = timeout_at(asked + SCRAPE, answer).await {
                *shard = Shard { up: true, stats };
            }
        }
        self.is_asking.store(false, Ordering::Relaxed);
        self.last.send_replace(Scrape::new(Some(asked), shards));
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        task::{JoinSet, yield_now},
        time::advance,
    };

    use crate::metrics::scraper::*;
    use engine::shard::inbox::Answer;

    fn shard() -> (Arc<Inbox>, Arc<Scraper>) {
        let inbox = Inbox::new(10, usize::MAX, net::Waker::unconnected());
        (inbox.clone(), Scraper::new(&[inbox]))
    }

    /// All others do what there is to do.
    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    /// The one question that waits.
    async fn question(inbox: &Inbox) -> Answer {
        settle().await;
        let Some(Message::Scrape(question)) = inbox.pop() else { panic!("nobody asks") };
        assert!(inbox.is_empty(), "one asks for all");
        question
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_hear_at_once_though_the_first_of_them_is_gone() {
        let (inbox, scraper) = shard();
        let wait = || {
            let scraper = scraper.clone();
            async move { scraper.now().await.silent() }
        };
        let first = tokio::spawn(wait());
        let waiting: JoinSet<_> = (0..1000).map(|_| wait()).collect();
        settle().await;
        first.abort();
        let answer = question(&inbox).await;
        // Who comes now wants to know how it is now.
        advance(Duration::from_millis(1)).await;
        let late = tokio::spawn(wait());
        settle().await;
        answer(Box::default());
        for silent in waiting.join_all().await {
            assert!(silent.is_empty());
        }
        assert!(!late.is_finished());
        question(&inbox).await(Box::default());
        assert!(late.await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_to_know_soon_waits_for_no_shard_that_has_answered_a_moment_ago() {
        let (inbox, scraper) = shard();
        let keeping = tokio::spawn({
            let scraper = scraper.clone();
            async move { scraper.keep_recent(|_| {}).await }
        });
        for _ in 0..3 {
            let answer = question(&inbox).await;
            // It has other things to do first.
            advance(FRESH / 4).await;
            answer(Box::default());
            settle().await;
            advance(FRESH / 2).await;
            assert!(scraper.recent().await.silent().is_empty());
        }
        keeping.abort();
        while inbox.pop().is_some() {}
        settle().await;
        advance(FRESH).await;
        let began = Instant::now();
        assert_eq!(scraper.recent().await.silent(), [0], "it says nothing any more");
        assert_eq!(began.elapsed(), SCRAPE);
        // It is back, which the scraper says at once.
        let recent = tokio::spawn(async move { scraper.recent().await.silent() });
        settle().await;
        while let Some(Message::Scrape(question)) = inbox.pop() {
            question(Box::default());
        }
        assert!(recent.await.unwrap().is_empty());
    }
}
