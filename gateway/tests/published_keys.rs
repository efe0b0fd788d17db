//! Keys that somebody publishes as a set, and the gateway's own binary: when they are read, and from what they are not.
#![forbid(unsafe_code)]

mod access;
mod contract;
mod jose;
mod wss;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use access::{connect, file, in_time, now_s};
use contract::{Gateway, command, config_file};
use jose::Signer;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn keys_of_a_file_are_read_again_for_a_kid_that_is_unknown() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let jwks = file("jwks.json", &set(&[old.jwk()]));
    let claims = json!({ "sub": "alice", "exp": now_s() + 600 });
    let config =
        format!("[access]\nclients = \"token\"\njwks = \"{}\"\njwks_refresh = \"2s\"\n", jwks.display());
    let gateway = Gateway::start("shards = 1", &config);
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_ok()));
    assert_eq!(connect(&gateway, &new.sign(&claims)).err(), Some(401));
    let signed_by_nobody = Signer::new("old").sign(&claims);
    assert_eq!(connect(&gateway, &signed_by_nobody).err(), Some(401));
    fs::write(&jwks, set(&[new.jwk()])).unwrap();
    assert!(in_time(|| connect(&gateway, &new.sign(&claims)).is_ok()));
    let left = Instant::now();
    assert!(connect(&gateway, &old.sign(&claims)).is_ok(), "it holds for one period");
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_err()), "and no longer");
    assert!(left.elapsed() > Duration::from_secs(1), "it held for {:?}", left.elapsed());
    fs::write(&jwks, "{").unwrap();
    thread::sleep(Duration::from_millis(2500));
    assert!(connect(&gateway, &new.sign(&claims)).is_ok(), "what is known still holds");
    fs::write(&jwks, set(&[old.jwk()])).unwrap();
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_ok()));
    fs::write(&jwks, "{").unwrap();
    let is_gone = || connect(&gateway, &new.sign(&claims)).is_err();
    assert!(in_time(is_gone), "it holds for one period, though the set cannot be read then");
    assert!(connect(&gateway, &old.sign(&claims)).is_ok());
}

#[test]
fn a_reload_reads_a_file_at_once_and_takes_another_period() {
    let (old, new, newest) = (Signer::new("old"), Signer::new("new"), Signer::new("newest"));
    let jwks = file("reloaded.json", &set(&[old.jwk()]));
    let config = |refresh: &str| {
        format!(
            "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n\
             [access]\nclients = \"token\"\njwks = \"{}\"\njwks_refresh = \"{refresh}\"\n",
            jwks.display()
        )
    };
    let path = config_file(&config("1h"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
    let gateway = Gateway::spawn(command.arg("--config").arg(&path).env("RUST_LOG", "off"));
    let reload = || assert_eq!(contract::http(&gateway.admin, "POST", "/reload", "", "").status, 200);
    let claims = json!({ "sub": "alice", "exp": now_s() + 600 });
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_ok()));
    fs::write(&jwks, set(&[new.jwk()])).unwrap();
    assert_eq!(connect(&gateway, &new.sign(&claims)).err(), Some(401));
    reload();
    assert!(in_time(|| connect(&gateway, &new.sign(&claims)).is_ok()));
    assert!(connect(&gateway, &old.sign(&claims)).is_ok(), "it holds for one period");
    fs::write(&path, config("1s")).unwrap();
    reload();
    fs::write(&jwks, set(&[newest.jwk()])).unwrap();
    // Sooner than an unknown `kid` has it read again.
    assert!(in_time(|| connect(&gateway, &newest.sign(&claims)).is_ok()));
}

/// What a publisher says to a request.
enum Said {
    All(String),
    /// A byte now and then.
    Slowly(String),
    Nothing,
}

/// Speaks https.
struct Publisher {
    port: u16,
    /// Connections that came.
    asked: Arc<AtomicU32>,
}

impl Publisher {
    fn start(files: &wss::Files, say: impl Fn(&str) -> Said + Send + Sync + 'static) -> Self {
        let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        let (config, say, asked) = (Arc::new(config), Arc::new(say), Arc::<AtomicU32>::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counted = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let (config, say) = (config.clone(), say.clone());
                // A client that is gone is its own affair.
                thread::spawn(move || drop(answer(&config, stream, &*say)));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(config: &Arc<ServerConfig>, stream: TcpStream, say: &dyn Fn(&str) -> Said) -> std::io::Result<()> {
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    match say(head.split(' ').nth(1).unwrap_or_default()) {
        Said::All(text) => stream.write_all(text.as_bytes())?,
        Said::Slowly(text) => {
            for byte in text.as_bytes() {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(200));
            }
        }
        // Until the client goes.
        Said::Nothing => drop(stream.read(&mut [0])?),
    }
    stream.conn.send_close_notify();
    stream.flush()
}

/// A whole answer.
fn http(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// That reads its keys there, and trusts who has a certificate of that file.
fn gateway(url: &str, trusted: &Path) -> Gateway {
    let mut command = command(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n[limits]\nhandshake = \"20s\"\n\
         [access]\nclients = \"token\"\njwks = \"{url}\"\n"
    ));
    Gateway::spawn(command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR"))
}

#[test]
fn keys_are_read_over_https_and_again_for_a_kid_that_is_unknown() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let files = wss::Files::new("localhost");
    let body = Arc::new(Mutex::new(set(&[old.jwk()])));
    let published = body.clone();
    let publisher = Publisher::start(&files, move |path| {
        Said::All(match path {
            "/moved" => http("302 Found", "Location: /jwks.json\r\n", ""),
            _ => http("200 OK", "", &published.lock().unwrap()),
        })
    });
    let claims = json!({ "sub": "alice", "exp": now_s() + 600 });
    let start = |trusted: &Path| gateway(&format!("https://localhost:{}/moved", publisher.port), trusted);
    let gateway = start(&files.cert);
    // The first one waits for the set.
    assert!(connect(&gateway, &old.sign(&claims)).is_ok());
    let before = publisher.asked();
    *body.lock().unwrap() = set(&[old.jwk(), new.jwk()]);
    for _ in 0..20 {
        assert_eq!(connect(&gateway, &new.sign(&claims)).err(), Some(401), "it was read a moment ago");
    }
    assert_eq!(publisher.asked(), before, "an unknown kid has it read at most every 30 s");
    // Another start reads the new set, if it trusts who publishes it.
    let again = start(&files.cert);
    assert!(connect(&again, &new.sign(&claims)).is_ok());
    let stranger = wss::Files::new("localhost");
    let refused = start(&stranger.cert);
    assert_eq!(connect(&refused, &new.sign(&claims)).err(), Some(401));
}

#[test]
fn what_is_no_set_of_the_named_host_is_refused_and_the_gateway_goes_on() {
    let (files, signer) = (wss::Files::new("localhost"), Signer::new("a"));
    let good = set(&[signer.jwk()]);
    let many: Vec<Value> = vec![signer.jwk(); 65];
    let twice = set(&[Signer::new("a").jwk(), signer.jwk()]);
    let long = format!("{good}{}", " ".repeat(64 << 10));
    let away = http("302 Found", "Location: https://127.0.0.1/jwks.json\r\n", "");
    let around = http("307 Temporary Redirect", "Location: /jwks.json\r\n", "");
    let all = |text: String| move || Said::All(text.clone());
    let of = |status: &str, body: &str| all(http(status, "", body));
    type Say = Box<dyn Fn() -> Said + Send + Sync>;
    // What is answered, whether its keys hold, and how many connections that takes.
    let rows: Vec<(&str, Say, bool, u32)> = vec![
        ("a set", Box::new(of("200 OK", &good)), true, 1),
        ("two keys of one name", Box::new(of("200 OK", &twice)), true, 1),
        ("a set too long", Box::new(of("200 OK", &long)), false, 1),
        ("a set of too many", Box::new(of("200 OK", &set(&many))), false, 1),
        ("a set of none", Box::new(of("200 OK", &set(&[]))), false, 1),
        ("no set", Box::new(of("200 OK", "<html></html>")), false, 1),
        ("nothing there", Box::new(of("404 Not Found", &good)), false, 1),
        ("a broken server", Box::new(of("500 Internal Server Error", &good)), false, 1),
        ("no content", Box::new(all("HTTP/1.1 204 No Content\r\n\r\n".to_owned())), false, 1),
        ("nothing new", Box::new(all("HTTP/1.1 304 Not Modified\r\n\r\n".to_owned())), false, 1),
        ("another host", Box::new(all(away)), false, 1),
        ("a circle", Box::new(all(around)), false, 4),
        ("half a set", Box::new(all(http("200 OK", "", &good)[..150].to_owned())), false, 1),
        ("no HTTP", Box::new(all("SSH-2.0-OpenSSH_9.2\r\n".to_owned())), false, 1),
        ("a slow server", Box::new(move || Said::Slowly(http("200 OK", "", &good))), false, 1),
        ("a silent server", Box::new(|| Said::Nothing), false, 1),
    ];
    let token = signer.sign(&json!({ "sub": "alice", "exp": now_s() + 600 }));
    thread::scope(|scope| {
        for (what, say, is_good, connections) in rows {
            let (files, token) = (&files, &token);
            scope.spawn(move || {
                let publisher = Publisher::start(files, move |_| say());
                let gateway =
                    gateway(&format!("https://localhost:{}/jwks.json", publisher.port), &files.cert);
                // It waits until the set was read, or not.
                assert_eq!(connect(&gateway, token).err(), (!is_good).then_some(401), "{what}");
                assert_eq!(publisher.asked(), connections, "{what}");
                let counted = ["fanwire_jwks_reads_total ", "fanwire_jwks_failures_total "]
                    .map(|sample| wss::metric(&gateway, sample));
                assert_eq!(counted, [u64::from(is_good), u64::from(!is_good)], "{what}");
            });
        }
    });
}
