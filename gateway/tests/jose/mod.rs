//! Tokens made by hand, so that they can be made wrong, too.
#![allow(dead_code, reason = "each test uses its part")]

use base64_simd::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};

/// Base64url without padding (RFC 4648, section 5).
pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

pub fn from_b64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode_to_vec(text).expect("base64url")
}

pub fn part(value: &Value) -> String {
    b64(value.to_string().as_bytes())
}

/// Signed with a secret by HMAC-SHA-256, whatever the header says.
pub fn hs256(header: &str, payload: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", b64(code.as_ref()))
}

/// A pair for ES256, and its name.
pub struct Signer {
    kid: &'static str,
    pair: KeyPair,
}

impl Signer {
    pub fn new(kid: &'static str) -> Self {
        Self { kid, pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// Its public key, as a set has it.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": b64(x), "y": b64(y) })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = part(&json!({ "alg": "ES256", "kid": self.kid }));
        let (message, random) = (format!("{header}.{}", part(claims)), SystemRandom::new());
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pair.serialize_der(), &random);
        let code = key.unwrap().sign(&random, message.as_bytes()).unwrap();
        format!("{message}.{}", b64(code.as_ref()))
    }
}
