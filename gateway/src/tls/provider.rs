//! Whose cryptography is used.

use rustls::crypto::{CryptoProvider, ring};

pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}
