//! Files of a certificate.

use std::path::PathBuf;

/// A chain and its key, as PEM.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}
