//! The keys of a gateway, and what they say of a token.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use engine::access::{
    bad::Bad,
    verify::{Check, Verdict, Verified, Verify},
};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, errors::ErrorKind};
use net::metric::Metric;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde_json::value::RawValue;

use super::{cache::Cache, key::Key, provider};

/// Of the secret that is made at the start.
const SECRET_BYTES: usize = 32;
/// What it is called, as a `kid`; and how much of chance follows.
const OWN_KID: &str = "gateway-";
const KID_BYTES: usize = 8;

/// A gateway's keys: those of its configuration, one of its own, and threads that verify what takes long.
pub struct Keys {
    shared: Arc<Shared>,
    /// For tokens that the gateway makes itself.
    own: Key,
    threads: usize,
    /// Made when the first key comes that needs them.
    checks: OnceLock<Mutex<mpsc::Sender<Check>>>,
}

struct Shared {
    held: RwLock<Arc<Held>>,
    cache: Mutex<Cache>,
    counters: Arc<KeyCounters>,
}

/// What holds until the next reload.
struct Held {
    /// The gateway's own is the last.
    keys: Vec<Key>,
    /// Of the code beside a cookie.
    csrf: Option<hmac::Key>,
}

/// What tokens with a public key cost.
#[derive(Debug, Default)]
pub struct KeyCounters {
    verified: AtomicU64,
    found: AtomicU64,
}

impl KeyCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_tokens_verified", "Tokens with a public key that were verified", |c| {
            c.verified.load(Relaxed)
        }),
        Metric::counter(
            "fanwire_tokens_found",
            "Such tokens that were found among those verified before",
            |c| c.found.load(Relaxed),
        ),
    ];
}

impl Keys {
    /// `csrf`: the secret of codes beside cookies; `cache`: how many tokens are remembered; `threads`: for those that
    /// take long.
    pub fn start(keys: Vec<Key>, csrf: Option<&[u8]>, cache: usize, threads: usize) -> io::Result<Self> {
        provider::install();
        let own = own_key().map_err(io::Error::other)?;
        let shared = Shared {
            held: RwLock::new(Arc::new(Held { keys: Vec::new(), csrf: None })),
            cache: Mutex::new(Cache::new(cache)),
            counters: Arc::default(),
        };
        let started = Self { shared: Arc::new(shared), own, threads: threads.max(1), checks: OnceLock::new() };
        started.replace(keys, csrf)?;
        Ok(started)
    }

    /// Others hold from now on. What was accepted before stays accepted.
    pub fn replace(&self, mut keys: Vec<Key>, csrf: Option<&[u8]>) -> io::Result<()> {
        if keys.iter().any(|key| !key.is_fast()) {
            self.start_threads()?;
        }
        keys.push(self.own.clone());
        let csrf = csrf.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        *self.shared.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Held { keys, csrf });
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// For tokens that the gateway makes itself. It ends with the process.
    pub fn own(&self) -> &Key {
        &self.own
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
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Check { token, then }) = next else { return };
                    then(shared.verify_and_remember(&token.0));
                }
            })?;
        }
        // Keys are replaced one after the other.
        let _ = self.checks.set(Mutex::new(sender));
        Ok(())
    }
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
        f.debug_struct("Keys").field("keys", &self.shared.held().keys.len()).finish_non_exhaustive()
    }
}

impl Verify for Keys {
    fn has_keys(&self) -> bool {
        self.shared.held().keys.len() > 1
    }

    fn verify(&self, token: &str) -> Verdict {
        let header = match read_header(token) {
            Ok(header) => header,
            Err(bad) => return Verdict::Known(Err(bad)),
        };
        let held = self.shared.held();
        let candidates = held.candidates(&header);
        // All of them are of one algorithm.
        match candidates.first() {
            None => Verdict::Known(Err(Bad::NoKey)),
            Some(key) if key.is_fast() => Verdict::Known(verify_with(&candidates, token)),
            Some(_) => match self.shared.remembered(token) {
                Some(payload) => Verdict::Known(Ok(payload)),
                None => Verdict::Later,
            },
        }
    }

    fn begin(&self, check: Check) {
        let checks = self.checks.get().expect("there are threads for keys that need them");
        let checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.send(check).expect("the threads that verify tokens live as long as the keys");
    }

    fn is_code_of(&self, cookie: &str, shown: &str) -> bool {
        let held = self.shared.held();
        let (Some(key), Some(code)) = (&held.csrf, decode_hex(shown)) else { return false };
        hmac::verify(key, cookie.as_bytes(), &code).is_ok()
    }
}

impl Shared {
    fn held(&self) -> Arc<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remembered(&self, token: &str) -> Option<Arc<str>> {
        let found = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(token);
        self.counters.found.fetch_add(u64::from(found.is_some()), Relaxed);
        found
    }

    fn verify_and_remember(&self, token: &str) -> Verified {
        let header = read_header(token)?;
        self.counters.verified.fetch_add(1, Relaxed);
        let held = self.held();
        let payload = verify_with(&held.candidates(&header), token)?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        // Of keys that hold no more nothing is remembered.
        if Arc::ptr_eq(&held, &self.held()) {
            cache.put(token, &payload);
        }
        Ok(payload)
    }
}

impl Held {
    /// Those that a token may be signed with: of its `kid`, then those without one. One without a `kid`: all of its
    /// algorithm.
    fn candidates(&self, header: &Header) -> Vec<&Key> {
        let of_alg = || self.keys.iter().filter(|key| key.alg == header.alg);
        match &header.kid {
            None => of_alg().collect(),
            Some(kid) => {
                let named = of_alg().filter(|key| key.kid.as_ref() == Some(kid));
                named.chain(of_alg().filter(|key| key.kid.is_none())).collect()
            }
        }
    }
}

/// As far as it is needed to find a key. Nothing in it is believed.
fn read_header(token: &str) -> Result<Header, Bad> {
    let header = decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::InvalidToken => Bad::Malformed("it has not three parts between dots"),
        ErrorKind::Base64(_) => Bad::Malformed("a part is not base64url"),
        _ => Bad::Malformed("its header is not JSON, or its `alg` is none that is known"),
    })?;
    if header.crit.is_some() { Err(Bad::Critical) } else { Ok(header) }
}

fn verify_with(keys: &[&Key], token: &str) -> Verified {
    let mut refused = Err(Bad::NoKey);
    for key in keys {
        refused = verify_by(key, token);
        if !matches!(refused, Err(Bad::Signature)) {
            break;
        }
    }
    refused
}

/// The library looks at the header, the algorithm and the signature; the engine at the claims.
fn verify_by(key: &Key, token: &str) -> Verified {
    let mut validation = Validation::new(key.alg);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    let read = decode::<Box<RawValue>>(token, &key.verifies, &validation);
    read.map(|read| read.claims.get().into()).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Bad::Signature,
        ErrorKind::InvalidAlgorithm => Bad::NoKey,
        ErrorKind::Base64(_) => Bad::Malformed("a part is not base64url"),
        ErrorKind::Json(_) => Bad::Malformed("a part is not the JSON of a token"),
        _ => Bad::Malformed("its header asks for what is not done here"),
    })
}

/// Lower-case digits only: there is one way to write a code.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
