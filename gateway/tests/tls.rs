//! wss: the listener of `[server] tls`, as rustls' own client sees it.
#![forbid(unsafe_code)]

mod contract;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use contract::{Gateway, Socket, dial, http};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for a host name, in two files.
struct Files {
    cert: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

impl Files {
    /// `key`: the file name both are told by.
    fn new(host: &str) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let base =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{number}", std::process::id()));
        let (cert, key) = (base.with_extension("cert.pem"), base.with_extension("key.pem"));
        let der = Self::write(host, &cert, &key);
        Self { cert, key, der }
    }

    fn write(host: &str, cert: &PathBuf, key: &PathBuf) -> CertificateDer<'static> {
        let pair = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&pair).unwrap();
        fs::write(cert, signed.pem()).unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
        signed.der().clone()
    }

    /// Another certificate in the same files.
    fn renew(&mut self, host: &str) {
        self.der = Self::write(host, &self.cert, &self.key);
    }

    fn server(&self) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        format!("tls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"")
    }
}

fn roots(trusted: &[&Files]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|files| roots.add(files.der.clone()).unwrap());
    roots
}

fn client(trusted: &[&Files], versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(trusted))
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(address: &str, config: &Arc<ClientConfig>, host: &'static str) -> Stream {
    let connection = ClientConnection::new(config.clone(), ServerName::try_from(host).unwrap()).unwrap();
    StreamOwned::new(connection, dial(address))
}

fn subscribe(address: &str, config: &Arc<ClientConfig>, host: &'static str, path: &str) -> Socket<Stream> {
    Socket::over(connect(address, config, host), path).unwrap()
}

fn metric(gateway: &Gateway, sample: &str) -> u64 {
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
    line.unwrap_or_else(|| panic!("no {sample}")).trim().parse().unwrap()
}

/// The certificate that the server showed.
fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn subscribers_with_and_without_tls_get_the_same() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    assert!(gateway.first_line.contains(" tls=127.0.0.1:"), "{}", gateway.first_line);
    gateway.publish("a", "1");
    let mut plain = Socket::connect(&gateway.data, "/ws?topics=a").unwrap();
    let versions = [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ];
    let mut sealed: Vec<Socket<Stream>> = Vec::new();
    for (version, spoken) in versions {
        let mut socket = subscribe(&gateway.tls, &client(&[&files], &[version]), "localhost", "/ws?topics=a");
        assert_eq!(socket.stream().conn.protocol_version(), Some(spoken));
        sealed.push(socket);
    }
    let long = format!("\"{}\"", "x".repeat(100_000));
    gateway.publish("a", &long);
    let update = plain.update("a", |update| update["v"] == 2);
    for socket in &mut sealed {
        assert_eq!(socket.update("a", |update| update["v"] == 2), update);
        socket.send(r#"{"op":"ping","id":7}"#);
        assert_eq!(socket.until("pong")["id"], 7);
    }
    assert_eq!(metric(&gateway, "fanwire_tls_handshakes_total "), 2);
    assert_eq!(metric(&gateway, "fanwire_tls_sessions "), 2);
    gateway.signal("TERM");
    assert_eq!(sealed[0].close_code(), 1001);
    let mut rest = Vec::new();
    // An end that nobody has forged.
    sealed[0].stream().read_to_end(&mut rest).unwrap();
}

#[test]
fn the_name_chooses_the_certificate() {
    let (first, other, wild) = (Files::new("localhost"), Files::new("other.test"), Files::new("*.wild.test"));
    let more: String = [&other, &wild]
        .map(|files| {
            format!(
                "[[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n",
                files.cert.display(),
                files.key.display()
            )
        })
        .concat();
    let gateway = Gateway::start(&first.server(), &more);
    let config = client(&[&first, &other, &wild], rustls::ALL_VERSIONS);
    for (host, files) in
        [("localhost", &first), ("other.test", &other), ("a.wild.test", &wild), ("OTHER.test", &other)]
    {
        let mut socket = subscribe(&gateway.tls, &config, host, "/ws");
        assert_eq!(shown(socket.stream()), files.der, "{host}");
    }
    // Who asks for another one is shown the first, and may not like it.
    let mut stream = connect(&gateway.tls, &config, "unknown.test");
    let error = stream.write_all(b"GET").and_then(|()| stream.flush()).unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[test]
fn who_comes_back_with_a_ticket_is_quick() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{}\nshards = 2", files.server()), "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client(&[&files], &[version]);
        let kinds: Vec<Option<HandshakeKind>> = (0..4)
            .map(|_| {
                // The ticket comes with or after the first answer.
                let mut socket = subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a");
                socket.until("subscribed");
                socket.stream().conn.handshake_kind()
            })
            .collect();
        // On whichever shard.
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 3], "{version:?}");
    }
    assert_eq!(metric(&gateway, "fanwire_tls_resumed_total "), 6);
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let files = Files::new("localhost");
    let (authority, pair) = (CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
    let ca = authority.self_signed(&pair).unwrap();
    let ca_file = files.cert.with_extension("ca.pem");
    fs::write(&ca_file, ca.pem()).unwrap();
    let server = format!("{}\ntls_client_ca = \"{}\"", files.server(), ca_file.display());
    let gateway = Gateway::start(&server, "");

    let mut stream = connect(&gateway.tls, &client(&[&files], rustls::ALL_VERSIONS), "localhost");
    let error =
        stream.write_all(b"GET /ws HTTP/1.1\r\n").and_then(|()| stream.read_exact(&mut [0])).unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    assert_eq!(metric(&gateway, "fanwire_tls_failed_total{reason=\"certificate\"} "), 1);

    let own = KeyPair::generate().unwrap();
    let issuer = Issuer::new(authority, pair);
    let signed = CertificateParams::new(vec!["client".into()]).unwrap().signed_by(&own, &issuer).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&[&files]))
        .with_client_auth_cert(
            vec![signed.der().clone()],
            PrivateKeyDer::try_from(own.serialize_der()).unwrap(),
        )
        .unwrap();
    subscribe(&gateway.tls, &Arc::new(config), "localhost", "/ws?topics=a").until("snapshot");
}

#[test]
fn certificates_are_read_again_and_nobody_is_dropped() {
    let mut files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    let before = client(&[&files], rustls::ALL_VERSIONS);
    let mut held = subscribe(&gateway.tls, &before, "localhost", "/ws?topics=a");
    held.until("snapshot");
    let old = shown(held.stream());

    files.renew("localhost");
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") >= 1);
    let mut fresh =
        subscribe(&gateway.tls, &client(&[&files], rustls::ALL_VERSIONS), "localhost", "/ws?topics=a");
    assert!(shown(fresh.stream()) == files.der && files.der != old);
    gateway.publish("a", "1");
    for socket in [&mut held, &mut fresh] {
        socket.update("a", |update| update["data"] == 1);
    }

    fs::write(&files.cert, "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    gateway.signal("HUP");
    wait_until(|| metric(&gateway, "fanwire_certificate_reload_errors_total ") >= 1);
    let config = client(&[&files], rustls::ALL_VERSIONS);
    subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a").until("snapshot");

    // And without being told.
    let reloads = metric(&gateway, "fanwire_certificate_reloads_total ");
    files.renew("localhost");
    wait_until(|| metric(&gateway, "fanwire_certificate_reloads_total ") > reloads);
    gateway.publish("a", "2");
    held.update("a", |update| update["data"] == 2);
}

fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "not within 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_admin_listener_may_speak_tls_too() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{}\nadmin_tls = true", files.server()), "");
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let ask = |request: &str| {
        let mut stream = connect(&gateway.admin, &config, "localhost");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Who says `Connection: close` is not owed a close_notify.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let body = r#"{"topic":"a","data":1}"#;
    let publish = format!(
        "POST /publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(ask(&publish).ends_with(r#"{"accepted":1}"#));
    let page = ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let port = gateway.tls.rsplit_once(':').unwrap().1;
    assert!(page.contains("SCHEME = 'wss'") && page.contains(&format!("PORT = '{port}'")));
    let mut plain = dial(&gateway.admin);
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(heard.first() == Some(&21), "an alert, not {heard:x?}");
    let redirect = http(&gateway.data, "GET", "/", "", "");
    assert!(redirect.head.contains(&format!("location: https://{}/", gateway.admin)), "{}", redirect.head);
}

#[test]
fn a_source_may_be_behind_tls() {
    let (files, other) = (Files::new("localhost"), Files::new("localhost"));
    let first = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    let port = first.tls.rsplit_once(':').unwrap().1;
    let chained = |ca: &Files| {
        let (url, ca) = (format!("wss://localhost:{port}/ws"), ca.cert.display());
        let source = format!("[[source]]\nkind = \"fanwire\"\nurl = \"{url}\"\nca = \"{ca}\"\n");
        Gateway::start("", &format!("[fanout]\ninterval_ms = 0\n{source}"))
    };
    let second = chained(&files);
    first.publish("a", "1");
    let mut client = Socket::connect(&second.data, "/ws?topics=a").unwrap();
    client.update("a", |update| update["data"] == 1);
    let long = format!("\"{}\"", "x".repeat(500_000));
    first.publish("a", &long);
    client.update("a", |update| update["v"] == 2);
    assert_eq!(metric(&first, "fanwire_tls_sessions "), 1);
    // A server that nobody vouches for is not believed.
    let third = chained(&other);
    wait_until(|| {
        metric(
            &third,
            &format!("fanwire_source_ended_total{{source=\"localhost:{port}\",reason=\"connect\"}} "),
        ) > 0
    });
    assert_eq!(metric(&third, "fanwire_topics "), 0);
}

#[test]
fn what_is_not_tls_gets_an_answer_by_name() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[limits]\nhandshake = \"300ms\"\n");
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let mut held = subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a");
    let answer = http(&gateway.tls, "GET", "/ws", "", "");
    answer.assert_refusal(400, "HTTP without TLS");
    assert!(answer.body.contains("this listener speaks TLS"), "{}", answer.body);
    for (bytes, answer) in [
        (&[0u8; 40][..], &[21u8][..]),
        (b"SSH-2.0-OpenSSH_9.0\r\n", &[21]),
        // Too little to say: `handshake` ends it.
        (&[22, 3, 1, 2, 0, 1], &[]),
        (&[], &[]),
    ] {
        let mut stream = dial(&gateway.tls);
        stream.write_all(bytes).unwrap();
        let mut heard = Vec::new();
        // It may end with a reset.
        let _ = stream.read_to_end(&mut heard);
        assert!(heard.starts_with(answer), "{bytes:x?} was answered {heard:x?}");
    }
    assert_eq!(metric(&gateway, "fanwire_tls_failed_total{reason=\"plain_http\"} "), 1);
    assert_eq!(metric(&gateway, "fanwire_tls_failed_total{reason=\"malformed\"} "), 2);
    held.send(r#"{"op":"ping"}"#);
    held.until("pong");
    assert_eq!(metric(&gateway, "fanwire_tls_sessions "), 1);
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let (files, other) = (Files::new("localhost"), Files::new("localhost"));
    let (cert, key) = (files.cert.display(), other.key.display());
    for (config, told) in [
        ("[server]\nadmin_tls = true\n".to_owned(), "admin_tls needs tls"),
        (
            "[server]\ntls = \"127.0.0.1:0\"\n".to_owned(),
            "gateway.toml:2: [server] tls = \"127.0.0.1:0\" needs tls_cert",
        ),
        (
            format!("[server]\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
            "certificates without a listener",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\n"),
            "tls_cert and tls_key go together",
        ),
        (
            "[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"no.pem\"\ntls_key = \"no.key\"\n".to_owned(),
            "cannot read the certificate ",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:0\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
            "do not go together",
        ),
        (
            format!("[server]\ntls = \"127.0.0.1:9001\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"),
            "another port",
        ),
    ] {
        let output = contract::output(contract::command(&config).arg("--check"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{config}: {stderr}");
        let told = told.strip_prefix("gateway.toml").unwrap_or(told);
        assert!(stderr.contains(told), "{config}: {stderr}");
    }
}
