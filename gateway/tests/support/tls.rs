//! The TLS side of a client: rustls between the bytes of its connection and those of its WebSocket.

use std::{
    io::{Read, Write},
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig,
    client::Resumption,
    pki_types::{PrivateKeyDer, ServerName},
};

/// The index of the listener that speaks TLS.
pub const LISTENER: u8 = 1;

/// Made once, since keys and certificates take their time.
static CONFIGS: LazyLock<(Arc<ServerConfig>, [ClientConfig; 2])> = LazyLock::new(configs);

/// How the listener speaks.
pub fn server() -> Arc<ServerConfig> {
    CONFIGS.0.clone()
}

fn configs() -> (Arc<ServerConfig>, [ClientConfig; 2]) {
    // Signatures of this kind are all of one length, and so is the serial number: a seed decides all.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.serial_number = Some(7.into());
    let cert = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .unwrap();
    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    let clients = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
        ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth()
    });
    (server.into(), clients)
}

#[derive(Debug, Clone, Copy)]
pub enum Version {
    Tls12,
    Tls13,
}

/// Clients that keep each other's tickets, or none.
#[derive(Debug)]
pub struct Clients([Arc<ClientConfig>; 2]);

impl Clients {
    pub fn with_tickets() -> Self {
        Self::with(|| Resumption::in_memory_sessions(8))
    }

    pub fn without_tickets() -> Self {
        Self::with(Resumption::disabled)
    }

    fn with(resumption: impl Fn() -> Resumption) -> Self {
        Self(CONFIGS.1.clone().map(|mut config| {
            config.resumption = resumption();
            config.into()
        }))
    }

    pub fn connect(&self, version: Version) -> Client {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(self.0[version as usize].clone(), name).unwrap();
        // What is said before the handshake is through waits for that.
        tls.set_buffer_limit(None);
        Client { tls, is_broken: false, is_refused: false, is_ended: false }
    }
}

/// One side of a session.
#[derive(Debug)]
pub struct Client {
    tls: ClientConnection,
    /// It broke a rule of TLS, and may be told so.
    pub is_broken: bool,
    /// It was told so.
    is_refused: bool,
    /// The gateway has said that it will send no more.
    pub is_ended: bool,
}

impl Client {
    /// What `wire` says. Afterwards there may be something to [`Client::flush`].
    pub fn open(&mut self, mut wire: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !wire.is_empty() && !self.is_refused {
            let taken = self.tls.read_tls(&mut wire).unwrap();
            assert!(taken > 0, "{} bytes after close_notify", wire.len());
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let held = plain.len();
                    plain.resize(held + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut plain[held..]).unwrap();
                    self.is_ended |= state.peer_has_closed();
                }
                Err(error) => {
                    let fits = self.is_broken && matches!(error, Error::AlertReceived(_));
                    assert!(fits, "the session failed: {error}");
                    self.is_refused = true;
                }
            }
        }
        plain
    }

    /// `plain` as it goes over the wire, with all that has to go before it; nothing where an alert has ended it.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        if self.is_refused {
            return Vec::new();
        }
        self.tls.writer().write_all(plain).unwrap();
        self.flush()
    }

    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The last that it says.
    pub fn end(&mut self) -> Vec<u8> {
        // Said so early it is not encrypted, and breaks the handshake.
        self.is_broken |= self.tls.is_handshaking();
        self.tls.send_close_notify();
        self.flush()
    }

    pub fn flush(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).unwrap();
        }
        wire
    }
}
