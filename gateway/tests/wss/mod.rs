//! Certificates made as a test runs, and clients that speak TLS.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use crate::contract::{Gateway, Socket, dial, http};

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

fn path(name: &str) -> PathBuf {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{number}-{name}", std::process::id()))
}

fn params(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}

/// It held in a year long gone.
fn expired(host: &str) -> CertificateParams {
    let mut params = params(host);
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(2020, 1, 1));
    params
}

/// A certificate for a host name, in two files.
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub der: CertificateDer<'static>,
}

impl Files {
    pub fn new(host: &str) -> Self {
        Self::write(params(host), path("cert.pem"), path("key.pem"))
    }

    pub fn expired(host: &str) -> Self {
        Self::write(expired(host), path("cert.pem"), path("key.pem"))
    }

    fn write(params: CertificateParams, cert: PathBuf, key: PathBuf) -> Self {
        let pair = KeyPair::generate().unwrap();
        let signed = params.self_signed(&pair).unwrap();
        fs::write(&cert, signed.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        Self { cert, key, der: signed.der().clone() }
    }

    /// Another certificate in the same files.
    pub fn renew(&mut self, host: &str) {
        self.replace(params(host));
    }

    pub fn let_expire(&mut self, host: &str) {
        self.replace(expired(host));
    }

    /// Another certificate, which holds from then on.
    pub fn hold_from_in(&mut self, later: Duration, host: &str) {
        let mut params = params(host);
        params.not_before = (SystemTime::now() + later).into();
        self.replace(params);
    }

    fn replace(&mut self, params: CertificateParams) {
        *self = Self::write(params, self.cert.clone(), self.key.clone());
    }

    /// Keys of `[server]`.
    pub fn server(&self) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        format!("tls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"")
    }
}

/// Signs the certificates of clients.
pub struct Authority {
    pub file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        Self::write(path("ca.pem"))
    }

    /// Another one, named in the same file.
    pub fn succeeded(&self) -> Self {
        Self::write(self.file.clone())
    }

    fn write(file: PathBuf) -> Self {
        let (params, pair) = (CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
        fs::write(&file, params.self_signed(&pair).unwrap().pem()).unwrap();
        Self { file, issuer: Issuer::new(params, pair) }
    }

    /// A client that it vouches for, or did so once.
    pub fn client(&self, trusted: &[&Files], is_expired: bool) -> Arc<ClientConfig> {
        self.vouch(trusted, if is_expired { expired("client") } else { params("client") })
    }

    /// A client that it vouches for until then.
    pub fn client_until(&self, trusted: &[&Files], end: SystemTime) -> Arc<ClientConfig> {
        let mut params = params("client");
        params.not_after = end.into();
        self.vouch(trusted, params)
    }

    fn vouch(&self, trusted: &[&Files], params: CertificateParams) -> Arc<ClientConfig> {
        let own = KeyPair::generate().unwrap();
        let signed = params.signed_by(&own, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
        let builder = builder(trusted, rustls::ALL_VERSIONS);
        Arc::new(builder.with_client_auth_cert(vec![signed.der().clone()], key).unwrap())
    }
}

fn builder(
    trusted: &[&Files],
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|files| roots.add(files.der.clone()).unwrap());
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

pub fn client(trusted: &[&Files], versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    Arc::new(builder(trusted, versions).with_no_client_auth())
}

pub fn connect(address: &str, config: &Arc<ClientConfig>, host: &'static str) -> Stream {
    let connection = ClientConnection::new(config.clone(), ServerName::try_from(host).unwrap()).unwrap();
    StreamOwned::new(connection, dial(address))
}

pub fn subscribe(
    address: &str,
    config: &Arc<ClientConfig>,
    host: &'static str,
    path: &str,
) -> Socket<Stream> {
    Socket::over(connect(address, config, host), path).unwrap()
}

pub fn metric(gateway: &Gateway, sample: &str) -> u64 {
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
    line.unwrap_or_else(|| panic!("no {sample}")).trim().parse().unwrap()
}

/// The certificate that the server showed.
pub fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

pub fn wait_until(holds: impl Fn() -> bool) {
    wait_for(Duration::from_secs(10), holds);
}

pub fn wait_for(longest: Duration, holds: impl Fn() -> bool) {
    let end = Instant::now() + longest;
    while !holds() {
        assert!(Instant::now() < end, "not within {longest:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
