//! Tokens as the program has them: keys from files, signatures, and who was revoked.

mod cache;
pub mod key;
pub mod key_file;
pub mod keys;
pub mod mint;
mod provider;
