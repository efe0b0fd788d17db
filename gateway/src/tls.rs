//! Certificates: read from files, chosen by the name that a client asks for, and read again while the
//! gateway runs.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::tls::{Files, Tls};

/// How often files are looked at for changes.
const LOOK: Duration = Duration::from_secs(5);

/// What handshakes choose from. Who is connected already keeps what it was shown.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<Files>,
    chosen: RwLock<Arc<Chosen>>,
    pub counters: Counters,
}

#[derive(Debug, Default)]
pub struct Counters {
    pub reloads: AtomicU64,
    pub reload_errors: AtomicU64,
}

#[derive(Debug)]
struct Chosen {
    default: Arc<CertifiedKey>,
    /// By host name in lower case, also `*.rest`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// The error names the file.
    pub fn load(files: &[Files]) -> Result<Self, String> {
        let chosen = RwLock::new(Arc::new(Chosen::read(files)?));
        Ok(Self { files: files.to_vec(), chosen, counters: Counters::default() })
    }

    /// Reads the files again; where one cannot be read all stays as it was.
    pub fn reload(&self) -> Result<(), String> {
        match Chosen::read(&self.files) {
            Ok(chosen) => {
                *self.chosen.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(chosen);
                self.counters.reloads.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.counters.reload_errors.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// What tells whether the files have changed.
    fn seen(&self) -> Vec<Option<(SystemTime, u64)>> {
        let seen = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.files.iter().flat_map(|files| [seen(&files.cert), seen(&files.key)]).collect()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.chosen.read().unwrap_or_else(PoisonError::into_inner).clone();
        let named = hello.server_name().and_then(|name| chosen.of(name));
        Some(named.unwrap_or(&chosen.default).clone())
    }
}

impl Chosen {
    fn read(files: &[Files]) -> Result<Self, String> {
        let (mut default, mut by_name) = (None, HashMap::new());
        for files in files {
            let certificate = Arc::new(read_certificate(files)?);
            for name in names(&certificate.cert[0]) {
                // The first that is for a name is taken.
                by_name.entry(name).or_insert_with(|| certificate.clone());
            }
            default.get_or_insert(certificate);
        }
        Ok(Self { default: default.ok_or("no certificate")?, by_name })
    }

    fn of(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?))
    }
}

/// Host names that a certificate is for.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    parsed.iter().flat_map(|cert| cert.valid_dns_names()).map(str::to_ascii_lowercase).collect()
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A chain and its key; the error says which file and why.
pub fn read_certificate(files: &Files) -> Result<CertifiedKey, String> {
    let shown = files.cert.display();
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| format!("cannot read the certificate {shown}: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{shown} holds no certificate; it begins with -----BEGIN CERTIFICATE-----"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("cannot read the private key {}: {error}", files.key.display()))?;
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| format!("{shown} and {} do not go together: {error}", files.key.display()))
}

/// Certificates that sign those of others.
pub fn read_ca(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let failed = |error: &dyn std::fmt::Display| format!("cannot read the CA {shown}: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(format!("{shown} holds no certificate; it begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(roots)
}

/// How the shards' TLS listeners speak: TLS 1.2 and 1.3, and tickets, so that who comes back is quick.
pub fn server(tls: &Tls, certificates: &Arc<Certificates>) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(read_ca(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
    };
    let mut config = builder.with_cert_resolver(certificates.clone());
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    config.send_tls13_tickets = 1;
    // Tickets hold what a session needs: nothing of it is kept here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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

/// Reads certificates again when their files change, and on SIGHUP. Does not return.
pub async fn watch(certificates: Option<Arc<Certificates>>) -> std::convert::Infallible {
    // Without certificates SIGHUP is told to do nothing, in place of ending the process.
    let mut hang_up = signal(SignalKind::hangup()).ok();
    let mut seen = certificates.as_ref().map(|it| it.seen());
    loop {
        let asked = tokio::select! {
            _ = hung_up(&mut hang_up) => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let Some(certificates) = &certificates else {
            if asked {
                tracing::info!("SIGHUP: there are no certificates to read again");
            }
            continue;
        };
        let now = Some(certificates.seen());
        if !asked && now == seen {
            continue;
        }
        seen = now;
        match certificates.reload() {
            Ok(()) => tracing::info!("certificates were read again"),
            Err(error) => tracing::error!(%error, "certificates stay as they were"),
        }
    }
}

async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
