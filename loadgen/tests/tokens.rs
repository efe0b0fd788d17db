//! Tokens are shown as the flags say, renewed before they expire, and what becomes of them is counted; secrets are shown
//! to the server alone.
#![forbid(unsafe_code)]

mod support;

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::mpsc::{Receiver, channel},
};

use base64_simd::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use support::{CONNECTIONS, Fault, Peer, Temporary, loadgen_at, other_server, snapshot, start, subscribed};

const N: u64 = CONNECTIONS;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SHORT: &[&str] = &["--topics", "*", "--duration", "300ms"];

/// A server of Fanwire's protocol that accepts every token, and goes on as `then` says.
fn fanwire(then: impl Fn(&mut Peer) -> io::Result<()> + Send + Clone + 'static) -> String {
    let json = |_: &[&str]| Some("fanwire.json.v1".to_owned());
    let server = other_server(json, move |peer| {
        peer.say(r#"{"op":"authorized","sub":"x","as":"x","conn":"5b0f4d0c9a7e6f21","exp":1}"#)?;
        peer.hear()?;
        peer.say(&subscribed(0xaa, 1))?;
        peer.say(&snapshot(1))?;
        then(peer)
    });
    format!("ws://{server}/ws")
}

/// The token of an opening request.
fn shown(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("Authorization: Bearer "));
    line.unwrap_or_else(|| panic!("no token in {head}")).to_owned()
}

/// The claims of a token that is signed with [`SECRET`].
fn claims(token: &str) -> Value {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode_to_vec(text).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, message.as_bytes(), &decode(signature)).unwrap();
    serde_json::from_slice(&decode(message.split_once('.').unwrap().1)).unwrap()
}

fn tokens_of(report: &Value) -> [u64; 4] {
    ["authorized", "renewed", "refused", "dropped"].map(|of| report["tokens"][of].as_u64().unwrap())
}

fn secret(name: &str) -> Temporary {
    let file = Temporary::new(name);
    fs::write(&file.0, SECRET).unwrap();
    file
}

#[test]
fn every_connection_shows_the_line_with_its_number() {
    let file = Temporary::new("lines.txt");
    fs::write(&file.0, "red\ngreen\n").unwrap();
    let (tell, told) = channel();
    let url = fanwire(move |peer| {
        tell.send(shown(&peer.head)).unwrap();
        peer.hear().map(drop)
    });
    for (flags, wanted) in [
        (["--token-file", file.path()], ["green", "green", "green", "red", "red", "red"]),
        (["--token", "blue"], ["blue"; 6]),
    ] {
        let (output, report) = loadgen_at(&url, &[SHORT, &flags].concat());
        assert_eq!((output.status.code(), tokens_of(&report)), (Some(0), [N, 0, 0, 0]), "{report:#}");
        let mut seen: Vec<String> = told.try_iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, wanted);
    }
}

#[test]
fn a_blank_line_is_refused_with_its_number() {
    let file = Temporary::new("blank.txt");
    fs::write(&file.0, "red\n\ngreen\n").unwrap();
    let (output, _) = loadgen_at("ws://127.0.0.1:1/ws", &["--topics", "*", "--token-file", file.path()]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && told.contains("line 2"), "{told}");
}

#[test]
fn a_token_that_expires_is_renewed_on_its_open_connection() {
    let key = secret("renewed.key");
    let (tell, told) = channel();
    let url = fanwire(move |peer| {
        let first = shown(&peer.head);
        peer.say(r#"{"op":"notice","code":"token_expiring","exp":1}"#)?;
        let auth: Value = serde_json::from_str(&peer.hear()?).unwrap();
        let conn = r#""conn":"5b0f4d0c9a7e6f21","exp":1"#;
        peer.say(&format!(r#"{{"op":"authorized","id":{},{conn}}}"#, auth["id"]))?;
        tell.send((first, auth)).unwrap();
        peer.hear().map(drop)
    });
    let own = ["--token-key", key.path(), "--token-life", "20s"];
    let (output, report) = loadgen_at(&url, &[SHORT, &own].concat());
    assert_eq!((output.status.code(), tokens_of(&report)), (Some(0), [2 * N, N, 0, 0]), "{report:#}");
    assert!(report["tokens"]["answered_ms"]["max"].is_number(), "{report:#}");
    assert_eq!((&report["connections"]["closed"], &report["violations"]), (&json!(0), &json!({})));
    let seen: Vec<(String, Value)> = told.try_iter().collect();
    assert_eq!(seen.len() as u64, N);
    for (first, auth) in seen {
        assert_eq!(auth["op"], "auth");
        let (before, after) = (claims(&first), claims(auth["token"].as_str().unwrap()));
        assert!(before["sub"] == after["sub"] && before["jti"] != after["jti"], "{before} {after}");
        assert_eq!(after["fanwire"], json!({ "subscribe": ["*"] }));
        let lives_s = after["exp"].as_u64().unwrap() - after["iat"].as_u64().unwrap();
        assert!((20..=21).contains(&lives_s), "{after}");
    }
}

#[test]
fn a_renewal_that_is_not_taken_is_refused_and_an_end_for_the_tokens_sake_is_dropped() {
    let key = secret("refused.key");
    let url = fanwire(|peer| {
        peer.say(r#"{"op":"notice","code":"token_expiring","exp":1}"#)?;
        let auth: Value = serde_json::from_str(&peer.hear()?).unwrap();
        let reason = r#""code":4401,"reason":"bad token: it was revoked""#;
        peer.say(&format!(r#"{{"op":"error","id":{},{reason}}}"#, auth["id"]))?;
        peer.close(4005, "the token has expired")
    });
    let (_, report) = loadgen_at(&url, &[SHORT, &["--token-key", key.path()]].concat());
    assert_eq!(tokens_of(&report), [N, 0, N, N], "{report:#}");
    assert_eq!(report["closes"], json!({ "4005 the token has expired": N }));
    assert_eq!(report["errors"], json!({ "4401 bad token: it was revoked": N }));
}

#[test]
fn nothing_takes_the_place_of_a_token_that_was_given() {
    let (tell, told) = channel();
    let url = fanwire(move |peer| {
        peer.say(r#"{"op":"notice","code":"token_expiring","exp":1}"#)?;
        tell.send(peer.hear().is_ok()).unwrap();
        Ok(())
    });
    let (_, report) = loadgen_at(&url, &[SHORT, &["--token", "blue"]].concat());
    assert_eq!(tokens_of(&report), [N, 0, 0, 0], "{report:#}");
    assert_eq!(report["notices"], json!({ "token_expiring": N }));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), vec![false; N as usize], "the end alone is heard");
}

/// An HTTP server that tells every request and answers all alike.
fn http_server(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                    // Whoever asked may be gone.
                    let _ = tell.send(String::from_utf8_lossy(&buffer[..bytes]).into_owned());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, told)
}

#[test]
fn a_token_that_lets_nobody_in_is_refused() {
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\nbad token: it has expired\n";
    let (addr, _told) = http_server(answer);
    let (output, report) = loadgen_at(&format!("ws://{addr}/ws"), &[SHORT, &["--token", "old"]].concat());
    assert_eq!((output.status.code(), tokens_of(&report)), (Some(1), [0, 0, N, 0]), "{report:#}");
    assert!(report["failures"].to_string().contains("bad token: it has expired"), "{}", report["failures"]);
}

#[test]
fn the_admin_listener_is_shown_its_key_and_the_report_tells_no_secret() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n# TYPE up gauge\nup_at_all 1";
    let (admin, told) = http_server(answer);
    let (server, file) = (start(Fault::None), Temporary::new("secrets.json"));
    let run = |flags: &[&str], variable: Option<&str>| {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["--url", &format!("ws://{server}/ws"), "--admin", &format!("http://{admin}")])
            .args(["--report", file.path()])
            .args(SHORT)
            .args(flags)
            .env_remove("FANWIRE_ADMIN_KEY")
            .envs(variable.map(|key| ("FANWIRE_ADMIN_KEY", key)))
            .output()
            .unwrap();
        let told: Vec<String> = told.try_iter().collect();
        (fs::read_to_string(&file.0).unwrap_or_default() + &String::from_utf8_lossy(&output.stderr), told)
    };
    for (flags, variable) in
        [(&["--admin-key", "fw_secret", "--token", "tok_secret"][..], None), (&[], Some("fw_secret"))]
    {
        let (written, requests) = run(flags, variable);
        assert!(requests.iter().any(|request| request.starts_with("GET /metrics ")), "{requests:?}");
        assert!(requests.iter().all(|request| request.contains("\r\nX-API-Key: fw_secret\r\n")));
        assert!(written.contains("up_at_all") && !written.contains("_secret"), "{written}");
    }
    let (_, requests) = run(&[], None);
    assert!(!requests.is_empty() && requests.iter().all(|request| !request.contains("X-API-Key")));
}

#[test]
fn an_admin_listener_that_wants_another_key_costs_its_figures_and_says_what_to_do() {
    let (admin, _told) = http_server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let url = format!("ws://{}/ws", start(Fault::None));
    let (output, report) = loadgen_at(&url, &[SHORT, &["--admin", &format!("http://{admin}")]].concat());
    assert_eq!(output.status.code(), Some(0));
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("answered 401") && warnings.contains("--admin-key"), "{warnings}");
}
