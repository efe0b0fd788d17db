//! TLS to the servers of sources.

use std::{path::Path, sync::Arc};

use net::tls::Anyone;
use rustls::{ClientConfig, RootCertStore};

use super::{pem::read_ca, provider::provider};

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

/// Trusts whoever answers, to ask whether it lives.
pub fn unverified() -> Result<ClientConfig, String> {
    let provider = Arc::new(provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone::new(provider)))
        .with_no_client_auth();
    Ok(config)
}
