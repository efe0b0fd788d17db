//! The cryptography of tokens: that of `ring`, which TLS has too. It verifies all algorithms and signs with secrets.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use ring::{
    hmac,
    signature::{
        self as schemes, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
    },
};

/// For the library, which else panics at the first token.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes it the library's, once a process.
///
/// # Panics
/// Where the library has none then.
pub fn install() {
    // It is installed already where this is not the first call.
    let _ = PROVIDER.install_default();
    assert!(CryptoProvider::try_get_default().is_some(), "tokens have no cryptography");
}

fn signer(alg: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let hash = hash_of(*alg).filter(|_| key.family() == AlgorithmFamily::Hmac);
    let hash = hash.ok_or_else(|| Error::from(ErrorKind::UnsupportedAlgorithm))?;
    Ok(Box::new(Secret { alg: *alg, key: hmac::Key::new(hash, key.as_bytes()) }))
}

fn verifier(alg: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != alg.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let alg = *alg;
    Ok(match key.kind() {
        DecodingKeyKind::SecretOrDer(secret) if let Some(hash) = hash_of(alg) => {
            Box::new(Secret { alg, key: hmac::Key::new(hash, secret) })
        }
        DecodingKeyKind::SecretOrDer(point) => {
            let scheme = curve_of(alg).ok_or_else(|| Error::from(ErrorKind::InvalidKeyFormat))?;
            Box::new(Public { alg, key: PublicKey::Point(UnparsedPublicKey::new(scheme, point.clone())) })
        }
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let scheme = rsa_of(alg).ok_or_else(|| Error::from(ErrorKind::InvalidKeyFormat))?;
            let components = RsaPublicKeyComponents { n: n.clone(), e: e.clone() };
            Box::new(Public { alg, key: PublicKey::Rsa(scheme, components) })
        }
    })
}

fn hash_of(alg: Algorithm) -> Option<hmac::Algorithm> {
    match alg {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa_of(alg: Algorithm) -> Option<&'static RsaParameters> {
    Some(match alg {
        Algorithm::RS256 => &schemes::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &schemes::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &schemes::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &schemes::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &schemes::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &schemes::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn curve_of(alg: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match alg {
        Algorithm::ES256 => &schemes::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &schemes::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &schemes::ED25519,
        _ => return None,
    })
}

struct Secret {
    alg: Algorithm,
    key: hmac::Key,
}

impl Signer<Vec<u8>> for Secret {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

impl JwtSigner for Secret {
    fn algorithm(&self) -> Algorithm {
        self.alg
    }
}

impl Verifier<Vec<u8>> for Secret {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        // In constant time.
        hmac::verify(&self.key, message, signed).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Secret {
    fn algorithm(&self) -> Algorithm {
        self.alg
    }
}

struct Public {
    alg: Algorithm,
    key: PublicKey,
}

enum PublicKey {
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    Point(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match &self.key {
            PublicKey::Rsa(scheme, key) => key.verify(scheme, message, signed),
            PublicKey::Point(key) => key.verify(message, signed),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        self.alg
    }
}
