//! How `wss://` is spoken: whom to trust, and whether tickets are used.

use std::{fmt, path::Path, sync::Arc};

use net::tls::Anyone;
use rustls::{
    CipherSuite, ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::url::Url;

/// For all connections of a run.
#[derive(Clone)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.name)
    }
}

impl Tls {
    /// `ca`: trust only what this PEM file signs, in place of what the host trusts; `insecure`: trust
    /// anyone; `resume`: connections after the first use its ticket; `identity`: PEM files of the client's own
    /// certificates and key.
    pub fn new(
        url: &Url,
        ca: Option<&Path>,
        insecure: bool,
        resume: bool,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, String> {
        let mut provider = ring::default_provider();
        // As browsers ask for it; stable, so that the rest stays as it is.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if insecure {
            let anyone = Arc::new(Anyone::new(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone)
        } else {
            builder.with_root_certificates(roots(ca)?)
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let own = PrivateKeyDer::from_pem_file(key);
                let own = own.map_err(|error| format!("--key {}: {error}", key.display()))?;
                let failed = |error| format!("--cert {} with --key: {error}", cert.display());
                builder.with_client_auth_cert(certificates("--cert", cert)?, own).map_err(failed)?
            }
        };
        if !resume {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = match url.host.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            _ => &url.host,
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| format!("{host}: {error}"))?;
        Ok(Self { config: Arc::new(config), name })
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this host trusts nobody; give --ca FILE.pem or --insecure".into());
        }
        return Ok(roots);
    };
    for certificate in certificates("--ca", path)? {
        roots.add(certificate).map_err(|error| format!("--ca {}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// Those of a PEM file, at least one.
fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn fmt::Display| format!("{flag} {}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    if found.is_empty() { Err(failed(&"holds no certificate")) } else { Ok(found) }
}
