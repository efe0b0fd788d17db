//! Tokens and the gateway's own binary: refusals in each form, revocation over a restart, keys that are published.
#![forbid(unsafe_code)]

mod contract;
mod jose;
mod wss;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use contract::{Gateway, Socket, UPGRADE, command, config_file, dial, http, output};
use jose::{Signer, hs256};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);
const SECRET: &str = "a secret of thirty-two bytes, or a little more than that";
const JSON: &str = "Content-Type: application/json\r\n";

fn path(name: &str) -> PathBuf {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}-{number}-{name}", std::process::id()))
}

/// A file of its own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = path(name);
    fs::write(&path, text).unwrap();
    path
}

/// `[access]` with a secret; `keys` are further keys of it.
fn access(keys: &str) -> String {
    let secret = file("secret", SECRET);
    format!(
        "[access]\nclients = \"token\"\n{keys}\n[[access.key]]\nalg = \"HS256\"\nsecret_file = \"{}\"\n",
        secret.display()
    )
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A good token with these claims besides `exp`.
fn token(mut claims: Value) -> String {
    if claims["exp"].is_null() {
        claims["exp"] = json!(now_s() + 600);
    }
    hs256(r#"{"alg":"HS256"}"#, &claims.to_string(), SECRET.as_bytes())
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// What a client that shows a token is let in with, or the status of its refusal.
fn connect(gateway: &Gateway, token: &str) -> Result<Socket, u16> {
    Socket::with(dial(&gateway.data), "/ws", &bearer(token))
}

/// Whether there is somebody within a while.
fn in_time(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + WAIT;
    while Instant::now() < end {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn each_refusal_in_http_and_as_a_close_on_plain_tls_and_msgpack() {
    let files = wss::Files::new("localhost");
    let keys = "token_from = [\"authorization\", \"subprotocol\", \"query:token\"]\naudience = [\"us\"]\n";
    let gateway = Gateway::start(&format!("shards = 1\n{}", files.server()), &access(keys));
    let tls = wss::client(&[&files], rustls::ALL_VERSIONS);
    let with = |mut claims: Value| {
        claims["aud"] = json!("us");
        bearer(&token(claims))
    };
    let one = token(json!({ "aud": "us", "sub": "one", "fanwire": { "connections": 1 } }));
    let _first = connect(&gateway, &one).ok().unwrap();
    let none = "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.";
    let fx = json!({ "fanwire": { "subscribe": ["fx.*"] } });
    for (what, headers, path, status, reason) in [
        ("no token", String::new(), "/ws", 401, "token"),
        ("another scheme", "Authorization: Basic Zm9v\r\n".to_owned(), "/ws", 401, "token"),
        ("nothing behind Bearer", bearer(""), "/ws", 401, "behind Bearer"),
        ("no JWT", bearer("x"), "/ws", 401, "three parts"),
        ("no algorithm", bearer(none), "/ws", 401, "alg"),
        ("another secret", bearer(&hs256(r#"{"alg":"HS256"}"#, "{}", b"other")), "/ws", 401, "signature"),
        ("no exp", bearer(&hs256(r#"{"alg":"HS256"}"#, "{}", SECRET.as_bytes())), "/ws", 401, "exp"),
        ("expired", with(json!({ "exp": now_s() - 60 })), "/ws", 401, "expired"),
        ("not yet", with(json!({ "nbf": now_s() + 90 })), "/ws", 401, "nbf"),
        ("too long", with(json!({ "exp": now_s() + 90_000 })), "/ws", 401, "lifetime_max"),
        ("no audience", bearer(&token(json!({}))), "/ws", 401, "aud"),
        ("unknown grants", with(json!({ "fanwire": { "read": [] } })), "/ws", 401, "read"),
        (
            "in a subprotocol",
            "Sec-WebSocket-Protocol: fanwire.token.x\r\n".to_owned(),
            "/ws",
            401,
            "three parts",
        ),
        ("on the URL", String::new(), "/ws?token=x", 401, "three parts"),
        ("no grant", with(json!({})), "/ws?topics=fx.a", 403, "fx.a is not granted"),
        ("a wider pattern", with(fx), "/ws?topics=fx.a,*.a", 403, "*.a is not granted"),
        ("a connection too many", bearer(&one), "/ws", 429, "1 connections"),
    ] {
        let answer = http(&gateway.data, "GET", path, &format!("{UPGRADE}{headers}"), "");
        answer.assert_refusal(status, what);
        assert!(answer.body.contains(reason), "{what}: {answer:?}");
        let challenge = answer.head.contains("\r\nwww-authenticate: bearer");
        assert_eq!(challenge, status == 401, "{what}: {answer:?}");
        let code = match status {
            401 => 4401,
            403 => 4403,
            _ => 4429,
        };
        let browser = format!("{headers}Origin: http://localhost\r\n");
        for offered in ["", "fanwire.json.v1", "fanwire.msgpack.v1"] {
            if !offered.is_empty() && browser.contains("Sec-WebSocket-Protocol") {
                continue;
            }
            let offer = if offered.is_empty() {
                String::new()
            } else {
                format!("Sec-WebSocket-Protocol: {offered}\r\n")
            };
            let headers = format!("{browser}{offer}");
            let mut plain =
                Socket::with(dial(&gateway.data), path, &headers).unwrap_or_else(|_| panic!("{what}"));
            assert_eq!(plain.close_code(), code, "{what} {offered}");
            let stream = wss::connect(&gateway.tls, &tls, "localhost");
            let mut secure = Socket::with(stream, path, &headers).unwrap_or_else(|_| panic!("{what}"));
            assert_eq!(secure.close_code(), code, "{what} {offered} with TLS");
        }
        let stream = wss::connect(&gateway.tls, &tls, "localhost");
        assert_eq!(Socket::with(stream, path, &headers).err(), Some(status), "{what} with TLS");
    }
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(!metrics.contains(SECRET) && metrics.contains("\nfanwire_tokens_refused_total "), "{metrics}");
}

#[test]
fn a_cookie_needs_its_code_and_the_refusal_is_http() {
    let csrf = file("csrf", &format!("{SECRET}\n"));
    let keys = format!(
        "token_from = [\"cookie:session\"]\norigins = [\"same-host\"]\ncsrf_secret_file = \"{}\"",
        csrf.display()
    );
    let gateway = Gateway::start("shards = 1", &access(&keys));
    let token = token(json!({ "sub": "alice" }));
    let code =
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes()), token.as_bytes());
    let code: String = code.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = format!("Cookie: a=b; session={token}; session=x\r\nOrigin: http://localhost\r\n");
    for path in ["/ws", "/ws?csrf=", &format!("/ws?csrf={}", code.to_uppercase()), "/ws?csrf=00"] {
        let answer = http(&gateway.data, "GET", path, &format!("{UPGRADE}{headers}"), "");
        answer.assert_refusal(403, path);
        assert!(answer.body.contains("csrf"), "{answer:?}");
    }
    let path = format!("/ws?csrf={code}");
    let mut socket = Socket::with(dial(&gateway.data), &path, &headers).ok().unwrap();
    assert_eq!(socket.until("authorized")["sub"], "alice");
}

#[test]
fn a_token_of_the_command_is_accepted_and_revoked_over_a_restart() {
    let state = path("state");
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 2\ndrain = \"1s\"\n[state]\npath = \"{}\"\n{}",
        state.display(),
        access("")
    );
    let mint = |sub: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        let made = output(command.args(["token", "--config"]).arg(config_file(&config)).args([
            "--sub",
            sub,
            "--subscribe",
            "fx.*",
        ]));
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let (alice, bob) = (mint("alice"), mint("bob"));
    let mut gateway = Gateway::start_config(&config);
    let mut socket = connect(&gateway, &alice).ok().unwrap();
    let told = socket.until("authorized");
    assert_eq!((&told["sub"], &told["as"]), (&json!("alice"), &json!("alice")));
    gateway.publish("fx.a", "7");
    socket.send(r#"{"op":"subscribe","topics":["fx.*"]}"#);
    assert_eq!(socket.until("snapshot")["updates"][0]["data"], 7);
    socket.send(r#"{"op":"subscribe","id":2,"topics":["*"]}"#);
    assert_eq!(socket.until("error")["code"], 4403);
    let mut other = connect(&gateway, &bob).ok().unwrap();
    other.until("authorized");

    let answer = http(&gateway.admin, "POST", "/revoke", JSON, r#"{"sub":"alice","for":"1h"}"#);
    assert_eq!((answer.status, answer.body.trim()), (200, r#"{"closed":1}"#));
    assert_eq!(socket.close_code(), 4401);
    assert_eq!(connect(&gateway, &alice).err(), Some(401));
    other.send(r#"{"op":"ping"}"#);
    other.until("pong");

    let own = http(&gateway.admin, "POST", "/token", JSON, r#"{"sub":"carol","subscribe":["*"]}"#);
    let own: Value = serde_json::from_str(&own.body).unwrap();
    let own = own["token"].as_str().unwrap();
    assert!(connect(&gateway, own).is_ok(), "its own token");
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(WAIT), Some(0));

    let gateway = Gateway::start_config(&config);
    assert_eq!(connect(&gateway, &alice).err(), Some(401), "revoked still");
    assert!(connect(&gateway, &bob).is_ok());
    assert_eq!(connect(&gateway, own).err(), Some(401), "the key of another process");
}

#[test]
fn keys_of_a_file_are_read_again_for_a_kid_that_is_unknown() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let set = |signers: &[&Signer]| {
        json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
    };
    let jwks = file("jwks.json", &set(&[&old]));
    let claims = json!({ "sub": "alice", "exp": now_s() + 600 });
    let config =
        format!("[access]\nclients = \"token\"\njwks = \"{}\"\njwks_refresh = \"1s\"\n", jwks.display());
    let gateway = Gateway::start("shards = 1", &config);
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_ok()));
    assert_eq!(connect(&gateway, &new.sign(&claims)).err(), Some(401));
    let signed_by_nobody = Signer::new("old").sign(&claims);
    assert_eq!(connect(&gateway, &signed_by_nobody).err(), Some(401));
    fs::write(&jwks, set(&[&new])).unwrap();
    assert!(in_time(|| connect(&gateway, &new.sign(&claims)).is_ok()));
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_err()), "it holds for one period");
    fs::write(&jwks, "{").unwrap();
    thread::sleep(Duration::from_millis(1500));
    assert!(connect(&gateway, &new.sign(&claims)).is_ok(), "what is known still holds");
    fs::write(&jwks, set(&[&old])).unwrap();
    assert!(in_time(|| connect(&gateway, &old.sign(&claims)).is_ok()));
    fs::write(&jwks, "{").unwrap();
    let is_gone = || connect(&gateway, &new.sign(&claims)).is_err();
    assert!(in_time(is_gone), "it holds for one period, though the set cannot be read then");
    assert!(connect(&gateway, &old.sign(&claims)).is_ok());
}

/// Publishes what stands in the text, over https; counts requests.
fn serve(files: &wss::Files, body: Arc<Mutex<String>>, asked: Arc<AtomicU32>) -> u16 {
    let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            asked.fetch_add(1, Ordering::Relaxed);
            let body = body.lock().unwrap().clone();
            // A client that is gone is its own affair.
            let _ = answer(&config, stream, &body);
        }
    });
    port
}

fn answer(config: &Arc<ServerConfig>, stream: TcpStream, body: &str) -> std::io::Result<()> {
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let moved = head.starts_with(b"GET /moved ");
    let answer = if moved {
        "HTTP/1.1 302 Found\r\nLocation: /jwks.json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_owned()
    } else {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn keys_are_read_over_https_and_again_for_a_kid_that_is_unknown() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let set = |signers: &[&Signer]| {
        json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
    };
    let files = wss::Files::new("localhost");
    let (body, asked) = (Arc::new(Mutex::new(set(&[&old]))), Arc::new(AtomicU32::new(0)));
    let port = serve(&files, body.clone(), asked.clone());
    let claims = json!({ "sub": "alice", "exp": now_s() + 600 });
    let start = |trusted: &Path| {
        let mut command = command(&format!(
            "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n\
             [access]\nclients = \"token\"\njwks = \"https://localhost:{port}/moved\"\n"
        ));
        Gateway::spawn(command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR"))
    };
    let gateway = start(&files.cert);
    // The first one waits for the set.
    assert!(connect(&gateway, &old.sign(&claims)).is_ok());
    let before = asked.load(Ordering::Relaxed);
    *body.lock().unwrap() = set(&[&old, &new]);
    for _ in 0..20 {
        assert_eq!(connect(&gateway, &new.sign(&claims)).err(), Some(401), "it was read a moment ago");
    }
    assert_eq!(asked.load(Ordering::Relaxed), before, "an unknown kid has it read at most every 30 s");
    // Another start reads the new set, if it trusts who publishes it.
    let again = start(&files.cert);
    assert!(connect(&again, &new.sign(&claims)).is_ok());
    let stranger = wss::Files::new("localhost");
    let refused = start(&stranger.cert);
    assert_eq!(connect(&refused, &new.sign(&claims)).err(), Some(401));
}

#[test]
fn a_source_shows_its_token_and_the_next_one_when_it_expires() {
    let short = token(json!({ "sub": "down", "exp": now_s() + 10, "fanwire": { "subscribe": ["fx.*"] } }));
    let long = token(json!({ "sub": "down", "fanwire": { "subscribe": ["fx.*"] } }));
    let upstream = Gateway::start("shards = 1", &access("leeway = \"0s\"\n"));
    upstream.publish("fx.a", "1");
    let shown = file("down.jwt", &format!("{short}\n"));
    let source = |token: &str| {
        format!(
            "[[source]]\nkind = \"fanwire\"\nname = \"up\"\nurl = \"ws://{}/ws\"\ntopics = [\"fx.*\"]\n{token}\n",
            upstream.data
        )
    };
    let stranger = Gateway::start("shards = 1", &source(""));
    let gateway = Gateway::start("shards = 1", &source(&format!("token_file = \"{}\"", shown.display())));
    let has = |gateway: &Gateway| http(&gateway.admin, "GET", "/topics/fx.a", "", "").status == 200;
    assert!(in_time(|| has(&gateway)));
    fs::write(&shown, &long).unwrap();
    thread::sleep(Duration::from_secs(12));
    let metrics = http(&upstream.admin, "GET", "/metrics", "", "").body;
    let expired = metrics.lines().find(|line| line.contains("token_expired")).unwrap_or_default();
    assert!(expired.ends_with(" 0"), "{expired:?}");
    assert!(!has(&stranger), "without a token nothing comes");
}

#[test]
fn a_reload_takes_other_keys_and_live_connections_keep_their_tokens() {
    let secret = file("rotated", SECRET);
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 2\n[access]\nclients = \"token\"\n\
         [[access.key]]\nalg = \"HS256\"\nsecret_file = \"{}\"\n",
        secret.display()
    );
    let path = config_file(&config);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
    let gateway = Gateway::spawn(command.arg("--config").arg(&path).env("RUST_LOG", "off"));
    let held = token(json!({ "sub": "alice", "fanwire": { "subscribe": ["fx.*"] } }));
    let mut socket = connect(&gateway, &held).ok().unwrap();
    socket.until("authorized");
    socket.send(r#"{"op":"subscribe","topics":["fx.a"]}"#);
    socket.until("subscribed");
    let other = "another secret of thirty-two bytes, or somewhat more";
    let claims = json!({ "sub": "bob", "exp": now_s() + 600 }).to_string();
    let next = hs256(r#"{"alg":"HS256"}"#, &claims, other.as_bytes());
    assert_eq!(connect(&gateway, &next).err(), Some(401));
    fs::write(&secret, other).unwrap();
    assert_eq!(http(&gateway.admin, "POST", "/reload", "", "").status, 200);
    assert!(connect(&gateway, &next).is_ok());
    assert_eq!(connect(&gateway, &held).err(), Some(401));
    // Grants that everyone has change for live connections.
    fs::write(&path, format!("{config}[access.everyone]\nauto = [\"news\"]\n")).unwrap();
    let answer = http(&gateway.admin, "POST", "/reload", "", "");
    assert!(answer.body.contains("access.everyone: changed"), "{answer:?}");
    let subscribed = socket.until("subscribed");
    assert_eq!((&subscribed["sub"], &subscribed["topics"]), (&json!("auto"), &json!(["news"])));
    // A key that cannot be used changes nothing.
    fs::write(&secret, "short").unwrap();
    assert_eq!(http(&gateway.admin, "POST", "/reload", "", "").status, 400);
    assert!(connect(&gateway, &next).is_ok());
}

#[test]
fn the_certificate_of_a_client_says_who_it_is() {
    let (files, authority) = (wss::Files::new("localhost"), wss::Authority::new());
    let server = format!("shards = 1\n{}\ntls_client_ca = \"{}\"", files.server(), authority.file.display());
    let access = "[access]\nclients = \"token\"\ntoken_from = [\"certificate\"]\n\
                  [access.everyone]\nsubscribe = [\"user.{sub}.*\"]\n";
    let gateway = Gateway::start(&server, access);
    let client = authority.client(&[&files], false);
    let connect = || Socket::with(wss::connect(&gateway.tls, &client, "localhost"), "/ws", "");
    let mut socket = connect().ok().unwrap();
    let told = socket.until("authorized");
    assert_eq!((&told["sub"], &told["as"]), (&json!("client"), &json!("client")));
    assert!(told["exp"].as_u64().unwrap() > now_s() * 1_000_000);
    socket.send(r#"{"op":"subscribe","id":1,"topics":["user.client.a"]}"#);
    assert_eq!(socket.until("subscribed")["id"], 1);
    socket.send(r#"{"op":"subscribe","id":2,"topics":["user.other.a"]}"#);
    assert_eq!(socket.until("error")["code"], 4403);
    assert_eq!(Socket::connect(&gateway.data, "/ws").err(), Some(401), "no certificate");
    http(&gateway.admin, "POST", "/revoke", JSON, r#"{"sub":"client"}"#);
    assert_eq!(socket.close_code(), 4401);
    assert_eq!(connect().err(), Some(401));
}
