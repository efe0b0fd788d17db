//! Tokens that loadgen makes for its connections: JWT (RFC 7519), signed with a key that the server knows.

use std::{fmt, fs, path::Path, time::Duration};

use base64_simd::URL_SAFE_NO_PAD;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Map, Value, json};

/// `--token-alg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Algorithm {
    /// HMAC with SHA-256
    #[value(name = "HS256")]
    Hs256,
    /// HMAC with SHA-384
    #[value(name = "HS384")]
    Hs384,
    /// HMAC with SHA-512
    #[value(name = "HS512")]
    Hs512,
    /// ECDSA on P-256
    #[value(name = "ES256")]
    Es256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Es256 => "ES256",
        }
    }
}

enum Key {
    Secret(hmac::Key),
    Pair(Box<EcdsaKeyPair>),
}

/// Makes tokens. `Debug` does not tell its key.
pub struct Signer {
    alg: Algorithm,
    key: Key,
    life: Duration,
    /// Beside those of its own, or in their place.
    claims: Map<String, Value>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.alg.name())
    }
}

impl Signer {
    /// `path`: a secret, which is the file's bytes without one newline at the end, or the PEM of a private key. The
    /// error says nothing of what is in it.
    pub fn read(
        alg: Algorithm,
        path: &Path,
        life: Duration,
        claims: Map<String, Value>,
    ) -> Result<Self, String> {
        let failed = |why: String| format!("--token-key {}: {why}", path.display());
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let secret = |hash| {
            let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let why = "it is empty; make one with openssl rand -hex 32";
            if secret.is_empty() { Err(why) } else { Ok(Key::Secret(hmac::Key::new(hash, secret))) }
        };
        let key = match alg {
            Algorithm::Hs256 => secret(hmac::HMAC_SHA256),
            Algorithm::Hs384 => secret(hmac::HMAC_SHA384),
            Algorithm::Hs512 => secret(hmac::HMAC_SHA512),
            Algorithm::Es256 => pair(&bytes).map(|pair| Key::Pair(Box::new(pair))).ok_or(
                "it holds no -----BEGIN PRIVATE KEY----- on P-256; make one with openssl genpkey -algorithm EC \
                 -pkeyopt ec_paramgen_curve:P-256",
            ),
        };
        Ok(Self { alg, key: key.map_err(|why| failed(why.to_owned()))?, life, claims })
    }

    /// A token for connection `conn` that grants it `topics`, from `now_us` on: µs since the Unix epoch.
    pub fn token(&self, conn: u32, topics: &[&str], now_us: u64) -> String {
        let mut claims = Map::new();
        for (name, claim) in [
            ("sub", json!(format!("loadgen-{conn}"))),
            ("jti", json!(format!("{:016x}", fastrand::u64(..)))),
            ("iat", json!(now_us / 1_000_000)),
            ("exp", json!((now_us + self.life.as_micros() as u64).div_ceil(1_000_000))),
            ("fanwire", json!({ "subscribe": topics })),
        ] {
            claims.insert(name.to_owned(), claim);
        }
        claims.extend(self.claims.clone());
        let part = |value: Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
        let head = part(json!({ "alg": self.alg.name(), "typ": "JWT" }));
        let message = format!("{head}.{}", part(Value::Object(claims)));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode_to_string(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Pair(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message);
                signed.expect("the system gives random bytes").as_ref().to_vec()
            }
        }
    }
}

fn pair(pem: &[u8]) -> Option<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    let chance = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &chance).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    const NOW_US: u64 = 1_700_000_000_500_000;

    fn signer(alg: Algorithm, key: &[u8], claims: Value) -> Result<Signer, String> {
        let path = std::env::temp_dir().join(format!("loadgen-key-{}", fastrand::u64(..)));
        fs::write(&path, key).unwrap();
        let claims = claims.as_object().unwrap().clone();
        let read = Signer::read(alg, &path, Duration::from_secs(20), claims);
        fs::remove_file(path).unwrap();
        read
    }

    /// Header, claims, what was signed and the signature.
    fn parts(token: &str) -> (Value, Value, &str, Vec<u8>) {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode_to_vec(text).unwrap();
        let mut json = message.split('.').map(|part| serde_json::from_slice(&decode(part)).unwrap());
        (json.next().unwrap(), json.next().unwrap(), message, decode(signature))
    }

    #[test]
    fn a_token_says_whose_it_is_what_it_grants_and_how_long_it_lives() {
        let secret = [7; 32];
        let more = json!({ "aud": "us", "fanwire": { "subscribe": ["*"] } });
        let made = [json!({}), more].map(|claims| {
            let token = signer(Algorithm::Hs256, &secret, claims).unwrap().token(17, &["a.*", "b"], NOW_US);
            let (header, claims, message, signature) = parts(&token);
            assert_eq!(header["alg"], "HS256");
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            hmac::verify(&key, message.as_bytes(), &signature).unwrap();
            claims
        });
        let [own, merged] = made;
        assert_eq!(own["fanwire"]["subscribe"], json!(["a.*", "b"]));
        assert_eq!((&own["sub"], &own["iat"]), (&json!("loadgen-17"), &json!(1_700_000_000)));
        assert_eq!(own["exp"], 1_700_000_021, "never less than it was asked for");
        assert!(own["jti"].as_str().unwrap().len() == 16 && own["jti"] != merged["jti"]);
        assert_eq!((&merged["aud"], &merged["fanwire"]["subscribe"]), (&json!("us"), &json!(["*"])));
    }

    #[test]
    fn a_private_key_signs_what_its_public_key_verifies() {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let signer = signer(Algorithm::Es256, pair.serialize_pem().as_bytes(), json!({})).unwrap();
        let token = signer.token(0, &[], NOW_US);
        let (header, _, message, signature) = parts(&token);
        assert_eq!(header["alg"], "ES256");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key_raw());
        public.verify(message.as_bytes(), &signature).unwrap();
        assert_eq!(format!("{signer:?}"), "Signer(ES256)");
    }

    #[test]
    fn a_key_that_cannot_sign_is_refused_with_a_remedy() {
        for (alg, key, told) in
            [(Algorithm::Hs384, &b"\n"[..], "openssl rand"), (Algorithm::Es256, b"secret", "openssl genpkey")]
        {
            let refusal = signer(alg, key, json!({})).unwrap_err();
            assert!(refusal.starts_with("--token-key") && refusal.contains(told), "{refusal}");
        }
    }
}
