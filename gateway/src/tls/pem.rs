//! Files in PEM.

use std::{fs, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

/// The longest chains have a few kilobytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What a PEM file says. The error does not say which file.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    if found.len() > PEM_BYTES_MAX {
        return Err(format!("it has {} bytes, a PEM file may have {PEM_BYTES_MAX}", found.len()));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// What is wrong with a PEM file, without a word of what is in it: that may be a key.
pub(super) fn told(error: &pem::Error, text: &[u8]) -> String {
    // PKCS#8 says so in its first line, older forms in one of their own.
    let is_encrypted = text.windows(9).any(|part| part == b"ENCRYPTED");
    match error {
        pem::Error::MissingSectionEnd { .. } => "a -----BEGIN line has no -----END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line does not end in -----".to_owned(),
        _ if is_encrypted => "it is encrypted; write it out with openssl pkey -in FILE -out OTHER".to_owned(),
        pem::Error::Base64Decode(_) => "what stands between -----BEGIN and -----END is not base64".to_owned(),
        pem::Error::NoItemsFound => "it holds none in PEM, which begins with -----BEGIN".to_owned(),
        error => error.to_string(),
    }
}

/// Certificates in PEM; at least one. The error does not say which file.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_pem(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| told(&error, &text))?;
    if chain.is_empty() { Err(told(&pem::Error::NoItemsFound, &text)) } else { Ok(chain) }
}

/// Certificates that sign those of others.
pub fn read_ca(path: &Path) -> Result<RootCertStore, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot read the CA {}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path).map_err(|error| failed(&error))? {
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(roots)
}
