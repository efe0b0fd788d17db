//! TLS as the gateway speaks it: its certificates, read again while it runs, and whom it trusts.

mod certificate;
mod server;

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

pub use certificate::Certificate;
pub use server::{Counters, Current, Server, warnings, watch};

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// What is wrong with a PEM file, without a word of what is in it: that may be a key.
fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a -----BEGIN line has no -----END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line does not end in -----".to_owned(),
        pem::Error::Base64Decode(_) => "what stands between -----BEGIN and -----END is not base64".to_owned(),
        error => error.to_string(),
    }
}

/// Certificates that sign those of others.
pub fn read_ca(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let failed = |error: &dyn std::fmt::Display| format!("cannot read the CA {shown}: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&told(&error)))? {
        let certificate = certificate.map_err(|error| failed(&told(&error)))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(format!("{shown} holds no certificate; it begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(roots)
}

/// How servers of sources are spoken to: they have to show a certificate that `ca` has signed, or somebody
/// whom the host trusts.
pub fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca {
        Some(path) => read_ca(path)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "this host trusts nobody; install its CA certificates, or name the server's by ca".into(),
                );
            }
            roots
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
