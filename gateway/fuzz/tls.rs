//! What the fuzz target for TLS records does; `tests/fuzz_seeds.rs` does the same with random input.

use std::{
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use net::{
    ConnId, Event, Events,
    sim::SimRing,
    tls::{Tls, TlsLimits},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
};

const LIMITS: TlsLimits = TlsLimits { handshakes_per_turn: 100, sealed_bytes: 1 << 20 };

fn configs() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static CONFIGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert =
            rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (server.into(), client.into())
    })
}

/// Byte 0: 0 to 85 the rest is what comes instead of a handshake, to 170 what a ClientHello is changed by,
/// above that what an established connection's records are. Byte 1: how reads are cut.
pub fn tls_records(data: &[u8]) {
    let [kind, cut, input @ ..] = data else { return };
    let (server, client) = configs();
    let mut net = Tls::new(SimRing::new(4, u64::from(*cut)), Some((0, server.clone())), LIMITS);
    net.inner().set_recv_bytes_max(usize::from(*cut) + 1);
    let conn = net.inner().accept(([127, 0, 0, 1], 1).into()).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut peer = ClientConnection::new(client.clone(), name).unwrap();
    if *kind <= 85 {
        net.inner().peer_send(conn, input);
        assert_eq!(heard(&mut net), b"", "nothing was said inside");
        return;
    }
    let mut hello = Vec::new();
    peer.write_tls(&mut hello).unwrap();
    if *kind <= 170 {
        change(&mut hello, input);
        net.inner().peer_send(conn, &hello);
        assert_eq!(heard(&mut net), b"", "nothing was said inside");
        return;
    }
    net.inner().peer_send(conn, &hello);
    for _ in 0..20 {
        heard(&mut net);
        answer(&mut net, conn, &mut peer);
    }
    assert!(!peer.is_handshaking());
    // Half of it is said, the other half is how the records are changed.
    let (said, changes) = input.split_at(input.len() / 2);
    peer.writer().write_all(said).unwrap();
    let mut sealed = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut sealed).unwrap();
    }
    let changed = change(&mut sealed, changes);
    net.inner().peer_send(conn, &sealed);
    let heard = heard(&mut net);
    assert!(said.starts_with(&heard), "what is heard was said");
    assert!(changed || heard == said, "all of it");
}

/// Three bytes a change: where, and to what.
fn change(bytes: &mut [u8], changes: &[u8]) -> bool {
    let before = bytes.to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = change[2];
        }
    }
    bytes != before
}

fn heard(net: &mut Tls<SimRing>) -> Vec<u8> {
    let mut heard = Vec::new();
    net.begin_turn();
    while let Some(event) = net.next() {
        if let Event::Received { bytes, .. } = event {
            heard.extend_from_slice(&bytes);
        }
    }
    heard
}

fn answer(net: &mut Tls<SimRing>, conn: ConnId, peer: &mut ClientConnection) {
    let bytes = net.inner().peer_read(conn, usize::MAX);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        peer.read_tls(&mut rest).unwrap();
        let state = peer.process_new_packets().unwrap();
        peer.reader().read_exact(&mut vec![0; state.plaintext_bytes_to_read()]).unwrap();
    }
    let mut out = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut out).unwrap();
    }
    net.inner().peer_send(conn, &out);
}
