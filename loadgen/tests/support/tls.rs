//! TLS in front of a server that does not speak it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};

use super::Temporary;

/// Listens with a certificate for `localhost`; gives where, and the certificate's file.
pub fn in_front_of(server: SocketAddr) -> (SocketAddr, Temporary) {
    with(rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap(), server, None)
}

/// The same for clients alone that show a certificate; gives its file and its key's too.
pub fn in_front_of_known(server: SocketAddr) -> (SocketAddr, Temporary, [Temporary; 2]) {
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["client".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.der().clone()).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let (addr, file) = with(params, server, Some(roots));
    let files = ["client.pem", "client.key"].map(|name| Temporary::new(&format!("{}-{name}", addr.port())));
    std::fs::write(&files[0].0, own.pem()).unwrap();
    std::fs::write(&files[1].0, key.serialize_pem()).unwrap();
    (addr, file, files)
}

/// The same with one that has expired.
pub fn expired_in_front_of(server: SocketAddr) -> (SocketAddr, Temporary) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    with(params, server, None)
}

fn with(
    params: rcgen::CertificateParams,
    server: SocketAddr,
    clients: Option<rustls::RootCertStore>,
) -> (SocketAddr, Temporary) {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let file = Temporary::new(&format!("{}.pem", addr.port()));
    std::fs::write(&file.0, cert.pem()).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap(),
        ),
    };
    let config = builder.with_single_cert(vec![cert.der().clone()], private).unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            // A client that leaves ends its thread with an error.
            std::thread::spawn(move || pass(tls, stream.unwrap(), server));
        }
    });
    (addr, file)
}

fn pass(mut tls: ServerConnection, mut sealed: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut plain = TcpStream::connect(server)?;
    plain.set_nodelay(true)?;
    sealed.set_nodelay(true)?;
    for stream in [&sealed, &plain] {
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    }
    let mut buffer = [0; 16 << 10];
    loop {
        match tls.read_tls(&mut sealed) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let state = tls.process_new_packets().map_err(io::Error::other);
                while tls.wants_write() {
                    tls.write_tls(&mut sealed)?;
                }
                let bytes = state?.plaintext_bytes_to_read();
                tls.reader().read_exact(&mut buffer[..bytes])?;
                plain.write_all(&buffer[..bytes])?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match plain.read(&mut buffer) {
            Ok(0) => {
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut sealed)?;
                }
                return Ok(());
            }
            Ok(bytes) => tls.writer().write_all(&buffer[..bytes])?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while tls.wants_write() {
            tls.write_tls(&mut sealed)?;
        }
    }
}
