//! Why a token is refused.

use thiserror::Error;

/// What is wrong with a token. The texts are for its holder: none quotes a key or the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Bad {
    #[error("nothing stands where it should: behind Bearer, in the subprotocol, the cookie or the URL")]
    Empty,
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is no JWT: {0}")]
    Malformed(&'static str),
    #[error("its header names in `crit` what is not known here")]
    Critical,
    #[error("no key of this gateway has its `alg` and `kid`")]
    NoKey,
    #[error("its signature is not good")]
    Signature,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{claim}` is bad: {wanted}")]
    Claim { claim: &'static str, wanted: &'static str },
    #[error("it has expired")]
    Expired,
    #[error("it does not hold yet: `nbf` is later")]
    NotYet,
    #[error("it lives for {lives_s} s, [access] lifetime_max is {max_s} s")]
    TooLong { lives_s: u64, max_s: u64 },
    #[error("its issuer (`iss`) is none of [access] issuer")]
    Issuer,
    #[error("its audience (`aud`) is none of [access] audience")]
    Audience,
    #[error("grants: {0}")]
    Grants(String),
    #[error("it was revoked")]
    Revoked,
}
