//! The keys that hold until others take their place.

use std::{sync::Arc, time::Instant};

use engine::access::{bad::Bad, verify::Verified};
use jsonwebtoken::{AlgorithmFamily, Header, Validation, decode, decode_header, errors::ErrorKind};
use ring::hmac;
use serde_json::value::RawValue;

use super::{
    key::Key,
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

    /// Verifies a token, with each key that it may be signed with.
    pub fn verify(&self, token: &str) -> Verified {
        let header = read_header(token)?;
        let mut refused = Err(Bad::NoKey);
        for key in self.candidates(&header) {
            refused = verify_by(key, token);
            if !matches!(refused, Err(Bad::Signature)) {
                break;
            }
        }
        refused
    }
}

/// As far as it is needed to find a key. Nothing in it is believed.
pub fn read_header(token: &str) -> Result<Header, Bad> {
    let header = decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::InvalidToken => Bad::Malformed("it has not three parts between dots"),
        ErrorKind::Base64(_) => Bad::Malformed("a part is not base64url"),
        _ => Bad::Malformed("its header is not JSON, or its `alg` is none that is known"),
    })?;
    if header.crit.is_some() { Err(Bad::Critical) } else { Ok(header) }
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
