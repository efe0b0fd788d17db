//! The keys that hold until others take their place.

use std::{sync::Arc, time::Instant};

use base64_simd::URL_SAFE_NO_PAD;
use engine::access::{bad::Bad, verify::Verified};
use jsonwebtoken::{Algorithm, AlgorithmFamily, Validation, decode, errors::ErrorKind};
use ring::hmac;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    key::Key,
    key_file::ALGORITHMS,
    published::{self, Jwks, Published},
};

#[derive(Debug, Clone)]
pub struct Held {
    /// Those of the configuration.
    pub configured: Vec<Key>,
    /// Where others are published, and those that are.
    pub jwks: Option<Arc<Jwks>>,
    pub published: Vec<Published>,
    /// The gateway's own.
    pub own: Key,
    /// Of the code beside a cookie.
    pub csrf: Option<hmac::Key>,
}

impl Held {
    fn all(&self) -> impl Iterator<Item = &Key> {
        let published = self.published.iter().map(|published| &published.key);
        self.configured.iter().chain(published).chain([&self.own])
    }

    /// Those that a token may be signed with, all of one algorithm: of its `kid`, then those without one. Of one
    /// without a `kid`: all.
    pub fn candidates(&self, header: &Header) -> Vec<&Key> {
        let of_alg = || self.all().filter(|key| key.alg == header.alg);
        match &header.kid {
            None => of_alg().collect(),
            Some(kid) => {
                let named = of_alg().filter(|key| key.kid.as_ref() == Some(kid));
                named.chain(of_alg().filter(|key| key.kid.is_none())).collect()
            }
        }
    }

    /// Whether a token may be signed with a key that has been published since. Secrets are not.
    pub fn may_come(&self, header: &Header) -> bool {
        let is_named = |key: &Key| header.kid.is_none() || key.kid == header.kid;
        let is_known = self.all().any(|key| key.alg == header.alg && is_named(key));
        self.jwks.is_some() && header.alg.family() != AlgorithmFamily::Hmac && !is_known
    }

    /// Whether these, and no others, are published.
    pub fn is_published(&self, read: &[Key]) -> bool {
        let mut pairs = self.published.iter().zip(read);
        self.published.len() == read.len()
            && pairs.all(|(held, read)| held.until.is_none() && held.key.is_same(read))
    }

    /// With the keys of a set that was read now.
    pub fn with_set(&self, jwks: &Jwks, read: Vec<Key>) -> Self {
        let published = published::merged(self.published.clone(), read, jwks.refresh, Instant::now());
        Self { published, ..self.clone() }
    }

    /// Without those that are published no more and hold no longer. `None`: there are none.
    pub fn without_lapsed(&self, now: Instant) -> Option<Self> {
        let holding: Vec<Published> =
            self.published.iter().filter(|published| published.holds(now)).cloned().collect();
        (holding.len() < self.published.len()).then(|| Self { published: holding, ..self.clone() })
    }

    /// Whether all these are among those that hold here.
    pub fn has_all(&self, others: &Self) -> bool {
        others.all().all(|other| self.all().any(|key| key.is_same(other)))
    }

    /// Verifies a token with this header, with each key that it may be signed with.
    pub fn verify(&self, header: &Header, token: &str) -> Verified {
        let mut refused = Err(Bad::NoKey);
        for key in self.candidates(header) {
            refused = verify_by(key, token);
            if !matches!(refused, Err(Bad::Signature)) {
                break;
            }
        }
        refused
    }
}

/// What is needed to find a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub alg: Algorithm,
    pub kid: Option<String>,
}

/// What the header of a token says, of that. A member twice is a mistake.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Nothing in it is believed. Its `alg` is text: the library takes an object for it, too.
pub fn read_header(token: &str) -> Result<Header, Bad> {
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Bad::Malformed("it has not three parts between dots"));
    };
    let head = URL_SAFE_NO_PAD.decode_to_vec(head).map_err(|_| Bad::Malformed("a part is not base64url"))?;
    let head: Head =
        serde_json::from_slice(&head).map_err(|_| Bad::Malformed("its header is not the JSON of a token"))?;
    if head.crit.is_some() {
        return Err(Bad::Critical);
    }
    let known = ALGORITHMS.iter().find(|(name, _)| *name == head.alg);
    let (_, alg) = known.ok_or(Bad::Malformed("its `alg` is none that is known"))?;
    Ok(Header { alg: *alg, kid: head.kid })
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
