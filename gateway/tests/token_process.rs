//! Tokens and the gateway's own binary: refusals in each form, revocation over a restart, reloads, certificates.
#![forbid(unsafe_code)]

mod access;
mod contract;
mod jose;
mod wss;

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, SystemTime},
};

use access::{JSON, SECRET, WAIT, access, bearer, connect, file, in_time, now_s, path, token};
use contract::{Gateway, Socket, UPGRADE, config_file, dial, http, output};
use gateway::admin_key::Digest;
use jose::hs256;
use serde_json::{Value, json};

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
    let conn = told["conn"].clone();
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
    let told = connect(&gateway, &bob).ok().unwrap().until("authorized");
    assert_ne!(told["conn"], conn, "the first connection of another process");
    assert_eq!(connect(&gateway, own).err(), Some(401), "the key of another process");
}

#[test]
fn a_revocation_is_refused_that_says_anything_else_or_finds_no_room_and_holds_where_it_is_not_saved() {
    let state = path("unsaved");
    let rest = format!("[limits]\nrevocations = 1\n[state]\npath = \"{}\"\n{}", state.display(), access(""));
    let gateway = Gateway::start("shards = 2", &rest);
    let revoke = |body: &str| http(&gateway.admin, "POST", "/revoke", JSON, body);
    for bad in [r#"{"sub":"a","iss":"b"}"#, r#"{"sub":"a","jti":"b"}"#, "{}", r#"["a",null,null]"#, "sub=a"] {
        revoke(bad).assert_refusal_open(400, bad);
    }
    http(&gateway.admin, "POST", "/revoke", "", r#"{"sub":"a"}"#).assert_refusal(415, "no content type");
    let [mut alice, mut bob] = ["alice", "bob"].map(|sub| {
        let token = token(json!({ "sub": sub, "jti": format!("of-{sub}") }));
        connect(&gateway, &token).ok().unwrap()
    });
    // A directory stands where the file is to be written.
    let beside = state.with_extension("revocations.tmp");
    fs::create_dir(&beside).unwrap();
    let answer = revoke(r#"{"jti":"of-alice"}"#);
    answer.assert_refusal_open(500, "it cannot be saved");
    assert!(answer.body.contains("it holds, but not after a restart"), "{answer:?}");
    assert_eq!(alice.close_code(), 4401);
    fs::remove_dir(&beside).unwrap();
    let full = revoke(r#"{"sub":"bob"}"#);
    full.assert_refusal_open(507, "there is no room");
    assert!(full.body.contains("[limits] revocations = 1"), "{full:?}");
    let held = ["fanwire_revocations ", "fanwire_revocations_refused_total "];
    assert_eq!(held.map(|sample| wss::metric(&gateway, sample)), [1, 1]);
    bob.send(r#"{"op":"ping"}"#);
    bob.until("pong");
    assert_eq!(
        connect(&gateway, &token(json!({ "jti": "of-alice" }))).err(),
        Some(401),
        "nothing is forgotten"
    );
    assert_eq!(revoke(r#"{"jti":"of-alice","for":"2h"}"#).status, 200, "it is there already");
}

#[test]
fn no_secret_stands_in_logs_answers_and_what_is_checked() {
    let files = wss::Files::new("localhost");
    let csrf = file("csrf-of-log", "a secret for codes beside cookies, which nobody sees");
    let upstream = file("upstream.jwt", "upstream-token-which-nobody-sees");
    let key = "fw_an_admin_key_which_nobody_sees";
    let keys = format!(
        "token_from = [\"authorization\", \"subprotocol\", \"query:t\", \"cookie:s\", \"op\"]\n\
         origins = [\"same-host\"]\ncsrf_secret_file = \"{}\"\n",
        csrf.display()
    );
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n{}\n{}\
         [[admin.key]]\nname = \"all\"\nsha256 = \"{}\"\nallow = [\"admin\"]\n\
         [[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\ntoken_file = \"{}\"\nsend = []\n\
         [[source.map]]\ntopic = \"a\"\ndata = \"/a\"\nwhen = {{ \"/b\" = \"*\" }}\n",
        files.server(),
        access(&keys),
        Digest::of(key.as_bytes()),
        upstream.display(),
    );
    let config = config_file(&config);
    let log = config.with_extension("log");
    let command = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.arg("--config").arg(&config);
        command
    };
    let errors = Stdio::from(fs::File::create(&log).unwrap());
    let gateway = Gateway::spawn(command().env("RUST_LOG", "trace").stderr(errors));
    let tls = wss::client(&[&files], rustls::ALL_VERSIONS);

    let good = token(json!({ "sub": "alice", "fanwire": { "subscribe": ["*"] } }));
    let bad = hs256(r#"{"alg":"HS256"}"#, &json!({ "exp": now_s() + 600 }).to_string(), b"another");
    let page = "Origin: http://localhost\r\n";
    for token in [&good, &bad] {
        let [header, protocol, cookie] = [
            bearer(token),
            format!("Sec-WebSocket-Protocol: fanwire.json.v1, fanwire.token.{token}\r\n"),
            format!("Cookie: s={token}\r\n"),
        ];
        let in_url = format!("/ws?t={token}");
        for (path, fields) in
            [("/ws", &header), ("/ws", &protocol), ("/ws", &cookie), (&*in_url, &String::new())]
        {
            let fields = format!("{page}{fields}");
            drop(Socket::with(dial(&gateway.data), path, &fields));
            drop(Socket::with(wss::connect(&gateway.tls, &tls, "localhost"), path, &fields));
        }
        let mut socket = Socket::with(dial(&gateway.data), "/ws", page).ok().unwrap();
        socket.send(&json!({ "op": "auth", "token": token }).to_string());
        socket.send(&json!({ "op": "auht", "token": token }).to_string());
        socket.message();
    }
    let headers = format!("{JSON}Authorization: Bearer {key}\r\n");
    let ask = |method: &str, path: &str, body: &str| http(&gateway.admin, method, path, &headers, body).body;
    let made: Value = serde_json::from_str(&ask("POST", "/token", "{}")).unwrap();
    let made = made["token"].as_str().unwrap();
    drop(connect(&gateway, made));
    let told = [
        ask("GET", "/metrics", ""),
        ask("GET", "/status", ""),
        ask("GET", "/config", ""),
        ask("GET", "/sources", ""),
        ask("POST", "/reload", ""),
        ask("POST", "/revoke", r#"{"sub":"nobody"}"#),
        http(&gateway.admin, "GET", "/metrics", "X-API-Key: fw_another\r\n", "").body,
    ];
    drop(gateway);
    let checked = output(command().arg("--check"));
    assert!(checked.status.success(), "{checked:?}");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("the configuration was reloaded"), "nothing was logged: {log}");
    let texts = [&told[..], &[log, format!("{checked:?}")]].concat();
    // Of a token the signature is the secret.
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let secrets = [SECRET, "codes beside cookies", "upstream-token", key, "fw_another"].map(str::to_owned);
    for secret in secrets.into_iter().chain([&good, &bad, made].map(signature)) {
        let found = texts.iter().flat_map(|text| text.lines()).find(|line| line.contains(&secret));
        assert_eq!(found, None, "{secret}");
    }
}

#[test]
fn the_audit_has_revocations_and_every_token_that_is_refused() {
    let audit = path("audit.jsonl");
    let rest = format!("[audit]\npath = \"{}\"\n{}", audit.display(), access(""));
    let gateway = Gateway::start("shards = 1", &rest);
    let mut alice = connect(&gateway, &token(json!({ "sub": "alice" }))).ok().unwrap();
    alice.until("authorized");
    assert_eq!(connect(&gateway, "x").err(), Some(401));
    let mut bad = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    bad.send(r#"{"op":"auth","token":"x"}"#);
    assert_eq!(bad.close_code(), 4401);
    let answer = http(&gateway.admin, "POST", "/revoke", JSON, r#"{"sub":"alice","for":"1m"}"#);
    assert_eq!(answer.status, 200);
    let mut lines = Vec::new();
    assert!(in_time(|| {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
        lines.len() == 6
    }));
    let told: Vec<_> = lines.iter().map(|line| (line["event"].as_str().unwrap(), &line["status"])).collect();
    let (none, status) = (&Value::Null, json!(401));
    assert_eq!(told[..4], [("connect", none), ("refusal", &status), ("connect", none), ("refusal", &status)]);
    assert_eq!([1, 3].map(|at| &lines[at]["by"]), [&json!("token"); 2]);
    assert_eq!(
        (told[4].0, &lines[4]["sub"], &lines[4]["closed"]),
        ("revocation", &json!("alice"), &json!(1))
    );
    assert_eq!((told[5].0, &lines[5]["path"]), ("write", &json!("/revoke")));
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

#[test]
fn a_connection_ends_with_the_certificate_of_its_client() {
    let (files, authority) = (wss::Files::new("localhost"), wss::Authority::new());
    let server = format!("shards = 1\n{}\ntls_client_ca = \"{}\"", files.server(), authority.file.display());
    let access = "[access]\nclients = \"token\"\ntoken_from = [\"certificate\"]\nleeway = \"0s\"\n";
    let gateway = Gateway::start(&server, access);
    // A certificate has whole seconds.
    let ends_s = now_s() + 4;
    let client = authority.client_until(&[&files], SystemTime::UNIX_EPOCH + Duration::from_secs(ends_s));
    let stream = wss::connect(&gateway.tls, &client, "localhost");
    let mut socket = Socket::with(stream, "/ws", "").ok().unwrap();
    assert_eq!(socket.until("authorized")["exp"], ends_s * 1_000_000);
    let notice = socket.until("notice");
    assert_eq!((&notice["code"], &notice["exp"]), (&json!("token_expiring"), &json!(ends_s * 1_000_000)));
    assert_eq!(socket.close_code(), 4005);
    assert!(now_s() >= ends_s);
}

#[test]
fn what_an_upstream_grants_as_auto_changes_nothing_of_what_a_chained_gateway_takes_over() {
    let granted = "[access.everyone]\nsubscribe = [\"fx.*\"]\n";
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n{}{granted}",
        access("")
    );
    let path = config_file(&config);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
    let upstream = Gateway::spawn(command.arg("--config").arg(&path).env("RUST_LOG", "off"));
    upstream.publish("fx.a", "1");
    let shown = file("chained.jwt", &token(json!({ "sub": "down" })));
    let source = format!(
        "[[source]]\nkind = \"fanwire\"\nurl = \"ws://{}/ws\"\ntopics = [\"fx.*\"]\ntoken_file = \"{}\"\n",
        upstream.data,
        shown.display()
    );
    let gateway = Gateway::start("shards = 1", &source);
    let has = |topic: &str| http(&gateway.admin, "GET", &format!("/topics/{topic}"), "", "").status == 200;
    assert!(in_time(|| has("fx.a")));
    fs::write(&path, format!("{config}auto = [\"news\"]\n")).unwrap();
    assert_eq!(http(&upstream.admin, "POST", "/reload", "", "").status, 200);
    // Within a second or so it is subscribed to that, too.
    let classes =
        |text: &str| text.lines().any(|line| line.starts_with("fanwire_classes") && line.ends_with(" 2"));
    assert!(in_time(|| classes(&http(&upstream.admin, "GET", "/metrics", "", "").body)));
    upstream.publish("news", "1");
    upstream.publish("fx.b", "2");
    assert!(in_time(|| has("fx.b")));
    assert!(has("fx.a") && !has("news"));
}

#[test]
fn a_token_is_made_where_there_is_a_secret_to_sign_it_with() {
    let (with, without) = (config_file(&access("")), config_file("[server]\nshards = 1\n"));
    let make = |config: Option<&std::path::Path>, words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.arg("token").args(words).env_remove("FANWIRE_CONFIG");
        output(command.envs(config.map(|config| ("FANWIRE_CONFIG", config))))
    };
    let made = make(Some(&*with), &["--sub", "alice", "--publish", "chat.*", "--ttl", "2h"]);
    let token = String::from_utf8(made.stdout).unwrap();
    let claims = String::from_utf8(jose::from_b64(token.split('.').nth(1).unwrap())).unwrap();
    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["fanwire"]), (&json!("alice"), &json!({ "publish": ["chat.*"] })));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 7_200);
    for (config, words, told) in [
        (None, &["--sub", "alice"][..], "--config FILE.toml"),
        (Some(&*without), &["--sub", "alice"], "no [[access.key]] with a secret"),
        (Some(&*with), &["--sub", ""], "1 to 128"),
        (Some(&*with), &["--subscribe", "a*"], "bad pattern: a*"),
        (Some(&*with), &["--ttl", "1"], "the unit is missing"),
        (Some(&*with), &["--ttl", "0s"], "1s or more"),
    ] {
        let refused = make(config, words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {said}");
        assert!(
            said.contains(told) && !said.contains(SECRET) && refused.stdout.is_empty(),
            "{words:?}: {said}"
        );
    }
}
