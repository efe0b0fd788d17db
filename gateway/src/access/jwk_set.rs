//! A set of public keys (JWKS, RFC 7517).

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, rsa};

pub const BYTES_MAX: usize = 64 << 10;
pub const KEYS_MAX: usize = 64;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Its keys for tokens. Others are passed over (RFC 7517, section 5), secrets too: who publishes one has none.
pub fn read(text: &[u8]) -> Result<Vec<Key>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it has {} bytes, a set may have {BYTES_MAX}", text.len()));
    }
    let set: Set = serde_json::from_slice(text).map_err(|_| "it is no set of keys: {\"keys\":[…]}")?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("it has {} keys, a set may have {KEYS_MAX}", set.keys.len()));
    }
    let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<Key> = jwks.filter_map(|jwk| key(&jwk)).collect();
    if keys.is_empty() {
        return Err("it has no public key that tokens can be signed with".to_owned());
    }
    Ok(keys)
}

/// `None`: it is of no use for tokens.
fn key(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    // What it does not say follows from its kind; with RSA it is the usual one.
    let usual = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Algorithm::ES384,
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let alg = common.key_algorithm.map_or(Some(usual), |named| Algorithm::try_from(named).ok())?;
    let is_rsa = usual.family() == AlgorithmFamily::Rsa && alg.family() == AlgorithmFamily::Rsa;
    if !signs || !verifies || !(is_rsa || alg == usual) {
        return None;
    }
    let read = DecodingKey::from_jwk(jwk).ok()?;
    let verifies = match read.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => rsa(n, e).ok(),
        DecodingKeyKind::SecretOrDer(bytes) => (bytes.len() == point_bytes(alg)).then(|| read.clone()),
    };
    Some(Key { kid: common.key_id.clone(), alg, verifies: verifies?, signs: None })
}

/// Of a public key on a curve.
fn point_bytes(alg: Algorithm) -> usize {
    match alg {
        Algorithm::ES256 => 65,
        Algorithm::ES384 => 97,
        _ => 32,
    }
}

#[cfg(test)]
mod tests {
    use base64_simd::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    /// A modulus of 2,048 bits.
    fn n() -> String {
        format!("{}w", "v".repeat(341))
    }

    fn keys(keys: Value) -> Result<Vec<(Option<String>, Algorithm)>, String> {
        let read = read(json!({ "keys": keys }).to_string().as_bytes())?;
        Ok(read.into_iter().map(|key| (key.kid, key.alg)).collect())
    }

    #[test]
    fn each_key_has_the_algorithm_that_it_names_or_that_of_its_kind() {
        let point = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let read = keys(json!([
            {"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a"},
            {"kty": "EC", "crv": "P-256", "x": point, "y": point, "use": "sig"},
            {"kty": "RSA", "n": n(), "e": "AQAB", "kid": "c"},
            {"kty": "RSA", "n": n(), "e": "AQAB", "kid": "d", "alg": "PS384", "key_ops": ["verify"]},
        ]));
        let named = |kid: &str| Some(kid.to_owned());
        let wanted = [
            (named("a"), Algorithm::EdDSA),
            (None, Algorithm::ES256),
            (named("c"), Algorithm::RS256),
            (named("d"), Algorithm::PS384),
        ];
        assert_eq!(read.unwrap(), wanted);
    }

    #[test]
    fn what_is_no_key_for_tokens_is_passed_over() {
        let good = json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "good"});
        for other in [
            json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
            json!({"kty": "OKP", "crv": "X25519", "x": X}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": X, "use": "enc"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": X, "key_ops": ["sign"]}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": X, "alg": "HS256"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": X, "alg": "RS256"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "n": n(), "e": "AQAB", "alg": "HS256"}),
            json!({"kty": "new"}),
            json!(7),
        ] {
            let read = keys(json!([other, good])).unwrap();
            assert_eq!(read, [(Some("good".to_owned()), Algorithm::EdDSA)], "{other}");
        }
    }

    #[test]
    fn a_set_is_bounded_and_has_a_key() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": X});
        assert_eq!(keys(Value::from(vec![key.clone(); 64])).unwrap().len(), 64);
        assert!(keys(Value::from(vec![key; 65])).unwrap_err().contains("65 keys"));
        assert!(keys(json!([])).unwrap_err().contains("no public key"));
        assert!(read(&vec![b' '; BYTES_MAX + 1]).unwrap_err().contains("65537 bytes"));
        assert!(read(b"<html>").unwrap_err().contains("no set of keys"));
    }

    #[test]
    fn the_bits_of_a_key_of_rsa_are_counted_without_leading_zeros() {
        let is_taken = |first: u8, len: usize, zeros: usize| {
            let n = [vec![0; zeros], vec![first], vec![1; len - 1]].concat();
            let n = URL_SAFE_NO_PAD.encode_to_string(n);
            keys(json!([{"kty": "RSA", "n": n, "e": "AQAB"}])).is_ok()
        };
        assert!(is_taken(0x80, 256, 0) && is_taken(0x80, 256, 3) && is_taken(0xff, 1024, 0));
        assert!(!is_taken(0x7f, 256, 0), "2,047 bits");
        assert!(!is_taken(0x80, 255, 1), "2,040 bits");
        assert!(!is_taken(1, 1025, 0), "8,193 bits");
    }
}
