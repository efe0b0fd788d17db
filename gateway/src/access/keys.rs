//! The keys of a gateway, and what they say of a token.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
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
use ring::hmac;
use serde_json::value::RawValue;

use super::{cache::Cache, key::Key, provider};

/// A gateway's keys, with the threads that verify what takes long.
pub struct Keys {
    shared: Arc<Held>,
    checks: Mutex<mpsc::Sender<Check>>,
}

struct Held {
    keys: Vec<Key>,
    /// Of the code beside a cookie.
    csrf: Option<hmac::Key>,
    cache: Mutex<Cache>,
    counters: Arc<KeyCounters>,
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
        let csrf = csrf.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let needs_threads = keys.iter().any(|key| !key.is_fast());
        let cache = Mutex::new(Cache::new(cache));
        let shared = Arc::new(Held { keys, csrf, cache, counters: Arc::default() });
        let (sender, receiver) = mpsc::channel::<Check>();
        let receiver = Arc::new(Mutex::new(receiver));
        for at in 0..if needs_threads { threads.max(1) } else { 0 } {
            let (shared, receiver) = (shared.clone(), receiver.clone());
            thread::Builder::new().name(format!("tokens{at}")).spawn(move || {
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Check { token, then }) = next else { return };
                    then(shared.verify_and_remember(&token.0));
                }
            })?;
        }
        Ok(Self { shared, checks: Mutex::new(sender) })
    }

    pub fn counters(&self) -> Arc<KeyCounters> {
        self.shared.counters.clone()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.shared.keys.len()).finish_non_exhaustive()
    }
}

impl Verify for Keys {
    fn verify(&self, token: &str) -> Verdict {
        let held = &self.shared;
        let header = match read_header(token) {
            Ok(header) => header,
            Err(bad) => return Verdict::Known(Err(bad)),
        };
        let mut candidates = held.candidates(&header).peekable();
        match candidates.peek() {
            None => Verdict::Known(Err(Bad::NoKey)),
            // All of them are of one algorithm.
            Some(key) if key.is_fast() => Verdict::Known(verify_with(candidates, token)),
            Some(_) => match held.remembered(token) {
                Some(payload) => Verdict::Known(Ok(payload)),
                None => Verdict::Later,
            },
        }
    }

    fn begin(&self, check: Check) {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.send(check).expect("the threads that verify tokens live as long as the keys");
    }

    fn is_code_of(&self, cookie: &str, shown: &str) -> bool {
        let Some(key) = &self.shared.csrf else { return false };
        let code = decode_hex(shown);
        code.is_some_and(|code| hmac::verify(key, cookie.as_bytes(), &code).is_ok())
    }
}

impl Held {
    /// Those that a token may be signed with: of its `kid`, then those without one. One without a `kid`: all of its
    /// algorithm.
    fn candidates<'a>(&'a self, header: &Header) -> impl Iterator<Item = &'a Key> {
        let (alg, kid) = (header.alg, header.kid.clone());
        let of_alg = move |key: &&Key| key.alg == alg;
        let named = self.keys.iter().filter(of_alg).filter({
            let kid = kid.clone();
            move |key| kid.is_none() || key.kid == kid
        });
        let nameless = self.keys.iter().filter(of_alg).filter(move |key| kid.is_some() && key.kid.is_none());
        named.chain(nameless)
    }

    fn remembered(&self, token: &str) -> Option<Arc<str>> {
        let found = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(token);
        self.counters.found.fetch_add(u64::from(found.is_some()), Relaxed);
        found
    }

    fn verify_and_remember(&self, token: &str) -> Verified {
        let header = read_header(token)?;
        self.counters.verified.fetch_add(1, Relaxed);
        let payload = verify_with(self.candidates(&header), token)?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(token, &payload);
        Ok(payload)
    }
}

/// As far as it is needed to find a key. Nothing in it is believed.
fn read_header(token: &str) -> Result<Header, Bad> {
    decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::InvalidToken => Bad::Malformed("it has not three parts between dots"),
        ErrorKind::Base64(_) => Bad::Malformed("a part is not base64url"),
        _ => Bad::Malformed("its header is not JSON, or its `alg` is none that is known"),
    })
}

fn verify_with<'a>(keys: impl Iterator<Item = &'a Key>, token: &str) -> Verified {
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
        ErrorKind::InvalidToken => Bad::Malformed("it has not three parts between dots"),
        ErrorKind::Base64(_) => Bad::Malformed("a part is not base64url"),
        ErrorKind::Json(_) => Bad::Malformed("a part is not the JSON of a token"),
        _ => Bad::Critical,
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

/// Whether tokens of this algorithm are signed with a secret.
pub fn has_secret(alg: Algorithm) -> bool {
    alg.family() == jsonwebtoken::AlgorithmFamily::Hmac
}
