//! How the TLS listeners speak, made anew when files change, while nobody is dropped.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use net::metric::{Kind, Metric};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
    },
    sign::CertifiedKey,
};
use tokio::sync;

use super::{certificate::Certificate, pem::read_ca, provider::provider};
use crate::config::Tls;

/// What connections accepted from now on speak.
pub type Current = sync::watch::Receiver<Arc<ServerConfig>>;

#[derive(Debug)]
pub struct Server {
    tls: Tls,
    files: Files,
    /// When they were read.
    seen: Seen,
    ticketer: Arc<dyn ProducesTickets>,
    current: sync::watch::Sender<Arc<ServerConfig>>,
    /// Why they could not be read again, the last time.
    error: Option<String>,
    counters: Arc<CertificateCounters>,
}

/// What tells whether files have changed.
type Seen = Vec<Option<(u64, u64, i64, i64)>>;

#[derive(Debug)]
pub struct CertificateCounters {
    pub reloads: AtomicU64,
    pub reload_errors: AtomicU64,
    /// By file: seconds since the Unix epoch.
    expires_s: Mutex<Vec<(String, i64)>>,
}

impl CertificateCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_certificate_reloads", "Times certificates were read again", |c| {
            c.reloads.load(Ordering::Relaxed)
        }),
        Metric::counter(
            "fanwire_certificate_reload_errors",
            "Times certificates could not be read again and stayed as they were",
            |c| c.reload_errors.load(Ordering::Relaxed),
        ),
        Metric::by(
            Kind::Gauge,
            "fanwire_certificate_expires_seconds",
            "When the certificate expires, in seconds since the Unix epoch",
            "cert",
            |c| {
                let expires_s = c.expires_s.lock().unwrap_or_else(PoisonError::into_inner);
                // None expires before the epoch that is not long gone.
                expires_s.iter().map(|(cert, at_s)| (cert.clone().into(), (*at_s).max(0) as u64)).collect()
            },
        ),
    ];
}

impl Server {
    /// The error names the file.
    pub fn load(tls: &Tls) -> Result<Self, String> {
        let seen = seen(tls);
        let files = Files::read(tls)?;
        warnings(tls).iter().for_each(|text| tracing::warn!("{text}"));
        let ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        let (current, _) = sync::watch::channel(files.config(&ticketer)?);
        let counters = CertificateCounters {
            reloads: AtomicU64::new(0),
            reload_errors: AtomicU64::new(0),
            expires_s: Mutex::default(),
        };
        files.note(tls, &counters);
        Ok(Self { tls: tls.clone(), files, seen, ticketer, current, error: None, counters: counters.into() })
    }

    pub fn current(&self) -> Current {
        self.current.subscribe()
    }

    pub fn counters(&self) -> Arc<CertificateCounters> {
        self.counters.clone()
    }

    /// Reads the files again, if somebody `asked` to, where they have changed, or where they could not be used
    /// the last time, since time may mend that. Where one cannot be used all stays as it was.
    pub fn look(&mut self, asked: bool) {
        let seen = seen(&self.tls);
        if !asked && seen == self.seen && self.error.is_none() {
            return;
        }
        self.seen = seen;
        match self.try_reload() {
            Ok(()) => {
                tracing::info!("certificates were read again");
                self.counters.reloads.fetch_add(1, Ordering::Relaxed);
                self.error = None;
            }
            Err(error) if !asked && self.error.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!(%error, "certificates stay as they were");
                self.counters.reload_errors.fetch_add(1, Ordering::Relaxed);
                self.error = Some(error);
            }
        }
    }

    /// Shows what other files hold, or the same as before where one cannot be used.
    pub fn change(&mut self, tls: &Tls) -> Result<(), String> {
        if *tls == self.tls {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.tls, tls.clone());
        self.seen = seen(tls);
        self.try_reload().inspect_err(|_| {
            self.seen = seen(&before);
            self.tls = before;
        })
    }

    fn try_reload(&mut self) -> Result<(), String> {
        let files = Files::read(&self.tls)?;
        for (fresh, held) in files.certificates.iter().zip(&self.files.certificates) {
            match fresh.untimely() {
                // What is shown now is better.
                Some(error) if held.untimely().is_none() => return Err(error),
                Some(error) => tracing::warn!("{error}"),
                None => {}
            }
        }
        let config = files.config(&self.ticketer)?;
        files.note(&self.tls, &self.counters);
        (self.files, _) = (files, self.current.send_replace(config));
        Ok(())
    }
}

fn seen(tls: &Tls) -> Seen {
    let seen = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        // Also another file of the same age in its place, as a link that was swapped names it.
        Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
    };
    let shown = tls.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
    shown.chain(&tls.client_ca).map(|path| seen(path)).collect()
}

/// What the files said when they were read.
#[derive(Debug)]
struct Files {
    certificates: Vec<Certificate>,
    /// Who signs those of clients, where they have to show one.
    clients: Option<Arc<RootCertStore>>,
}

impl Files {
    fn read(tls: &Tls) -> Result<Self, String> {
        let certificates = tls.certificates.iter().map(Certificate::read).collect::<Result<_, _>>()?;
        let clients = tls.client_ca.as_deref().map(read_ca).transpose()?;
        Ok(Self { certificates, clients: clients.map(Arc::new) })
    }

    fn note(&self, tls: &Tls, counters: &CertificateCounters) {
        let files = tls.certificates.iter().map(|files| files.cert.display().to_string());
        let expires_s = files.zip(self.certificates.iter().map(Certificate::expires_s)).collect();
        *counters.expires_s.lock().unwrap_or_else(PoisonError::into_inner) = expires_s;
    }

    /// TLS 1.2 and 1.3, and tickets, so that who comes back is quick. Where clients have to show a certificate
    /// there are none: a ticket would stand for it also when it has expired or its signer is trusted no more.
    fn config(&self, ticketer: &Arc<dyn ProducesTickets>) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            }
        };
        let chosen = Chosen::new(&self.certificates).ok_or("no certificate")?;
        let mut config = builder.with_cert_resolver(Arc::new(chosen));
        config.send_tls13_tickets = 0;
        if self.clients.is_none() {
            (config.ticketer, config.send_tls13_tickets) = (ticketer.clone(), 1);
        }
        // Tickets hold what a session needs: nothing of it is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Which certificate is shown.
#[derive(Debug)]
struct Chosen {
    default: Arc<CertifiedKey>,
    /// By host name in lower case, also `*.rest`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Chosen {
    fn new(certificates: &[Certificate]) -> Option<Self> {
        let mut by_name = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                // The first that is for a name is taken.
                by_name.entry(name.clone()).or_insert_with(|| certificate.signed.clone());
            }
        }
        Some(Self { default: certificates.first()?.signed.clone(), by_name })
    }

    fn of(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?))
    }
}

impl ResolvesServerCert for Chosen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.of(name));
        Some(named.unwrap_or(&self.default).clone())
    }
}

/// Of certificates that clients refuse at this time, or that are never shown.
pub fn warnings(tls: &Tls) -> Vec<String> {
    // What cannot be read is an error of the configuration.
    let read = tls.certificates.iter().filter_map(|files| Certificate::read(files).ok());
    let (mut warnings, mut named) = (Vec::new(), HashSet::new());
    for (index, certificate) in read.enumerate() {
        warnings.extend(certificate.untimely());
        let names = certificate.names.len();
        let is_shown = certificate.names.into_iter().filter(|name| named.insert(name.clone())).count() > 0;
        if index > 0 && !is_shown {
            let file = tls.certificates[index].cert.display();
            warnings.push(format!(
                "nobody is ever shown the certificate {file}: those before it have all of its {names} DNS names"
            ));
        }
    }
    warnings
}
