//! What the program does for the engine: verifies signatures, which takes a library and may take long.

use std::{fmt, sync::Arc};

use super::bad::Bad;

/// A token as it is shown (RFC 7515, section 3.1). `Debug` does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Compact(pub String);

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token)")
    }
}

/// What a client shows.
#[derive(Debug)]
pub enum Credential {
    Token(Compact),
    /// That of its TLS connection.
    Certificate,
}

/// Whom a certificate names, and until when: µs since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub sub: Option<Box<str>>,
    pub exp_us: i64,
}

/// The payload of a token whose signature is good, as JSON text; or why it is refused.
pub type Verified = Result<Arc<str>, Bad>;

/// Whether that is known at once.
#[derive(Debug)]
pub enum Verdict {
    Known(Verified),
    /// It takes long, so it is for [`Verify::begin`].
    Later,
}

/// A check that takes long.
pub struct Check {
    pub token: Compact,
    /// Called once, from any thread.
    pub then: Box<dyn FnOnce(Verified) + Send>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

/// Verifies tokens.
pub trait Verify: fmt::Debug + Send + Sync {
    /// Whether there are keys that tokens of others may be signed with.
    fn has_keys(&self) -> bool;

    /// Never takes longer than a few hashes.
    fn verify(&self, token: &str) -> Verdict;

    /// Verifies it elsewhere. No more are begun at once than `[limits] token_checks`.
    fn begin(&self, check: Check);

    /// Reads a certificate that TLS has verified, as DER.
    fn named_by(&self, certificate: &[u8]) -> Result<Named, Bad>;

    /// Whether `shown` is the code of this cookie, in constant time.
    fn is_code_of(&self, cookie: &str, shown: &str) -> bool;
}
