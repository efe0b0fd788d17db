//! A key for tokens: read, and looked at whether it is good for its algorithm.

use std::{env, fs, os::unix::ffi::OsStringExt, path::Path};

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use x509_parser::{oid_registry, prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

use super::key_file::{self, KeyFile, KeyPlace};

/// A longer file is no key.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// What `ring` verifies with.
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;
/// Curves by their names (RFC 5480, section 2.1.1.1).
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// `Debug` does not tell the key itself.
#[derive(Debug, Clone)]
pub struct Key {
    pub kid: Option<String>,
    pub alg: Algorithm,
    pub verifies: DecodingKey,
    /// Of a secret.
    pub signs: Option<EncodingKey>,
}

impl Key {
    /// The error says where the key stands and why it cannot be used, but nothing of what is in it.
    pub fn read(from: &KeyFile) -> Result<Self, String> {
        let (alg, kid) = (from.alg, from.kid.clone());
        match &from.place {
            KeyPlace::Secret(path) => {
                let failed = |why: String| format!("cannot use the secret {}: {why}", path.display());
                let secret = read_secret(path).map_err(failed)?;
                Self::of_secret(kid, alg, &secret).map_err(failed)
            }
            KeyPlace::Variable(name) => {
                let failed = |why: String| format!("cannot use the secret of the variable {name}: {why}");
                let secret = env::var_os(name).ok_or_else(|| failed("it is not set".to_owned()))?;
                Self::of_secret(kid, alg, &secret.into_vec()).map_err(failed)
            }
            KeyPlace::Public(path) => {
                let failed = |why: String| format!("cannot use the public key {}: {why}", path.display());
                let verifies = read_file(path).and_then(|pem| public(&pem, alg)).map_err(failed)?;
                Ok(Self { kid, alg, verifies, signs: None })
            }
        }
    }

    /// One that is as long as the hash at least (RFC 7518, section 3.2).
    pub fn of_secret(kid: Option<String>, alg: Algorithm, secret: &[u8]) -> Result<Self, String> {
        let least = match alg {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            other => return Err(format!("{} has no secret; name a public_file", key_file::name(other))),
        };
        if secret.len() < least {
            let alg = key_file::name(alg);
            let have = secret.len();
            return Err(format!(
                "it has {have} bytes, {alg} needs {least}; make one with openssl rand -hex 32"
            ));
        }
        let signs = EncodingKey::from_secret(secret).map_err(|error| error.to_string())?;
        let verifies = DecodingKey::from_secret(secret).map_err(|error| error.to_string())?;
        Ok(Self { kid, alg, verifies, signs: Some(signs) })
    }

    /// Whether it is the same key under the same name.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_named = (&self.kid, self.alg) == (&other.kid, other.alg);
        is_named
            && match (self.verifies.kind(), other.verifies.kind()) {
                (DecodingKeyKind::SecretOrDer(ours), DecodingKeyKind::SecretOrDer(theirs)) => ours == theirs,
                (
                    DecodingKeyKind::RsaModulusExponent { n, e },
                    DecodingKeyKind::RsaModulusExponent { n: their_n, e: their_e },
                ) => (n, e) == (their_n, their_e),
                _ => false,
            }
    }

    /// Whether a token is verified with it in no longer than a hash takes.
    pub fn is_fast(&self) -> bool {
        self.alg.family() == AlgorithmFamily::Hmac
    }
}

/// A file that is no longer than keys are.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(format!("it has {} bytes, a key may have {FILE_BYTES_MAX}", found.len()));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// A secret in a file: its bytes, without one newline at its end.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let mut secret = read_file(path)?;
    if secret.last() == Some(&b'\n') {
        secret.pop();
    }
    Ok(secret)
}

/// The public key of RSA with this modulus and exponent.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<DecodingKey, String> {
    let [n, e] = [n, e].map(without_zeros);
    let bits = 8 * n.len() - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(format!("it has {bits} bits, a key of RSA may have {RSA_BITS_MIN} to {RSA_BITS_MAX}"));
    }
    Ok(DecodingKey::from_rsa_raw_components(n, e))
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// `-----BEGIN PUBLIC KEY-----` (RFC 7468, section 13), which the algorithm has to go with.
fn public(pem: &[u8], alg: Algorithm) -> Result<DecodingKey, String> {
    const HINT: &str =
        "write it out with openssl pkey -pubout, or of a certificate with openssl x509 -noout -pubkey";
    let name = key_file::name(alg);
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
        .map_err(|_| format!("it holds no -----BEGIN PUBLIC KEY-----; {HINT}"))?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| "it is no public key".to_owned())?;
    let bytes = info.subject_public_key.data.as_ref();
    let other = || format!("it is of another kind than {name} needs");
    match alg.family() {
        AlgorithmFamily::Hmac => Err(format!("{name} has a secret; name a secret_file or secret_env")),
        AlgorithmFamily::Rsa => match info.parsed() {
            Ok(PublicKey::RSA(key)) => rsa(key.modulus, key.exponent),
            _ => Err(other()),
        },
        AlgorithmFamily::Ec => {
            let (curve, point_bytes) = if alg == Algorithm::ES256 { (P256, 65) } else { (P384, 97) };
            let named = info.algorithm.parameters.as_ref().and_then(|named| named.as_oid().ok());
            let is_curve = info.algorithm.algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY
                && named.is_some_and(|named| named.to_id_string() == curve);
            let is_point = bytes.len() == point_bytes && bytes.first() == Some(&4);
            if is_curve && is_point { Ok(DecodingKey::from_ec_der(bytes)) } else { Err(other()) }
        }
        AlgorithmFamily::Ed => {
            let is_ed25519 = info.algorithm.algorithm == oid_registry::OID_SIG_ED25519 && bytes.len() == 32;
            if is_ed25519 { Ok(DecodingKey::from_ed_der(bytes)) } else { Err(other()) }
        }
    }
}
