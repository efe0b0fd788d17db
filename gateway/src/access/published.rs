//! Keys that somebody else publishes as a set, and tokens that wait until it was read again.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use engine::access::verify::Check;
use rustls::ClientConfig;
use tokio::sync::{Notify, OnceCell};

use super::{
    jwk_set,
    key::{self, Key},
};
use crate::{
    fetch::{self, HttpUrl, Wanted},
    tls,
};

/// A token with an unknown key has the set read again, but no sooner than so long after the last time.
pub const AGAIN: Duration = Duration::from_secs(30);
const ACCEPT: &str = "application/jwk-set+json, application/json";
/// Who publishes has so long to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where keys are published, and how often they are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Jwks {
    pub place: JwksPlace,
    pub refresh: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum JwksPlace {
    File(PathBuf),
    Url(HttpUrl),
}

impl JwksPlace {
    /// As a configuration has it, with all that may be a secret.
    pub fn text(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => url.text.clone(),
        }
    }
}

impl fmt::Display for JwksPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            // What is behind the server may be a secret.
            Self::Url(url) => f.write_str(&url.server()),
        }
    }
}

impl Jwks {
    /// Reads the set. `tls` is how servers are spoken to, once that is known.
    pub async fn read(&self, tls: &OnceCell<Arc<ClientConfig>>) -> Result<Vec<Key>, String> {
        match &self.place {
            JwksPlace::File(path) => {
                let path = path.clone();
                blocking(move || read_file(&path)).await
            }
            JwksPlace::Url(url) => {
                let tls = tls.get_or_try_init(|| blocking(|| tls::client::client(None))).await?;
                let wanted = Wanted::get(url, ACCEPT, jwk_set::BYTES_MAX);
                let text = fetch::within(PATIENCE, &wanted, Some(tls)).await;
                jwk_set::read(&text.map_err(|failed| failed.to_string())?)
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The keys of a set in a file.
pub fn read_file(path: &Path) -> Result<Vec<Key>, String> {
    jwk_set::read(&key::read_file(path)?)
}

/// One that was published.
#[derive(Debug, Clone)]
pub struct Published {
    pub key: Key,
    /// It is published no more, and holds until then.
    pub until: Option<Instant>,
}

impl Published {
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// What holds once a set was read: its keys, and for one period more those that stood in it before.
pub fn merged(
    before: impl IntoIterator<Item = Published>,
    read: Vec<Key>,
    refresh: Duration,
    now: Instant,
) -> Vec<Published> {
    let mut all: Vec<Published> = read.into_iter().map(|key| Published { key, until: None }).collect();
    for Published { key, until } in before {
        let gone = Published { key, until: Some(until.unwrap_or(now + refresh)) };
        if gone.holds(now) && !all.iter().any(|held| held.key.is_same(&gone.key)) {
            all.push(gone);
        }
    }
    all.truncate(2 * jwk_set::KEYS_MAX);
    all
}

/// Tokens whose key is not known, while the set is read.
#[derive(Debug)]
pub struct Waiting {
    /// How many may wait.
    max: AtomicUsize,
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The set is to be read.
    is_asked: bool,
    is_reading: bool,
    /// When it was begun to be read last.
    began: Option<Instant>,
    checks: Vec<Check>,
}

impl State {
    fn may_wait(&self, max: usize) -> bool {
        let is_read = self.is_asked || self.is_reading;
        let may_be_read = is_read || self.began.is_none_or(|began| began.elapsed() >= AGAIN);
        may_be_read && self.checks.len() < max
    }
}

impl Waiting {
    pub fn new(max: usize) -> Self {
        Self { max: max.into(), state: Mutex::default(), asked: Notify::new() }
    }

    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a token may have it read again, or it is being read, and there is room to wait.
    pub fn may_wait(&self) -> bool {
        self.state().may_wait(self.max())
    }

    /// Keeps a token until the set was read. `Err`: that was a moment ago, or as many wait as may.
    pub fn wait(&self, check: Check) -> Result<(), Check> {
        let mut state = self.state();
        if !state.may_wait(self.max()) {
            return Err(check);
        }
        state.checks.push(check);
        if !state.is_reading {
            state.is_asked = true;
            self.asked.notify_one();
        }
        Ok(())
    }

    /// Has it read, as soon as may be.
    pub fn ask(&self) {
        self.state().is_asked = true;
        self.asked.notify_one();
    }

    /// Returns once it is to be read.
    pub async fn asked(&self) {
        while !self.state().is_asked {
            self.asked.notified().await;
        }
    }

    /// It is being read.
    pub fn begin(&self) {
        let mut state = self.state();
        (state.is_asked, state.is_reading, state.began) = (false, true, Some(Instant::now()));
    }

    /// It was read. Those that waited.
    pub fn end(&self) -> Vec<Check> {
        let mut state = self.state();
        state.is_reading = false;
        std::mem::take(&mut state.checks)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;

    fn key(secret: u8) -> Key {
        Key::of_secret(Some(secret.to_string()), Algorithm::HS256, &[secret; 32]).unwrap()
    }

    #[test]
    fn a_key_that_is_published_no_more_holds_for_one_period() {
        let (start, period) = (Instant::now(), Duration::from_secs(10));
        let at = |s| start + Duration::from_secs(s);
        let kids = |all: &[Published]| -> Vec<String> {
            all.iter().map(|published| published.key.kid.clone().unwrap()).collect()
        };
        let first = merged([], vec![key(1), key(2)], period, at(0));
        let second = merged(first, vec![key(2), key(3)], period, at(10));
        assert_eq!(kids(&second), ["2", "3", "1"]);
        // Read again within the period, since somebody asked.
        let third = merged(second, vec![key(3)], period, at(15));
        assert_eq!(kids(&third), ["3", "2", "1"]);
        let fourth = merged(third, vec![key(3)], period, at(20));
        assert_eq!(kids(&fourth), ["3", "2"]);
        // Published again, it is one of them.
        let fifth = merged(fourth, vec![key(2)], period, at(24));
        assert_eq!((kids(&fifth), fifth[0].until), (vec!["2".to_owned(), "3".to_owned()], None));
    }

    #[test]
    fn unknown_keys_have_the_set_read_once_and_not_again_at_once() {
        let waiting = Waiting::new(3);
        let check =
            || Check { token: engine::access::verify::Compact(String::new()), then: Box::new(|_| {}) };
        assert!(waiting.wait(check()).is_ok() && waiting.wait(check()).is_ok());
        waiting.begin();
        assert!(waiting.wait(check()).is_ok(), "it is being read");
        assert!(!waiting.may_wait() && waiting.wait(check()).is_err(), "three wait already");
        assert_eq!(waiting.end().len(), 3);
        assert!(!waiting.may_wait() && waiting.wait(check()).is_err(), "it was read a moment ago");
        waiting.ask();
        assert!(waiting.wait(check()).is_ok());
    }
}
