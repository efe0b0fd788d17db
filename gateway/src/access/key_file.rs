//! Where a key for tokens stands.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;

/// Algorithms by their names (RFC 7518, section 3.1; RFC 8037, section 3.1).
pub const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// One `[[access.key]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyFile {
    pub kid: Option<String>,
    pub alg: Algorithm,
    pub place: KeyPlace,
}

#[derive(Debug, Clone, PartialEq)]
pub enum KeyPlace {
    /// A file whose bytes are the secret.
    Secret(PathBuf),
    /// A variable of the environment whose bytes are.
    Variable(String),
    /// PEM.
    Public(PathBuf),
}

/// The name of an algorithm.
pub fn name(alg: Algorithm) -> &'static str {
    let found = ALGORITHMS.iter().find(|(_, known)| *known == alg);
    found.expect("a key has one of the table").0
}
