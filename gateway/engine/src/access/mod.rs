//! Who may: what a token says, what connections may do by it, and when that ends.
//!
//! ```text
//! verify   what the program does: whether a signature is good
//! claims   what a token says once it is           grant    a pattern of the configuration, for whoever it is
//! shown    where a request shows one              grants   the patterns of a token
//! rules    what [access] says                     holder   what a connection keeps of its token
//! may      what that comes to for a connection    bad      why a token is refused
//! tokens   what all shards share of them          revoked  whose tokens do not hold any more
//! ```
//!
//! Signatures are not verified here, since that is the work of a library and may take long.

pub mod bad;
pub mod claims;
pub mod grant;
pub mod grants;
pub mod holder;
pub mod may;
pub mod revoked;
pub mod rules;
pub mod shown;
pub mod tokens;
pub mod verify;
