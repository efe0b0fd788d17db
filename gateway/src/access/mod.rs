//! Tokens as the program has them: keys, from files or published, signatures, and tokens that it signs itself.

mod cache;
mod certificate;
mod held;
mod jwk_set;
pub mod key;
pub mod key_file;
pub mod keys;
pub mod mint;
mod provider;
pub mod published;
pub mod refresh;
