//! The keys of a gateway, and what they say of a token.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Instant,
};

use engine::{
    access::{
        bad::Bad,
        verify::{Check, Named, Verdict, Verified, Verify},
    },
    settings::Limits,
};
use jsonwebtoken::Algorithm;
use net::metric::Metric;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use subtle::ConstantTimeEq;

use super::{
    cache::{Cache, TokenHash},
    certificate,
    held::{Header, Held, read_header},
    key::Key,
    provider,
    published::{Jwks, JwksPlace, Waiting},
};
use crate::system::stand_back;

/// Of the secret that is made at the start.
const SECRET_BYTES: usize = 32;
/// What it is called, as a `kid`; and how much of chance follows.
const OWN_KID: &str = "gateway-";
const KID_BYTES: usize = 8;

/// A gateway's keys: those of its configuration, those that are published, one of its own, and threads that verify what
/// takes long.
pub struct Keys {
    shared: Arc<Shared>,
    threads: usize,
    /// Made when the first key comes that needs them.
    checks: OnceLock<mpsc::Sender<Check>>,
}

struct Shared {
    held: RwLock<Arc<Held>>,
    waiting: Waiting,
    cache: Mutex<Cache>,
    counters: Arc<KeyCounters>,
}

/// What a configuration says of keys.
#[derive(Debug, Default)]
pub struct Given {
    pub keys: Vec<Key>,
    pub jwks: Option<Jwks>,
    /// Of codes beside cookies.
    pub csrf: Option<hmac::Key>,
}

/// What tokens with a public key cost.
#[derive(Debug, Default)]
pub struct KeyCounters {
    verified: AtomicU64,
    found: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
}

impl KeyCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter(
            "fanwire_tokens_verified",
            "Times that a token with a public key was verified, whether it was good or not",
            |c| c.verified.load(Relaxed),
        ),
        Metric::counter(
            "fanwire_tokens_found",
            "Such tokens that were found among those verified before",
            |c| c.found.load(Relaxed),
        ),
        Metric::counter("fanwire_jwks_reads", "Times that [access] jwks was read", |c| c.reads.load(Relaxed)),
        Metric::counter("fanwire_jwks_failures", "Times that it could not be", |c| c.failures.load(Relaxed)),
    ];

    /// A set was read, or could not be.
    pub fn read(&self, is_good: bool) {
        let of = if is_good { &self.reads } else { &self.failures };
        of.fetch_add(1, Relaxed);
    }
}

impl Keys {
    /// `threads`: for tokens that take long.
    pub fn start(given: Given, limits: &Limits, threads: usize) -> io::Result<Self> {
        provider::install();
        let own = own_key().map_err(io::Error::other)?;
        let none = Held { configured: Vec::new(), jwks: None, published: Vec::new(), own, csrf: None };
        let shared = Shared {
            held: RwLock::new(Arc::new(none)),
            waiting: Waiting::new(waiting_max(limits)),
            cache: Mutex::new(Cache::new(limits.token_cache)),
            counters: Arc::default(),
        };
        let started = Self { shared: Arc::new(shared), threads: threads.max(1), checks: OnceLock::new() };
        started.prepare(&given)?;
        started.replace(given);
        Ok(started)
    }

    /// Starts what these need, which may fail.
    pub fn prepare(&self, given: &Given) -> io::Result<()> {
        let are_slow = given.jwks.is_some() || given.keys.iter().any(|key| !key.is_fast());
        if are_slow { self.start_threads() } else { Ok(()) }
    }

    /// Others hold from now on, for which all is prepared. What was accepted before stays accepted.
    pub fn replace(&self, given: Given) {
        let Given { keys: configured, jwks, csrf } = given;
        let before = self.shared.held();
        let stays = before.jwks.as_deref().map(|jwks| &jwks.place) == jwks.as_ref().map(|jwks| &jwks.place);
        // Read at once: what is published elsewhere from now on, or at other times, or in a file that may have changed.
        let is_file = jwks.as_ref().is_some_and(|jwks| matches!(jwks.place, JwksPlace::File(_)));
        let is_asked = is_file || before.jwks.as_deref() != jwks.as_ref();
        let published = if stays { before.published.clone() } else { Vec::new() };
        let own = before.own.clone();
        self.shared.hold(Held { configured, jwks: jwks.map(Arc::new), published, own, csrf });
        if is_asked {
            self.shared.waiting.ask();
        }
    }

    /// Other limits hold from now on.
    pub fn set_limits(&self, limits: &Limits) {
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner).set_max(limits.token_cache);
        self.shared.waiting.set_max(waiting_max(limits));
    }

    /// Where keys are published.
    pub fn jwks(&self) -> Option<Arc<Jwks>> {
        self.shared.held().jwks.clone()
    }

    /// A set was read.
    pub fn publish(&self, jwks: &Jwks, read: Vec<Key>) {
        let held = self.shared.held();
        // Another place may have been configured meanwhile.
        let is_ours = held.jwks.as_ref().is_some_and(|now| now.place == jwks.place);
        if is_ours && !held.is_published(&read) {
            self.shared.hold(held.with_set(jwks, read));
        }
    }

    /// A set could not be read: those that stood in it hold, and those that were gone from it no longer than they have to.
    pub(super) fn lapse(&self) {
        if let Some(left) = self.shared.held().without_lapsed(Instant::now()) {
            self.shared.hold(left);
        }
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.shared.waiting
    }

    /// Tokens that waited for a set are verified.
    pub(super) fn retry(&self, checks: Vec<Check>) {
        checks.into_iter().for_each(|check| self.begin(check));
    }

    /// For tokens that the gateway makes itself. It ends with the process.
    pub fn own(&self) -> Key {
        self.shared.held().own.clone()
    }

    pub fn counters(&self) -> Arc<KeyCounters> {
        self.shared.counters.clone()
    }

    /// Once.
    fn start_threads(&self) -> io::Result<()> {
        if self.checks.get().is_some() {
            return Ok(());
        }
        let (sender, receiver) = mpsc::channel::<Check>();
        let receiver = Arc::new(Mutex::new(receiver));
        for at in 0..self.threads {
            let (shared, receiver) = (self.shared.clone(), receiver.clone());
            thread::Builder::new().name(format!("tokens{at}")).spawn(move || {
                stand_back();
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(check) = next else { return };
                    shared.check(check);
                }
            })?;
        }
        // Keys are replaced one after the other.
        let _ = self.checks.set(sender);
        Ok(())
    }
}

/// How many tokens may wait for their key to be published: those whose key is known keep half of the places.
fn waiting_max(limits: &Limits) -> usize {
    limits.token_checks.div_ceil(2)
}

/// A secret of chance, which nobody else has.
fn own_key() -> Result<Key, String> {
    let (mut secret, mut name) = ([0; SECRET_BYTES], [0; KID_BYTES]);
    let chance = SystemRandom::new();
    let drawn = chance.fill(&mut secret).and_then(|()| chance.fill(&mut name));
    drawn.map_err(|_| "the system gives no random bytes".to_owned())?;
    let kid = format!("{OWN_KID}{:016x}", u64::from_be_bytes(name));
    Key::of_secret(Some(kid), Algorithm::HS256, &secret)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.shared.held().configured.len()).finish_non_exhaustive()
    }
}

impl Verify for Keys {
    fn has_keys(&self) -> bool {
        let held = self.shared.held();
        !held.configured.is_empty() || held.jwks.is_some()
    }

    fn verify(&self, token: &str) -> Verdict {
        let header = match read_header(token) {
            Ok(header) => header,
            Err(bad) => return Verdict::Known(Err(bad)),
        };
        let held = self.shared.held();
        match held.candidates(&header).first() {
            Some(key) if key.is_fast() => Verdict::Known(held.verify(&header, token)),
            None if !(held.may_come(&header) && self.shared.waiting.may_wait()) => {
                Verdict::Known(Err(Bad::NoKey))
            }
            _ => match self.shared.remembered(token) {
                Some(payload) => Verdict::Known(Ok(payload)),
                None => Verdict::Later,
            },
        }
    }

    fn begin(&self, check: Check) {
        let checks = self.checks.get().expect("there are threads for keys that need them");
        checks.send(check).expect("the threads that verify tokens live as long as the keys");
    }

    fn named_by(&self, certificate: &[u8]) -> Result<Named, Bad> {
        certificate::named(certificate)
    }

    fn is_code_of(&self, cookie: &str, shown: &str) -> bool {
        let held = self.shared.held();
        let Some(key) = &held.csrf else { return false };
        let code = hmac::sign(key, cookie.as_bytes());
        // Lower-case digits only: there is one way to write a code.
        let code: String = code.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        code.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl Shared {
    fn held(&self) -> Arc<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of keys that hold no more nothing is remembered.
    fn hold(&self, held: Held) {
        let held = Arc::new(held);
        let before = {
            let mut holds = self.held.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *holds, held.clone())
        };
        if !held.has_all(&before) {
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn remembered(&self, token: &str) -> Option<Arc<str>> {
        let hash = TokenHash::of(token);
        let found = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(hash);
        self.counters.found.fetch_add(u64::from(found.is_some()), Relaxed);
        found
    }

    /// Verifies a token, once its key may have come.
    fn check(&self, check: Check) {
        let (held, token) = (self.held(), &check.token.0);
        let header = read_header(token);
        let verified = header.clone().and_then(|header| self.verify_and_remember(&held, &header, token));
        let is_unknown = verified.is_err() && header.is_ok_and(|header| held.may_come(&header));
        let answered = if is_unknown { self.waiting.wait(check) } else { Err(check) };
        if let Err(check) = answered {
            (check.then)(verified);
        }
    }

    fn verify_and_remember(&self, held: &Arc<Held>, header: &Header, token: &str) -> Verified {
        self.counters.verified.fetch_add(1, Relaxed);
        let payload = held.verify(header, token)?;
        let hash = TokenHash::of(token);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(held, &self.held()) {
            cache.put(hash, payload.clone());
        }
        Ok(payload)
    }
}
